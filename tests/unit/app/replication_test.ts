/** Clients that replicate: each with a server of its own, whatever else goes on. */

import assert from "node:assert/strict";
import { backend as say, frontend, join } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { never } from "./operations_fixture.ts";
import { privatePools, processIds, replicate, stream } from "./replication_fixture.ts";

// --- one to one ---

Deno.test("each client that replicates has a server of its own beside the pool, however full that is", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const linked = await world.login();
  await linked.query("begin");
  const clients = [await replicate(world), await replicate(world), await replicate(world, "true")];
  const answers = await Promise.all(clients.map((client) => client.query("select session id")));
  const servers = new Set(answers.map(({ rows }) => rows[0]![0]));
  assert.equal(servers.size, 3);
  assert.equal(world.pool().servers.count, 1);
  await linked.query("commit");
  assert.deepEqual(await linked.query("select session id").then(({ rows }) => rows[0]![0]), "1001");
  world.check();
  for (const client of [linked, ...clients]) client.close();
});

Deno.test("a replication server is linked from the login on, though nothing is asked", async () => {
  await using world = await PoolerWorld.open({
    pooler: "server_idle_timeout = 5\nserver_check_delay = 1\nserver_lifetime = 5",
  });
  const client = await replicate(world);
  assert.equal(world.clients[0]!.state.kind, "active");
  await world.advance(3_600_000);
  assert.deepEqual(processIds(world), [1001]);
  assert.equal(world.postgres.live[0]!.received, "");
  client.close();
});

Deno.test("a client that replicates gets its server though a round comes in between that would have it checked", async () => {
  await using world = await PoolerWorld.open({ pooler: "server_check_delay = 0" });
  const { registry } = world.pooler.pools;
  const addPrivate = registry.addPrivate.bind(registry);
  registry.addPrivate = (pool) => {
    const onServerState = pool.onServerState.bind(pool);
    // As when its turn to be welcomed comes late, since much is done to many.
    pool.onServerState = (server, before) => {
      onServerState(server, before);
      if (before.kind !== "login") return;
      world.clock.advance(1_000);
      world.pooler.janitor.sweep();
    };
    addPrivate(pool);
  };
  const client = await replicate(world);
  assert.deepEqual(await client.query("select 'mine'").then(({ rows }) => rows), [["mine"]]);
  client.close();
});

for (
  const how of ["says goodbye", "says goodbye in a stream", "vanishes", "vanishes in a stream"]
) {
  Deno.test(`the server of a client that ${how} is told goodbye and never used again`, async () => {
    await using world = await PoolerWorld.open();
    const client = how.endsWith("stream") ? await stream(world) : await replicate(world);
    if (how.startsWith("says")) await client.terminate();
    else client.close();
    await world.settle();
    assert.deepEqual(processIds(world), []);
    assert.ok(world.postgres.backends[0]!.isTerminated);
    assert.ok(world.hasLogged("replication client was closed"));
    assert.deepEqual(privatePools(world), []);
    assert.deepEqual(
      world.postgres.ran.map(({ sql }) => sql).filter((sql) => sql !== "start_replication"),
      [],
      "there is no reset",
    );
    const next = await replicate(world);
    assert.deepEqual(processIds(world), [1002]);
    next.close();
  });
}

Deno.test("a client that vanishes in the middle of a message takes its server with it, without a word", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  await client.send(frontend.copyData("x".repeat(100)).subarray(0, 50));
  await world.settle();
  client.close();
  await world.settle();
  assert.deepEqual(processIds(world), []);
  assert.ok(world.hasLogged("client disconnect while server was not ready"));
});

Deno.test("what a vanished client's server still runs is cancelled", async () => {
  await using world = await PoolerWorld.open();
  const client = await replicate(world);
  await client.send(frontend.query("select pg_sleep(9)"));
  await world.settle();
  client.close();
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 1);
});

Deno.test("a client is told what its server said at its end", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  await world.postgres.live[0]!.terminate();
  assert.equal(
    await client.lastWords(),
    "FATAL 57P01 terminating connection due to administrator command",
  );
  await world.settle();
  assert.deepEqual(privatePools(world), []);
});

Deno.test("a client whose server vanishes is told so", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  world.postgres.live[0]!.close();
  assert.match(await client.lastWords(), /^FATAL 08006 server conn crashed/);
});

Deno.test("a client that gives up its login leaves no server and no pool behind", async () => {
  await using world = await PoolerWorld.open({ pooler: "client_login_timeout = 20" });
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(
    frontend.startup({ user: "ada", database: "app", replication: "true" }),
  );
  await world.settle();
  assert.equal(privatePools(world).length, 1);
  client.close();
  await world.advance(1_000);
  assert.deepEqual(privatePools(world), []);
});

// --- streams ---

