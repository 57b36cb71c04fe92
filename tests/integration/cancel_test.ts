/** Cancel requests: they hit what they are meant for, and never anybody else. */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { eventually } from "../support/eventually.ts";
import { frontend } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import type { QueryResult, TestClient } from "../support/test_client.ts";
import { StallingProxy } from "./support/stalling_proxy.ts";
import { startWorld, token, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

const MODES = ["session", "transaction", "statement"] as const;

/** A query that ends only when it is cancelled. */
const ENDLESS = "select pg_sleep(600)";

function sharedWorld(poolSize: number, poolMode = "transaction"): Promise<World> {
  return startWorld(postgres, { pooler: { pool_mode: poolMode, default_pool_size: poolSize } });
}

/** Sends a cancel request with a client's key, and waits until it has been dealt with. */
async function cancel(world: World, key: Uint8Array): Promise<void> {
  const requester = await world.open();
  await requester.send(frontend.cancelRequest(key));
  assert.equal((await requester.receiveUntilEnd()).length, 0, "a cancel request is not answered");
  requester.close();
}

async function cancelQueryOf(world: World, client: TestClient): Promise<void> {
  await cancel(world, client.cancelKey!);
}

/** Waits until PostgreSQL runs so many endless queries; before, a cancel request would be lost on it. */
async function untilRunning(world: World, count = 1): Promise<void> {
  await world.untilBackends("an endless query", (all) => {
    const running = all.filter(({ query, state }) => {
      return state === "active" && query.includes("pg_sleep");
    });
    return running.length === count;
  });
}

function assertCanceled({ errors, status }: QueryResult): void {
  assert.deepEqual(
    errors.map(({ message, severity, sqlstate }) => [severity, sqlstate, message]),
    [["ERROR", "57014", "canceling statement due to user request"]],
  );
  assert.equal(status, "I");
}

for (const poolMode of MODES) {
  Deno.test(`a cancel request ends the running query in ${poolMode} pooling, and the client lives`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const client = await world.connect();
    await client.send(frontend.query(ENDLESS));
    await untilRunning(world);
    await cancelQueryOf(world, client);
    assertCanceled(await client.result());
    assert.equal(valueOf(await client.query("select 'alive'")), "alive");
    await world.untilBackendCount(1);
  });
}

Deno.test("a cancel request leaves the transaction to its client", async () => {
  await using world = await sharedWorld(1);
  const client = await world.connect();
  await client.query("begin");
  await client.send(frontend.query(ENDLESS));
  await untilRunning(world);
  await cancelQueryOf(world, client);
  const { errors, status } = await client.result();
  assert.deepEqual([errors[0]?.sqlstate, status], ["57014", "E"]);
  assert.equal((await client.query("rollback")).status, "I");
});

Deno.test("npm:pg cancels a running query", async () => {
  await using world = await sharedWorld(1);
  const client = await world.driver();
  const running = assert.rejects(client.query(ENDLESS), { code: "57014" });
  await untilRunning(world);
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const key = new DataView(new ArrayBuffer(8));
  key.setInt32(0, processID);
  key.setInt32(4, secretKey);
  await cancel(world, new Uint8Array(key.buffer));
  await running;
  assert.deepEqual((await client.query("select 1 as one")).rows, [{ one: 1 }]);
});

