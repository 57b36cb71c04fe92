/** `sluice console` in front of a pooler in memory. */

import assert from "node:assert/strict";
import { ConsoleError } from "../../../src/app/console_client.ts";
import { consoleCommand } from "../../../src/app/console_command.ts";
import { defaultSettings } from "../../../src/config/validate.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

async function open(): Promise<PoolerWorld> {
  const world = await PoolerWorld.open({ pooler: 'unix_socket_dir = "/run/sluice"' });
  // The one that the pooler runs as.
  world.network.peerUid = 1000;
  return world;
}

async function run(world: PoolerWorld, command: string): Promise<string[]> {
  return await consoleCommand({
    settings: defaultSettings({ unixSocketDir: "/run/sluice" }),
    command,
    network: world.network,
    clock: world.clock,
    streamOptions: { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP },
    limitMs: 0,
  });
}

Deno.test("consoleCommand() gives names and rows with tabs between, and nothing of NULL", async () => {
  await using world = await open();
  assert.deepEqual(await run(world, "SHOW STATE"), [
    "key\tvalue",
    "active\tyes",
    "paused\tno",
    "suspended\tno",
  ]);
  assert.deepEqual(await run(world, "SHOW CONFIG WHERE key = 'auth_user'"), [
    "key\tvalue\tdefault\tchangeable",
    "auth_user\t\t\tyes",
  ]);
  assert.deepEqual(await run(world, "SHOW CLIENTS WHERE user = 'nobody'"), []);
});

Deno.test("nothing that a client says makes a line or a column of its own, or steers the terminal", async () => {
  await using world = await open();
  const client = await world.login({
    parameters: { application_name: "a\tb\nC\tforged\x1b[2J\u2028\u0085" },
  });
  const lines = await run(world, "SHOW CLIENTS WHERE user = 'ada'");
  assert.equal(lines.length, 2);
  const [names, row] = lines.map((line) => line.split("\t"));
  assert.equal(row!.length, names!.length);
  // deno-lint-ignore no-control-regex -- they are what is looked for
  assert.ok(!/[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028]/.test(lines[1]!), JSON.stringify(lines[1]));
  client.close();
});

Deno.test("consoleCommand() waits as long as the command does", async () => {
  await using world = await open();
  const client = await world.login();
  await client.query("begin");
  let hasAnswer = false;
  const pausing = run(world, "PAUSE").then(() => hasAnswer = true);
  await world.advance(60_000);
  assert.equal(hasAnswer, false);
  await client.query("commit");
  await pausing;
  assert.equal(world.pooler.operations.mode, "paused");
  client.close();
});

Deno.test("consoleCommand() throws what the console refuses, and that nobody is there", async () => {
  await using world = await open();
  await assert.rejects(
    run(world, "SHOW NOTHING"),
    (error) =>
      error instanceof ConsoleError && /^invalid command 'SHOW NOTHING'/.test(error.message),
  );
  const settings = defaultSettings({ unixSocketDir: "" });
  await assert.rejects(
    consoleCommand({
      settings,
      command: "RELOAD",
      network: world.network,
      clock: world.clock,
      streamOptions: { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP },
      limitMs: 0,
    }),
    /unix_socket_dir is empty/,
  );
});
