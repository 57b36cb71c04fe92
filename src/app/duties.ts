/** What the janitor does, round by round: limits of clients and servers, pools, statistics. */

import type { Clock } from "../base/clock.ts";
import { DONE_A_TURN } from "../base/in_turns.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { ServerPool } from "../client/relay.ts";
import type { Logger } from "../log/logger.ts";
import { type ClientTimeouts, judgeClient } from "../maintenance/client_expiry.ts";
import { type Duty, MORE } from "../maintenance/janitor.ts";
import { judgeServers, type ServerVerdict } from "../maintenance/server_expiry.ts";
import type { StatsBook } from "../stats/stats_book.ts";
import { noticeResponse } from "../wire/error_response.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";
import type { ServerPools } from "./server_pools.ts";

/** Pools for looking up, of databases that only `*` covers, whose failed logins are remembered. */
const MAX_PACED_LOOK_UPS = 100;

/** What the duties look after. */
export interface DutiesOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly live: LiveConfig;
  readonly clients: ClientRegistry;
  readonly pools: ServerPools;
  readonly stats: StatsBook;
}

/** The duties of one pooler, in the order of a round. */
export function dutiesOf(options: DutiesOptions): readonly Duty[] {
  const { live } = options;
  return [
    { intervalMs: () => 0, run: (nowMs) => sweepClients(options, nowMs) },
    { intervalMs: () => 0, run: (nowMs) => sweepPools(options, nowMs) },
    {
      // Without periods none ends: averages are from the beginning.
      intervalMs: () => live.settings.statsPeriodMs || Infinity,
      run: (nowMs) => endPeriod(options, nowMs),
    },
  ];
}

function sweepClients({ clients, live }: DutiesOptions, nowMs: number): void | typeof MORE {
  // Most clients are idle most of the time, and seldom is there a limit to that.
  const areIdleJudged = hasIdleTimeout(live);
  if (clients.areAllIdle && !areIdleJudged) return;
  const timeoutsOf = timeoutsByClient(live);
  let toldCount = 0;
  for (const client of clients.all()) {
    if (client.state.kind === "idle" && !areIdleJudged) continue;
    // It can neither ask nor be answered: its time is looked at when it can again.
    if (client.relay?.isInFreeze === true) continue;
    const verdict = judgeClient(client, timeoutsOf(client), nowMs);
    switch (verdict.kind) {
      case "keep":
        if (isQueued(client)) client.watchForEnd();
        client.relay?.endDoubtfulLink(nowMs);
        client.relay?.endObsoleteLink();
        break;
      case "hang_up":
        client.hangUp();
        break;
      case "notify":
        notifyOfWait(client);
        break;
      case "end":
        client.end(verdict.error.message, verdict.error);
    }
    if (verdict.kind !== "keep" && ++toldCount === DONE_A_TURN) return MORE;
  }
}

/** Whether idle clients are closed at some time, or some of them. */
function hasIdleTimeout({ config, settings }: LiveConfig): boolean {
  if (settings.clientIdleTimeoutMs > 0) return true;
  for (const user of config.users.values()) if ((user.clientIdleTimeoutMs ?? 0) > 0) return true;
  return false;
}

/** Whether a client waits for a server, and so is not being read: nobody else sees it leave. */
function isQueued({ pool, relay, state }: ClientSession): boolean {
  // One that asked and left in one breath is served all the same, as a server would.
  if (relay?.isTerminating === true) return false;
  return state.kind === "waiting" || state.kind === "login" && pool !== undefined;
}

function notifyOfWait(client: ClientSession): void {
  client.hasWaitNotice = true;
  const notice = noticeResponse(
    new PgError(
      SQLSTATE.successfulCompletion,
      "No server connection available in postgres backend, client being queued",
      { severity: "NOTICE" },
    ),
  );
  // Held by nobody: the client's stream keeps the order of its writes.
  void client.stream.write(notice, 0, notice.length);
}

/** Looks timeouts up: the same object for all who have nothing of their own. */
function timeoutsByClient(live: LiveConfig): (client: ClientSession) => ClientTimeouts {
  const { settings } = live;
  const { users } = live.config;
  const ordinary: ClientTimeouts = {
    loginMs: settings.clientLoginTimeoutMs,
    idleMs: settings.clientIdleTimeoutMs,
    queryMs: settings.queryTimeoutMs,
    queryWaitMs: settings.queryWaitTimeoutMs,
    queryWaitNotifyMs: settings.queryWaitNotifyMs,
    idleTransactionMs: settings.idleTransactionTimeoutMs,
    transactionMs: settings.transactionTimeoutMs,
  };
  // Whoever looks on from time to time is to find the console still open.
  const watching: ClientTimeouts = { ...ordinary, idleMs: 0 };
  return (client) => {
    if (client.database === CONSOLE_DATABASE) return watching;
    const own = client.user === undefined ? undefined : users.get(client.user);
    const database = client.database === undefined
      ? undefined
      : live.databaseConfig(client.database);
    const databaseWaitMs = database?.queryWaitTimeoutMs;
    if (own === undefined && databaseWaitMs === undefined) return ordinary;
    return {
      ...ordinary,
      idleMs: own?.clientIdleTimeoutMs ?? ordinary.idleMs,
      queryMs: own?.queryTimeoutMs ?? ordinary.queryMs,
      queryWaitMs: own?.queryWaitTimeoutMs ?? databaseWaitMs ?? ordinary.queryWaitMs,
      idleTransactionMs: own?.idleTransactionTimeoutMs ?? ordinary.idleTransactionMs,
      transactionMs: own?.transactionTimeoutMs ?? ordinary.transactionMs,
    };
  };
}

