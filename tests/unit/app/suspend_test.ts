/** SUSPEND: all stand still between two messages, and go on where they stood. */

import assert from "node:assert/strict";
import { backend, frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";
import { never, pause, suspend, TWO } from "./operations_fixture.ts";

Deno.test("SUSPEND freezes both directions, and RESUME lets everything go on where it stood", async () => {
  await using world = await PoolerWorld.open();
  const [asking, running] = [await world.login(), await world.login()];
  await running.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const { operations } = world.pooler;
  const suspending = suspend(operations);
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
  const suspending = suspend(world.pooler.operations);
  await world.advance(5_000);
  assert.equal(suspending.outcome, "waiting");
  await slow.send(query.subarray(9_000));
  await world.advance(4_000);
  assert.equal(suspending.outcome, "waiting", "the other one still owes");
  await world.advance(1_500);
  assert.equal(suspending.outcome, "done");
  assert.equal(await stuck.lastWords(), "FATAL 57P01 suspend_timeout");
  world.pooler.operations.resume(undefined);
  assert.equal((await slow.result()).rows[0]![0]!.length, 20_000);
  assert.deepEqual((await idle.query("select 1")).rows, [["1"]]);
  for (const client of [slow, idle]) client.close();
});

Deno.test("suspend_timeout drops all who owe something, however many they are", async () => {
  const count = 1_500;
  const pooler = `suspend_timeout = 10\ndefault_pool_size = ${count}\nmax_client_conn = ${count}`;
  await using world = await PoolerWorld.open({ pooler });
  const owed = frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 5_000);
  const clients: TestClient[] = [];
  for (let i = 0; i < count; i++) {
    const client = await world.login();
    await client.send(owed);
    clients.push(client);
  }
  // A server logs in at a time.
  await world.settle();
  assert.equal(world.pool().servers.active.size, count);
  const suspending = suspend(world.pooler.operations);
  await world.advance(10_500);
  assert.equal(suspending.outcome, "done");
  assert.equal(world.pool().servers.active.size, 0);
  for (const client of clients) client.close();
});

Deno.test("a client that is in a queue when all is suspended is served after RESUME", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = await world.loginInLine();
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

Deno.test("a client in a queue with a part of its request owes nothing to SUSPEND", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\nsuspend_timeout = 10",
  });
  const [linked, waiting] = [await world.login(), await world.login()];
  await linked.query("begin");
  const query = frontend.query(`select '${"x".repeat(20_000)}'`);
  await waiting.send(query.subarray(0, 9_000));
  await world.settle();
  assert.equal(world.pool().waiting.size, 1);
  const { operations } = world.pooler;
  const suspending = suspend(operations);
  await world.settle();
  assert.equal(suspending.outcome, "done");
  await waiting.send(query.subarray(9_000));
  await linked.send(frontend.query("commit"));
  await world.advance(11_000);
  operations.resume(undefined);
  await linked.result();
  assert.equal((await waiting.result()).rows[0]![0]!.length, 20_000);
  for (const client of [linked, waiting]) client.close();
});

for (const bytes of [1, 5, 2_000]) {
  for (const begins of ["idle", "in a transaction"]) {
    Deno.test(`a client ${begins} with ${bytes} bytes of a request, of which no server has any, owes nothing to SUSPEND`, async () => {
      await using world = await PoolerWorld.open({ pooler: "suspend_timeout = 10" });
      const clients = [await world.login(), await world.login()];
      const [prompt, late] = clients;
      const query = frontend.query(`select '${"x".repeat(10_000)}'`);
      for (const client of clients) if (begins !== "idle") await client.query("begin");
      for (const client of clients) await client.send(query.subarray(0, bytes));
      await world.settle();
      const { operations } = world.pooler;
      const suspending = suspend(operations);
      await world.settle();
      assert.equal(suspending.outcome, "done");
      await prompt!.send(query.subarray(bytes), frontend.query("select 1"));
      await world.advance(11_000);
      assert.equal(world.clients.length, 2, "nobody was dropped");
      operations.resume(undefined);
      await late!.send(query.subarray(bytes), frontend.query("select 1"));
      for (const client of clients) {
        assert.equal((await client.result()).rows[0]![0]!.length, 10_000);
        assert.deepEqual((await client.result()).rows, [["1"]]);
        client.close();
      }
    });
  }
}

Deno.test("a server that is lost while all is suspended is not replaced before RESUME", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = await world.loginInLine();
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
  await stuck.send(frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 5_000));
  await world.settle();
  const { operations } = world.pooler;
  const suspending = suspend(operations);
  const late = await world.login();
  await world.advance(11_000);
  assert.equal(suspending.outcome, "done");
  assert.equal(await stuck.lastWords(), "FATAL 57P01 suspend_timeout");
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
  assert.equal(await idle.lastWords(), "FATAL 57P05 client_idle_timeout");
  assert.equal(await inTransaction.lastWords(), "FATAL 25P03 idle transaction timeout");
  running.close();
});

Deno.test("SUSPEND is refused while a database is paused, and says where that is seen", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  pause(operations, "app");
  assert.throws(() => operations.suspend(never()), {
    sqlstate: "55000",
    message: "cannot suspend with paused databases",
    detail: "SHOW DATABASES WHERE paused = '1' has them.",
  });
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
  assert.equal(await client.lastWords(), "FATAL 08P01 unknown pkt: '!'");
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
  const suspending = suspend(operations);
  await world.settle();
  const first = reading.result();
  await world.settle();
  operations.resume(undefined);
  assert.equal((await first).rows[0]![0]!.length, text.length);
  assert.deepEqual((await reading.result()).rows, [["1"]]);
  assert.notEqual(suspending.outcome, "waiting");
  for (const client of [reading, other]) client.close();
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

Deno.test("a reply of which a part comes while all is suspended, and its end later, gives the server back", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const [peer] = world.postgres.backends;
  const row = backend.dataRow(["x".repeat(3_000)]);
  await peer!.speak(row.subarray(0, 1_000));
  await world.settle();
  const { operations } = world.pooler;
  suspend(operations);
  await peer!.speak(row.subarray(1_000, 2_000));
  await world.settle();
  operations.resume(undefined);
  await peer!.speak(row.subarray(2_000));
  world.postgres.wakeAll();
  assert.equal((await client.result()).status, "I");
  await world.settle();
  assert.deepEqual([world.pool().servers.active.size, world.pool().servers.idle.length], [0, 1]);
  client.close();
});
