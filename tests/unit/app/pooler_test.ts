/** A whole pooler on a simulated network: start, reload, shutdown, and what its log says. */

import assert from "node:assert/strict";
import { frontend, readReport } from "../../support/messages.ts";
import { ADA, PoolerWorld, USERS } from "../../support/pooler_world.ts";
import { LoginRefused } from "../../support/test_client.ts";

/** Whether the pooler has ended. */
function watchEnd({ pooler }: PoolerWorld): { has: boolean } {
  const end = { has: false };
  void pooler.stopped.then(() => {
    end.has = true;
  });
  return end;
}

// --- shutdown ---

Deno.test("Pooler.shutdown() wait_for_servers ends when the links have ended, though clients go on asking", async () => {
  await using world = await PoolerWorld.open();
  const [linked, idle] = [await world.login(), await world.login()];
  await linked.query("begin");
  const end = watchEnd(world);
  world.pooler.shutdown("wait_for_servers");
  await world.settle();
  assert.deepEqual((await linked.query("select 1")).rows, [["1"]], "the link goes on");
  await idle.send(frontend.query("select 1"));
  assert.equal(await idle.lastWords(), "FATAL 57P01 server shutting down", "no new link begins");
  await world.advance(1_000);
  assert.equal(end.has, false);
  await linked.query("commit");
  await world.advance(1_000);
  assert.equal(await linked.lastWords(), "FATAL 57P01 pooler is shutting down");
  await world.advance(1_000);
  assert.equal(end.has, true);
});

Deno.test("Pooler.shutdown() wait_for_servers refuses those who wait", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = await world.loginInLine();
  world.pooler.shutdown("wait_for_servers");
  assert.equal(await waiting.lastWords(), "FATAL 57P01 server shutting down");
  await linked.terminate();
});

Deno.test("Pooler.shutdown() wait_for_clients serves those who are in until they leave, and lets nobody in", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  const end = watchEnd(world);
  world.pooler.shutdown("wait_for_clients");
  await assert.rejects(world.dial(), /connect failed/);
  await world.advance(60_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  assert.equal(end.has, false);
  await client.terminate();
  await world.advance(1_000);
  assert.equal(end.has, true);
});

Deno.test("Pooler.shutdown() immediate tells all clients, hangs up on the deaf, and ends", async () => {
  await using world = await PoolerWorld.open();
  const [running, deaf] = [await world.login(), await world.login()];
  await running.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const end = watchEnd(world);
  world.pooler.shutdown("immediate");
  assert.equal(await running.lastWords(), "FATAL 57P01 pooler is shutting down");
  await world.settle();
  assert.equal(end.has, false, "the other one has not closed yet");
  await world.advance(500);
  assert.equal(end.has, true);
  deaf.close();
});

Deno.test("Pooler.shutdown() the next time gets stricter and never laxer, and the log says so", async () => {
  await using world = await PoolerWorld.open();
  const [busy, idle] = [await world.login(), await world.login()];
  await busy.query("begin");
  const end = watchEnd(world);
  const { pooler } = world;
  assert.equal(pooler.isShuttingDown, false);
  pooler.shutdown("wait_for_clients");
  assert.equal(pooler.isShuttingDown, true);
  pooler.shutdown("wait_for_clients");
  await world.advance(1_000);
  assert.deepEqual((await idle.query("select 1")).rows, [["1"]]);
  pooler.shutdown("wait_for_servers");
  pooler.shutdown("wait_for_clients");
  await world.advance(1_000);
  assert.equal(end.has, false, "a transaction is open");
  pooler.shutdown("immediate");
  await world.advance(1_000);
  assert.equal(end.has, true);
  const said = world.log.filter((line) => line.includes("shutting down: "));
  assert.deepEqual(said.map((line) => line.split("shutting down: ")[1]), [
    "when all clients have left",
    "when all clients have left",
    "when all servers are released",
    "at once",
  ]);
  for (const client of [busy, idle]) client.close();
});

// --- reload ---

