/** What a client loses with its server is counted, and the client is told if that is wanted. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";

/** The counts of the world's pool. */
function usesOf(world: PoolerWorld): Record<string, number> {
  return Object.fromEntries(world.pool().featureUses);
}

for (const mode of ["transaction", "statement"]) {
  Deno.test(`uses are counted for the client and its pool in ${mode} pooling, and nobody is told unless asked`, async () => {
    await using world = await PoolerWorld.open({ pooler: `pool_mode = "${mode}"` });
    const [one, two] = [await world.login(), await world.login()];
    await one.query("listen a");
    await one.extended("listen b");
    const { notices } = await two.query("set work_mem = 1");
    assert.deepEqual(notices, []);
    assert.deepEqual(usesOf(world), { listen: 2, set: 1 });
    const ofClients = world.clients.map(({ relay }) => Object.fromEntries(relay!.featureUses));
    assert.deepEqual(ofClients, [{ listen: 2 }, { set: 1 }]);
    for (const client of [one, two]) client.close();
  });
}

Deno.test("with warn_session_features the client is told before its ReadyForQuery, once for each answer", async () => {
  await using world = await PoolerWorld.open({ pooler: "warn_session_features = true" });
  const client = await world.login();
  for (const ask of [() => client.query("listen a"), () => client.extended("listen a")]) {
    const { notices, types } = await ask();
    assert.match(types, /NZ$/);
    const [{ message, severity, sqlstate }] = notices as [typeof notices[number]];
    assert.deepEqual([severity, sqlstate], ["WARNING", "01000"]);
    assert.equal(
      message,
      '"listen" does not outlive the transaction in transaction pooling: the next may have another server',
    );
  }
  assert.deepEqual((await client.query("select 1")).types, "TDCZ");
  client.close();
});

Deno.test("what servers report follows its client, and is no loss", async () => {
  for (const reportsSearchPath of [true, false]) {
    await using world = await PoolerWorld.open({ postgres: { reportsSearchPath } });
    const client = await world.login();
    await client.query("set timezone = 'UTC'");
    await client.query("set search_path = a");
    assert.deepEqual(usesOf(world), reportsSearchPath ? {} : { set: 1 });
    client.close();
  }
});

Deno.test("in session pooling nothing is lost, and nothing counted", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'pool_mode = "session"\nwarn_session_features = true',
  });
  const client = await world.login();
  assert.deepEqual((await client.query("listen a")).notices, []);
  assert.deepEqual(usesOf(world), {});
  client.close();
});

Deno.test("without count_session_features and warn_session_features nobody looks", async () => {
  await using world = await PoolerWorld.open({ pooler: "count_session_features = false" });
  const client = await world.login();
  await client.query("listen a");
  assert.deepEqual(usesOf(world), {});
  client.close();
});

Deno.test("uses are seen where prepared statements are not shared, wherever a message is cut", async () => {
  for (const chunking of ["bytes", "random"] as const) {
    await using world = await PoolerWorld.open({
      chunking,
      pooler: "max_prepared_statements = 0\nwarn_session_features = true",
    });
    const client = await world.login();
    await client.send(frontend.parse("listen a", "name"), frontend.sync());
    assert.equal((await client.result()).notices.length, 1);
    assert.equal((await client.query("listen a")).notices.length, 1);
    assert.deepEqual(usesOf(world), { listen: 2 });
    client.close();
  }
});
