import assert from "node:assert/strict";
import { averages, PoolStats, STAT_NAMES } from "../../../src/stats/pool_stats.ts";

function stats(values: Partial<PoolStats>): PoolStats {
  return Object.assign(new PoolStats(), values);
}

Deno.test("PoolStats starts every counter at 0", () => {
  const fresh = new PoolStats();
  for (const name of STAT_NAMES) assert.equal(fresh[name], 0, name);
  assert.deepEqual(Object.keys(fresh).sort(), [...STAT_NAMES].sort());
});

Deno.test("PoolStats.add() adds every counter", () => {
  const ones = new PoolStats();
  for (const [i, name] of STAT_NAMES.entries()) ones[name] = i + 1;
  const sum = stats(ones);
  sum.add(ones);
  for (const [i, name] of STAT_NAMES.entries()) assert.equal(sum[name], 2 * (i + 1), name);
});

Deno.test("averages() gives counts and bytes per second", () => {
  const before = stats({ xactCount: 10, bytesSent: 1_000, clientLoginCount: 1 });
  const after = stats({ xactCount: 40, bytesSent: 7_000, clientLoginCount: 4 });
  const result = averages(before, after, 60_000);
  assert.equal(result.xactCount, 0, "half a transaction a second is less than one");
  assert.equal(result.bytesSent, 100);
  assert.equal(averages(before, after, 500).xactCount, 60);
});

Deno.test("averages() gives times per event", () => {
  const before = stats({ xactCount: 1, xactTimeUs: 9, queryCount: 5, serverAssignmentCount: 1 });
  const after = stats({
    xactCount: 4,
    xactTimeUs: 309,
    queryCount: 15,
    queryTimeUs: 55,
    serverAssignmentCount: 3,
    waitTimeUs: 7,
  });
  const result = averages(before, after, 60_000);
  assert.equal(result.xactTimeUs, 100);
  assert.equal(result.queryTimeUs, 5);
  assert.equal(result.waitTimeUs, 3);
});

Deno.test("averages() of nothing are 0, not infinite", () => {
  const result = averages(new PoolStats(), stats({ xactTimeUs: 5, bytesSent: 5 }), 0);
  for (const name of STAT_NAMES) assert.equal(result[name], 0, name);
});
