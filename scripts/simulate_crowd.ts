/**
 * What a crowd of clients costs: each scenario once, and again where a step held the thread for
 * long, since only what it takes each time is Sluice's own.
 */

import assert from "node:assert/strict";
import type { CrowdStep } from "../tests/simulation/crowd.ts";
import {
  CROWD_SCENARIOS,
  type CrowdScenario,
  runScenario,
} from "../tests/simulation/crowd_scenarios.ts";

/** No step is to hold the thread for longer. */
const LONG_MS = 10;

/** Times that a long step is measured again, at most. */
const MAX_REPEATS = 5;

/** Each step as long as it takes every time: they are the same each time. */
function leastOf(steps: readonly CrowdStep[], again: readonly CrowdStep[]): CrowdStep[] {
  assert.equal(again.length, steps.length, "a crowd's run is repeated step by step");
  return steps.map((step, at) => again[at]!.ms < step.ms ? again[at]! : step);
}

function longest(steps: readonly CrowdStep[]): CrowdStep {
  return steps.reduce((a, b) => a.ms >= b.ms ? a : b);
}

/** What each step of a scenario takes. */
async function measure(scenario: CrowdScenario, clientCount: number): Promise<CrowdStep[]> {
  let steps = [...await runScenario(scenario, clientCount)];
  for (let i = 0; i < MAX_REPEATS && longest(steps).ms > LONG_MS; i++) {
    steps = leastOf(steps, await runScenario(scenario, clientCount));
  }
  return steps;
}

function report(steps: readonly CrowdStep[]): string {
  const { ms, what } = longest(steps);
  const touched = steps.reduce((most, { touchedCount }) => Math.max(most, touchedCount), 0);
  const long = steps.filter((step) => step.ms > LONG_MS)
    .map((step) => `\n    ${step.ms.toFixed(1)} ms EACH TIME: ${step.what}`);
  return `${ms.toFixed(1)} ms at most (${what}), ${touched} connections, ` +
    `${steps.length} steps${long.join("")}`;
}

/** Runs them all. Returns the exit status: 1 if a step is too long each time. */
export async function simulateCrowd(clientCount: number): Promise<number> {
  let isLong = false;
  for (const scenario of CROWD_SCENARIOS) {
    const steps = await measure(scenario, clientCount);
    isLong ||= longest(steps).ms > LONG_MS;
    console.log(`${scenario.name}: ${report(steps)}`);
  }
  return isLong ? 1 : 0;
}
