/** What signals do to a real process, and the files that say in which state it is. */

import assert from "node:assert/strict";
import { exists } from "../../scripts/cache_dir.ts";
import { eventually, within } from "../support/eventually.ts";
import { runSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { tomlConfig } from "../support/toml_config.ts";
import { startWorld } from "./support/world.ts";

const shared = sharedPostgres();

Deno.test("SIGUSR1 pauses all databases, and SIGUSR2 has them go on", async () => {
  await using world = await startWorld(shared.get(), { pooler: { pool_mode: "transaction" } });
  const client = await world.driver();
  await client.query("select 1");
  world.sluice.signal("SIGUSR1");
  await eventually("no server is left", async () => (await world.backends()).length === 0);
  const answer = client.query("select 2 as two");
  await eventually("the client waits", async () => (await world.pool())["cl_waiting"] === 1);
  world.sluice.signal("SIGUSR1");
  await world.sluice.waitForLog(/WARNING SIGUSR1 is ignored: already suspended\/paused/);
  world.sluice.signal("SIGUSR2");
  assert.deepEqual((await within("the answer", answer)).rows, [{ two: 2 }]);
  world.sluice.signal("SIGUSR2");
  await world.sluice.waitForLog(/WARNING SIGUSR2 is ignored: pooler is not paused\/suspended/);
});

Deno.test("SIGUSR1 and SIGUSR2 are refused while the pooler ends, which goes on", async () => {
  await using world = await startWorld(shared.get());
  const client = await world.connect();
  world.sluice.signal("SIGTERM");
  await world.sluice.waitForLog(/shutting down: when all clients have left/);
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
    world.sluice.signal(signal);
    const refused = new RegExp(`WARNING ${signal} is ignored: pooler is shutting down`);
    await world.sluice.waitForLog(refused);
  }
  client.close();
  assert.equal((await within("the end", world.sluice.exited)).code, 0);
});

for (
  const [first, second] of [
    ["SIGTERM", "SIGTERM"],
    ["SIGTERM", "SIGINT"],
    ["SIGINT", "SIGTERM"],
    ["SIGINT", "SIGINT"],
  ] as const
) {
  Deno.test(`${first} waits, and ${second} after it ends at once`, async () => {
    await using world = await startWorld(shared.get());
    const client = await world.driver();
    await client.query("begin");
    world.sluice.signal(first);
    await world.sluice.waitForLog(/shutting down: when all/);
    assert.equal((await client.query("select 1 as one")).rows[0].one, 1);
    world.sluice.signal(second);
    assert.equal((await within("the end", world.sluice.exited)).code, 0);
    assert.match(world.sluice.log(), /shutting down: at once/);
  });
}

Deno.test("the readiness file is there while clients are taken, and gone as soon as the end begins", async () => {
  await using world = await startWorld(shared.get(), {
    pooler: { readiness_file: "{dir}/ready" },
  });
  const path = `${world.sluice.dir}/ready`;
  await eventually("it is ready", () => exists(path));
  // Between its making and its writing the file is empty.
  const text = `${world.sluice.pid}\n`;
  await eventually("it names the process", async () => await Deno.readTextFile(path) === text);
  const client = await world.connect();
  world.sluice.signal("SIGTERM");
  await eventually("it is not ready any more", async () => !await exists(path));
  assert.doesNotMatch(world.sluice.log(), /process down/);
  client.close();
  assert.equal((await within("the end", world.sluice.exited)).code, 0);
});

Deno.test("a readiness file that cannot be written ends the start, with the reason", async () => {
  const config = tomlConfig({ pooler: { readiness_file: "{dir}/nowhere/ready" } });
  const { code, stderr } = await runSluice({ config });
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot write the readiness file \S+: No such file or directory\n$/);
});
