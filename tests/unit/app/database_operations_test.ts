/** What operators do with databases, servers and clients, on a simulated network. */

import assert from "node:assert/strict";
import { PgError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { LoginRefused } from "../../support/test_client.ts";
import { never, pause, refusal, suspend, TWO, watch } from "./operations_fixture.ts";

// --- PAUSE and RESUME ---

Deno.test("PAUSE closes free servers at once and is answered when the last one in use has come back", async () => {
  await using world = await PoolerWorld.open();
  const [linked, idle] = [await world.login(), await world.login()];
  await linked.query("begin");
  await idle.query("select 1");
  await world.settle();
  const { operations } = world.pooler;
  const pausing = pause(operations);
  await world.settle();
  assert.equal(operations.mode, "paused");
  assert.deepEqual([pausing.outcome, world.pool().servers.count], ["waiting", 1]);
  assert.deepEqual((await linked.query("select 1")).rows, [["1"]], "the transaction goes on");
  await linked.query("commit");
  await world.settle();
  assert.deepEqual([pausing.outcome, world.pool().servers.count], ["done", 0]);
  assert.equal(world.postgres.live.length, 0);
  assert.ok(world.hasLogged("closing because: pause mode"));
  operations.resume(undefined);
  for (const client of [linked, idle]) client.close();
});

Deno.test("while all is paused clients log in and wait, and RESUME serves them in order", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const first = await world.login();
  const { operations } = world.pooler;
  pause(operations);
  const second = await world.login();
  await first.send(frontend.query("select 'first'"));
  await world.settle();
  await second.send(frontend.query("select 'second'"));
  await world.advance(60_000);
  assert.equal(world.postgres.live.length, 0, "no server is opened");
  operations.resume(undefined);
  assert.equal(operations.mode, "active");
  assert.deepEqual((await first.result()).rows, [["first"]]);
  assert.deepEqual((await second.result()).rows, [["second"]]);
  const order = world.postgres.ran.map(({ sql }) => sql).filter((sql) =>
    sql.startsWith("select '")
  );
  assert.deepEqual(order, ["select 'first'", "select 'second'"]);
  for (const client of [first, second]) client.close();
});

Deno.test("what failed before a pause is no reason to turn anybody away after it", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await client.query("select 1");
  const { operations } = world.pooler;
  world.network.obstruct(world.postgres.address, "refused");
  world.pool().servers.idle[0]!.discard("test");
  const failed = await world.login();
  await failed.send(frontend.query("select 1"));
  await world.settle();
  pause(operations);
  await client.send(frontend.query("select 1"));
  await world.settle();
  world.network.obstruct(world.postgres.address, undefined);
  operations.resume(undefined);
  assert.deepEqual((await client.result()).rows, [["1"]]);
  for (const each of [client, failed]) each.close();
});

Deno.test("PAUSE of one database leaves the others alone", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const [app, other] = [await world.login(), await world.login({ database: "other" })];
  const { operations } = world.pooler;
  const pausing = pause(operations, "app");
  await world.settle();
  assert.equal(pausing.outcome, "done");
  assert.deepEqual([operations.mode, operations.isPaused("app"), operations.isPaused("other")], [
    "active",
    true,
    false,
  ]);
  assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
  await app.send(frontend.query("select 1"));
  await world.advance(1_000);
  assert.equal(world.pool().waiting.size, 1);
  operations.resume("app");
  assert.deepEqual((await app.result()).rows, [["1"]]);
  for (const client of [app, other]) client.close();
});

Deno.test("a database paused by itself stays so when all are resumed, and the other way round", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const [app, other] = [await world.login(), await world.login({ database: "other" })];
  const { operations } = world.pooler;
  pause(operations, "app");
  pause(operations);
  operations.resume(undefined);
  assert.deepEqual([world.pool("app").isPaused, world.pool("other").isPaused], [true, false]);
  pause(operations);
  operations.resume("app");
  assert.deepEqual([world.pool("app").isPaused, world.pool("other").isPaused], [true, true]);
  operations.resume(undefined);
  assert.deepEqual([world.pool("app").isPaused, world.pool("other").isPaused], [false, false]);
  for (const client of [app, other]) client.close();
});

Deno.test("a pool that is made while its database is paused is paused", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  pause(operations, "app");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(1_000);
  assert.deepEqual([world.pool().loggingIn.size, world.postgres.live.length], [1, 0]);
  operations.resume("app");
  await client.finishLogin({ user: "ada" });
  client.close();
});

