/** COPY through a link: what may end it, and what may not. */

import assert from "node:assert/strict";
import { frontend, join } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

function oneServer(): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: "default_pool_size = 1" });
}

/** Begins a COPY from the client by the simple protocol. */
async function beginCopy(client: TestClient, how = ""): Promise<void> {
  await client.send(frontend.query(`copy t from stdin${how}`));
  assert.equal((await client.receive())?.type, "G");
}

/** The same by the extended protocol; the Sync is one that the server will ignore. */
async function beginExtendedCopy(client: TestClient, how = ""): Promise<void> {
  await client.send(
    ...[frontend.parse(`copy t from stdin${how}`), frontend.bind(), frontend.execute()],
    frontend.sync(),
  );
  for (const type of ["1", "2", "G"]) assert.equal((await client.receive())?.type, type);
}

async function assertFree(world: PoolerWorld, client: TestClient): Promise<void> {
  await world.settle();
  world.check();
  assert.equal(world.pool().servers.active.size, 0);
  const other = await world.login();
  assert.equal((await other.query("select 1")).types, "TDCZ");
  assert.equal((await client.query("select 1")).types, "TDCZ");
  other.close();
  client.close();
}

Deno.test("Relay passes COPY from the client, and gives the server back afterwards", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await beginCopy(client);
  await client.send(frontend.copyData("one"), frontend.copyData("two"));
  await world.settle();
  assert.equal(world.pool().servers.active.size, 1);
  await client.send(frontend.copyDone());
  const { tags, types } = await client.result();
  assert.deepEqual([types, tags], ["CZ", ["COPY 2"]]);
  assert.deepEqual(world.postgres.backends[0]?.copied, ["one", "two"]);
  await assertFree(world, client);
});

Deno.test("Relay passes COPY sent in one breath with its query", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await client.send(
    frontend.query("copy t from stdin"),
    frontend.copyData("one"),
    frontend.copyDone(),
    frontend.query("select 1"),
  );
  assert.equal((await client.result()).types, "GCZ");
  assert.equal((await client.result()).types, "TDCZ");
  await assertFree(world, client);
});

Deno.test("Relay passes CopyFail and the error that answers it", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await beginCopy(client);
  await client.send(frontend.copyFail("changed my mind"));
  assert.equal((await client.result()).types, "EZ");
  await assertFree(world, client);
});

Deno.test("Relay passes COPY to the client whole, however it is cut", async () => {
  await using world = await oneServer();
  const client = await world.login();
  for (const chunking of ["whole", "bytes", "random"] as const) {
    world.network.rules.chunking = chunking;
    const { copied, types } = await client.query("copy t to stdout 20 'data'");
    assert.equal(types, `H${"d".repeat(20)}cCZ`);
    assert.ok(copied.every((text) => text === "data"));
  }
  await assertFree(world, client);
});

Deno.test("Relay counts on no answer to a Sync that a running COPY swallows", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await beginExtendedCopy(client);
  await client.send(frontend.copyData("one"), frontend.sync(), frontend.copyData("two"));
  await client.send(frontend.copyDone(), frontend.sync());
  const { tags, types } = await client.result();
  assert.deepEqual([types, tags], ["CZ", ["COPY 2"]]);
  await assertFree(world, client);
});

Deno.test("Relay counts on no answer to a Sync that was under way when the COPY began", async () => {
  for (const chunking of ["whole", "bytes", "random"] as const) {
    await using world = await oneServer();
    const client = await world.login();
    world.network.rules.chunking = chunking;
    await client.send(
      ...[frontend.parse("copy t from stdin"), frontend.bind(), frontend.execute()],
      ...[frontend.sync(), frontend.copyData("one"), frontend.copyDone(), frontend.sync()],
    );
    assert.equal((await client.result()).types, "12GCZ");
    world.network.rules.chunking = "whole";
    await assertFree(world, client);
  }
});

Deno.test("Relay takes a COPY for over when it fails, and drops what comes too late", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await beginCopy(client, " failing after 1");
  await client.send(frontend.copyData("bad"));
  assert.equal((await client.result()).types, "EZ");
  await world.settle();
  assert.equal(world.pool().servers.active.size, 0);
  await client.send(frontend.copyData("late"), frontend.copyData("later"), frontend.copyDone());
  await world.settle();
  world.check();
  assert.equal(world.clients[0]?.state.kind, "idle");
  await assertFree(world, client);
});

