/** What runs for a client that is lost is cancelled, and nothing else is. */

import assert from "node:assert/strict";
import {
  assertServedByFirst,
  BEGIN,
  loginAndSend,
  oneServer,
  recovering,
  SLEEP,
  statements,
  theServer,
  WHO,
} from "./client_loss_fixture.ts";

Deno.test("what is being run for a client that vanishes is cancelled, and nothing else", async () => {
  await using world = await oneServer();
  const client = await loginAndSend(world, BEGIN, SLEEP);
  client.close();
  await world.settle();
  assert.equal(world.postgres.canceled.length, 1);
  assert.deepEqual(statements(world), ["begin", "select pg_sleep(1)", "ROLLBACK", "check"]);
  await assertServedByFirst(world);
  const idle = await loginAndSend(world, BEGIN);
  idle.close();
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 1, "there was nothing to cancel");
});

Deno.test("nothing is asked of a server while a cancel request is on its way to it", async () => {
  await using world = await oneServer();
  world.postgres.holdsCancels = true;
  const client = await loginAndSend(world, SLEEP);
  client.close();
  const next = await loginAndSend(world, WHO);
  world.check();
  assert.deepEqual(statements(world), ["select pg_sleep(1)"]);
  assert.deepEqual([theServer(world).state.kind, world.pool().waiting.size], ["recovering", 1]);
  world.postgres.releaseCancels();
  assert.equal((await next.result()).rows[0]?.[0], "1001");
  assert.deepEqual(statements(world).slice(1), ["check", "select session id"]);
  next.close();
});

Deno.test("a server is closed when the cancel request for a lost client was not answered", async () => {
  await using world = await oneServer("cancel_wait_timeout = 1");
  world.postgres.holdsCancels = true;
  const client = await loginAndSend(world, BEGIN, SLEEP);
  client.close();
  await world.advance(1_500);
  assert.equal(world.pool().servers.count, 0);
  assert.ok(world.hasLogged("cancel request was not answered"));
  assert.ok(!statements(world).includes("ROLLBACK"), "its end is the end of the transaction");
});

Deno.test("no cancel request is sent once the query of a lost client has ended by itself", async () => {
  await using world = await oneServer();
  const client = await loginAndSend(world, SLEEP);
  world.network.obstruct(world.postgres.address, "black hole");
  client.close();
  await world.settle();
  assert.equal(world.network.dialCount, 1);
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(theServer(world).state.kind, "idle", "a request without a connection holds nobody");
  const next = await loginAndSend(world, SLEEP);
  world.network.obstruct(world.postgres.address, undefined);
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 0);
  world.postgres.wakeAll();
  assert.equal((await next.result()).types, "TDCZ");
  next.close();
});

Deno.test("a cancel request for a lost client does not reach what a later one lets run to its end", async () => {
  await using world = await oneServer();
  const client = await loginAndSend(world, SLEEP);
  world.network.obstruct(world.postgres.address, "black hole");
  client.close();
  await world.settle();
  world.postgres.wakeAll();
  await world.settle();
  await recovering(world, SLEEP);
  world.network.obstruct(world.postgres.address, undefined);
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 0);
  world.postgres.wakeAll();
  await world.settle();
  await assertServedByFirst(world);
});

Deno.test("a cancel request goes out for a server that was closed before it had recovered", async () => {
  await using world = await oneServer();
  const client = await loginAndSend(world, SLEEP);
  world.network.obstruct(world.postgres.address, "black hole");
  client.close();
  await world.settle();
  theServer(world).discard("test");
  world.network.obstruct(world.postgres.address, undefined);
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 1);
});

Deno.test("a signal that is late hits what Sluice asks, and not the next client", async () => {
  for (const begin of [[], [BEGIN]]) {
    await using world = await oneServer();
    const client = await loginAndSend(world, ...begin, SLEEP);
    world.network.obstruct(world.postgres.address, "black hole");
    client.close();
    await world.settle();
    world.postgres.backends[0]!.isSignalDue = true;
    world.postgres.wakeAll();
    await world.settle();
    assert.equal(world.postgres.backends[0]!.isSignalDue, false);
    await assertServedByFirst(world);
    world.network.obstruct(world.postgres.address, undefined);
  }
});