Deno.test("giving up a PAUSE that waits resumes what was paused", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await client.query("begin");
  const { operations } = world.pooler;
  const giveUp = new AbortController();
  const pausing = pause(operations, undefined, giveUp.signal);
  const waiting = await world.login();
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  giveUp.abort(new Error("given up"));
  await world.settle();
  assert.deepEqual([pausing.outcome, String(pausing.error)], ["failed", "Error: given up"]);
  assert.equal(operations.mode, "active");
  assert.deepEqual((await waiting.result()).rows, [["1"]]);
  for (const each of [client, waiting]) each.close();
});

Deno.test("PAUSE and SUSPEND that wait fail when somebody else resumes", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const client = await world.login();
  await client.query("begin");
  const { operations } = world.pooler;
  const ofAll = pause(operations);
  operations.resume(undefined);
  const ofOne = pause(operations, "app");
  operations.resume("app");
  const query = frontend.query(`select '${"x".repeat(9_000)}'`);
  await client.send(query.subarray(0, 5_000));
  await world.settle();
  const suspending = suspend(operations);
  operations.resume(undefined);
  await client.send(query.subarray(5_000));
  assert.equal((await client.result()).rows[0]![0]!.length, 9_000);
  for (const { error, outcome } of [ofAll, ofOne, suspending]) {
    assert.equal(outcome, "failed");
    assert.ok(error instanceof PgError);
    assert.equal(`${error.sqlstate} ${error.message}`, "55000 resumed before it was done");
  }
  client.close();
});

Deno.test("giving up a PAUSE that is over changes nothing", async () => {
  await using world = await PoolerWorld.open();
  const { operations } = world.pooler;
  const giveUp = new AbortController();
  const pausing = pause(operations, undefined, giveUp.signal);
  await world.settle();
  giveUp.abort();
  await world.settle();
  assert.deepEqual([pausing.outcome, operations.mode], ["done", "paused"]);
  operations.resume(undefined);
});

Deno.test("a server in reset when all is paused is closed when that is done", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'pool_mode = "session"\nserver_reset_query = "select pg_sleep(1)"',
  });
  const client = await world.login();
  await client.query("select 1");
  await client.terminate();
  await world.settle();
  assert.equal(world.pool().servers.tested.size, 1);
  const pausing = pause(world.pooler.operations);
  await world.settle();
  assert.equal(pausing.outcome, "waiting");
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual([pausing.outcome, world.pool().servers.count], ["done", 0]);
});

Deno.test("PAUSE and RESUME refuse what does not fit, in PgBouncer's words", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  assert.equal(
    refusal(() => operations.resume(undefined)),
    "55000 pooler is not paused/suspended",
  );
  assert.equal(refusal(() => operations.resume("app")), "55000 database app is not paused");
  assert.equal(refusal(() => operations.resume("nil")), "3D000 no such database: nil");
  assert.equal(refusal(() => pause(operations, "nil")), "3D000 no such database: nil");
  assert.equal(
    refusal(() => pause(operations, "pgbouncer")),
    "55000 cannot pause admin db: pgbouncer",
  );
  assert.deepEqual([...operations.heldBack()], []);
  pause(operations);
  for (const command of [() => pause(operations), () => operations.suspend(never())]) {
    assert.equal(refusal(command), "55000 already suspended/paused");
  }
  assert.equal(refusal(() => operations.kill(undefined)), "55000 already suspended/paused");
  assert.equal(refusal(() => pause(operations, "app")), "55000 already suspended/paused");
  operations.resume(undefined);
  const client = await world.login();
  await client.query("begin");
  world.pooler.shutdown("wait_for_clients");
  const inShutdown = [
    () => pause(operations),
    () => operations.resume(undefined),
    () => operations.suspend(never()),
    () => operations.kill("app"),
  ];
  for (const command of inShutdown) assert.equal(refusal(command), "55000 pooler is shutting down");
  client.close();
});

for (const database of [undefined, "app"]) {
  Deno.test(`RESUME of ${database ?? "all"} serves who waits while the pooler waits for its clients`, async () => {
    await using world = await PoolerWorld.open({ sections: TWO });
    const { operations } = world.pooler;
    const client = await world.login();
    pause(operations, database);
    await client.send(frontend.query("select 'served'"));
    await world.settle();
    world.pooler.shutdown("wait_for_clients");
    await world.advance(1_000);
    operations.resume(database);
    assert.equal((await client.result()).rows[0]?.[0], "served");
    assert.equal(refusal(() => operations.resume(database)), "55000 pooler is shutting down");
    client.close();
  });
}

