/** A thread that runs the seeds it is told, one after the other. */

import type { StepCost } from "../tests/simulation/sim_costs.ts";
import { SimFailure, simulate } from "../tests/simulation/simulation.ts";

/** How one seed went. */
export interface SeedReport {
  readonly seed: number;
  readonly stepCount: number;
  readonly readyCount: number;
  readonly longestSteps: readonly StepCost[];
  /** What is to be shown of it if it failed. */
  readonly failure?: string;
}

/** As much as is used here of what a worker's global object has. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<number>) => void) | null;
  postMessage(report: SeedReport): void;
}

async function run(seed: number): Promise<SeedReport> {
  try {
    const { longestSteps, readyCount, stepCount } = await simulate(seed);
    return { seed, stepCount, readyCount, longestSteps };
  } catch (error) {
    const failure = error instanceof SimFailure ? error.message : String(error);
    return { seed, stepCount: 0, readyCount: 0, longestSteps: [], failure };
  }
}

const scope = globalThis as unknown as WorkerScope;
scope.onmessage = ({ data }) => {
  void run(data).then((report) => scope.postMessage(report));
};
