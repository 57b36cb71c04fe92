/** A client that leaves while it waits for a server is noticed, and nothing of it is run. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";

/** Longer than a round of the janitor, which looks after those who wait. */
const A_ROUND_MS = 1_000;

Deno.test("a client that leaves while it waits is ended, and its query is never run", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const busy = await world.login();
  await busy.send(frontend.query("select pg_sleep(1)"));
  const impatient = await world.login();
  await impatient.send(frontend.query("select 'too late'"));
  await world.settle();
  assert.equal(world.pool().waiting.size, 1);
  impatient.close();
  await world.advance(A_ROUND_MS);
  world.check();
  assert.deepEqual([world.pool().waiting.size, world.pooler.clients.count], [0, 1]);
  assert.ok(world.hasLogged("client unexpected eof"));
  world.postgres.wakeAll();
  await busy.result();
  await world.settle();
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ["select pg_sleep(1)"]);
  busy.close();
});

Deno.test("a client that leaves while it waits for the first server is ended", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  assert.equal(world.pool().loggingIn.size, 1);
  client.close();
  await world.advance(A_ROUND_MS);
  world.check();
  assert.deepEqual([world.pool().loggingIn.size, world.pooler.clients.count], [0, 0]);
  world.network.obstruct(world.postgres.address, undefined);
});

Deno.test("a client that is watched while it waits gets its answer, whatever it sends meanwhile", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const busy = await world.login();
  await busy.send(frontend.query("select pg_sleep(1)"));
  const patient = await world.login();
  await patient.send(frontend.query("select 'first'"));
  await world.advance(A_ROUND_MS);
  await patient.send(frontend.query("select 'second'"));
  await world.advance(A_ROUND_MS);
  world.postgres.wakeAll();
  assert.deepEqual((await patient.result()).rows, [["first"]]);
  assert.deepEqual((await patient.result()).rows, [["second"]]);
  patient.close();
  busy.close();
});
