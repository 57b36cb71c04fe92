/** Percentiles and medians. */

import assert from "node:assert/strict";
import { median, percentile } from "../../../scripts/percentiles.ts";

Deno.test("percentile() is the nearest rank, from the first value to the last", () => {
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.equal(percentile(sorted, 0.5), 50);
  assert.equal(percentile(sorted, 0.99), 99);
  assert.equal(percentile(sorted, 0), 1);
  assert.equal(percentile(sorted, 1), 100);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

Deno.test("median() of an even count is the mean of the two in the middle, in any order", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});
