/** SHOW POOLS: clients and servers of each pool, counted by state. */

import { databaseConfigOf, poolModeOf } from "../config/effective_settings.ts";
import type { CancelCounts } from "../client/cancel_places.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ServerPool } from "../client/relay.ts";
import type { ConsoleContext } from "./console_context.ts";
import { loadBalanceOf, sum } from "./listing.ts";
import { type PoolGroup, poolsByName } from "./pools_in_order.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { consoleClientCount, shownClientState } from "./shown_client.ts";
import { restMicroseconds, wholeSeconds } from "./shown_time.ts";

interface PoolRow {
  readonly database: string;
  readonly user: string;
  readonly clients: ClientCounts;
  readonly cancels: CancelCounts;
  readonly servers: ServerCounts;
  readonly maxWaitMs: number;
  readonly poolMode: string;
  readonly loadBalance: string | undefined;
}

/** Idle clients count as active, as PgBouncer counts them. */
interface ClientCounts {
  activeCount: number;
  waitingCount: number;
}

interface ServerCounts {
  readonly activeCount: number;
  readonly beingCanceledCount: number;
  readonly idleCount: number;
  readonly usedCount: number;
  readonly testedCount: number;
  readonly loginCount: number;
}

const NO_SERVERS: ServerCounts = {
  activeCount: 0,
  beingCanceledCount: 0,
  idleCount: 0,
  usedCount: 0,
  testedCount: 0,
  loginCount: 0,
};

const COLUMNS: readonly ShowColumn<PoolRow>[] = [
  text("database", ({ database }) => database),
  text("user", ({ user }) => user),
  int4("cl_active", ({ clients }) => clients.activeCount),
  int4("cl_waiting", ({ clients }) => clients.waitingCount),
  int4("cl_active_cancel_req", ({ cancels }) => cancels.activeCount),
  int4("cl_waiting_cancel_req", ({ cancels }) => cancels.waitingCount),
  int4("sv_active", ({ servers }) => servers.activeCount),
  // Each request under way has a connection of its own.
  int4("sv_active_cancel", ({ cancels }) => cancels.activeCount),
  int4("sv_being_canceled", ({ servers }) => servers.beingCanceledCount),
  int4("sv_idle", ({ servers }) => servers.idleCount),
  int4("sv_used", ({ servers }) => servers.usedCount),
  int4("sv_tested", ({ servers }) => servers.testedCount),
  int4("sv_login", ({ servers }) => servers.loginCount),
  int4("maxwait", ({ maxWaitMs }) => wholeSeconds(maxWaitMs)),
  int4("maxwait_us", ({ maxWaitMs }) => restMicroseconds(maxWaitMs)),
  text("pool_mode", ({ poolMode }) => poolMode),
  text("load_balance_hosts", ({ loadBalance }) => loadBalance),
];

/** Answers SHOW POOLS. */
export function showPools(context: ConsoleContext): ShownTable {
  const counts = clientCounts(context.clients);
  const rows = poolsByName(context.pools).map((group) => poolRow(group, counts, context));
  const at = rows.findIndex(({ database }) => database > CONSOLE_DATABASE);
  rows.splice(at < 0 ? rows.length : at, 0, consoleRow(context));
  return table(COLUMNS, rows);
}

function clientCounts(clients: ClientRegistry): Map<ServerPool, ClientCounts> {
  const counts = new Map<ServerPool, ClientCounts>();
  for (const client of clients.all()) {
    const state = shownClientState(client);
    if (client.pool === undefined || state === undefined) continue;
    let ofPool = counts.get(client.pool);
    if (ofPool === undefined) {
      ofPool = { activeCount: 0, waitingCount: 0 };
      counts.set(client.pool, ofPool);
    }
    if (state === "waiting") ofPool.waitingCount += 1;
    else ofPool.activeCount += 1;
  }
  return counts;
}

function poolRow(
  { database, pools, user }: PoolGroup,
  counts: ReadonlyMap<ServerPool, ClientCounts>,
  context: ConsoleContext,
): PoolRow {
  const config = context.config();
  const nowMs = context.clock.nowMs();
  const clients = pools.map((pool) => counts.get(pool) ?? { activeCount: 0, waitingCount: 0 });
  const cancels = pools.map((pool) => context.cancels.countsOf(pool));
  return {
    database,
    user,
    clients: {
      activeCount: sum(clients, ({ activeCount }) => activeCount),
      waitingCount: sum(clients, ({ waitingCount }) => waitingCount),
    },
    cancels: {
      activeCount: sum(cancels, ({ activeCount }) => activeCount),
      waitingCount: sum(cancels, ({ waitingCount }) => waitingCount),
    },
    servers: {
      activeCount: sum(pools, ({ servers }) => servers.active.size),
      beingCanceledCount: sum(pools, ({ servers }) => servers.beingCanceled.size),
      idleCount: sum(pools, ({ servers }) => servers.idle.length),
      usedCount: sum(pools, ({ servers }) => servers.used.length),
      // PgBouncer has no column for those that recover.
      testedCount: sum(pools, ({ servers }) => servers.tested.size + servers.recovering.size),
      loginCount: sum(pools, ({ servers }) => servers.login.size),
    },
    maxWaitMs: Math.max(...pools.map((pool) => maxWaitMs(pool, nowMs))),
    poolMode: poolModeOf(config, { database, user }),
    loadBalance: loadBalanceOf(databaseConfigOf(config, database)),
  };
}

function maxWaitMs({ loggingIn, waiting }: ServerPool, nowMs: number): number {
  const sinceMs = Math.min(
    waiting.oldest?.sinceMs ?? nowMs,
    loggingIn.oldest?.sinceMs ?? nowMs,
  );
  return nowMs - sinceMs;
}

/** The console shows itself as a pool without servers. */
function consoleRow(context: ConsoleContext): PoolRow {
  return {
    database: CONSOLE_DATABASE,
    user: CONSOLE_DATABASE,
    clients: { activeCount: consoleClientCount(context.clients.all()), waitingCount: 0 },
    cancels: { activeCount: 0, waitingCount: 0 },
    servers: NO_SERVERS,
    maxWaitMs: 0,
    poolMode: "statement",
    loadBalance: undefined,
  };
}