Deno.test({
  name: "Ctrl-C in psql cancels its query",
  ignore: isMissing("psql"),
  async fn() {
    await using world = await sharedWorld(1);
    const child = new Deno.Command("psql", {
      args: ["-X", "-A", "-t", "-c", ENDLESS],
      env: world.libpqEnv,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const outcome = child.output();
    await untilRunning(world);
    child.kill("SIGINT");
    const { stderr } = await outcome;
    assert.match(new TextDecoder().decode(stderr), /canceling statement due to user request/);
    await world.untilPool({ sv_idle: 1, sv_active: 0 });
  },
});

Deno.test("the query of a client that vanishes is cancelled", async () => {
  await using world = await sharedWorld(1);
  const client = await world.connect();
  await client.send(frontend.query(ENDLESS));
  await untilRunning(world);
  client.close();
  await world.untilBackends("an idle server", ([backend]) => backend?.state === "idle");
  assert.equal(valueOf(await (await world.connect()).query("select 'next'")), "next");
});

Deno.test("what a client asked before it said goodbye is run to its end, as by a server", async () => {
  await using world = await sharedWorld(1);
  const watcher = await world.connect();
  await watcher.query("create table farewell (word text)");
  const client = await world.connect();
  await client.send(
    frontend.query("insert into farewell select 'done' from pg_sleep(0.2)"),
    frontend.terminate(),
  );
  client.close();
  await eventually("the row is there", async () => {
    return valueOf(await watcher.query("select count(*) from farewell")) === "1";
  });
});

/** How a waiting client asks: what it sends, and what it has to be answered. */
const WAYS_TO_ASK: readonly (readonly [name: string, ask: readonly Uint8Array[], types: string])[] =
  [
    ["a Query", [frontend.query("select 1")], "EZ"],
    ["a FunctionCall", [frontend.functionCall(2026)], "EZ"],
    [
      "the extended protocol",
      [
        ...[frontend.parse("select 1"), frontend.bind(), frontend.describe("P")],
        ...[frontend.execute(), frontend.sync()],
      ],
      "EZ",
    ],
  ];

for (const [name, ask, types] of WAYS_TO_ASK) {
  Deno.test(`a cancel request takes a client that waits with ${name} out of the queue, and it lives`, async () => {
    await using world = await sharedWorld(1);
    const [holder, waiter] = await world.connectMany(2);
    await holder!.query("begin");
    await waiter!.send(...ask);
    await world.untilWaiting(1);
    await cancelQueryOf(world, waiter!);
    const result = await waiter!.result();
    assertCanceled(result);
    assert.equal(result.types, types);
    await world.untilWaiting(0);
    assert.equal((await holder!.query("commit")).status, "I");
    assert.equal(valueOf(await waiter!.query("select 'alive'")), "alive");
  });
}

Deno.test("a client cancelled while it waits before its Sync is answered at the Sync", async () => {
  await using world = await sharedWorld(1);
  const [holder, waiter] = await world.connectMany(2);
  await holder!.query("create table t (x int)");
  await holder!.query("begin");
  await waiter!.send(frontend.parse("insert into t values (1)"), frontend.bind());
  await world.untilWaiting(1);
  await cancelQueryOf(world, waiter!);
  assert.equal((await waiter!.receive())?.type, "E");
  await waiter!.send(frontend.execute(), frontend.flush(), frontend.sync());
  assert.equal((await waiter!.result()).types, "Z");
  await holder!.query("commit");
  assert.equal(valueOf(await waiter!.query("select count(*) from t")), "0");
});

Deno.test("each request of a client that waits with several is answered when it is cancelled", async () => {
  await using world = await sharedWorld(1);
  const [holder, waiter] = await world.connectMany(2);
  await holder!.query("begin");
  await waiter!.send(frontend.query("select 1"), frontend.query("select 2"));
  await world.untilWaiting(1);
  await cancelQueryOf(world, waiter!);
  assertCanceled(await waiter!.result());
  assertCanceled(await waiter!.result());
  await holder!.query("commit");
  assert.equal(valueOf(await waiter!.query("select 3")), "3");
});

Deno.test("a cancelled wait lets the next in the queue move up", async () => {
  await using world = await sharedWorld(1);
  const [holder, waiter, next] = await world.connectMany(3);
  await holder!.query("begin");
  await waiter!.send(frontend.query("select 'waiter'"));
  await world.untilWaiting(1);
  await next!.send(frontend.query("select 'next'"));
  await world.untilWaiting(2);
  await cancelQueryOf(world, waiter!);
  assertCanceled(await waiter!.result());
  await holder!.query("commit");
  assert.equal(valueOf(await next!.result()), "next");
});

Deno.test("a cancel request with an unknown key is closed without a word", async () => {
  await using world = await sharedWorld(1);
  const client = await world.connect();
  await client.send(frontend.query(ENDLESS));
  await untilRunning(world);
  const key = client.cancelKey!.slice();
  for (let at = 0; at < key.length; at++) {
    const wrong = key.slice();
    wrong[at]! ^= 1;
    // Byte 7 ends in the hop counter, which is no part of the key.
    if (at < 7) await cancel(world, wrong);
  }
  assert.equal((await world.backends())[0]?.state, "active");
  await cancelQueryOf(world, client);
  assertCanceled(await client.result());
});

Deno.test("the key of a client is not the key of its server", async () => {
  await using world = await sharedWorld(1);
  const clients = await world.connectMany(3);
  const keys = clients.map(({ cancelKey }) => cancelKey!.join());
  assert.equal(new Set(keys).size, 3);
  const pid = Number(valueOf(await clients[0]!.query("select pg_backend_pid()")));
  for (const { cancelKey } of clients) {
    assert.equal(cancelKey!.length, 8);
    assert.notEqual(new DataView(cancelKey!.buffer, cancelKey!.byteOffset).getInt32(0), pid);
    assert.equal(cancelKey![0]! & 0x80, 0, "the process id is not negative");
  }
});

Deno.test("a cancel request for a client that has left does nothing", async () => {
  await using world = await sharedWorld(1);
  const [gone, other] = await world.connectMany(2);
  await gone!.query("select 1");
  await gone!.terminate();
  await world.untilPool({ cl_active: 1 });
  await other!.send(frontend.query("select 'mine', pg_sleep(0.2)"));
  await untilRunning(world);
  await cancelQueryOf(world, gone!);
  assert.equal(valueOf(await other!.result()), "mine");
});

for (const poolMode of MODES) {
  Deno.test(`a cancel request for an idle client does nothing in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const client = await world.connect();
    await client.query("select 1");
    for (let i = 0; i < 5; i++) {
      await cancelQueryOf(world, client);
      const { errors, rows } = await client.query("select 'mine'");
      assert.deepEqual([errors, rows], [[], [["mine"]]]);
    }
  });
}

Deno.test("a cancel request for an idle client does not hit whoever has its last server", async () => {
  await using world = await sharedWorld(1);
  const [idle, busy] = await world.connectMany(2);
  await idle!.query("select 1");
  const gate = await world.gate();
  await busy!.send(frontend.query(gate.query("mine")));
  await world.untilBackends("a query at the gate", (all) => all[0]?.state === "active");
  for (let i = 0; i < 20; i++) await cancelQueryOf(world, idle!);
  await gate.open();
  assert.equal(valueOf(await busy!.result()), "mine");
});

/** The proxy relies on how Linux treats a full listen queue. */
const needsProxy = { ignore: Deno.build.os !== "linux" };

/** One server, reached by a proxy on which new connections can be held up. */
function proxiedWorld(proxy: StallingProxy): Promise<World> {
  return startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: 1 },
    database: { port: proxy.port },
  });
}

Deno.test({
  ...needsProxy,
  name: "a cancel request that cannot be sent until its server has another client is not sent",
  async fn() {
    await using proxy = new StallingProxy(postgres.port);
    await using world = await proxiedWorld(proxy);
    const [client, next] = await world.connectMany(2);
    const [gate, nextGate] = [await world.gate(), await world.gate()];
    await client!.send(frontend.query(gate.query("client")));
    await world.untilBackends("a query at the gate", (all) => all[0]?.state === "active");
    await next!.send(frontend.query(nextGate.query("next")));
    await world.untilWaiting(1);
    await proxy.stall();
    const canceling = cancelQueryOf(world, client!);
    await world.untilPool({ cl_active_cancel_req: 1 });
    await gate.open();
    assert.equal(valueOf(await client!.result()), "client");
    await world.untilPool({ sv_active: 1, cl_waiting: 0 });
    proxy.resume();
    await canceling;
    await nextGate.open();
    assert.equal(valueOf(await next!.result()), "next");
    assert.match(world.sluice.log(), /not sending cancel request for client that is now idle/);
  },
});

Deno.test({
  ...needsProxy,
  name:
    "a cancel request that cannot be sent before the transaction is over does not hit the next one",
  async fn() {
    await using proxy = new StallingProxy(postgres.port);
    await using world = await proxiedWorld(proxy);
    const client = await world.connect();
    const [gate, nextGate] = [await world.gate(), await world.gate()];
    await client.send(frontend.query(gate.query("first")));
    await world.untilBackends("a query at the gate", (all) => all[0]?.state === "active");
    await proxy.stall();
    const canceling = cancelQueryOf(world, client);
    await world.untilPool({ cl_active_cancel_req: 1 });
    await gate.open();
    assert.equal(valueOf(await client.result()), "first");
    await client.send(frontend.query(nextGate.query("second")));
    await world.untilPool({ sv_active: 1 });
    proxy.resume();
    await canceling;
    await nextGate.open();
    assert.equal(valueOf(await client.result()), "second");
  },
});

Deno.test("a storm of cancel requests never hits the next user of a server", async () => {
  await using world = await sharedWorld(2);
  const [target, ...others] = await world.connectMany(7);
  let isOver = false;
  let canceledCount = 0;
  const served = others.map(() => 0);
  // The target's queries are as short as the time a cancel request takes, so that many come too late.
  const beingTarget = async () => {
    for (let i = 0; i < 300 || Math.min(...served) < 20; i++) {
      const mine = token();
      const { errors, rows, status } = await target!.query(
        `select '${mine}', pg_sleep(${(i % 4) / 2000})`,
      );
      assert.equal(status, "I");
      if (errors[0]?.sqlstate === "57014") canceledCount += 1;
      else assert.deepEqual([errors, rows[0]?.[0]], [[], mine]);
    }
    isOver = true;
  };
  // The others' queries are long enough to be there still when a stray request arrives.
  const cancelling = async () => {
    while (!isOver) await cancelQueryOf(world, target!);
  };
  const beingOther = async (client: TestClient, at: number) => {
    while (!isOver) {
      const mine = token();
      const { errors, rows } = await client.query(`select '${mine}', pg_sleep(0.004)`);
      assert.deepEqual([errors, rows[0]?.[0]], [[], mine]);
      served[at]! += 1;
    }
  };
  await Promise.all([
    ...[beingTarget(), cancelling(), cancelling()],
    ...others.map(beingOther),
  ]);
  assert.ok(canceledCount > 0, "no cancel request came in time");
  await world.untilPool({ sv_active: 0, sv_being_canceled: 0, cl_waiting: 0 });
});

Deno.test("a cancel request that is still under way keeps the server from the next user", async () => {
  await using world = await sharedWorld(1);
  const [client, next] = await world.connectMany(2);
  await client!.send(frontend.query(ENDLESS));
  await untilRunning(world);
  await next!.send(frontend.query("select 'next', pg_sleep(0.05)"));
  await world.untilWaiting(1);
  const canceling = Promise.all(Array.from({ length: 5 }, () => cancelQueryOf(world, client!)));
  assertCanceled(await client!.result());
  assert.equal(valueOf(await next!.result()), "next");
  await canceling;
  await world.untilPool({ sv_being_canceled: 0, cl_active_cancel_req: 0 });
});

Deno.test("more cancel requests at once than the pool has servers are all carried out", async () => {
  await using world = await sharedWorld(2);
  const clients = await world.connectMany(2);
  for (const client of clients) await client.send(frontend.query(ENDLESS));
  await untilRunning(world, 2);
  const requests = clients.flatMap((client) => {
    return Array.from({ length: 10 }, () => cancelQueryOf(world, client));
  });
  for (const client of clients) assertCanceled(await client.result());
  await Promise.all(requests);
});

Deno.test("a cancel request does not count against the pool's servers or wait for one", async () => {
  await using world = await sharedWorld(1);
  const clients = await world.connectMany(4);
  for (const [i, client] of clients.entries()) {
    await client.send(frontend.query(ENDLESS));
    await world.untilPool({ sv_active: 1, cl_waiting: i });
  }
  for (const client of clients) {
    await untilRunning(world);
    await cancelQueryOf(world, client);
    assertCanceled(await client.result());
  }
});