Deno.test("Relay keeps the server while a CopyData is cut in the middle as the COPY fails", async () => {
  const data = frontend.copyData("half of this comes when the COPY has failed");
  for (let cut = 1; cut < data.length; cut++) {
    await using world = await oneServer();
    const client = await world.login();
    await beginCopy(client, " failing after 1");
    await client.send(frontend.copyData("bad"), data.subarray(0, cut));
    assert.equal((await client.result()).types, "EZ");
    const waiting = await world.login();
    await waiting.send(frontend.query("select 'next'"));
    await world.settle();
    world.check();
    // Once the header is known the message is passed on in pieces; before that it is held here.
    assert.equal(world.pool().servers.active.size, cut >= 5 ? 1 : 0, `cut at ${cut}`);
    await client.send(data.subarray(cut), frontend.copyDone());
    assert.deepEqual((await waiting.result()).rows, [["next"]], `cut at ${cut}`);
    waiting.close();
    await assertFree(world, client);
  }
});

Deno.test("Relay closes the server of a client that vanishes in the middle of a late CopyData", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await beginCopy(client, " failing after 1");
  await client.send(frontend.copyData("bad"), frontend.copyData("x".repeat(50)).subarray(0, 20));
  await client.result();
  client.close();
  await world.settle();
  world.check();
  assert.equal(world.pool().servers.count, 0);
});

Deno.test("Relay goes on after a COPY that failed in the extended protocol, up to its Sync", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await client.send(
    ...[frontend.parse("copy t from stdin failing after 1"), frontend.bind(), frontend.execute()],
    frontend.flush(),
  );
  for (const type of ["1", "2", "G"]) assert.equal((await client.receive())?.type, type);
  await client.send(frontend.copyData("bad"));
  assert.equal((await client.receive())?.type, "E");
  await world.settle();
  assert.equal(world.pool().servers.active.size, 1);
  await client.send(frontend.copyData("late"), frontend.copyDone(), frontend.sync());
  assert.equal((await client.result()).types, "Z");
  await assertFree(world, client);
});

Deno.test("Relay keeps a COPY that fails within a transaction from ending the link", async () => {
  await using world = await oneServer();
  const client = await world.login();
  await client.query("begin");
  await beginCopy(client, " failing after 0");
  assert.deepEqual((await client.result()).status, "E");
  await world.settle();
  assert.equal(world.pool().servers.active.size, 1);
  assert.equal((await client.query("rollback")).status, "I");
  await assertFree(world, client);
});

Deno.test("Relay passes a message far bigger than every buffer, in both directions", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000, pooler: "pkt_buf = 512" });
  const client = await world.login();
  const text = "0123456789".repeat(10_000);
  await beginCopy(client);
  const sending = client.send(join(frontend.copyData(text), frontend.copyDone()));
  assert.equal((await client.result()).types, "CZ");
  await sending;
  assert.equal(world.postgres.backends[0]?.copied[0], text);
  const sent = client.send(frontend.query(`select '${text}'`));
  assert.deepEqual((await client.result()).rows, [[text]]);
  await sent;
  client.close();
});

Deno.test("Relay reads no more from a server than its client takes", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000 });
  const client = await world.login();
  await client.send(frontend.query(`copy t to stdout 1000 '${"x".repeat(100)}'`));
  await world.settle();
  const { bytesSent } = world.pool().stats;
  assert.ok(bytesSent < 30_000, `${bytesSent} bytes were read for a client that reads nothing`);
  assert.equal((await client.result()).copied.length, 1_000);
  client.close();
});

Deno.test("Relay reads no more from a client than its server takes", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000 });
  const client = await world.login();
  await beginCopy(client);
  const toServer = world.network.connections.find(({ address }) => address === "127.0.0.1:5432");
  toServer!.acceptor.stall();
  const sending = client.send(join(...Array(100).fill(frontend.copyData("x".repeat(1_000)))));
  await world.settle();
  const { bytesReceived } = world.pool().stats;
  assert.ok(
    bytesReceived < 30_000,
    `${bytesReceived} bytes were read for a server that stands still`,
  );
  toServer!.acceptor.unstall();
  await sending;
  await client.send(frontend.copyDone());
  assert.deepEqual((await client.result()).tags, ["COPY 100"]);
  client.close();
});
