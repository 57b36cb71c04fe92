/** The demo, from beginning to end. */

import assert from "node:assert/strict";
import { waitUntil } from "../../../scripts/guarded_process.ts";
import { freePort } from "../../../scripts/postgres_fixture.ts";
import { projectDir } from "../../../scripts/staging.ts";

/** Starts the demo. */
function demo(...args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "scripts/demo.ts", ...args],
    cwd: projectDir(),
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function outcome(child: Deno.ChildProcess) {
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("demo --once shows 200 clients on five servers and ends well", async () => {
  const port = freePort();
  const { code, stdout, stderr } = await outcome(
    demo("--once", "--seconds", "1", "--port", String(port)),
  );
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /clients +200\n/);
  assert.match(stdout, /server connections used +5\n/);
  assert.match(stdout, /transactions +[1-9]\d*\n/);
  for (const name of ["throughput", "p50", "p95", "p99"]) assert.ok(stdout.includes(name), name);
});

Deno.test("demo says plainly that its port is busy, and how to choose another", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const { code, stderr } = await outcome(demo("--once", "--port", String(port)));
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`Port ${port} on 127\\.0\\.0\\.1 is in use`));
  assert.match(stderr, /--port \d+/);
});

Deno.test("demo stays up after the workload until Ctrl-C, then takes everything down", async () => {
  const port = freePort();
  const child = demo("--seconds", "1", "--port", String(port));
  let stdout = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) stdout += decoder.decode(chunk);
  })();
  let hasEnded = false;
  const ending = child.status.then(() => hasEnded = true);
  const isUp = await waitUntil(
    () => hasEnded || stdout.includes("Ctrl-C ends the demo"),
    60_000,
  );
  if (!hasEnded) child.kill("SIGINT");
  await ending;
  const [{ code }] = await Promise.all([child.status, reading, child.stderr.cancel()]);
  assert.ok(isUp, stdout);
  assert.equal(code, 0);
  assert.ok(stdout.includes(`psql postgres://demo:demo@127.0.0.1:${port}/demo`), stdout);
  await assert.rejects(
    Deno.connect({ hostname: "127.0.0.1", port }),
    Deno.errors.ConnectionRefused,
  );
});
