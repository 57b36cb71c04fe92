/** What operators do with databases, servers and clients, on a simulated network. */

import assert from "node:assert/strict";
import type { DatabaseOperations } from "../../../src/app/database_operations.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { backend, frontend, readReport } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { LoginRefused, type TestClient } from "../../support/test_client.ts";

const TWO = `[databases.app]
host = "127.0.0.1"
[databases.other]
host = "127.0.0.1"
[users.ada]
password = "secret"
`;

/** How a command that takes time stands. */
interface Watched {
  outcome: "waiting" | "done" | "failed";
  error: unknown;
}

function watch(command: Promise<void>): Watched {
  const watched: Watched = { outcome: "waiting", error: undefined };
  command.then(() => {
    watched.outcome = "done";
  }, (error: unknown) => {
    watched.outcome = "failed";
    watched.error = error;
  });
  return watched;
}

const never = (): AbortSignal => new AbortController().signal;

function pause(operations: DatabaseOperations, database?: string, signal = never()): Watched {
  return watch(operations.pause(database, signal));
}

/** `SQLSTATE message` of the error with which a command is refused. */
function refusal(command: () => unknown): string {
  try {
    command();
  } catch (error) {
    assert.ok(error instanceof PgError, String(error));
    assert.equal(error.severity, "ERROR");
    return `${error.sqlstate} ${error.message}`;
  }
  return "not refused";
}

/** What a client is told at the end of its connection. */
async function lastWords(client: TestClient): Promise<string> {
  const told = (await client.receiveUntilEnd()).find(({ type }) => type === "E");
  client.close();
  if (told === undefined) return "nothing";
  const { message, sqlstate } = readReport(told.body);
  return `${sqlstate} ${message}`;
}

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
  const query = frontend.query("select 1");
  await client.send(query.subarray(0, 8));
  await world.settle();
  const suspending = watch(operations.suspend(never()));
  operations.resume(undefined);
  await client.send(query.subarray(8));
  assert.deepEqual((await client.result()).rows, [["1"]]);
  for (const { error, outcome } of [ofAll, ofOne, suspending]) {
    assert.equal(outcome, "failed");
    assert.ok(error instanceof PgError);
    assert.equal(`${error.sqlstate} ${error.message}`, "55000 resumed before it was done");
  }
  client.close();
});

Deno.test("a client that leaves while suspended takes nothing along that its server waits for", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const { operations } = world.pooler;
  void operations.suspend(never());
  world.postgres.wakeAll();
  await world.settle();
  operations.killClient(world.clients[0]!.id);
  client.close();
  await world.settle();
  operations.resume(undefined);
  // That the pooler ends at all is seen at the end of every test.
});

Deno.test("a server that spoke unheard while suspended is handed to nobody when its client leaves", async () => {
  await using world = await PoolerWorld.open({ pooler: 'pool_mode = "session"' });
  const client = await world.login();
  await client.query("select 1");
  await world.settle();
  const { operations } = world.pooler;
  void operations.suspend(never());
  const notice = backend.notification("news", "half of this comes later");
  const [live] = world.postgres.live;
  await live!.speak(notice.subarray(0, 12));
  await world.settle();
  client.close();
  await world.settle();
  assert.deepEqual([world.clients.length, world.pool().servers.count], [0, 0]);
  operations.resume(undefined);
});

Deno.test("an answer of which a part has come is gone on with in a freeze, to its end and no further", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 700, chunking: "random" });
  const [reading, other] = [await world.login(), await world.login()];
  const text = "x".repeat(20_000);
  await reading.send(frontend.query(`select '${text}'`), frontend.query("select 1"));
  for (let i = 0; i < 40; i++) world.network.step();
  const { operations } = world.pooler;
  const suspending = watch(operations.suspend(never()));
  await world.settle();
  const first = reading.result();
  await world.settle();
  operations.resume(undefined);
  assert.equal((await first).rows[0]![0]!.length, text.length);
  assert.deepEqual((await reading.result()).rows, [["1"]]);
  assert.notEqual(suspending.outcome, "waiting");
  for (const client of [reading, other]) client.close();
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
  pause(operations);
  for (const command of [() => pause(operations), () => operations.suspend(never())]) {
    assert.equal(refusal(command), "55000 already suspended/paused");
  }
  assert.equal(refusal(() => operations.kill(undefined)), "55000 already suspended/paused");
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

