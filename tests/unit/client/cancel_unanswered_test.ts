/** A cancel request that PostgreSQL does not answer may still arrive: nobody else may be there. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";

Deno.test("a server is closed when a cancel request to it was not answered in cancel_wait_timeout", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\ncancel_wait_timeout = 1",
  });
  world.postgres.holdsCancels = true;
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const canceling = world.cancel(client.cancelKey!);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  const other = await world.login();
  await other.send(frontend.query("select session id"));
  await world.settle();
  assert.deepEqual(
    [world.pool().servers.beingCanceled.size, world.pool().waiting.size],
    [1, 1],
    "the server is given to nobody while the request is under way",
  );
  await world.advance(1_500);
  await canceling;
  assert.equal((await other.result()).rows[0]?.[0], "1002", "another backend");
  assert.ok(world.hasLogged("cancel request was not answered"));
  client.close();
  other.close();
});

Deno.test("a server that is still linked when its cancel request was not answered goes with the link", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\ncancel_wait_timeout = 1",
  });
  world.postgres.holdsCancels = true;
  const client = await world.login();
  await client.query("begin");
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const canceling = world.cancel(client.cancelKey!);
  assert.equal((await client.result()).status, "E");
  await world.advance(1_500);
  await canceling;
  assert.equal(world.pool().servers.active.size, 1);
  await client.query("rollback");
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  client.close();
});

Deno.test("a server goes to the next client when PostgreSQL has ended the cancel request", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  world.postgres.holdsCancels = true;
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  const canceling = world.cancel(client.cancelKey!);
  await client.result();
  const other = await world.login();
  await other.send(frontend.query("select session id"));
  await world.settle();
  world.postgres.releaseCancels();
  assert.equal((await other.result()).rows[0]?.[0], "1001", "the same backend");
  await canceling;
  client.close();
  other.close();
});

for (const what of ["a cancel request", "what a dropped client was running"]) {
  Deno.test(`${what} that PostgreSQL does not answer does not hold up the end`, async () => {
    await using world = await PoolerWorld.open({
      pooler: "default_pool_size = 1\ncancel_wait_timeout = 0\nserver_connect_timeout = 0",
    });
    const client = await world.login();
    await client.send(frontend.query("select pg_sleep(1)"));
    await world.settle();
    const { address } = world.postgres;
    world.network.obstruct(address, "black hole");
    if (what === "a cancel request") {
      // The second one waits for its turn.
      for (let i = 0; i < 2; i++) {
        const requester = await world.connect();
        await requester.send(frontend.cancelRequest(client.cancelKey!));
      }
    } else {
      world.pooler.operations.kill(undefined);
    }
    await world.settle();
    let hasStopped = false;
    void world.pooler.stopped.then(() => hasStopped = true);
    world.pooler.shutdown("immediate");
    await world.advance(1_000);
    assert.ok(hasStopped);
  });
}
