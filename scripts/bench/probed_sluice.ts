/** Starts `probe.ts`, and measures from outside what it cannot measure from inside. */

import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { makeTempDir, removeTree } from "../cache_dir.ts";
import { percentile } from "../percentiles.ts";

/** Between two echoes. */
const ECHO_PAUSE_MS = 2;

/** A pooler whose runtime can be looked at. */
export interface ProbedSluice extends AsyncDisposable {
  readonly port: number;
  /** Lateness of timers and length of an echo, p99.9 in ms, over a time. */
  measure(durationMs: number): Promise<{ timer: number; echo: number }>;
}

/** Starts it with a configuration. */
export async function startProbedSluice(config: string): Promise<ProbedSluice> {
  const dir = await makeTempDir("probe-");
  const configPath = join(dir, "config.toml");
  await Deno.writeTextFile(configPath, config);
  const script = fileURLToPath(new URL("probe.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--v8-flags=--max-semi-space-size=1", script, configPath],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const stdin = child.stdin.getWriter();
  const lines = createInterface({ input: Readable.fromWeb(child.stdout as never) })
    [Symbol.asyncIterator]();
  const [port = NaN, echoPort = NaN] = String((await lines.next()).value).split(" ").map(Number);
  return {
    port,
    async measure(durationMs) {
      await stdin.write(new TextEncoder().encode(`${durationMs}\n`));
      const echo = await echoMs(echoPort, durationMs);
      return { timer: Number((await lines.next()).value), echo };
    },
    async [Symbol.asyncDispose]() {
      await stdin.close();
      await child.status;
      await removeTree(dir);
    },
  };
}

async function echoMs(port: number, durationMs: number): Promise<number> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const times: number[] = [];
  const buffer = new Uint8Array(8);
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    const beginMs = performance.now();
    await conn.write(buffer);
    await conn.read(buffer);
    times.push(performance.now() - beginMs);
    await new Promise((resolve) => setTimeout(resolve, ECHO_PAUSE_MS));
  }
  return percentile(times.sort((a, b) => a - b), 0.999);
}
