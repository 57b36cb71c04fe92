/** What time does to clients, servers and pools. */

import assert from "node:assert/strict";
import { frontend, readReport } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

/** A world with one server, unless the lines say otherwise. */
function world(lines = ""): Promise<PoolerWorld> {
  const size = lines.includes("default_pool_size") ? "" : "default_pool_size = 1\n";
  return PoolerWorld.open({ pooler: size + lines });
}

/** A client in a transaction, so that it keeps its server. */
async function holder(of: PoolerWorld): Promise<TestClient> {
  const client = await of.login();
  await client.query("begin");
  return client;
}

/** The error with which a client was ended. */
async function lastWords(client: TestClient): Promise<string> {
  const error = (await client.receiveUntilEnd()).findLast(({ type }) => type === "E");
  assert.ok(error, "It was not told why");
  const { message, severity, sqlstate } = readReport(error.body);
  client.close();
  return `${severity} ${sqlstate} ${message}`;
}

// --- clients ---

Deno.test("query_wait_timeout ends a client that waits too long for a server", async () => {
  await using opened = await world("query_wait_timeout = 10");
  const first = await holder(opened);
  const client = await opened.login();
  await client.send(frontend.query("select 1"));
  await opened.advance(9_000);
  assert.equal(opened.pool().waiting.size, 1);
  await opened.advance(2_000);
  assert.equal(await lastWords(client), "FATAL 53300 query_wait_timeout");
  opened.check();
  assert.equal(opened.pool().waiting.size, 0);
  first.close();
});

Deno.test("query_wait_timeout measures the wait and not the login", async () => {
  await using opened = await world("query_wait_timeout = 5\nclient_login_timeout = 60");
  opened.network.obstruct(opened.postgres.address, "black hole");
  const client = await opened.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await opened.advance(12_000);
  opened.network.obstruct(opened.postgres.address, undefined);
  await opened.settle();
  assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
  client.close();
});

Deno.test("query_wait_notify tells a client once that it has to wait", async () => {
  await using opened = await world("query_wait_notify = 5");
  const first = await holder(opened);
  const client = await opened.login();
  await client.send(frontend.query("select 1"));
  await opened.advance(30_000);
  await first.query("commit");
  const { notices, types } = await client.result();
  assert.equal(types, "NTDCZ");
  assert.deepEqual(
    [notices[0]?.severity, notices[0]?.message],
    ["NOTICE", "No server connection available in postgres backend, client being queued"],
  );
  for (const each of [first, client]) each.close();
});

Deno.test("client_idle_timeout ends a client that is idle outside a transaction only", async () => {
  await using opened = await world("client_idle_timeout = 10\ndefault_pool_size = 2");
  const [idle, busy] = [await opened.login(), await holder(opened)];
  await opened.advance(15_000);
  assert.equal(await lastWords(idle), "FATAL 57P05 client_idle_timeout");
  assert.equal((await busy.query("commit")).types, "CZ");
  busy.close();
});

Deno.test("idle_transaction_timeout ends a client that does nothing in a transaction", async () => {
  await using opened = await world("idle_transaction_timeout = 10");
  const client = await holder(opened);
  await opened.advance(8_000);
  assert.equal((await client.query("select 1")).status, "T");
  await opened.advance(8_000);
  assert.equal((await client.query("select 1")).status, "T");
  await opened.advance(12_000);
  assert.equal(await lastWords(client), "FATAL 25P03 idle transaction timeout");
  assert.equal(opened.pool().servers.count, 0);
});

Deno.test("idle_transaction_timeout does not count while a query runs", async () => {
  await using opened = await world("idle_transaction_timeout = 10");
  const client = await holder(opened);
  await client.send(frontend.query("select pg_sleep(1)"));
  await opened.advance(30_000);
  opened.postgres.wakeAll();
  assert.equal((await client.result()).types, "TDCZ");
  client.close();
});

Deno.test("query_timeout ends a client whose query runs too long, and not an idle one", async () => {
  await using opened = await world("query_timeout = 10\ndefault_pool_size = 2");
  const [slow, inTransaction] = [await opened.login(), await holder(opened)];
  await slow.send(frontend.query("select pg_sleep(1)"));
  await opened.advance(12_000);
  assert.equal(await lastWords(slow), "FATAL 57014 query timeout");
  assert.equal((await inTransaction.query("commit")).types, "CZ");
  inTransaction.close();
});

Deno.test("transaction_timeout ends a client whose transaction lasts too long, busy or not", async () => {
  await using opened = await world("transaction_timeout = 10");
  const client = await holder(opened);
  for (let i = 0; i < 4; i++) {
    await opened.advance(2_000);
    assert.equal((await client.query("select 1")).status, "T");
  }
  await opened.advance(3_000);
  assert.equal(await lastWords(client), "FATAL 25P04 transaction timeout");
});

Deno.test("a client that was told to go is hung up on when it does not", async () => {
  await using opened = await world("client_idle_timeout = 5");
  const client = await opened.login();
  await opened.advance(6_000);
  await opened.advance(2_000);
  assert.equal(opened.pooler.clients.count, 0);
  client.close();
});

// --- servers ---

Deno.test("server_idle_timeout closes servers that nobody uses", async () => {
  await using opened = await world("server_idle_timeout = 10\nserver_check_delay = 3");
  const client = await opened.login();
  await client.query("select 1");
  await opened.advance(9_000);
  assert.equal(opened.pool().servers.count, 1);
  await opened.advance(2_000);
  assert.equal(opened.pool().servers.count, 0);
  assert.ok(opened.hasLogged("server idle timeout"));
  client.close();
});

