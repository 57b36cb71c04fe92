/** How many servers a pool has, who gets them and in which order, and when they are closed. */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend } from "../support/messages.ts";
import { LoginRefused, type TestClient } from "../support/test_client.ts";
import {
  pidOf,
  type Section,
  startWorld,
  token,
  until,
  valueOf,
  type World,
} from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** A world with transaction pooling and so many servers. */
function sharedWorld(poolSize: number, pooler: Section = {}) {
  return startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: poolSize, ...pooler },
  });
}

/** Opens so many servers; answers their process ids in the order in which they were released. */
async function openServers(world: World, count: number): Promise<number[]> {
  const clients = await world.connectMany(count);
  const pids: number[] = [];
  for (const client of clients) {
    await client.query("begin");
    pids.push(await pidOf(client));
  }
  for (const client of clients) await client.query("commit");
  return pids;
}

/** What a client is told when it is closed. */
async function lastWords(client: TestClient) {
  const messages = await client.result();
  return { ...messages.errors[0], status: messages.status };
}

Deno.test("default_pool_size bounds the servers, however many clients there are", async () => {
  await using world = await sharedWorld(3);
  const clients = await world.connectMany(20);
  const gate = await world.gate();
  const tokens = clients.map(token);
  for (const [i, client] of clients.entries()) {
    await client.send(frontend.query(gate.query(tokens[i]!)));
  }
  await world.untilPool({ cl_active: 3, cl_waiting: 17, sv_active: 3 });
  assert.equal((await world.backends()).length, 3);
  await gate.open();
  for (const [i, client] of clients.entries()) {
    assert.equal(valueOf(await client.result()), tokens[i]);
  }
  assert.equal((await world.backends()).length, 3);
});

for (
  const [what, sizes] of [
    ["of a database goes before default_pool_size", { database: { pool_size: 2 } }],
    ["of a user goes before both", { database: { pool_size: 1 }, user: { pool_size: 2 } }],
  ] as const
) {
  Deno.test(`pool_size ${what}`, async () => {
    await using world = await startWorld(postgres, {
      pooler: { pool_mode: "session", default_pool_size: 1 },
      ...sizes,
    });
    for (const client of await world.connectMany(3)) await client.send(frontend.query("select 1"));
    await world.untilPool({ sv_active: 2, cl_waiting: 1 });
  });
}

Deno.test("a server is opened only when a client needs one, and then kept", async () => {
  await using world = await sharedWorld(5);
  const clients = await world.connectMany(5);
  for (const client of clients) await client.query("select 1");
  assert.equal((await world.backends()).length, 1);
});

Deno.test("min_pool_size opens servers ahead of need", async () => {
  await using world = await sharedWorld(5, { min_pool_size: 3 });
  await world.connect();
  await world.untilBackendCount(3);
  await world.untilPool({ sv_idle: 3, sv_active: 0, sv_login: 0 });
});

Deno.test("min_pool_size of a database with a forced user needs no client", async () => {
  await postgres.sql("create role forced login");
  await using world = await startWorld(postgres, {
    database: { user: "forced", min_pool_size: 2 },
  });
  await until("two servers of the forced user", async () => {
    const rows = await world.direct("select from pg_stat_activity where usename = 'forced'");
    return rows.length === 2;
  });
});

Deno.test("the reserve opens only after a client has waited for reserve_pool_timeout", async () => {
  await using world = await sharedWorld(1, { reserve_pool_size: 1, reserve_pool_timeout: 0.6 });
  const [holder, patient] = await world.connectMany(2);
  await holder!.query("begin");
  const startMs = performance.now();
  assert.notEqual(await pidOf(patient!), await pidOf(holder!));
  assert.ok(performance.now() - startMs >= 600, "too early");
  assert.equal((await world.backends()).length, 2);
});

Deno.test("max_client_conn refuses one client too many, and none once another has left", async () => {
  await using world = await sharedWorld(1, { max_client_conn: 2 });
  const [first] = await world.connectMany(2);
  await assert.rejects(world.connect(), (error: LoginRefused) => {
    assert.deepEqual(error.report, {
      severity: "FATAL",
      sqlstate: "53300",
      message: "no more connections allowed (max_client_conn)",
    });
    return true;
  });
  assert.equal(valueOf(await first!.query("select 1")), "1");
  await first!.terminate();
  await world.sluice.waitForLog(/closing because: client close request/);
  assert.equal(valueOf(await (await world.connect()).query("select 2")), "2");
});

