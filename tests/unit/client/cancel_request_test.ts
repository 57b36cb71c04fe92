/** Cancel requests: they reach the right server and nobody else, or take a client out of the queue. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const SLEEP = frontend.query("select pg_sleep(1)");

/** A world with one server for all. */
function oneServer(lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `default_pool_size = 1\n${lines}` });
}

/** A client whose query is running. */
async function sleeper(world: PoolerWorld): Promise<TestClient> {
  const client = await world.login();
  await client.send(SLEEP);
  await world.settle();
  return client;
}

/** A client that waits for a server, with this sent. */
async function waiter(world: PoolerWorld, ...messages: readonly Uint8Array[]): Promise<TestClient> {
  const client = await world.login();
  await client.send(...messages);
  await world.settle();
  assert.equal(world.pool().waiting.size, 1);
  return client;
}

/** Asserts that the client goes on as if nothing had been. */
async function assertAlive(client: TestClient): Promise<void> {
  const { rows, types } = await client.query("select 'alive'");
  assert.deepEqual([types, rows], ["TDCZ", [["alive"]]]);
}

for (const [isLogged, lines] of [[true, 1], [false, 0]] as const) {
  Deno.test(`what became of a cancel request is in the log, if log_disconnections is ${isLogged}`, async () => {
    await using world = await oneServer(`log_disconnections = ${isLogged}`);
    const client = await sleeper(world);
    await world.cancel(client.cancelKey!);
    const told = world.log.filter((line) =>
      / LOG C-0x\w+: \S+ closing because: successfully sent cancel request \(age=0s\)$/.test(line)
    );
    assert.equal(told.length, lines);
    client.close();
  });
}

/** Why connections ended that did not log in. */
function endsOfRequesters({ log }: PoolerWorld): (string | undefined)[] {
  return log
    .filter((line) => / LOG C-0x\w+: \(nodb\).* closing because: /.test(line))
    .map((line) => /because: (.*)\)/.exec(line)?.[1]);
}

Deno.test("the end of a cancel request that was not waited for to its end is in the log once", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  world.network.obstruct(world.postgres.address, "black hole");
  const requester = await world.connect();
  await requester.send(frontend.cancelRequest(client.cancelKey!));
  await world.settle();
  world.pooler.operations.killClient(world.clients[1]!.id);
  await world.advance(20_000);
  assert.deepEqual(endsOfRequesters(world), ["admin forced disconnect (age=0s"]);
  client.close();
});

Deno.test("client_login_timeout does not end who waits for a cancel request to be sent, nor for a place", async () => {
  await using world = await oneServer(
    "server_connect_timeout = 15\ncancel_wait_timeout = 10\nclient_login_timeout = 1",
  );
  const client = await sleeper(world);
  world.network.obstruct(world.postgres.address, "black hole");
  for (let i = 0; i < 2; i++) {
    await (await world.connect()).send(frontend.cancelRequest(client.cancelKey!));
    await world.settle();
  }
  await world.advance(9_500);
  assert.deepEqual([world.clients.length, endsOfRequesters(world)], [3, []]);
  await world.advance(10_000);
  assert.deepEqual(endsOfRequesters(world), [
    "cancel_wait_timeout (age=10s",
    "failed cancel request: connect timeout (age=15s",
  ]);
  client.close();
});

Deno.test("client_login_timeout does not end who waits for PostgreSQL to take a cancel request", async () => {
  await using world = await oneServer("client_login_timeout = 1");
  world.postgres.holdsCancels = true;
  const client = await sleeper(world);
  const canceling = world.cancel(client.cancelKey!);
  await world.advance(9_500);
  assert.deepEqual(endsOfRequesters(world), []);
  world.postgres.releaseCancels();
  await canceling;
  assert.deepEqual(endsOfRequesters(world), ["successfully sent cancel request (age=9s"]);
  client.close();
});

