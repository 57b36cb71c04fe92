import assert from "node:assert/strict";
import { RequestClock } from "../../../src/client/request_clock.ts";
import { PoolHistograms } from "../../../src/stats/histogram.ts";
import { PoolStats } from "../../../src/stats/pool_stats.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function start() {
  const clock = new FakeClock();
  const stats = new PoolStats();
  const histograms = new PoolHistograms();
  const times = new RequestClock(clock, { stats, histograms });
  return { clock, stats, histograms, times };
}

Deno.test("a query and its transaction are timed from the request to the ReadyForQuery", () => {
  const { clock, histograms, stats, times } = start();
  times.start();
  clock.advance(2);
  times.ready(false, false);
  clock.advance(5);
  times.start();
  clock.advance(4);
  times.ready(true, false);
  assert.deepEqual([stats.queryCount, stats.queryTimeUs], [2, 6_000]);
  assert.deepEqual([stats.xactCount, stats.xactTimeUs], [1, 11_000]);
  assert.deepEqual([histograms.query.count, histograms.query.maxUs], [2, 4_000]);
  assert.deepEqual([histograms.xact.count, histograms.xact.maxUs], [1, 11_000]);
});

Deno.test("every assignment has a wait, also where none was needed", () => {
  const { clock, histograms, stats, times } = start();
  times.waitedNot();
  times.waitedNot();
  const sinceMs = clock.nowMs();
  clock.advance(3);
  times.waited({ sinceMs });
  assert.equal(stats.waitTimeUs, 3_000);
  assert.deepEqual([histograms.wait.count, histograms.wait.maxUs], [3, 3_000]);
  assert.deepEqual(histograms.wait.percentileUs(0.5), 0);
});

Deno.test("what is forgotten is not timed", () => {
  const { clock, histograms, times } = start();
  times.start();
  clock.advance(9);
  times.forget();
  times.start();
  clock.advance(1);
  times.ready(true, false);
  assert.equal(histograms.query.maxUs, 1_000);
  assert.equal(histograms.xact.maxUs, 1_000);
});

Deno.test("a ReadyForQuery that nobody asked for counts, and adds no time", () => {
  const { clock, histograms, stats, times } = start();
  clock.advance(1_000);
  times.ready(true, false);
  assert.deepEqual([stats.queryCount, stats.queryTimeUs, stats.xactTimeUs], [1, 0, 0]);
  assert.deepEqual([histograms.query.maxUs, histograms.xact.maxUs], [0, 0]);
});
