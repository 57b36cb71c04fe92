/** The scenario of far more clients than servers. */

import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { pingConsole } from "../soak/ping_console.ts";
import type { OverloadResult } from "./overload_clients.ts";
import { PASSWORD, type RunningPooler, startPooler, USER } from "./pooler.ts";
import type { PoolerKind, PoolerSettings } from "./pooler.ts";
import { pssBytes } from "./process_stats.ts";
import { poolerEachTime } from "./scenario.ts";
import type { BenchContext, Measurement, Scenario } from "./scenario.ts";

const FEW = 100;
const MANY = 5_000;
const POOL_SIZE = 10;

/** Between two looks at the pooler's memory. */
const LOOK_MS = 1000;

/** Throughput, fairness, memory and the console under it. */
export const overload: Scenario = {
  name: "overload",
  title: `overload: ${MANY} clients and ${FEW} ask without a pause, ${POOL_SIZE} servers`,
  figures: [
    { name: "few", unit: `transactions/s of ${FEW} clients`, digits: 0 },
    { name: "many", unit: `transactions/s of ${MANY} clients`, digits: 0 },
    {
      name: "kept",
      unit: `of the throughput of ${FEW}`,
      digits: 3,
      goal: { of: "value", is: "at least", bound: 0.9 },
    },
    {
      name: "fairness",
      unit: "longest wait ÷ median",
      digits: 2,
      goal: { of: "value", is: "at most", bound: 3 },
    },
    { name: "memory", unit: "KB/client, most (growth of Pss)", digits: 1 },
    {
      name: "console",
      unit: "longest answer of the console, ms",
      digits: 1,
      goal: { of: "value", is: "at most", bound: 100 },
    },
  ],
  start(kind, context) {
    return poolerEachTime(() => measureOverload(kind, context));
  },
};

async function measureOverload(
  kind: PoolerKind,
  { seconds, server, warmUpSeconds }: BenchContext,
): Promise<Measurement> {
  const settings: PoolerSettings = {
    ...server,
    poolMode: "transaction",
    authType: "trust",
    poolSize: POOL_SIZE,
  };
  const times = { seconds, warmUpSeconds };
  const few = await loadPooler(kind, settings, { ...times, clients: FEW });
  const many = await loadPooler(kind, settings, { ...times, clients: MANY });
  return {
    few: few.transactionsPerSecond,
    many: many.transactionsPerSecond,
    kept: many.transactionsPerSecond / few.transactionsPerSecond,
    fairness: many.maxMs / many.medianMs,
    memory: many.grownBytes / MANY / 1024,
    console: many.consoleMs,
  };
}

/** How much load, and for how long. */
type Load = Pick<BenchContext, "seconds" | "warmUpSeconds"> & { readonly clients: number };

/** What one load gave. */
interface Loaded extends OverloadResult {
  /** By how much the pooler's memory had grown, at most, since before the clients. */
  readonly grownBytes: number;
  /** The longest answer of the console. */
  readonly consoleMs: number;
}

async function loadPooler(
  kind: PoolerKind,
  settings: PoolerSettings,
  load: Load,
): Promise<Loaded> {
  await using pooler = await startPooler(kind, settings);
  const before = await pssBytes(pooler.pid);
  const child = startClients(pooler, load);
  const lines = createInterface({ input: Readable.fromWeb(child.stdout as never) });
  let result: OverloadResult | undefined;
  let most = before;
  let consoleMs = 0;
  let isMeasuring = false;
  using _looking = every(LOOK_MS, async () => {
    most = Math.max(most, await pssBytes(pooler.pid));
  });
  const target = { host: "127.0.0.1", port: pooler.port, user: USER, password: PASSWORD };
  using _pinging = pingConsole(target, (tookMs) => {
    if (isMeasuring) consoleMs = Math.max(consoleMs, tookMs);
  });
  for await (const line of lines) {
    if (line === "measuring") isMeasuring = true;
    if (line.startsWith("{")) result = JSON.parse(line) as OverloadResult;
  }
  const { success } = await child.status;
  if (!success || result === undefined) throw new Error("The clients ended early");
  if (consoleMs === 0) throw new Error("The console did not answer");
  return { ...result, grownBytes: most - before, consoleMs };
}

function startClients({ port }: RunningPooler, load: Load): Deno.ChildProcess {
  const script = fileURLToPath(new URL("overload_clients.ts", import.meta.url));
  const { clients, seconds, warmUpSeconds } = load;
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--allow-net=127.0.0.1", script],
      ...[port, clients, warmUpSeconds, seconds].map(String),
      USER,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** Does something again and again until disposed. */
function every(ms: number, act: () => Promise<void>): Disposable {
  const timer = setInterval(() => void act(), ms);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