Deno.test("CancelDesk says nothing to a request with an unknown key", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  const wrong = Uint8Array.from(client.cancelKey!);
  wrong[5]! ^= 1;
  for (
    const key of [wrong, new Uint8Array(8), client.cancelKey!.subarray(0, 8).slice().fill(255)]
  ) {
    const requester = await world.connect();
    await requester.send(frontend.cancelRequest(key));
    assert.deepEqual(await requester.receiveUntilEnd(), []);
    requester.close();
  }
  assert.equal(world.postgres.cancelRequestCount, 0);
  assert.ok(world.hasLogged("failed cancel request (unknown key)"));
  client.close();
});

Deno.test("CancelDesk does not take the server's own key", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  const [server] = world.pool().servers.active;
  assert.notDeepEqual(server!.cancelKey, client.cancelKey);
  await world.cancel(server!.cancelKey!);
  assert.equal(world.postgres.cancelRequestCount, 0);
  client.close();
});

Deno.test("CancelDesk cancels what the client is running, and the client goes on", async () => {
  await using world = await PoolerWorld.open();
  const [client, other] = [await sleeper(world), await sleeper(world)];
  await world.cancel(client.cancelKey!);
  const { errors, status, types } = await client.result();
  assert.deepEqual([types, status, errors[0]?.sqlstate], ["TEZ", "I", "57014"]);
  assert.equal(world.postgres.canceled.length, 1);
  await assertAlive(client);
  world.postgres.wakeAll();
  assert.equal((await other.result()).types, "TDCZ");
  client.close();
  other.close();
});

Deno.test("CancelDesk takes a key that was forwarded", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  const forwarded = Uint8Array.from(client.cancelKey!);
  forwarded[7]! &= ~3;
  await world.cancel(forwarded);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  client.close();
});

Deno.test("CancelDesk drops a request for a client that is idle", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await world.cancel(client.cancelKey!);
  await client.query("select 1");
  await world.settle();
  await world.cancel(client.cancelKey!);
  assert.equal(world.postgres.cancelRequestCount, 0);
  assert.ok(world.hasLogged("cancel request for idle client"));
  client.close();
});

Deno.test("CancelDesk drops a request for a client that has gone", async () => {
  await using world = await oneServer();
  const client = await world.login();
  const key = client.cancelKey!;
  client.close();
  await world.settle();
  await world.cancel(key);
  assert.ok(world.hasLogged("failed cancel request (unknown key)"));
});

Deno.test("CancelDesk leaves the pooler's own SET alone", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { TimeZone: "Asia/Tokyo" } });
  const toServer = world.network.connections.find(({ address }) => address === "127.0.0.1:5432");
  toServer!.acceptor.stall();
  await client.send(frontend.query("select 1"));
  await world.settle();
  assert.equal(world.pool().servers.active.size, 1);
  await world.cancel(client.cancelKey!);
  assert.equal(world.postgres.cancelRequestCount, 0);
  toServer!.acceptor.unstall();
  assert.equal((await client.result()).types.replaceAll("S", ""), "TDCZ");
  client.close();
});

// --- never the next user of the server ---

Deno.test("CancelDesk keeps the server from others until the request has ended", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  const next = await waiter(world, frontend.query("select 'next'"));
  world.postgres.holdsCancels = true;
  const requester = await world.connect();
  await requester.send(frontend.cancelRequest(client.cancelKey!));
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  await world.settle();
  world.check();
  const { servers } = world.pool();
  assert.deepEqual([servers.beingCanceled.size, servers.idle.length], [1, 0]);
  assert.equal(world.pool().waiting.size, 1);
  world.postgres.releaseCancels();
  assert.deepEqual((await next.result()).rows, [["next"]]);
  for (const each of [client, next, requester]) each.close();
});

Deno.test("CancelDesk does not send a request for which the server is no longer the client's", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  world.network.obstruct(world.postgres.address, "black hole");
  const requester = await world.connect();
  await requester.send(frontend.cancelRequest(client.cancelKey!));
  await world.settle();
  assert.equal(world.network.dialCount, 1);
  world.postgres.wakeAll();
  await client.result();
  const next = await sleeper(world);
  world.network.obstruct(world.postgres.address, undefined);
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 0);
  assert.ok(world.hasLogged("not sending cancel request for client that is now idle"));
  world.postgres.wakeAll();
  assert.equal((await next.result()).types, "TDCZ");
  for (const each of [client, next, requester]) each.close();
});

