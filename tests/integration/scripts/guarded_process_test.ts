/** Child processes with a guard. */

import assert from "node:assert/strict";
import { exists } from "../../../scripts/cache_dir.ts";
import { GuardedDir, GuardedProcess, waitUntil } from "../../../scripts/guarded_process.ts";

/** Starts a shell script in a folder of its own. */
async function shell(dir: GuardedDir, script: string): Promise<GuardedProcess> {
  return await GuardedProcess.start({ command: "/bin/sh", args: ["-c", script], dir });
}

Deno.test("GuardedProcess.log() has what the child printed on both streams", async () => {
  await using dir = await GuardedDir.make("sluice-test-", undefined);
  const child = await shell(dir, "echo one; echo two >&2; exit 3");
  assert.equal((await child.exited).code, 3);
  assert.equal(child.log(), "one\ntwo\n");
  assert.equal(child.hasEnded, true);
});

Deno.test("GuardedProcess.stop() ends a child by the signal asked for", async () => {
  await using dir = await GuardedDir.make("sluice-test-", undefined);
  const child = await shell(dir, "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
  assert.ok(await waitUntil(() => child.log() === "up\n", 5_000));
  assert.equal((await child.stop("SIGTERM")).code, 7);
});

Deno.test("GuardedProcess.stop() kills a child that does not end, and says so", async () => {
  await using dir = await GuardedDir.make("sluice-test-", undefined);
  const child = await shell(dir, "trap '' TERM; echo up; while :; do sleep 0.01; done");
  assert.ok(await waitUntil(() => child.log() === "up\n", 5_000));
  await assert.rejects(child.stop("SIGTERM", 50), /did not end within 50 ms after SIGTERM/);
  assert.equal(child.hasEnded, true);
});

Deno.test("GuardedProcess.signal() does nothing to a child that has ended", async () => {
  await using dir = await GuardedDir.make("sluice-test-", undefined);
  const child = await shell(dir, "exit 0");
  await child.exited;
  child.signal("SIGTERM");
});

Deno.test("GuardedDir removes its folder when it is disposed", async () => {
  const dir = await GuardedDir.make("sluice-test-", undefined);
  assert.equal(await exists(dir.path), true);
  await dir[Symbol.asyncDispose]();
  assert.equal(await exists(dir.path), false);
});
