/** What must hold of a pooler at every moment between two events. */

import assert from "node:assert/strict";
import type { Pooler } from "../../src/app/pooler.ts";
import type { ClientSession } from "../../src/client/client_session.ts";
import type { ServerPool } from "../../src/client/relay.ts";
import { maxDbConnectionsOf, maxUserConnectionsOf } from "../../src/config/effective_settings.ts";
import { AuthQuery } from "../../src/server/auth_query.ts";
import type { ServerSession } from "../../src/server/server_session.ts";
import type { FakeBackend, FakePostgres } from "./fake_postgres.ts";
import { readInt32 } from "./messages.ts";

/** Asserts every invariant; `lastCounts` are the servers that each pool had when it was called last. */
export function checkPooler(
  pooler: Pooler,
  postgres: FakePostgres,
  lastCounts: WeakMap<ServerPool, number>,
): void {
  const areAllIdle = [...pooler.clients.all()].every(({ state }) => state.kind === "idle");
  assert.equal(pooler.clients.areAllIdle, areAllIdle, "It is known whether all clients are idle");
  const clientsOf = new Map<ServerPool, number>();
  for (const client of pooler.clients.all()) {
    checkClient(client);
    assert.ok(Number.isFinite(client.touch() + client.touchRest()), "A client is touched any time");
    if (client.pool !== undefined) {
      clientsOf.set(client.pool, (clientsOf.get(client.pool) ?? 0) + 1);
    }
  }
  for (const pool of pooler.pools.registry.all()) {
    assert.equal(pool.clientCount, clientsOf.get(pool) ?? 0, "A pool counts its clients");
    checkLists(pool);
    checkLimits(pool, lastCounts.get(pool) ?? 0);
    lastCounts.set(pool, pool.servers.count);
    for (const server of pool.servers.active) {
      checkLinked(server, pooler);
      assert.ok(Number.isFinite(server.touchRest()), "A server is touched any time");
    }
    for (const server of pool.servers.idle) checkFree(server, postgres);
    for (const server of pool.servers.used) checkFree(server, postgres);
  }
  checkCaps(pooler);
}

/** Servers are counted, and no more than allowed, unless all are busy. */
function checkCaps({ live: { config }, pools }: Pooler): void {
  const all = [...pools.registry.all()];
  for (const kind of ["database", "user"] as const) {
    for (const name of new Set(all.map((pool) => pool[kind]))) {
      const members = all.filter((pool) => pool[kind] === name);
      const servers = members.flatMap((pool) => [...pool.servers.all()]);
      const limit = kind === "database"
        ? maxDbConnectionsOf(config, name)
        : maxUserConnectionsOf(config, name);
      checkCap(`${kind} ${name}`, { servers, limit, count: pools.caps.countOf(kind, name) });
    }
  }
  for (const { host, maxConnections, port } of config.servers.values()) {
    const key = `${host}:${port}`;
    const servers = all.flatMap((pool) => [...pool.servers.all()])
      .filter(({ addressKey }) => addressKey === key);
    const count = pools.caps.countOf("server", key);
    checkCap(`server ${key}`, { servers, limit: maxConnections, count });
  }
}

function checkCap(
  what: string,
  { count, limit, servers }: {
    count: number;
    limit: number;
    servers: readonly ServerSession[];
  },
): void {
  assert.equal(count, servers.length, `Servers of ${what}`);
  // Of those that were there before a limit was lowered, the busy ones are waited for.
  const isFree = ({ isPrivate, state: { kind } }: ServerSession) =>
    !isPrivate && (kind === "idle" || kind === "used");
  const isKept = limit === 0 || count <= limit || !servers.some(isFree);
  assert.ok(isKept, `${count} servers of ${what}, ${limit} allowed`);
}

/** A client's state says what it has. */
function checkClient(client: ClientSession): void {
  const { relay, state } = client;
  if (relay === undefined) return;
  const { kind } = state;
  const isLinked = relay.server !== undefined;
  const isWaiting = relay.waitingSinceMs !== undefined;
  assert.equal(isLinked, kind === "active", `A client in state ${kind}, linked: ${isLinked}`);
  assert.equal(isWaiting, kind === "waiting", `A client in state ${kind}, waiting: ${isWaiting}`);
  if (relay.server === undefined) return;
  const serverState = relay.server.state;
  assert.equal(serverState.kind, "active", "The server of a linked client is active");
  assert.ok(
    serverState.kind === "active" && serverState.taker === relay,
    "Both point at each other",
  );
}

/** Each server stands in exactly one list, which is that of its state. */
function checkLists({ servers }: ServerPool): void {
  const lists: readonly (readonly [string, Iterable<ServerSession>])[] = [
    ["login", servers.login],
    ["idle", servers.idle],
    ["used", servers.used],
    ["tested", servers.tested],
    ["active", servers.active],
    ["being_canceled", servers.beingCanceled],
    ["recovering", servers.recovering],
  ];
  const seen = new Set<ServerSession>();
  for (const [kind, list] of lists) {
    for (const server of list) {
      assert.ok(!seen.has(server), "A server stands in one list");
      seen.add(server);
      assert.equal(server.state.kind, kind, "A server's list is its state");
    }
  }
  assert.equal(servers.count, seen.size, "Counts are lengths of lists");
}

function checkLimits({ isPaused, rules, servers, waiting }: ServerPool, lastCount: number): void {
  // A reload may have lowered the limit, and who is there goes in time.
  const most = Math.max(rules.poolSize + rules.reservePoolSize, lastCount);
  assert.ok(servers.count <= most, `${servers.count} servers, ${most} allowed`);
  const awaited = [...servers.login].filter(({ isTrial }) => !isTrial);
  assert.ok(awaited.length <= 1, "One server of a pool logs in at a time, besides those on trial");
  const isServing = waiting.size === 0 || servers.idle.length === 0 || isPaused;
  assert.ok(isServing, "Nobody waits beside an idle server");
}

/** A linked server's client knows it. */
function checkLinked(server: ServerSession, pooler: Pooler): void {
  // One that looks up a secret has no client, and never will.
  if (server.state.kind === "active" && server.state.taker instanceof AuthQuery) return;
  for (const { relay } of pooler.clients.all()) {
    if (relay?.server === server) return;
  }
  assert.fail("A linked server has a client");
}

/** A free server is clean: its backend has nothing to do and is in no transaction. */
function checkFree(server: ServerSession, postgres: FakePostgres): void {
  assert.equal(String.fromCharCode(server.transactionStatus), "I", "A free server is idle");
  if (server.cancelKey === undefined) return;
  const processId = readInt32(server.cancelKey);
  const backend = postgres.backends.find((each) => each.processId === processId);
  if (backend === undefined || backend.isClosed) return;
  assert.equal(backend.status, "I", "The backend of a free server is in no transaction");
  assert.ok(!backend.isSleeping, "The backend of a free server runs nothing");
  checkStatements(server, backend);
}

/** What is shared is where it is thought to be, and nothing of it is anywhere else. */
function checkStatements(
  { statements }: ServerSession,
  { statements: { names } }: FakeBackend,
): void {
  const known = new Set<string>();
  for (const { presence, statement } of statements.all()) {
    assert.ok(presence === "present" || presence === "doubtful", "Nothing is on its way");
    if (presence === "present") {
      assert.ok(names.includes(statement.name), `${statement.name} is prepared`);
    }
    known.add(statement.name);
  }
  for (const name of names) {
    assert.ok(!name.startsWith("PGBOUNCER_") || known.has(name), `${name} is known to be there`);
  }
}
