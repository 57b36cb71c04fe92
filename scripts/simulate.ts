/**
 * Runs the simulation: `deno task sim --seed 7` one run with its transcript, `--seeds 1000` so many
 * from the seed on (from 1 unless given), on all processors. With `--failures` each seed is run as
 * often as its pooler asks anything of the system, and each time another call fails. A fault is shown
 * with all that is needed to look into it, and ends it all. `--clients 3000` measures a crowd instead.
 */

import { parseArgs } from "@std/flags";
import { SimFailure, simulate } from "../tests/simulation/simulation.ts";
import { simulateCrowd } from "./simulate_crowd.ts";
import type { SeedOrder, SeedReport } from "./simulate_worker.ts";

/** Steps that took longest, of all runs, which are measured again and shown. */
const SHOWN_STEPS = 3;

/** Times that a step is measured again: what is left of the shortest time is our own. */
const REPEATS = 3;

function wholeNumber(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new RangeError(`--${name}: expected a whole number, found "${text}"`);
}

/** Runs the seeds; each worker takes the next one that nobody has. Stops at the first failure. */
function runSeeds(
  { count, hasFailures, seed }: { seed: number; count: number; hasFailures: boolean },
): Promise<SeedReport[]> {
  const reports: SeedReport[] = [];
  let next = seed;
  const workers = Array.from(
    { length: Math.min(navigator.hardwareConcurrency, count) },
    () => new Worker(new URL("./simulate_worker.ts", import.meta.url), { type: "module" }),
  );
  const { promise, reject, resolve } = Promise.withResolvers<SeedReport[]>();
  const goOn = (worker: Worker) => {
    if (next < seed + count) worker.postMessage({ seed: next++, hasFailures } satisfies SeedOrder);
    else if (reports.length === count) resolve(reports);
  };
  for (const worker of workers) {
    worker.onmessage = ({ data }: MessageEvent<SeedReport>) => {
      reports.push(data);
      if (data.failure === undefined) goOn(worker);
      else resolve(reports);
    };
    worker.onerror = (event) => reject(new Error(event.message));
    goOn(worker);
  }
  return promise.finally(() => {
    for (const worker of workers) worker.terminate();
  });
}

/** The longest steps of all, each as long as it takes every time. */
async function longestSteps(reports: readonly SeedReport[]): Promise<string[]> {
  const steps = reports.flatMap(({ longestSteps, seed }) =>
    longestSteps.map((step) => ({ ...step, seed }))
  );
  const longest = steps.sort((a, b) => b.ms - a.ms).slice(0, SHOWN_STEPS);
  const lines: string[] = [];
  for (const { ms, seed, step, what } of longest) {
    let leastMs = ms;
    for (let i = 0; i < REPEATS; i++) {
      const again = await simulate(seed);
      leastMs = Math.min(leastMs, again.longestSteps.find((each) => each.step === step)?.ms ?? 0);
    }
    const least = leastMs === 0
      ? "not among the longest when repeated"
      : `${leastMs.toFixed(1)} ms`;
    lines.push(`  ${ms.toFixed(1)} ms, ${least}: seed ${seed}, step ${step}, ${what}`);
  }
  return lines;
}

/** One run, with its transcript. */
async function runOne(seed: number): Promise<number> {
  try {
    const { readyCount, stepCount } = await simulate(seed, { trace: (line) => console.log(line) });
    console.log(`seed ${seed}: ${stepCount} steps, ${readyCount} answers, no fault`);
    return 0;
  } catch (error) {
    if (!(error instanceof SimFailure)) throw error;
    console.error(error.message);
    return 1;
  }
}

async function main(): Promise<number> {
  const args = parseArgs(Deno.args, {
    boolean: ["failures"],
    string: ["clients", "seed", "seeds"],
  });
  if (args.clients !== undefined) {
    return await simulateCrowd(wholeNumber("clients", args.clients, 0));
  }
  const seed = wholeNumber("seed", args.seed, 1);
  const count = wholeNumber("seeds", args.seeds, args.seed === undefined ? 50 : 1);
  const hasFailures = args.failures;
  if (count === 1 && !hasFailures) return await runOne(seed);
  const startMs = performance.now();
  const reports = await runSeeds({ seed, count, hasFailures });
  const failed = reports.find(({ failure }) => failure !== undefined);
  if (failed !== undefined) {
    console.error(failed.failure);
    console.error(`seed ${failed.seed} failed, after ${reports.length - 1} without a fault`);
    return 1;
  }
  const sum = (of: (report: SeedReport) => number) =>
    reports.reduce((total, report) => total + of(report), 0);
  const steps = sum(({ stepCount }) => stepCount);
  const answers = sum(({ readyCount }) => readyCount);
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
  const runs = sum(({ runCount }) => runCount);
  console.log(
    `${count} seeds from ${seed}: ${runs} runs, ${steps} steps, ${answers} answers, no fault`,
  );
  console.log(`${seconds} s`);
  if (hasFailures) return 0;
  console.log(`the steps that held the thread for longest, once and every time:`);
  console.log((await longestSteps(reports)).join("\n"));
  return 0;
}

if (import.meta.main) Deno.exit(await main());