// --- KILL and KILL_CLIENT ---

Deno.test("KILL pauses a database and drops its clients and servers at once", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const [inTransaction, idle] = [await world.login(), await world.login()];
  const other = await world.login({ database: "other" });
  await inTransaction.query("begin");
  await idle.query("select 1");
  const { operations } = world.pooler;
  operations.kill("app");
  assert.equal(await lastWords(inTransaction), "57P01 admin forced disconnect");
  assert.equal(await lastWords(idle), "57P01 admin forced disconnect");
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
  assert.equal(await lastWords(client), "57P01 admin forced disconnect");
  assert.equal(operations.mode, "paused");
  assert.equal((await admin.query("show version")).rows.length, 1);
  operations.resume(undefined);
  const again = await world.login();
  assert.deepEqual((await again.query("select 1")).rows, [["1"]]);
  for (const each of [admin, again]) each.close();
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
  assert.equal(await lastWords(running), "57P01 admin forced disconnect");
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
  assert.equal(await lastWords(client), "57P01 admin forced disconnect");
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
});

// --- SUSPEND ---

Deno.test("SUSPEND freezes both directions, and RESUME lets everything go on where it stood", async () => {
  await using world = await PoolerWorld.open();
  const [asking, running] = [await world.login(), await world.login()];
  await running.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const { operations } = world.pooler;
  const suspending = watch(operations.suspend(never()));
  await world.settle();
  assert.deepEqual([operations.mode, suspending.outcome], ["suspended", "done"]);
  await asking.send(frontend.query("select 1"));
  world.postgres.wakeAll();
  await world.advance(60_000);
  const sent = world.postgres.ran.map(({ sql }) => sql);
  assert.ok(!sent.includes("select 1"), "what a client asks is held");
  const answer = running.result();
  await world.settle();
  assert.equal(world.clients.length, 2, "nobody was dropped");
  operations.resume(undefined);
  assert.equal((await answer).tags.length, 1);
  assert.deepEqual((await asking.result()).rows, [["1"]]);
  for (const client of [asking, running]) client.close();
});

Deno.test("SUSPEND waits for a message that is under way, and after suspend_timeout drops who owes it", async () => {
  await using world = await PoolerWorld.open({ pooler: "suspend_timeout = 10" });
  const [slow, stuck, idle] = [await world.login(), await world.login(), await world.login()];
  const query = frontend.query(`select '${"x".repeat(20_000)}'`);
  for (const client of [slow, stuck]) await client.send(query.subarray(0, 9_000));
  await world.settle();
  const suspending = watch(world.pooler.operations.suspend(never()));
  await world.advance(5_000);
  assert.equal(suspending.outcome, "waiting");
  await slow.send(query.subarray(9_000));
  await world.advance(4_000);
  assert.equal(suspending.outcome, "waiting", "the other one still owes");
  await world.advance(1_500);
  assert.equal(suspending.outcome, "done");
  assert.equal(await lastWords(stuck), "57P01 suspend_timeout");
  world.pooler.operations.resume(undefined);
  assert.equal((await slow.result()).rows[0]![0]!.length, 20_000);
  assert.deepEqual((await idle.query("select 1")).rows, [["1"]]);
  for (const client of [slow, idle]) client.close();
});

Deno.test("suspend_timeout drops all who owe something, however many they are", async () => {
  const count = 1_500;
  const pooler = `suspend_timeout = 10\ndefault_pool_size = ${count}\nmax_client_conn = ${count}`;
  await using world = await PoolerWorld.open({ pooler });
  const owed = frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 100);
  const clients: TestClient[] = [];
  for (let i = 0; i < count; i++) {
    const client = await world.login();
    await client.send(owed);
    clients.push(client);
  }
  // A server logs in at a time.
  await world.settle();
  assert.equal(world.pool().servers.active.size, count);
  const suspending = watch(world.pooler.operations.suspend(never()));
  await world.advance(10_500);
  assert.equal(suspending.outcome, "done");
  assert.equal(world.pool().servers.active.size, 0);
  for (const client of clients) client.close();
});

Deno.test("a client that is in a queue when all is suspended is served after RESUME", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = [await world.login(), await world.login()];
  await linked.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  const { operations } = world.pooler;
  void operations.suspend(never());
  await world.advance(5_000);
  assert.equal(world.pool().waiting.size, 1);
  await linked.send(frontend.query("commit"));
  await world.advance(1_000);
  assert.equal(world.pool().waiting.size, 1);
  operations.resume(undefined);
  await linked.result();
  assert.deepEqual((await waiting.result()).rows, [["1"]]);
  for (const client of [linked, waiting]) client.close();
});

