/**
 * SHOW LIMITS: the limits on servers that count over several pools, and how much of them is used;
 * SHOW SHARES: the pools under each, and what part of it they are due. Sluice's own.
 */

import type { CapGroup, CapKind, CapShare } from "../pool/connection_caps.ts";
import { isFull } from "../pool/connection_caps.ts";
import { addressKeyOf, addressOf } from "../server/server_hosts.ts";
import type { ConsoleContext } from "./console_context.ts";
import { byName, sum } from "./listing.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { restMicroseconds, wholeSeconds } from "./shown_time.ts";

/** The setting that a limit is from. */
const SETTING: Readonly<Record<CapKind, string>> = {
  database: "max_db_connections",
  user: "max_user_connections",
  server: "max_connections",
};

interface LimitRow {
  readonly setting: string;
  /** Of a database, a user, or a section of `[servers]`. */
  readonly name: string;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly limit: number;
  readonly count: number;
  readonly shares: readonly ShareRow[];
}

interface ShareRow {
  readonly setting: string;
  readonly name: string;
  readonly database: string;
  readonly user: string;
  readonly weight: number;
  /** Of the limit, in hundredths, beside the other pools that have or want servers. */
  readonly percent: number;
  readonly count: number;
  readonly isHeld: boolean;
  readonly waitingCount: number;
  readonly waitMs: number;
}

const LIMIT_COLUMNS: readonly ShowColumn<LimitRow>[] = [
  text("setting", ({ setting }) => setting),
  text("name", ({ name }) => name),
  text("host", ({ host }) => host),
  int4("port", ({ port }) => port),
  int4("max_connections", ({ limit }) => limit),
  int4("current_connections", ({ count }) => count),
  int4("pools", ({ shares }) => shares.length),
  int4("held_pools", ({ shares }) => heldOf(shares).length),
  int4("cl_waiting", ({ shares }) => sum(heldOf(shares), ({ waitingCount }) => waitingCount)),
  int4("maxwait", ({ shares }) => wholeSeconds(longestWaitMs(shares))),
  int4("maxwait_us", ({ shares }) => restMicroseconds(longestWaitMs(shares))),
];

const SHARE_COLUMNS: readonly ShowColumn<ShareRow>[] = [
  text("setting", ({ setting }) => setting),
  text("name", ({ name }) => name),
  text("database", ({ database }) => database),
  text("user", ({ user }) => user),
  int4("weight", ({ weight }) => weight),
  int4("percent", ({ percent }) => percent),
  int4("current_connections", ({ count }) => count),
  int4("held", ({ isHeld }) => isHeld ? 1 : 0),
  int4("cl_waiting", ({ waitingCount }) => waitingCount),
  int4("maxwait", ({ waitMs }) => wholeSeconds(waitMs)),
  int4("maxwait_us", ({ waitMs }) => restMicroseconds(waitMs)),
];

/** Answers SHOW LIMITS. */
export function showLimits(context: ConsoleContext): ShownTable {
  return table(LIMIT_COLUMNS, limitRows(context));
}

/** Answers SHOW SHARES. */
export function showShares(context: ConsoleContext): ShownTable {
  return table(SHARE_COLUMNS, limitRows(context).flatMap(({ shares }) => shares));
}

/** Each limit that is set and has a pool under it, and all of `[servers]`. */
function limitRows(context: ConsoleContext): LimitRow[] {
  const groups = [...context.caps.groups()];
  const rows = groups.filter(({ kind, limit }) => kind !== "server" && limit > 0)
    .map((group) => limitRow(group, { name: group.name, context }));
  for (const { host, maxConnections, name, port } of context.config().servers.values()) {
    const key = addressKeyOf(addressOf(host, port));
    const group = groups.find((each) => each.kind === "server" && each.name === key) ??
      { kind: "server", name: key, members: new Set(), limit: maxConnections, count: 0 };
    rows.push({ ...limitRow(group, { name, context }), host, port });
  }
  return rows.sort((a, b) => byName(a.setting, b.setting) || byName(a.name, b.name));
}

function limitRow(
  group: CapGroup,
  { context, name }: { name: string; context: ConsoleContext },
): LimitRow {
  const { count, kind, limit } = group;
  const shares = shareRows(group, { name, nowMs: context.clock.nowMs() });
  return { setting: SETTING[kind], name, host: undefined, port: undefined, limit, count, shares };
}

/** The pools that have servers there or want one. */
function shareRows(
  group: CapGroup,
  { name, nowMs }: { name: string; nowMs: number },
): ShareRow[] {
  const shares = [...group.members].map((share) => ({
    share,
    count: countIn(share, group),
    isHeld: share.isHeld && isFull(group),
  })).filter(({ count, isHeld }) => count > 0 || isHeld);
  const weights = sum(shares, ({ share }) => share.pool.weight);
  return shares.map(({ count, isHeld, share: { pool } }) => ({
    setting: SETTING[group.kind],
    name,
    database: pool.database,
    user: pool.user,
    weight: pool.weight,
    percent: Math.round(100 * pool.weight / weights),
    count,
    isHeld,
    waitingCount: pool.waitingCount,
    waitMs: pool.waitingSinceMs === undefined ? 0 : nowMs - pool.waitingSinceMs,
  })).sort((a, b) => byName(a.database, b.database) || byName(a.user, b.user));
}

/** Of a pool with several hosts, the servers elsewhere do not count. */
function countIn({ pool }: CapShare, { kind, name }: CapGroup): number {
  return kind === "server" ? pool.serverCountAt(name) : pool.serverCount;
}

function heldOf(shares: readonly ShareRow[]): ShareRow[] {
  return shares.filter(({ isHeld }) => isHeld);
}

function longestWaitMs(shares: readonly ShareRow[]): number {
  return Math.max(0, ...heldOf(shares).map(({ waitMs }) => waitMs));
}
