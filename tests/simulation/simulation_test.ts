/** Fifty seeds for the gate; `deno task sim --seed S --seeds N` runs others, or one with a trace. */

import assert from "node:assert/strict";
import type { FailingCall } from "../support/pooler_world.ts";
import { NthFailure } from "./sim_failures.ts";
import { simulate } from "./simulation.ts";

const SEEDS = 50;

/** Small runs, of which each call fails once. */
const FAILING_SEEDS = [5, 9];

/** No step may hold the thread for longer. */
const LONGEST_STEP_MS = 10;

/** The longest steps are measured again. */
const REPEATED_STEPS = 3;

/** Times that a step is measured before it is believed to take as long as that. */
const REPEATS = 4;

Deno.test(`a pooler keeps its promises in ${SEEDS} simulated runs`, async () => {
  let readyCount = 0;
  const longSteps: { seed: number; step: number; what: string; ms: number }[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await simulate(seed);
    readyCount += result.readyCount;
    for (const { ms, step, what } of result.longestSteps) {
      if (ms > LONGEST_STEP_MS) longSteps.push({ seed, step, what, ms });
    }
  }
  // A simulation in which nothing is served proves nothing.
  assert.ok(readyCount > 20 * SEEDS, `Only ${readyCount} answers in all`);
  longSteps.sort((a, b) => b.ms - a.ms);
  for (const { seed, step, what } of longSteps.slice(0, REPEATED_STEPS)) {
    const isLong = await isLongEachTime(seed, step);
    assert.ok(
      !isLong,
      `${what} holds the thread for more than ${LONGEST_STEP_MS} ms (seed ${seed})`,
    );
  }
});

/** Whether a step is no faster when it is repeated: the collector and others take their time once. */
async function isLongEachTime(seed: number, step: number): Promise<boolean> {
  for (let i = 0; i < REPEATS; i++) {
    const { longestSteps } = await simulate(seed);
    const again = longestSteps.find((each) => each.step === step);
    if (again === undefined || again.ms <= LONGEST_STEP_MS) return false;
  }
  return true;
}

Deno.test("seeds that once found a fault find none any more", async () => {
  for (const seed of [179, 264]) await simulate(seed);
});

Deno.test("a simulated run is repeated by its seed, step by step", async () => {
  const transcripts: string[][] = [];
  for (let i = 0; i < 2; i++) {
    const lines: string[] = [];
    await simulate(7, { trace: (line) => lines.push(line) });
    transcripts.push(lines);
  }
  assert.ok(transcripts[0]!.length > 20);
  assert.deepEqual(transcripts[0], transcripts[1]);
});

Deno.test("whichever call of the pooler fails, it keeps its promises", async () => {
  const failed = new Set<FailingCall>();
  for (const seed of FAILING_SEEDS) {
    for (let n = 1;; n++) {
      const failure = new NthFailure(n);
      await simulate(seed, { failure });
      if (failure.failed === undefined) break;
      failed.add(failure.failed);
    }
  }
  assert.deepEqual([...failed].sort(), ["accept", "connect", "dns", "file", "read", "write"]);
});