Deno.test("CancelDesk does not send a request to the client's next server", async () => {
  await using world = await PoolerWorld.open();
  const [other, client] = [await sleeper(world), await sleeper(world)];
  world.network.obstruct(world.postgres.address, "black hole");
  const requester = await world.connect();
  await requester.send(frontend.cancelRequest(client.cancelKey!));
  await world.settle();
  world.postgres.wakeAll();
  await other.result();
  await client.result();
  // The server freed last is taken first.
  const thief = await sleeper(world);
  await client.send(SLEEP);
  await world.settle();
  world.network.obstruct(world.postgres.address, undefined);
  await world.settle();
  assert.ok(world.postgres.canceled.length <= 1);
  world.postgres.wakeAll();
  assert.equal((await thief.result()).types, "TDCZ");
  for (const each of [client, other, thief, requester]) each.close();
});

Deno.test("CancelDesk gives a request up after cancel_wait_timeout, and the server with it", async () => {
  await using world = await oneServer("cancel_wait_timeout = 10");
  const client = await sleeper(world);
  const toServer = () =>
    world.network.connections.filter(({ address }) => address === "127.0.0.1:5432");
  world.postgres.holdsCancels = true;
  const requester = await world.connect();
  await requester.send(frontend.cancelRequest(client.cancelKey!));
  await client.result();
  await world.settle();
  assert.equal(toServer().length, 2);
  await world.advance(11_000);
  const { servers } = world.pool();
  assert.deepEqual([servers.beingCanceled.size, servers.idle.length], [0, 0]);
  await assertAlive(client);
  for (const each of [client, requester]) each.close();
});

Deno.test("CancelDesk says so when the server cannot be reached, and the query goes on", async () => {
  await using world = await oneServer();
  const client = await sleeper(world);
  world.network.obstruct(world.postgres.address, "refused");
  await world.cancel(client.cancelKey!);
  assert.ok(world.hasLogged("failed cancel request"));
  world.postgres.wakeAll();
  assert.equal((await client.result()).types, "TDCZ");
  client.close();
});

Deno.test("CancelDesk makes a pool's requests wait beyond as many as it may have servers", async () => {
  await using world = await oneServer("cancel_wait_timeout = 10");
  const client = await sleeper(world);
  world.network.obstruct(world.postgres.address, "black hole");
  const requesters: TestClient[] = [];
  for (let i = 0; i < 3; i++) {
    const requester = await world.connect();
    await requester.send(frontend.cancelRequest(client.cancelKey!));
    requesters.push(requester);
  }
  await world.settle();
  assert.equal(world.network.dialCount, 1);
  await world.advance(11_000);
  assert.equal(world.log.filter((line) => line.includes("cancel_wait_timeout")).length, 2);
  world.network.obstruct(world.postgres.address, undefined);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  for (const each of [client, ...requesters]) each.close();
});

// --- clients that wait for a server ---

/** What a waiting client sent, and what it must be answered with when it is cancelled. */
const WAITING: readonly (readonly [string, readonly Uint8Array[], readonly string[]])[] = [
  ["a query", [SLEEP], ["EZ"]],
  ["two queries", [SLEEP, SLEEP], ["EZ", "EZ"]],
  ["a function call", [frontend.functionCall(1)], ["EZ"]],
  [
    "an extended query",
    [frontend.parse("select 1"), frontend.bind(), frontend.execute(), frontend.sync()],
    ["EZ"],
  ],
  [
    "two extended queries",
    [
      ...[frontend.parse("select 1"), frontend.bind(), frontend.execute(), frontend.sync()],
      ...[frontend.bind(), frontend.execute(), frontend.sync()],
    ],
    ["EZ", "EZ"],
  ],
  ["a Sync", [frontend.sync()], ["EZ"]],
];