Deno.test("query_wait_timeout ends a client that waits too long, and nobody else", async () => {
  await using world = await sharedWorld(1, { query_wait_timeout: 0.5 });
  const [holder, waiter] = await world.connectMany(2);
  await holder!.query("begin");
  const startMs = performance.now();
  await waiter!.send(frontend.query("select 1"));
  assert.deepEqual(await lastWords(waiter!), {
    severity: "FATAL",
    sqlstate: "53300",
    message: "query_wait_timeout",
    status: undefined,
  });
  assert.ok(performance.now() - startMs >= 500, "too early");
  assert.equal((await holder!.query("commit")).status, "I");
  await world.untilPool({ cl_waiting: 0, sv_idle: 1 });
});

Deno.test("query_wait_timeout does not count the time of a query", async () => {
  await using world = await sharedWorld(1, { query_wait_timeout: 0.4 });
  const client = await world.connect();
  assert.equal(valueOf(await client.query("select 'done', pg_sleep(1)")), "done");
});

Deno.test("query_wait_notify tells a client that it waits, before its answer", async () => {
  await using world = await sharedWorld(1, { query_wait_notify: 0.4 });
  const [holder, waiter] = await world.connectMany(2);
  await holder!.query("begin");
  await waiter!.send(frontend.query("select 'mine'"));
  assert.equal((await waiter!.receive())?.type, "N");
  await holder!.query("commit");
  assert.equal(valueOf(await waiter!.result()), "mine");
  // Somebody who need not wait is told nothing.
  assert.deepEqual((await holder!.query("select 1")).notices, []);
});

Deno.test("the notice of query_wait_notify has PgBouncer's words", async () => {
  await using world = await sharedWorld(1, { query_wait_notify: 0.1 });
  const [holder, waiter] = await world.connectMany(2);
  await holder!.query("begin");
  await waiter!.send(frontend.query("select 1"));
  await world.untilWaiting(1);
  const commit = holder!.query("select pg_sleep(0.9); commit");
  const { notices } = await waiter!.result();
  await commit;
  assert.deepEqual(notices, [{
    severity: "NOTICE",
    sqlstate: "00000",
    message: "No server connection available in postgres backend, client being queued",
  }]);
});

Deno.test("waiting clients are served oldest first", async () => {
  await using world = await sharedWorld(1);
  const [holder, ...waiters] = await world.connectMany(9);
  await holder!.query("create table served (at serial, who int)");
  await holder!.query("begin");
  for (const [i, waiter] of waiters.entries()) {
    await waiter.send(frontend.query(`insert into served (who) values (${i})`));
    await world.untilWaiting(i + 1);
  }
  await holder!.query("commit");
  for (const waiter of waiters) await waiter.result();
  const { rows } = await holder!.query("select who from served order by at");
  assert.deepEqual(rows.flat(), waiters.map((_, i) => String(i)));
});

Deno.test("the idle server released last is used first", async () => {
  await using world = await sharedWorld(3);
  const pids = await openServers(world, 3);
  const client = await world.connect();
  for (let i = 0; i < 3; i++) assert.equal(await pidOf(client), pids[2]);
});

Deno.test("server_round_robin uses the idle servers in turn", async () => {
  await using world = await sharedWorld(3, { server_round_robin: true });
  const pids = await openServers(world, 3);
  const client = await world.connect();
  for (const pid of [...pids, ...pids]) assert.equal(await pidOf(client), pid);
});

/** Requests that would leave a transaction open. */
const BLOCKS: readonly (readonly [name: string, ask: (client: TestClient) => Promise<void>])[] = [
  ["BEGIN", (client) => client.send(frontend.query("begin"))],
  ["a Query that begins and goes on", (client) => client.send(frontend.query("begin; select 1"))],
  [
    "BEGIN in the extended protocol",
    (client) => {
      return client.send(
        ...[frontend.parse("begin"), frontend.bind(), frontend.execute(), frontend.sync()],
      );
    },
  ],
];