Deno.test("each command leaves a line in the log", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  pause(operations);
  operations.resume(undefined);
  pause(operations, "app");
  operations.resume("app");
  operations.disable("app");
  operations.enable("app");
  operations.reconnect(undefined);
  const lines = [
    "PAUSE command issued",
    "RESUME command issued",
    "PAUSE 'app' command issued",
    "RESUME 'app' command issued",
    "DISABLE 'app' command issued",
    "ENABLE 'app' command issued",
    "RECONNECT command issued",
  ];
  for (const line of lines) assert.ok(world.hasLogged(line), line);
});

Deno.test("a console that leaves while its PAUSE waits is noticed, and the pause stays", async () => {
  await using world = await PoolerWorld.open({ pooler: 'admin_users = "ada"' });
  const client = await world.login();
  await client.query("begin");
  const admin = await world.login({ database: "pgbouncer" });
  await admin.send(frontend.query("PAUSE"));
  await world.settle();
  admin.close();
  await world.settle();
  assert.equal(world.clients.length, 1, "the console's client has gone");
  assert.equal(world.pooler.operations.mode, "paused");
  await client.query("commit");
  world.pooler.operations.resume(undefined);
  client.close();
});

// --- DISABLE and ENABLE ---

Deno.test("DISABLE lets nobody log in to the database; those who are in stay", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const client = await world.login();
  const { operations } = world.pooler;
  operations.disable("app");
  assert.deepEqual([operations.isDisabled("app"), operations.isDisabled("other")], [true, false]);
  const refused = await world.connect();
  await assert.rejects(
    refused.login({ user: "ada", database: "app" }),
    (error) =>
      error instanceof LoginRefused && error.report.sqlstate === "57P03" &&
      error.report.message === 'database "app" is disabled',
  );
  refused.close();
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  const other = await world.login({ database: "other" });
  operations.enable("app");
  const again = await world.login();
  for (const each of [client, other, again]) each.close();
});

Deno.test("DISABLE and ENABLE refuse the console's database and unknown ones", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  assert.equal(refusal(() => operations.disable("nil")), "3D000 no such database: nil");
  assert.equal(refusal(() => operations.enable("nil")), "3D000 no such database: nil");
  assert.equal(
    refusal(() => operations.disable("pgbouncer")),
    "55000 cannot disable admin db: pgbouncer",
  );
  assert.equal(
    refusal(() => operations.enable("pgbouncer")),
    "55000 cannot enable admin db: pgbouncer",
  );
});

Deno.test("what was said of a database that is taken out of the configuration is forgotten", async () => {
  const one = TWO.replace('[databases.other]\nhost = "127.0.0.1"\n', "");
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  pause(operations, "other");
  operations.disable("other");
  await world.reload({ sections: one });
  await world.reload({ sections: TWO });
  assert.deepEqual([operations.isPaused("other"), operations.isDisabled("other")], [false, false]);
  (await world.login({ database: "other" })).close();
});

// --- RECONNECT and WAIT_CLOSE ---

Deno.test("RECONNECT closes servers as they come free, and WAIT_CLOSE waits for the last of them", async () => {
  await using world = await PoolerWorld.open();
  const [linked, idle] = [await world.login(), await world.login()];
  await linked.query("begin");
  await idle.query("select 1");
  await world.settle();
  const { operations } = world.pooler;
  operations.reconnect("app");
  const waiting = watch(operations.waitClose("app", never()));
  const all = watch(operations.waitClose(undefined, never()));
  await world.settle();
  assert.deepEqual([waiting.outcome, all.outcome, world.pool().servers.count], [
    "waiting",
    "waiting",
    1,
  ]);
  assert.ok(world.hasLogged("closing because: obsolete connection"));
  await idle.query("select 1");
  assert.equal(waiting.outcome, "waiting", "a new server is not waited for");
  await linked.query("commit");
  await world.settle();
  assert.deepEqual([waiting.outcome, all.outcome], ["done", "done"]);
  for (const client of [linked, idle]) client.close();
});

Deno.test("WAIT_CLOSE is answered at once when nothing is to be closed, and refuses the console", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  const waiting = watch(operations.waitClose(undefined, never()));
  await world.settle();
  assert.equal(waiting.outcome, "done");
  assert.equal(
    refusal(() => operations.waitClose("pgbouncer", never())),
    "55000 cannot wait in admin db: pgbouncer",
  );
  assert.equal(
    refusal(() => operations.waitClose("nil", never())),
    "3D000 no such database: nil",
  );
  assert.equal(
    refusal(() => operations.reconnect("pgbouncer")),
    "55000 cannot reconnect admin db: pgbouncer",
  );
});

