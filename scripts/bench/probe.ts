/**
 * Sluice in a process of its own, together with what measures the runtime it shares: how late timers
 * of the pooler's clock are, of which there are no others, and an echo over the runtime's own sockets. Started by `probed_sluice.ts`.
 *
 * Argument: configuration file. Prints a line with two ports, the pooler's and the echo's. For each
 * line of standard input, which is a time in ms, it prints the p99.9 of the timers' lateness in ms.
 */

import { createInterface } from "node:readline";
import process from "node:process";
import { systemRandom } from "../../src/base/random.ts";
import { type Clock, HeldClock, systemClock } from "../../src/base/clock.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Logger } from "../../src/log/logger.ts";
import { openEngine } from "../../src/net/engine.ts";
import { SystemResolver } from "../../src/net/name_resolver.ts";
import { Pooler } from "../../src/app/pooler.ts";
import { percentile } from "../percentiles.ts";

/** Between two looks at the timers. */
const TIMER_MS = 5;

/** Starts the pooler on a clock; answers its port. */
async function startPooler(configPath: string, clock: HeldClock): Promise<number> {
  const config = await loadConfig(configPath, {
    readTextFile: (path) => Deno.readTextFile(path),
    env: () => undefined,
  });
  const random = systemRandom();
  const fail = (error: unknown) => console.error(error);
  const engine = await openEngine(config.settings.ioEngine, {
    clock,
    random,
    groupIdOf: () => 0,
    onAcceptError: fail,
    onError: fail,
  });
  const loaded = { config, userList: new Map() };
  const log = new Logger({ clock, processId: Deno.pid, sink: { write: () => {} }, verbosity: 0 });
  const pooler = new Pooler({
    clock,
    random,
    log,
    network: engine.network,
    resolver: new SystemResolver(),
    engine: engine.name,
    loaded,
    load: () => Promise.resolve(loaded),
    ownUid: undefined,
    memory: () => Deno.memoryUsage(),
  });
  const [address] = await pooler.start();
  if (address === undefined) throw new Error("The pooler listens nowhere");
  return address.port;
}

async function echo(listener: Deno.Listener): Promise<void> {
  for await (const conn of listener) {
    await conn.readable.pipeTo(conn.writable);
  }
}

async function timerLateness(durationMs: number, clock: Clock): Promise<number> {
  const late: number[] = [];
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    const dueMs = performance.now() + TIMER_MS;
    await new Promise<void>((resolve) => clock.startTimer(TIMER_MS, resolve));
    late.push(performance.now() - dueMs);
  }
  return percentile(late.sort((a, b) => a - b), 0.999);
}

if (import.meta.main) {
  const [configPath = ""] = Deno.args;
  const clock = new HeldClock(systemClock());
  const poolerPort = await startPooler(configPath, clock);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void echo(listener);
  console.log(`${poolerPort} ${listener.addr.port}`);
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(String(await timerLateness(Number(line), clock)));
  }
  Deno.exit(0);
}