Deno.test("Pooler.reload() closes the servers of a database that leads elsewhere, linked ones later", async () => {
  const sections = (dbname: string) =>
    `[databases.app]\nhost = "127.0.0.1"\ndbname = "${dbname}"\n${USERS}`;
  await using world = await PoolerWorld.open({ sections: sections("one") });
  const [linked, idle] = [await world.login(), await world.login()];
  await linked.query("begin");
  await idle.query("select 1");
  await world.settle();
  assert.equal(world.pool().servers.count, 2);
  assert.ok(await world.reload({ sections: sections("two") }));
  await world.settle();
  assert.deepEqual([world.pool().servers.active.size, world.pool().servers.idle.length], [1, 0]);
  await linked.query("commit");
  await idle.query("select 1");
  assert.deepEqual(world.postgres.live.map(({ database }) => database), ["two"]);
  assert.ok(world.hasLogged("closing because: connect string changed"));
  linked.close();
  idle.close();
});

Deno.test("Pooler.reload() without a change of it leaves servers alone", async () => {
  const sections = `[databases.app]\nhost = "127.0.0.1"\n${USERS}`;
  await using world = await PoolerWorld.open({ sections });
  (await world.login()).close();
  await world.settle();
  await world.reload({ sections, pooler: "query_timeout = 7" });
  assert.deepEqual([world.pool().servers.count, world.pooler.live.settings.queryTimeoutMs], [
    1,
    7_000,
  ]);
});

Deno.test("Pooler.reload() ends the clients and servers of a database that is gone, and nobody else", async () => {
  const one = `[databases.app]\nhost = "127.0.0.1"\n${USERS}`;
  const two = `[databases.other]\nhost = "127.0.0.1"\n${one}`;
  await using world = await PoolerWorld.open({ sections: two });
  const gone = await world.login({ database: "other" });
  const stays = await world.login();
  await gone.query("begin");
  await world.reload({ sections: one });
  assert.equal(await gone.lastWords(), "FATAL 57P01 database removed");
  await world.settle();
  assert.deepEqual(world.postgres.live.map(({ database }) => database), ["app"]);
  assert.deepEqual((await stays.query("select 1")).rows, [["1"]]);
  stays.close();
});

Deno.test("Pooler.reload() changes max_client_conn and the pool mode for those to come", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await world.reload({ pooler: 'max_client_conn = 1\npool_mode = "session"' });
  await assert.rejects(world.login(), /max_client_conn/);
  await client.query("select 1");
  assert.equal(world.pool().servers.active.size, 1, "linked for its session from now on");
  client.close();
});

Deno.test("Pooler.reload() warns of what needs a restart as long as it differs from what runs", async () => {
  await using world = await PoolerWorld.open();
  const warning = / WARNING listen_port takes effect with a restart only$/;
  const warnings = () => world.log.filter((line) => warning.test(line)).length;
  for (const expected of [1, 2]) {
    await world.reload({ pooler: "listen_port = 7000" });
    assert.equal(warnings(), expected);
  }
  await world.reload({});
  assert.equal(warnings(), 2, "back to what runs");
});

Deno.test("Pooler.reload() leaves settings as they run that take a restart, and SHOW CONFIG too", async () => {
  await using world = await PoolerWorld.open({ pooler: 'admin_users = "ada"' });
  await world.reload({ pooler: 'admin_users = "ada"\nlisten_port = 7000\nquery_timeout = 7' });
  const { settings } = world.pooler.live;
  assert.deepEqual([settings.listenPort, settings.queryTimeoutMs], [6432, 7_000]);
});

Deno.test("Pooler.reload() changes nothing when the new settings cannot be taken over", async () => {
  await using world = await PoolerWorld.open();
  const before = world.pooler.live.loaded;
  world.failReloads(new Error("Cannot open the log file"));
  assert.equal(await world.reload({ pooler: "query_timeout = 7" }), false);
  assert.equal(world.pooler.live.loaded, before);
  assert.ok(world.hasLogged("reload failed, nothing has been changed"));
});

Deno.test("Pooler.planReload() says what a reload would change, and changes nothing", async () => {
  await using world = await PoolerWorld.open();
  await world.setConfig({ pooler: "query_timeout = 7" });
  const changes = await world.pooler.planReload();
  assert.deepEqual(changes, [
    { kind: "setting", name: "query_timeout", before: "0", after: "7", effect: "at once" },
  ]);
  assert.equal(world.pooler.live.settings.queryTimeoutMs, 0);
});