for (const [name, ask] of BLOCKS) {
  Deno.test(`statement pooling refuses ${name} and closes the server`, async () => {
    await using world = await sharedWorld(1, { pool_mode: "statement" });
    const [client, other] = await world.connectMany(2);
    const pid = await pidOf(client!);
    await ask(client!);
    assert.deepEqual(await lastWords(client!), {
      severity: "FATAL",
      sqlstate: "0A000",
      message: "transaction blocks not allowed in statement pooling mode",
      status: undefined,
    });
    assert.notEqual(await pidOf(other!), pid);
    await world.untilBackendCount(1);
  });
}

Deno.test("statement pooling gives each statement whichever server is free", async () => {
  await using world = await sharedWorld(2, { pool_mode: "statement", server_round_robin: true });
  const pids = await openServersByStatement(world);
  const client = await world.connect();
  assert.deepEqual([await pidOf(client), await pidOf(client)].sort(), pids.sort());
  assert.equal((await client.query("select 1; select 2")).status, "I");
});

/** Two servers, opened by two statements at once. */
async function openServersByStatement(world: World): Promise<number[]> {
  const clients = await world.connectMany(2);
  const gate = await world.gate();
  for (const client of clients) await client.send(frontend.query(gate.query("x")));
  await world.untilPool({ sv_active: 2 });
  await gate.open();
  for (const client of clients) await client.result();
  return await world.backendPids();
}

Deno.test("a client keeps its server for all its session in session pooling", async () => {
  await using world = await sharedWorld(2, { pool_mode: "session" });
  const [client, other] = await world.connectMany(2);
  const pid = await pidOf(client!);
  const otherPid = await pidOf(other!);
  assert.notEqual(pid, otherPid);
  for (let i = 0; i < 3; i++) {
    assert.equal(await pidOf(other!), otherPid);
    assert.equal(await pidOf(client!), pid);
  }
});

Deno.test("pool_mode of a user goes before that of the database and of all", async () => {
  await using world = await startWorld(postgres, {
    pooler: { pool_mode: "session", default_pool_size: 1 },
    database: { pool_mode: "statement" },
    user: { pool_mode: "transaction" },
  });
  const [client, other] = await world.connectMany(2);
  assert.equal((await client!.query("begin")).status, "T");
  assert.equal((await client!.query("commit")).status, "I");
  assert.equal(valueOf(await other!.query("select 1")), "1");
});

Deno.test("server_lifetime = 0 uses a server once", async () => {
  await using world = await sharedWorld(2, { server_lifetime: 0 });
  const client = await world.connect();
  const pids = [await pidOf(client), await pidOf(client), await pidOf(client)];
  assert.equal(new Set(pids).size, 3);
  await world.untilBackends(
    "no used server left",
    (all) => all.every(({ pid }) => !pids.includes(pid)),
  );
});

Deno.test("a server older than server_lifetime is closed when it is free, not before", async () => {
  await using world = await sharedWorld(1, { server_lifetime: 0.4 });
  const client = await world.connect();
  await client.query("begin");
  const pid = await pidOf(client);
  await client.query("select pg_sleep(1)");
  assert.equal(await pidOf(client), pid);
  await client.query("commit");
  await world.untilBackendCount(0);
  assert.match(world.sluice.log(), /closing because: server lifetime over/);
});

Deno.test("a server is closed after server_idle_timeout", async () => {
  await using world = await sharedWorld(3, { server_idle_timeout: 0.4 });
  await openServers(world, 3);
  await world.untilBackendCount(0);
  assert.match(world.sluice.log(), /closing because: server idle timeout/);
});

Deno.test("server_idle_timeout leaves min_pool_size servers", async () => {
  await using world = await sharedWorld(3, { server_idle_timeout: 0.4, min_pool_size: 1 });
  const pids = await openServers(world, 3);
  const [left] = await world.untilBackendCount(1);
  assert.ok(pids.includes(left!.pid));
  const closings = world.sluice.log().match(/closing because: server idle timeout/g);
  assert.equal(closings?.length, 2);
});

/** A check query that counts its runs, and fails where a row says so. */
const CHECK = "select check_server()";