Deno.test("a server that is lost while all is suspended is not replaced before RESUME", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = [await world.login(), await world.login()];
  await linked.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  const { operations } = world.pooler;
  void operations.suspend(never());
  world.postgres.live[0]!.close();
  await world.advance(30_000);
  assert.deepEqual([world.pool().servers.count, world.pool().waiting.size], [0, 1]);
  operations.resume(undefined);
  assert.deepEqual((await waiting.result()).rows, [["1"]]);
  for (const client of [linked, waiting]) client.close();
});

Deno.test("who logs in while SUSPEND waits for others does not have to owe anything to be kept", async () => {
  await using world = await PoolerWorld.open({ pooler: "suspend_timeout = 10" });
  const stuck = await world.login();
  await stuck.send(frontend.query("select 1").subarray(0, 8));
  await world.settle();
  const { operations } = world.pooler;
  const suspending = watch(operations.suspend(never()));
  const late = await world.login();
  await world.advance(11_000);
  assert.equal(suspending.outcome, "done");
  assert.equal(await lastWords(stuck), "57P01 suspend_timeout");
  operations.resume(undefined);
  assert.deepEqual((await late.query("select 1")).rows, [["1"]]);
  late.close();
});

Deno.test("nobody's time runs out while all is suspended, since nobody can ask or be answered", async () => {
  const limits = ["client_idle", "idle_transaction", "query"].map((of) => `${of}_timeout = 5`);
  await using world = await PoolerWorld.open({ pooler: limits.join("\n") });
  const [idle, inTransaction, running] = [
    await world.login(),
    await world.login(),
    await world.login(),
  ];
  await running.send(frontend.query("select pg_sleep(1)"));
  await inTransaction.query("begin");
  await world.settle();
  const { operations } = world.pooler;
  void operations.suspend(never());
  for (const client of [idle, inTransaction]) await client.send(frontend.query("select 1"));
  world.postgres.wakeAll();
  await world.advance(10_000);
  operations.resume(undefined);
  for (const client of [idle, inTransaction, running]) {
    assert.match((await client.result()).types, /^TDCZ$/);
  }
  await world.advance(10_000);
  assert.equal(await lastWords(idle), "57P05 client_idle_timeout");
  assert.equal(await lastWords(inTransaction), "25P03 idle transaction timeout");
  running.close();
});

Deno.test("SUSPEND is refused while a database is paused", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  pause(operations, "app");
  assert.equal(
    refusal(() => operations.suspend(never())),
    "55000 cannot suspend with paused databases",
  );
  assert.equal(operations.mode, "active");
});

Deno.test("a client that logs in while all is suspended is frozen too", async () => {
  await using world = await PoolerWorld.open();
  (await world.login()).close();
  const { operations } = world.pooler;
  void operations.suspend(never());
  const client = await world.login();
  await client.send(frontend.query("select 1"));
  await world.advance(1_000);
  assert.deepEqual(world.postgres.ran.filter(({ sql }) => sql === "select 1"), []);
  operations.resume(undefined);
  assert.deepEqual((await client.result()).rows, [["1"]]);
  client.close();
});

Deno.test("what a client sent while suspended is dropped with the client", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  const { operations } = world.pooler;
  void operations.suspend(never());
  await client.send(frontend.query("select 1"));
  await world.settle();
  operations.killClient(world.clients[0]!.id);
  client.close();
  await world.settle();
  operations.resume(undefined);
  await world.settle();
  assert.deepEqual(world.postgres.ran.filter(({ sql }) => sql === "select 1"), []);
});

Deno.test("garbage that came while suspended ends its client after the thaw", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  const { operations } = world.pooler;
  void operations.suspend(never());
  await client.send(new Uint8Array([0x21, 0, 0, 0, 4]));
  await world.settle();
  operations.resume(undefined);
  assert.equal(await lastWords(client), "08P01 unknown pkt: '!'");
});

// --- SET ---