Deno.test("min_pool_size keeps as many servers as it says, one login at a time, while there are clients", async () => {
  await using opened = await world(
    "default_pool_size = 5\nmin_pool_size = 3\nserver_idle_timeout = 5",
  );
  const client = await opened.login();
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await opened.advance(1_000);
    opened.check();
    most = Math.max(most, opened.pool().servers.count);
  }
  assert.equal(most, 3);
  assert.equal(opened.pool().servers.count, 3);
  client.close();
  await opened.advance(60_000);
  assert.ok(opened.pool().servers.count <= 3);
});

Deno.test("server_lifetime closes old servers when they are free, spread over time", async () => {
  await using opened = await world(
    "default_pool_size = 4\nmin_pool_size = 4\nserver_lifetime = 100",
  );
  const client = await opened.login();
  await opened.advance(10_000);
  assert.equal(opened.postgres.backends.length, 4);
  let atOnce = 0;
  for (let i = 0; i < 200; i++) {
    const before = opened.postgres.live.length;
    await opened.advance(1_000);
    atOnce = Math.max(atOnce, before - opened.postgres.live.length);
  }
  assert.ok(opened.postgres.backends.length > 4, "Old servers are replaced");
  assert.ok(atOnce <= 1, `${atOnce} servers were closed at once`);
  client.close();
});

Deno.test("server_lifetime never closes a server in use", async () => {
  await using opened = await world("server_lifetime = 5");
  const client = await holder(opened);
  await opened.advance(60_000);
  assert.equal((await client.query("commit")).types, "CZ");
  client.close();
});

Deno.test("server_lifetime 0 uses each server once", async () => {
  await using opened = await world("server_lifetime = 0");
  const client = await opened.login();
  const backends = [];
  for (let i = 0; i < 3; i++) {
    backends.push((await client.query("select session id")).rows[0]?.[0]);
    await opened.settle();
  }
  assert.equal(new Set(backends).size, 3);
  client.close();
});

Deno.test("server_check_delay has a server checked that was idle for longer, not one used lately", async () => {
  await using opened = await world('server_check_delay = 10\nserver_check_query = "select 1"');
  const client = await opened.login();
  await client.query("select 'a'");
  await opened.advance(5_000);
  await client.query("select 'b'");
  await opened.advance(12_000);
  await client.query("select 'c'");
  const ran = opened.postgres.ran.map(({ sql }) => sql);
  assert.deepEqual(ran, ["select 'a'", "select 'b'", "select 1", "select 'c'"]);
  client.close();
});

Deno.test("server_check_delay: a server that fails its check is replaced, and the client hears nothing", async () => {
  await using opened = await world('server_check_delay = 10\nserver_check_query = "error 57000"');
  const client = await opened.login();
  await client.query("select 'a'");
  await opened.advance(12_000);
  assert.deepEqual((await client.query("select session id")).rows[0]?.[0], "1002");
  assert.ok(opened.hasLogged("test query failed"));
  client.close();
});

Deno.test("reserve_pool_size opens further servers once the oldest waiter has waited long enough", async () => {
  await using opened = await world("reserve_pool_size = 1\nreserve_pool_timeout = 5");
  const first = await holder(opened);
  const [second, third] = [await opened.login(), await opened.login()];
  for (const client of [second, third]) await client.send(frontend.query("begin"));
  await opened.advance(4_000);
  assert.equal(opened.pool().servers.count, 1);
  await opened.advance(2_000);
  opened.check();
  assert.equal(opened.pool().servers.count, 2);
  assert.equal((await second.result()).status, "T");
  await opened.advance(20_000);
  assert.deepEqual([opened.pool().servers.count, opened.pool().waiting.size], [2, 1]);
  for (const client of [first, second, third]) client.close();
});

Deno.test("server_login_retry spaces attempts to reach a server that cannot be reached", async () => {
  await using opened = await world("server_login_retry = 10\nclient_login_timeout = 0");
  opened.network.obstruct(opened.postgres.address, "refused");
  const client = await opened.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await opened.advance(45_000);
  const attempts = opened.log.filter((line) => line.includes("connect failed")).length;
  assert.ok(attempts >= 4 && attempts <= 6, `${attempts} attempts in 45 s`);
  client.close();
  opened.network.obstruct(opened.postgres.address, undefined);
});

Deno.test("server_login_retry: those who wait are served as soon as an attempt succeeds", async () => {
  await using opened = await world("server_login_retry = 10\nclient_login_timeout = 0");
  opened.network.obstruct(opened.postgres.address, "refused");
  const client = await opened.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }), frontend.query("select 1"));
  await opened.advance(15_000);
  opened.network.obstruct(opened.postgres.address, undefined);
  await opened.advance(11_000);
  await client.receiveUntilReady();
  assert.equal((await client.result()).types, "TDCZ");
  assert.equal(opened.pool().failure, undefined);
  client.close();
});

Deno.test("a failing server does not keep those out who have a usable one", async () => {
  await using opened = await world("default_pool_size = 2");
  const client = await opened.login();
  await client.query("begin");
  opened.network.obstruct(opened.postgres.address, "refused");
  const other = await opened.login();
  await other.send(frontend.query("select 1"));
  await opened.advance(2_000);
  assert.equal(opened.pool().waiting.size, 1);
  await client.query("commit");
  assert.equal((await other.result()).types, "TDCZ");
  opened.network.obstruct(opened.postgres.address, undefined);
  for (const each of [client, other]) each.close();
});

Deno.test("a dead host of two holds up nobody", async () => {
  await using opened = await PoolerWorld.open({
    sections: `
[databases.app]
host = "10.0.0.9,127.0.0.1"
[users.ada]
password = "secret"
`,
  });
  const client = await opened.login();
  assert.equal((await client.query("select 1")).types, "TDCZ");
  client.close();
});