Deno.test("giving up WAIT_CLOSE ends the wait alone", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await client.query("begin");
  const { operations } = world.pooler;
  operations.reconnect(undefined);
  const giveUp = new AbortController();
  const waiting = watch(operations.waitClose(undefined, giveUp.signal));
  giveUp.abort();
  await world.settle();
  assert.equal(waiting.outcome, "failed");
  await client.query("commit");
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  client.close();
});

Deno.test("what only the entry * covers is paused and disabled by its name, and * itself is no database", async () => {
  await using world = await PoolerWorld.open({
    sections: '[databases."*"]\nhost = "127.0.0.1"\n[users.ada]\npassword = "secret"\n',
  });
  const { operations } = world.pooler;
  pause(operations, "one");
  operations.disable("two");
  assert.deepEqual([...operations.heldBack()], ["one", "two"]);
  for (const command of [() => pause(operations, "*"), () => operations.kill("*")]) {
    assert.equal(refusal(command), "3D000 no such database: *");
  }
});

// --- KILL and KILL_CLIENT ---

Deno.test("KILL pauses a database and drops its clients and servers at once", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const [inTransaction, idle] = [await world.login(), await world.login()];
  const other = await world.login({ database: "other" });
  await inTransaction.query("begin");
  await idle.query("select 1");
  const { operations } = world.pooler;
  operations.kill("app");
  assert.equal(await inTransaction.lastWords(), "FATAL 57P01 admin forced disconnect");
  assert.equal(await idle.lastWords(), "FATAL 57P01 admin forced disconnect");
  await world.settle();
  assert.deepEqual([world.pool().servers.count, operations.isPaused("app")], [0, true]);
  assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
  const late = await world.login();
  await late.send(frontend.query("select 1"));
  await world.settle();
  operations.resume("app");
  assert.deepEqual((await late.result()).rows, [["1"]]);
  for (const client of [other, late]) client.close();
});

Deno.test("KILL of very many clients lets others be served, and what was resumed meanwhile is theirs", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_client_conn = 200", sections: TWO });
  await Promise.all(Array.from({ length: 150 }, () => world.login()));
  const { operations } = world.pooler;
  const openCount = () => world.clients.filter(({ isOpen }) => isOpen).length;
  const killing = operations.kill("app");
  assert.equal(openCount(), 50);
  operations.resume("app");
  const newcomer = await world.login();
  await newcomer.query("begin");
  await world.advance(10);
  await killing;
  assert.equal(openCount(), 1);
  assert.deepEqual((await newcomer.query("commit")).tags, ["COMMIT"]);
  newcomer.close();
});

Deno.test("KILL of a client that is just being let in leaves nobody waiting for what a pause holds back", async () => {
  await using world = await PoolerWorld.open({ writeAnswers: "later", isAutomatic: false });
  const dialing = world.dial();
  world.network.step();
  const stream = await dialing;
  const startup = frontend.startup({ user: "ada", database: "app" });
  void stream.write(startup, 0, startup.length);
  while (world.clients[0]?.pool === undefined) {
    world.network.step();
    await eventTurn();
  }
  const { loggingIn } = world.pool();
  assert.equal(loggingIn.size, 0, "it is still being told that it is let in");
  world.pooler.operations.kill("app");
  stream.close();
  await world.advance(2_000);
  assert.deepEqual([world.clients.length, loggingIn.size], [0, 0]);
});

Deno.test("KILL of all drops everybody but the console, and RESUME undoes it", async () => {
  await using world = await PoolerWorld.open({ pooler: 'admin_users = "ada"' });
  const client = await world.login();
  const admin = await world.login({ database: "pgbouncer" });
  const { operations } = world.pooler;
  operations.kill(undefined);
  assert.equal(await client.lastWords(), "FATAL 57P01 admin forced disconnect");
  assert.deepEqual([operations.mode, operations.isPaused("app")], ["active", true]);
  assert.equal((await admin.query("show version")).rows.length, 1);
  operations.resume(undefined);
  assert.equal(
    refusal(() => operations.resume(undefined)),
    "55000 pooler is not paused/suspended",
  );
  const again = await world.login();
  assert.deepEqual((await again.query("select 1")).rows, [["1"]]);
  for (const each of [admin, again]) each.close();
});

