/** Telling a leak from garbage and noise. */

import assert from "node:assert/strict";
import { judgeGrowth, type Sample } from "../../../../scripts/soak/growth.ts";
import { SeededRandom } from "../../../support/seeded_random.ts";

const COUNT = 600;
const TOLERANCE = { share: 0.05, least: 2 };

/** A series of 600 samples, one a second, of a function of the sample's number. */
function series(valueAt: (i: number) => number, count = COUNT): Sample[] {
  return Array.from({ length: count }, (_, i) => ({ atMs: i * 1000, value: valueAt(i) }));
}

/** Noise between -1 and 1, the same in each run. */
function noise(seed: number): () => number {
  const random = new SeededRandom(seed);
  return () => 2 * random.fraction() - 1;
}

function isGrowing(samples: readonly Sample[]): boolean {
  return judgeGrowth(samples, TOLERANCE).isGrowing;
}

Deno.test("judgeGrowth() finds a leak under the saw-tooth of garbage collection and noise", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const next = noise(seed);
    assert.ok(isGrowing(series((i) => 100 + i / 30 + (i % 47) / 3 + 3 * next())), `seed ${seed}`);
  }
});

Deno.test("judgeGrowth() finds a leak that begins late, and one that goes in steps", () => {
  assert.ok(isGrowing(series((i) => 100 + Math.max(0, i - 350) / 10)));
  assert.ok(isGrowing(series((i) => 100 + 2 * Math.floor(i / 40))));
});

Deno.test("judgeGrowth() does not take noise for growth", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const next = noise(seed);
    assert.ok(!isGrowing(series(() => 100 + 15 * next())), `seed ${seed}`);
  }
});

Deno.test("judgeGrowth() does not take a saw-tooth for growth, with teeth up to a fifth of what counts", () => {
  for (const length of [5, 23, 47, 60]) {
    for (let phase = 0; phase < length; phase += 3) {
      const samples = series((i) => 60 + 40 * ((i + phase) % length) / length);
      assert.ok(!isGrowing(samples), `teeth of ${length}, phase ${phase}`);
    }
  }
});

Deno.test("judgeGrowth() forgives what grows in the first half and then stays", () => {
  assert.ok(!isGrowing(series((i) => 50 + 50 * (1 - Math.exp(-i / 60)))));
});

Deno.test("judgeGrowth() forgives one step, outliers, and what falls", () => {
  assert.ok(!isGrowing(series((i) => i % 100 === 99 ? 900 : 100)));
  assert.ok(!isGrowing(series((i) => 200 - i / 10)));
});

Deno.test("judgeGrowth() allows the greater of the share and the least", () => {
  const rising = series((i) => 10 + i / 300);
  assert.ok(!judgeGrowth(rising, { share: 0.01, least: 2 }).isGrowing);
  const { allowed, isGrowing: grows, rise } = judgeGrowth(rising, { share: 0.01, least: 0.5 });
  assert.ok(grows);
  assert.equal(allowed, 0.5);
  assert.ok(Math.abs(rise - 299 / 300) < 0.01, `a rise of ${rise}`);
});

Deno.test("judgeGrowth() says nothing of a series that is too short", () => {
  assert.throws(() => judgeGrowth(series((i) => i, 40), TOLERANCE), /20 samples/);
});