function sweepPools(options: DutiesOptions, nowMs: number): void {
  const { pools } = options;
  pools.openForcedPools();
  for (const pool of [...pools.registry.all()]) {
    pools.closeMany(() => {
      for (const verdict of judgeServers(pool, serverRules(options, pool), nowMs)) {
        carryOut(verdict);
      }
    });
    pool.maintain(pools.wantsSpares(pool));
    pools.seekBetterHost(pool);
    freeIfUnused(options, { pool, nowMs });
  }
}

function serverRules({ live }: DutiesOptions, pool: ServerPool) {
  const { settings } = live;
  return {
    connectTimeoutMs: settings.serverConnectTimeoutMs,
    idleTimeoutMs: settings.serverIdleTimeoutMs,
    lifetimeMs: pool.rules.serverLifetimeMs,
    checkDelayMs: isChecked(live, pool) ? settings.serverCheckDelayMs : undefined,
  };
}

/**
 * Whether a server is asked anything before use that was idle for long: how it is, or its role. That
 * is not asked for the time's sake where the time is 0.
 */
function isChecked(live: LiveConfig, { database }: ServerPool): boolean {
  const { settings } = live;
  if (settings.serverCheckQuery !== undefined) return true;
  const attrs = live.databaseConfig(database)?.targetSessionAttrs ?? "any";
  return attrs !== "any" && settings.serverCheckDelayMs > 0;
}

function carryOut(verdict: ServerVerdict): void {
  // An earlier verdict of the round may have changed what this one was about.
  const { kind } = verdict.server.state;
  switch (verdict.kind) {
    case "expire_login":
      if (kind === "login") verdict.server.expireLogin();
      return;
    case "retire":
      if (kind === "idle") verdict.server.retire();
      return;
    case "discard":
      if (kind !== "active" && kind !== "closed") verdict.server.discard(verdict.reason);
  }
}

function freeIfUnused(
  options: DutiesOptions,
  { pool, nowMs }: { pool: ServerPool; nowMs: number },
): void {
  const { live, pools } = options;
  if (!pool.isEmpty) {
    pool.usedAtMs = nowMs;
    return;
  }
  const unusedMs = nowMs - pool.usedAtMs;
  if (pools.isObsolete(pool) || isUnneeded(options, pool, unusedMs)) return pools.free(pool);
  const limitMs = live.settings.poolIdleTimeoutMs;
  // One that would be made again at once must not forget when its last login failed.
  const isKept = pool.rules.minPoolSize > 0 && pools.wantsSpares(pool);
  if (limitMs > 0 && unusedMs > limitMs && !isKept) pools.free(pool);
}

/**
 * Pools made for names that only `*` covers are freed, or any client could fill the memory with
 * names: at once if it never came to a server, else when unused for long.
 */
function isUnneeded(
  { live, pools }: DutiesOptions,
  pool: ServerPool,
  unusedMs: number,
): boolean {
  const { config, settings } = live;
  if (config.databases.has(pool.database)) return false;
  const limitMs = settings.autodbIdleTimeoutMs;
  if (limitMs > 0 && unusedMs > limitMs) return true;
  if (pool.welcome !== undefined) return false;
  // Who looks up is not in the pool while waiting: a few are kept, so as not to try too often.
  const isPaced = pools.isForLookUps(pool) && pools.lookUpPools().length <= MAX_PACED_LOOK_UPS;
  return !isPaced || unusedMs > settings.serverLoginRetryMs;
}

function endPeriod({ live, log, stats }: DutiesOptions, nowMs: number): void {
  const a = stats.endPeriod(nowMs);
  if (!live.settings.logStats) return;
  log.log(
    `stats: ${a.xactCount} xacts/s, ${a.queryCount} queries/s, ${a.clientParseCount} client ` +
      `parses/s, ${a.serverParseCount} server parses/s, ${a.bindCount} binds/s, ` +
      `${a.clientLoginCount} client logins/s, in ${a.bytesReceived} B/s, out ${a.bytesSent} B/s, ` +
      `xact ${a.xactTimeUs} us, query ${a.queryTimeUs} us, wait ${a.waitTimeUs} us`,
  );
}
