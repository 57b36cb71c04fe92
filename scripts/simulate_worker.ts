/** A thread that runs the seeds it is told, one after the other. */

import type { StepCost } from "../tests/simulation/sim_costs.ts";
import { NthFailure } from "../tests/simulation/sim_failures.ts";
import { SimFailure, type SimResult, simulate } from "../tests/simulation/simulation.ts";

/** What a worker is told. */
export interface SeedOrder {
  readonly seed: number;
  /** Whether each call of the pooler is to fail once, in a run of its own. */
  readonly hasFailures: boolean;
}

/** How one seed went. */
export interface SeedReport {
  readonly seed: number;
  readonly runCount: number;
  readonly stepCount: number;
  readonly readyCount: number;
  readonly longestSteps: readonly StepCost[];
  /** What is to be shown of it if it failed. */
  readonly failure?: string;
}

/** As much as is used here of what a worker's global object has. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<SeedOrder>) => void) | null;
  postMessage(report: SeedReport): void;
}

async function run(order: SeedOrder): Promise<SeedReport> {
  const { seed } = order;
  try {
    return order.hasFailures ? await runFailures(seed) : reportOf(seed, [await simulate(seed)]);
  } catch (error) {
    const failure = error instanceof SimFailure ? error.message : String(error);
    return { ...reportOf(seed, []), failure };
  }
}

async function runFailures(seed: number): Promise<SeedReport> {
  const results: SimResult[] = [];
  for (;;) {
    const failure = new NthFailure(results.length + 1);
    results.push(await simulate(seed, { failure }));
    if (failure.failed === undefined) return reportOf(seed, results);
  }
}

function reportOf(seed: number, results: readonly SimResult[]): SeedReport {
  const sum = (of: (result: SimResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  return {
    seed,
    runCount: results.length,
    stepCount: sum(({ stepCount }) => stepCount),
    readyCount: sum(({ readyCount }) => readyCount),
    // Of runs that differ it would not be known which one to repeat.
    longestSteps: results.length === 1 ? results[0]!.longestSteps : [],
  };
}

const scope = globalThis as unknown as WorkerScope;
scope.onmessage = ({ data }) => {
  void run(data).then((report) => scope.postMessage(report));
};