for (const [what, messages, answers] of WAITING) {
  Deno.test(`CancelDesk takes a client that waits with ${what} out of the queue`, async () => {
    await using world = await oneServer();
    const holder = await sleeper(world);
    const client = await waiter(world, ...messages);
    await world.cancel(client.cancelKey!);
    for (const types of answers) {
      const result = await client.result();
      assert.deepEqual([result.types, result.status], [types, "I"]);
      assert.equal(result.errors[0]?.sqlstate, "57014");
      assert.equal(result.errors[0]?.severity, "ERROR");
      assert.equal(result.errors[0]?.message, "canceling statement due to user request");
    }
    world.check();
    assert.equal(world.pool().waiting.size, 0);
    assert.equal(world.postgres.cancelRequestCount, 0);
    world.postgres.wakeAll();
    assert.equal((await holder.result()).types, "TDCZ");
    await assertAlive(client);
    assert.equal(world.postgres.ran.length, 2, "Nothing of the cancelled wait was run");
    client.close();
    holder.close();
  });
}

Deno.test("CancelDesk answers an extended query at once, and with ReadyForQuery at its Sync", async () => {
  await using world = await oneServer();
  const holder = await sleeper(world);
  const client = await waiter(world, frontend.parse("select 1"), frontend.bind());
  await world.cancel(client.cancelKey!);
  assert.equal((await client.receive())?.type, "E");
  await client.send(
    ...[frontend.execute(), frontend.query("skipped"), frontend.flush()],
    ...[frontend.parse("skipped"), frontend.copyData("skipped")],
  );
  await world.settle();
  assert.equal(world.pool().waiting.size, 0);
  await client.send(frontend.sync());
  assert.equal((await client.result()).types, "Z");
  world.postgres.wakeAll();
  await holder.result();
  await assertAlive(client);
  client.close();
  holder.close();
});

Deno.test("CancelDesk answers by the same messages wherever what the client sends is cut", async () => {
  const query = frontend.query("select 'query'");
  const extended = [frontend.parse("select 'parse'"), frontend.bind(), frontend.execute()];
  for (const messages of [[query, query], [...extended, frontend.sync(), query]]) {
    const bytes = messages.reduce(
      (all, each) => new Uint8Array([...all, ...each]),
      new Uint8Array(),
    );
    for (let cut = 5; cut < bytes.length; cut += 3) {
      // Else nothing is asked before a message is whole.
      await using world = await oneServer(
        "max_prepared_statements = 0\ncount_session_features = false",
      );
      const holder = await sleeper(world);
      const client = await waiter(world, bytes.subarray(0, cut));
      await world.cancel(client.cancelKey!);
      world.postgres.wakeAll();
      await holder.result();
      await client.send(bytes.subarray(cut));
      const results = [await client.result(), await client.result()];
      assert.deepEqual(results[0]!.types, "EZ", `cut at ${cut}`);
      assert.ok(["EZ", "TDCZ"].includes(results[1]!.types), `cut at ${cut}: ${results[1]!.types}`);
      await assertAlive(client);
      client.close();
      holder.close();
    }
  }
});

Deno.test("CancelDesk cancels a wait once; the client may wait again and be cancelled again", async () => {
  await using world = await oneServer();
  const holder = await sleeper(world);
  const client = await waiter(world, SLEEP);
  for (let i = 0; i < 3; i++) {
    await world.cancel(client.cancelKey!);
    assert.equal((await client.result()).types, "EZ");
    await world.cancel(client.cancelKey!);
    await client.send(SLEEP);
    await world.settle();
    assert.equal(world.pool().waiting.size, 1);
  }
  world.postgres.wakeAll();
  await holder.result();
  await world.settle();
  world.postgres.wakeAll();
  assert.equal((await client.result()).types, "TDCZ");
  client.close();
  holder.close();
});

Deno.test("CancelDesk leaves the others in the queue in their order", async () => {
  await using world = await oneServer();
  const holder = await sleeper(world);
  const clients: TestClient[] = [];
  for (let i = 0; i < 3; i++) {
    const client = await world.login();
    await client.send(frontend.query(`select '${i}'`));
    await world.settle();
    clients.push(client);
  }
  await world.cancel(clients[1]!.cancelKey!);
  assert.equal((await clients[1]!.result()).types, "EZ");
  world.postgres.wakeAll();
  await world.settle();
  const ran = world.postgres.ran.map(({ sql }) => sql).slice(1);
  assert.deepEqual(ran, ["select '0'", "select '2'"]);
  for (const client of [holder, ...clients]) client.close();
});