Deno.test("no limit of time ends a stream, or who waits to begin one", async () => {
  await using world = await PoolerWorld.open({
    pooler: [
      "query_timeout = 1\nclient_idle_timeout = 1\nidle_transaction_timeout = 1",
      "transaction_timeout = 1\nserver_lifetime = 1\nserver_idle_timeout = 1",
      "query_wait_timeout = 1\nclient_login_timeout = 1\nserver_check_delay = 1",
    ].join("\n"),
  });
  const [streaming, idle] = [await stream(world), await replicate(world)];
  const inTransaction = await replicate(world);
  await inTransaction.query("begin");
  for (let hour = 1; hour <= 4; hour++) {
    await world.advance(3_600_000);
    await streaming.send(frontend.copyData(`status ${hour}`));
    await world.postgres.live[0]!.speak(say.copyData(`wal ${hour}`));
    assert.equal((await streaming.receive())?.type, "d");
  }
  await world.settle();
  assert.equal(world.postgres.live[0]!.copied.at(-1), "status 4");
  assert.equal((await idle.query("select 1")).types, "TDCZ");
  assert.equal((await inTransaction.query("commit")).status, "I");
  for (const client of [streaming, idle, inTransaction]) client.close();
});

Deno.test("data goes both ways at once, and CopyDone from both sides leads back to commands", async () => {
  await using world = await PoolerWorld.open({ chunking: "random" });
  const client = await stream(world);
  const backend = world.postgres.live[0]!;
  for (let i = 0; i < 50; i++) {
    await backend.speak(say.copyData(`wal ${i}`));
    await client.send(frontend.copyData(`status ${i}`));
  }
  await client.send(frontend.copyDone());
  const { copied, status, tags, types } = await client.result();
  assert.deepEqual(copied, Array.from({ length: 50 }, (_, i) => `wal ${i}`));
  assert.deepEqual([tags, status, types.slice(-3)], [["START_REPLICATION"], "I", "cCZ"]);
  assert.deepEqual(backend.copied, Array.from({ length: 50 }, (_, i) => `status ${i}`));
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  await client.send(frontend.query("start_replication"), frontend.copyDone());
  assert.equal((await client.result()).types, "WcCZ");
  client.close();
});

Deno.test("a stream of hours counts as no query's time", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  await world.advance(3_600_000);
  await client.send(frontend.copyDone());
  await client.result();
  const { queryCount, queryTimeUs, xactTimeUs } = privatePools(world)[0]!.stats;
  assert.deepEqual([queryCount, queryTimeUs, xactTimeUs], [1, 0, 0]);
  client.close();
});

Deno.test("a stream's server is read no faster than its client reads", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000 });
  const client = await stream(world);
  const wal = join(...Array(1_000).fill(say.copyData("x".repeat(100))));
  const speaking = world.postgres.live[0]!.speak(wal);
  await world.settle();
  const { bytesSent } = privatePools(world)[0]!.stats;
  assert.ok(bytesSent < 30_000, `${bytesSent} bytes were read for a client that reads nothing`);
  for (let i = 0; i < 1_000; i++) assert.equal((await client.receive())?.type, "d");
  await speaking;
  client.close();
});

Deno.test("a stream's client is read no faster than its server reads", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000 });
  const client = await stream(world);
  const toServer = world.network.connections.find(({ address }) => address === "127.0.0.1:5432")!;
  toServer.acceptor.stall();
  const sending = client.send(join(...Array(100).fill(frontend.copyData("x".repeat(1_000)))));
  await world.settle();
  const { bytesReceived } = privatePools(world)[0]!.stats;
  assert.ok(bytesReceived < 30_000, `${bytesReceived} bytes were read for a server that waits`);
  toServer.acceptor.unstall();
  await sending;
  await world.settle();
  assert.equal(world.postgres.live[0]!.copied.length, 100);
  client.close();
});

Deno.test("a cancel request reaches the server of the client that replicates", async () => {
  await using world = await PoolerWorld.open();
  const [other, client] = [await replicate(world), await replicate(world)];
  for (const each of [other, client]) await each.send(frontend.query("select pg_sleep(9)"));
  await world.settle();
  await world.cancel(client.cancelKey!);
  assert.deepEqual((await client.result()).errors.map(({ sqlstate }) => sqlstate), ["57014"]);
  assert.deepEqual(world.postgres.canceled.map(({ processId }) => processId), [1002]);
  assert.equal((await client.query("select 1")).types, "TDCZ", "on the same server");
  assert.deepEqual(processIds(world), [1001, 1002]);
  for (const each of [other, client]) each.close();
});

Deno.test("a cancel request that is not answered dooms nothing of a client that replicates", async () => {
  await using world = await PoolerWorld.open({ pooler: "cancel_wait_timeout = 1" });
  const client = await stream(world);
  world.postgres.holdsCancels = true;
  const canceling = world.cancel(client.cancelKey!);
  await world.advance(2_000);
  await canceling;
  assert.ok(world.hasLogged("successfully sent cancel request"));
  // Else this would wait for as long as the stream goes on.
  await world.pooler.operations.waitClose(undefined, never());
  await world.postgres.live[0]!.speak(say.copyData("wal"));
  assert.equal((await client.receive())?.type, "d");
  client.close();
});