Deno.test("SET changes one setting at once, and a reload puts back what the file says", async () => {
  await using world = await PoolerWorld.open();
  const { live, operations } = world.pooler;
  operations.set("query_timeout", "2.5");
  assert.equal(live.settings.queryTimeoutMs, 2_500);
  operations.set("default_pool_size", "1");
  assert.equal(world.pooler.live.settings.queryTimeoutMs, 2_500, "the earlier one stays");
  const [linked, waiting] = [await world.login(), await world.login()];
  await linked.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.settle();
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
    "max_prepared_statements=10": /has no effect yet/,
    "auth_type=hba": /"auth_type" has no effect yet: /,
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

// --- SHUTDOWN WAIT_FOR_TRANSACTIONS ---

Deno.test("a drain ends idle clients at once and the others when their transactions end", async () => {
  await using world = await PoolerWorld.open();
  const [idle, linked] = [await world.login(), await world.login()];
  await linked.query("begin");
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(await lastWords(idle), "57P01 pooler is shutting down");
  assert.deepEqual((await linked.query("select 1")).rows, [["1"]]);
  await linked.send(frontend.query("commit"));
  const last = await linked.receiveUntilEnd();
  assert.deepEqual(last.map(({ type }) => type), ["C", "Z", "E"], "the answer comes whole");
  linked.close();
  await world.advance(1_000);
  assert.ok(world.hasLogged("shutting down: as transactions end"));
});

Deno.test("a drain serves those who wait already, and tells newcomers that it ends", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = [await world.login(), await world.login()];
  await linked.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  world.pooler.shutdown("wait_for_transactions");
  const newcomer = await world.connect();
  await assert.rejects(
    newcomer.login({ user: "ada", database: "app" }),
    (error) => error instanceof LoginRefused && error.report.sqlstate === "57P03",
  );
  newcomer.close();
  await linked.send(frontend.query("commit"));
  assert.equal(await lastWords(linked), "57P01 pooler is shutting down");
  const served = await waiting.receiveUntilEnd();
  assert.deepEqual(served.map(({ type }) => type), ["T", "D", "C", "Z", "E"]);
  waiting.close();
});

Deno.test("a drain ends a client that calls off its wait", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = [await world.login(), await world.login()];
  await linked.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  world.pooler.shutdown("wait_for_transactions");
  await world.cancel(waiting.cancelKey!);
  const told = await waiting.receiveUntilEnd();
  assert.deepEqual(
    told.filter(({ type }) => type === "E").map(({ body }) => readReport(body).sqlstate),
    ["57014", "57P01"],
  );
  await linked.send(frontend.query("commit"));
  assert.equal(await lastWords(linked), "57P01 pooler is shutting down");
  waiting.close();
});

Deno.test("a drain ends clients of session pooling between two transactions", async () => {
  await using world = await PoolerWorld.open({ pooler: 'pool_mode = "session"' });
  const [idle, linked] = [await world.login(), await world.login()];
  await idle.query("select 1");
  await linked.query("begin");
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(await lastWords(idle), "57P01 pooler is shutting down");
  await linked.send(frontend.query("commit"));
  const last = await linked.receiveUntilEnd();
  assert.deepEqual(last.map(({ type }) => type), ["C", "Z", "E"]);
  linked.close();
});

Deno.test("a drain does not wait for those whom a pause keeps waiting", async () => {
  await using world = await PoolerWorld.open();
  const waiting = await world.login();
  pause(world.pooler.operations);
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(await lastWords(waiting), "57P01 pooler is shutting down");
});

Deno.test("a drain with a limit ends the rest when that has passed", async () => {
  await using world = await PoolerWorld.open();
  const linked = await world.login();
  await linked.query("begin");
  let hasStopped = false;
  void world.pooler.stopped.then(() => hasStopped = true);
  world.pooler.shutdown("wait_for_transactions", 10_000);
  await world.advance(9_500);
  assert.deepEqual((await linked.query("select 1")).rows, [["1"]]);
  await world.advance(1_000);
  assert.equal(await lastWords(linked), "57P01 pooler is shutting down");
  await world.advance(1_000);
  assert.equal(hasStopped, true);
  assert.ok(world.hasLogged("1 clients have not ended in time"));
});

Deno.test("a shutdown lets go what is suspended", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  void world.pooler.operations.suspend(never());
  await client.send(frontend.query("select 1"));
  await world.settle();
  world.pooler.shutdown("wait_for_clients");
  assert.deepEqual((await client.result()).rows, [["1"]]);
  client.close();
});
