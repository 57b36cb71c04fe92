/** Fifty seeds for the gate; `deno task sim --seed S --seeds N` runs others, or one with a trace. */

import assert from "node:assert/strict";
import { simulate } from "./simulation.ts";

const SEEDS = 50;

Deno.test(`a pooler keeps its promises in ${SEEDS} simulated runs`, async () => {
  let readyCount = 0;
  for (let seed = 1; seed <= SEEDS; seed++) readyCount += (await simulate(seed)).readyCount;
  // A simulation in which nothing is served proves nothing.
  assert.ok(readyCount > 20 * SEEDS, `Only ${readyCount} answers in all`);
});

Deno.test("seeds that once found a fault find none any more", async () => {
  for (const seed of [179, 264]) await simulate(seed);
});

Deno.test("a simulated run is repeated by its seed, step by step", async () => {
  const transcripts: string[][] = [];
  for (let i = 0; i < 2; i++) {
    const lines: string[] = [];
    await simulate(7, (line) => lines.push(line));
    transcripts.push(lines);
  }
  assert.ok(transcripts[0]!.length > 20);
  assert.deepEqual(transcripts[0], transcripts[1]);
});