/** A world whose servers are checked by `CHECK` after a moment of idling. */
async function checkedWorld(): Promise<World> {
  const world = await sharedWorld(1, { server_check_query: CHECK, server_check_delay: 0.3 });
  await world.direct(`
    create table ${world.user}.doomed (pid int);
    create sequence ${world.user}.checks;
    create function ${world.user}.check_server() returns void language plpgsql as $$ begin
      perform nextval('checks');
      if exists (select from doomed where pid = pg_backend_pid()) then raise 'doomed'; end if;
    end $$;
    grant all on all tables in schema ${world.user} to ${world.user};
    grant all on all sequences in schema ${world.user} to ${world.user};
  `);
  return world;
}

Deno.test("server_check_query runs on a server idle for server_check_delay before it is used", async () => {
  await using world = await checkedWorld();
  const client = await world.connect();
  const pid = await pidOf(client);
  const checks = `select last_value, is_called from ${world.user}.checks`;
  assert.deepEqual(await world.direct(checks), [{ last_value: "1", is_called: false }]);
  await world.untilPool({ sv_used: 1, sv_idle: 0 });
  assert.equal(await pidOf(client), pid);
  assert.deepEqual(await world.direct(checks), [{ last_value: "1", is_called: true }]);
});

Deno.test("a failed server_check_query gives the client another server, not an error", async () => {
  await using world = await checkedWorld();
  const client = await world.connect();
  const pid = await pidOf(client);
  await world.direct(`insert into ${world.user}.doomed values (${pid})`);
  await world.untilPool({ sv_used: 1, sv_idle: 0 });
  assert.notEqual(await pidOf(client), pid);
  await world.untilBackendCount(1);
});

Deno.test("connect_query runs once on each new server", async () => {
  await using world = await startWorld(postgres, {
    pooler: { pool_mode: "transaction" },
    database: { connect_query: "set work_mem = '7MB'" },
  });
  const client = await world.connect();
  assert.equal(valueOf(await client.query("show work_mem")), "7MB");
  await client.query("set work_mem = '8MB'");
  assert.equal(valueOf(await client.query("show work_mem")), "8MB");
});

Deno.test("an idle server that PostgreSQL ends is replaced before anybody notices", async () => {
  await using world = await sharedWorld(1);
  const client = await world.connect();
  const pid = await pidOf(client);
  await world.terminateBackend(pid);
  await world.untilPool({ sv_idle: 0 });
  assert.notEqual(await pidOf(client), pid);
});

Deno.test("a client whose query PostgreSQL ends gets the server's own error, and no other client does", async () => {
  await using world = await sharedWorld(2);
  const [victim, other] = await world.connectMany(2);
  await other!.query("begin");
  const gate = await world.gate();
  await victim!.send(frontend.query(gate.query("x")));
  const [hit] = (await world.untilBackends("a query at the gate", (all) => {
    return all.some(({ query, state }) => state === "active" && query.includes("lock"));
  })).filter(({ state }) => state === "active");
  await world.terminateBackend(hit!.pid);
  const { errors, status } = await victim!.result();
  assert.deepEqual(
    errors.map(({ severity, sqlstate }) => [severity, sqlstate]),
    [["FATAL", "57P01"]],
  );
  assert.match(errors[0]!.message, /due to administrator command/);
  assert.equal(status, undefined);
  assert.equal((await other!.query("commit")).status, "I");
});

Deno.test("a client idle in a transaction that PostgreSQL ends gets the server's own error", async () => {
  await using world = await sharedWorld(1);
  const [victim, other] = await world.connectMany(2);
  await victim!.query("begin");
  const pid = await pidOf(victim!);
  await other!.send(frontend.query("select pg_backend_pid()"));
  await world.untilWaiting(1);
  await world.direct(`select pg_terminate_backend(${pid})`);
  assert.deepEqual((await victim!.result()).errors.map(({ sqlstate }) => sqlstate), ["57P01"]);
  assert.notEqual(valueOf(await other!.result()), String(pid));
});

Deno.test("a client with nothing to do is not touched when PostgreSQL ends the pool's servers", async () => {
  await using world = await sharedWorld(3);
  const pids = await openServers(world, 3);
  const client = await world.connect();
  for (const pid of pids) await world.terminateBackend(pid);
  await world.untilPool({ sv_idle: 0 });
  assert.equal(valueOf(await client.query("select 'alive'")), "alive");
});
