import assert from "node:assert/strict";
import fc from "fast-check";
import { Histogram } from "../../../src/stats/histogram.ts";

Deno.test("Histogram of nothing has zeros", () => {
  const histogram = new Histogram();
  assert.deepEqual([histogram.count, histogram.maxUs, histogram.percentileUs(0.5)], [0, 0, 0]);
});

Deno.test("Histogram knows short times exactly", () => {
  const histogram = new Histogram();
  for (const us of [0, 1, 15, 15, 16]) histogram.record(us);
  assert.deepEqual([0, 0.2, 0.4, 0.6, 1].map((share) => histogram.percentileUs(share)), [
    0,
    0,
    1,
    15,
    16,
  ]);
});

Deno.test("Histogram.percentileUs() is never too low, and at most a sixteenth too high", () => {
  const times = fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 50 });
  fc.assert(fc.property(times, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
    const histogram = new Histogram();
    for (const value of values) histogram.record(value);
    const sorted = values.toSorted((a, b) => a - b);
    const exact = sorted[Math.max(1, Math.ceil(share * values.length)) - 1]!;
    const shown = histogram.percentileUs(share);
    assert.ok(shown >= exact && shown <= exact * (1 + 1 / 16), `${shown} for ${exact}`);
    assert.equal(histogram.maxUs, sorted.at(-1));
  }));
});

Deno.test("Histogram keeps what takes over an hour in its last bucket, and the longest exactly", () => {
  const histogram = new Histogram();
  for (const us of [10, 2 ** 32, 10 ** 12]) histogram.record(us);
  assert.deepEqual([histogram.percentileUs(0.3), histogram.percentileUs(1)], [10, 10 ** 12]);
  assert.equal(histogram.count, 3);
});