// --- tagged servers ---

const SESSION = 'pool_mode = "session"\nserver_fast_close = true';

Deno.test("with server_fast_close a session ends when the transaction ends that a tag came into", async () => {
  await using world = await PoolerWorld.open({ pooler: SESSION });
  const client = await world.login();
  await client.query("begin");
  world.pooler.operations.reconnect(undefined);
  await world.advance(2_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]], "it is not cut");
  await client.send(frontend.query("commit"));
  const last = await client.receiveUntilEnd();
  assert.deepEqual(last.map(({ type }) => type), ["C", "Z", "E"]);
  assert.equal(readReport(last[2]!.body).message, "database configuration changed");
  assert.equal(world.pool().servers.count, 0);
  client.close();
});

Deno.test("with server_fast_close an idle session with a tagged server ends by itself", async () => {
  await using world = await PoolerWorld.open({ pooler: SESSION });
  const client = await world.login();
  await client.query("select 1");
  world.pooler.operations.reconnect(undefined);
  await world.advance(1_000);
  assert.equal(await client.lastWords(), "FATAL 57P01 database configuration changed");
});

Deno.test("without server_fast_close a session keeps its tagged server to its end", async () => {
  await using world = await PoolerWorld.open({ pooler: 'pool_mode = "session"' });
  const client = await world.login();
  await client.query("select 1");
  world.pooler.operations.reconnect(undefined);
  await world.advance(5_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  await client.terminate();
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
});

// --- pools that nobody uses ---

Deno.test("pool_idle_timeout frees an empty pool, and no total goes down by it", async () => {
  const sections = `[databases.app]\nhost = "127.0.0.1"\n${USERS}`;
  await using world = await PoolerWorld.open({
    sections,
    pooler: "pool_idle_timeout = 30\nserver_idle_timeout = 5",
  });
  const client = await world.login();
  await client.query("select 1");
  await client.terminate();
  const count = () =>
    world.pooler.stats.databases(world.clock.nowMs()).find(({ database }) => database === "app")
      ?.totals.queryCount;
  await world.advance(20_000);
  assert.equal([...world.pooler.pools.registry.all()].length, 1);
  await world.advance(20_000);
  assert.deepEqual([[...world.pooler.pools.registry.all()].length, count()], [0, 1]);
  const again = await world.login();
  await again.query("select 1");
  assert.equal(count(), 2);
  again.close();
});

// --- the log ---

Deno.test("a refused login leaves its attempt in the log, and a login that succeeds does so once", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "plain"' });
  const client = await world.connect();
  await assert.rejects(client.login({ ...ADA, password: "wrong" }), LoginRefused);
  client.close();
  const attempts = () => world.log.filter((line) => line.includes("login attempt: ")).length;
  assert.ok(world.hasLogged(" login attempt: db=app user=ada tls=no"));
  assert.equal(attempts(), 1);
  (await world.login()).close();
  assert.equal(attempts(), 2);
});

Deno.test("the log says that a server connection was opened, from where, and how it ended", async () => {
  await using world = await PoolerWorld.open();
  (await world.login()).close();
  await world.settle();
  const [server] = world.pool().servers.idle;
  const { port } = server!.stream!.local;
  assert.ok(
    world.hasLogged(
      `LOG S-0x000000000002: app/ada@127.0.0.1:5432 new connection to server (from 127.0.0.1:${port})`,
    ),
  );
  await world.backendOf(server!).terminate();
  await world.settle();
  assert.ok(
    world.log.some((line) =>
      / LOG S-0x000000000002: app\/ada@\S+ closing because: .*terminating connection/.test(line)
    ),
    "with the server's own words",
  );
});

Deno.test("log_connections and log_disconnections turn those lines off", async () => {
  await using world = await PoolerWorld.open({
    pooler: "log_connections = false\nlog_disconnections = false",
  });
  (await world.login()).close();
  await world.settle();
  world.pool().servers.idle[0]!.discard("test");
  assert.deepEqual(world.log.filter((line) => / [CS]-0x/.test(line)), []);
});

Deno.test("the log says why a connection to a server failed", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "refused");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  assert.ok(world.hasLogged("closing because: connect failed (connection refused) (age=0s)"));
  client.close();
});