Deno.test("after a KILL of all, each database is resumed by itself, and one paused before stays paused", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  operations.kill(undefined);
  operations.resume("app");
  assert.deepEqual(["app", "other"].map((name) => operations.isPaused(name)), [false, true]);
  const client = await world.login();
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  operations.resume("other");
  await pause(operations, "app");
  operations.kill(undefined);
  operations.resume(undefined);
  assert.deepEqual(["app", "other"].map((name) => operations.isPaused(name)), [true, false]);
  client.close();
});

Deno.test("KILL of the console's database is refused", async () => {
  await using world = await PoolerWorld.open();
  const { operations } = world.pooler;
  assert.equal(
    refusal(() => operations.kill("pgbouncer")),
    "55000 cannot kill admin db: pgbouncer",
  );
});

Deno.test("KILL_CLIENT drops one client and its server, and cancels what that was running", async () => {
  await using world = await PoolerWorld.open();
  const [running, other] = [await world.login(), await world.login()];
  await running.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const [victim] = world.clients;
  const { operations } = world.pooler;
  operations.killClient(victim!.id);
  assert.equal(await running.lastWords(), "FATAL 57P01 admin forced disconnect");
  await world.settle();
  assert.equal(world.postgres.canceled.length, 1);
  assert.equal(world.pool().servers.active.size, 0);
  assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
  assert.equal(refusal(() => operations.killClient(victim!.id)), "42704 client not found");
  other.close();
});

Deno.test("KILL_CLIENT of an idle client in session pooling closes its server too", async () => {
  await using world = await PoolerWorld.open({ pooler: 'pool_mode = "session"' });
  const client = await world.login();
  await client.query("select 1");
  await world.settle();
  world.pooler.operations.killClient(world.clients[0]!.id);
  assert.equal(await client.lastWords(), "FATAL 57P01 admin forced disconnect");
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
});

// --- SET ---

Deno.test("SET changes one setting at once, and a reload puts back what the file says", async () => {
  await using world = await PoolerWorld.open();
  const { live, operations } = world.pooler;
  operations.set("query_timeout", "2.5");
  assert.equal(live.settings.queryTimeoutMs, 2_500);
  operations.set("default_pool_size", "1");
  assert.equal(world.pooler.live.settings.queryTimeoutMs, 2_500, "the earlier one stays");
  const [linked, waiting] = await world.loginInLine();
  assert.equal(world.pool().waiting.size, 1);
  assert.ok(world.hasLogged("SET default_pool_size = 1 command issued"));
  await world.reload({});
  assert.equal(world.pooler.live.settings.queryTimeoutMs, 0);
  for (const client of [linked, waiting]) client.close();
});

Deno.test("SET refuses what it cannot do, says why, and changes nothing", async () => {
  await using world = await PoolerWorld.open();
  const { live, operations } = world.pooler;
  const before = live.config;
  const cases = {
    "pool_sise=3": /Unknown setting "pool_sise"/,
    "listen_port=7000": /"listen_port" takes effect with a restart only/,
    "query_timeout=soon": /"query_timeout": /,
    "auth_type=ldap": /auth_type "ldap" needs "auth_ldap_options"/,
    "auth_ldap_options=ldapsuffix": /"auth_ldap_options" is read by RELOAD: /,
    "auth_ldap_ca_file=/x": /"auth_ldap_ca_file" is read by RELOAD: /,
    "auth_type=hba": /auth_type "hba" needs "auth_hba_file"/,
    "auth_hba_file=/x": /"auth_hba_file" is read by RELOAD: /,
    "auth_ident_file=/x": /"auth_ident_file" is read by RELOAD: /,
  };
  for (const [assignment, why] of Object.entries(cases)) {
    const [key, value] = assignment.split("=") as [string, string];
    assert.throws(() => operations.set(key, value), (error) => {
      assert.ok(error instanceof PgError);
      assert.deepEqual([error.severity, error.sqlstate, error.message], [
        "ERROR",
        "42601",
        "SET failed",
      ]);
      assert.match(error.detail ?? "", why);
      return true;
    });
  }
  assert.equal(live.config, before);
});

Deno.test("SET of what the process cannot do fails, and changes nothing", async () => {
  await using world = await PoolerWorld.open();
  const { live, operations } = world.pooler;
  const before = live.loaded;
  world.failReloads(new Error("Cannot open the log file /nowhere/log"));
  assert.equal(refusal(() => operations.set("logfile", "/nowhere/log")), "42601 SET failed");
  assert.equal(live.loaded, before);
});
