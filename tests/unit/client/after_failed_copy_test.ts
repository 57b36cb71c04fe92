/** What is left of a COPY that has failed: it neither holds a server nor counts as a query. */

import assert from "node:assert/strict";
import { frontend, join } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const FAILING_COPY = frontend.query("copy t from stdin failing after 1");
const LATE = join(frontend.copyData("late ".repeat(20)), frontend.copyDone());

/** A client whose COPY has failed while half of a CopyData was under way. */
async function failedMidMessage(world: PoolerWorld): Promise<TestClient> {
  const client = await world.login();
  await client.send(FAILING_COPY);
  await client.send(frontend.copyData("bad"), LATE.subarray(0, 40));
  await world.settle();
  return client;
}

for (const writeAnswers of ["at_once", "later"] as const) {
  Deno.test(`Relay gives the server back when late CopyData ends, writes answered ${writeAnswers}`, async () => {
    await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1", writeAnswers });
    const client = await failedMidMessage(world);
    assert.equal(world.pool().servers.active.size, 1, "the message is not at its end");
    await client.send(LATE.subarray(40));
    await world.settle();
    world.check();
    assert.deepEqual([world.pool().servers.active.size, world.pool().servers.idle.length], [0, 1]);
    const other = await world.login();
    assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
    client.close();
    other.close();
  });
}

Deno.test("Relay closes a server in doubt after a COPY that failed in the extended protocol, and the client goes on", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const client = await world.login();
  await client.send(
    frontend.parse("copy t from stdin failing after 1"),
    frontend.bind(),
    frontend.execute(),
    frontend.sync(),
  );
  await world.settle();
  await client.send(frontend.copyData("bad"), frontend.copyDone(), frontend.sync());
  assert.equal((await client.result()).errors[0]?.sqlstate, "22P04");
  await world.settle();
  world.check();
  assert.deepEqual([world.pool().servers.active.size, world.clients[0]?.state.kind], [0, "idle"]);
  const other = await world.login();
  assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  client.close();
  other.close();
});

Deno.test("query_timeout and transaction_timeout do not run for what is left of a failed COPY", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'pool_mode = "session"\nquery_timeout = 2\ntransaction_timeout = 2',
  });
  const client = await failedMidMessage(world);
  await client.send(LATE.subarray(40));
  await world.settle();
  const { relay } = world.clients[0]!;
  assert.deepEqual([relay?.queryStartMs, relay?.transactionStartMs], [undefined, undefined]);
  await world.advance(5_000);
  assert.equal(world.clients[0]?.state.kind, "active");
  await client.result();
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  client.close();
});

Deno.test("query_timeout does not run for a Flush that asks for nothing", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'pool_mode = "session"\nquery_timeout = 2',
  });
  const client = await world.login();
  await client.query("select 1");
  await client.send(frontend.flush());
  await world.advance(5_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  client.close();
});
