import assert from "node:assert/strict";
import { LoopLag } from "../../../src/stats/loop_lag.ts";
import {
  type Duty,
  Janitor,
  MORE,
  REST_AFTER_MS,
  REST_INTERVAL_MS,
  SWEEP_INTERVAL_MS,
  type Traffic,
} from "../../../src/maintenance/janitor.ts";
import { FakeClock } from "../../support/fake_clock.ts";

/** A duty that notes when it was run, after the start. */
function recorder(clock: FakeClock, intervalMs = 0) {
  const startMs = clock.nowMs();
  const runs: number[] = [];
  const duty: Duty = {
    intervalMs: () => intervalMs,
    run: (nowMs) => void runs.push(nowMs - startMs),
  };
  return { runs, duty };
}

function janitor(clock: FakeClock, ...duties: readonly Duty[]) {
  return janitorBeside({ areAllIdle: false, changeCount: 0 }, clock, duties);
}

function janitorBeside(traffic: Traffic, clock: FakeClock, duties: readonly Duty[]) {
  const errors: unknown[] = [];
  const gaps: number[] = [];
  const loopLag = new LoopLag(clock);
  const onError = (error: unknown) => errors.push(error);
  return {
    errors,
    gaps,
    lag: loopLag.histogram,
    janitor: new Janitor(duties, {
      clock,
      loopLag,
      onError,
      onGap: (lateMs) => gaps.push(lateMs),
      traffic,
    }),
  };
}

Deno.test("Janitor.run() sweeps at once and then every third of a second", async () => {
  const clock = new FakeClock();
  const { duty, runs } = recorder(clock);
  const stop = new AbortController();
  const running = janitor(clock, duty).janitor.run(stop.signal);
  await clock.advanceAsync(1_000);
  assert.deepEqual(runs, [0, 333, 666, 999]);
  assert.equal(SWEEP_INTERVAL_MS, 333);
  stop.abort();
  await running;
});

Deno.test("Janitor.run() sweeps half as often when nothing has happened for ten seconds", async () => {
  const clock = new FakeClock();
  const { duty, runs } = recorder(clock);
  const traffic = { areAllIdle: true, changeCount: 7 };
  const { janitor: one, lag } = janitorBeside(traffic, clock, [duty]);
  const pauses = (): number[] => {
    const times = runs.splice(0, runs.length - 1);
    return [...times, runs[0]!].slice(1).map((ms, i) => ms - times[i]!);
  };
  const stop = new AbortController();
  const running = one.run(stop.signal);
  await clock.advanceAsync(REST_AFTER_MS + SWEEP_INTERVAL_MS);
  assert.equal(pauses().every((ms) => ms === SWEEP_INTERVAL_MS), true, "at first");
  await clock.advanceAsync(2 * REST_INTERVAL_MS);
  assert.deepEqual(pauses(), [REST_INTERVAL_MS, REST_INTERVAL_MS]);
  traffic.areAllIdle = false;
  await clock.advanceAsync(REST_INTERVAL_MS + SWEEP_INTERVAL_MS);
  assert.deepEqual(pauses(), [REST_INTERVAL_MS, SWEEP_INTERVAL_MS], "somebody asks");
  traffic.areAllIdle = true;
  await clock.advanceAsync(REST_AFTER_MS - SWEEP_INTERVAL_MS);
  assert.equal(pauses().every((ms) => ms === SWEEP_INTERVAL_MS), true, "somebody was answered");
  await clock.advanceAsync(2 * REST_INTERVAL_MS);
  assert.equal(pauses().at(-1), REST_INTERVAL_MS);
  traffic.changeCount += 1;
  await clock.advanceAsync(REST_INTERVAL_MS + SWEEP_INTERVAL_MS);
  assert.deepEqual(pauses(), [REST_INTERVAL_MS, SWEEP_INTERVAL_MS], "between two rounds");
  assert.equal(lag.maxUs, 0, "no round was late");
  stop.abort();
  await running;
});

Deno.test("Janitor.run() lets what has come be seen before a round that is late", async () => {
  const clock = new FakeClock();
  const { duty, runs } = recorder(clock);
  const stop = new AbortController();
  const running = janitor(clock, duty).janitor.run(stop.signal);
  await clock.advanceAsync(0);
  clock.stall(433);
  await clock.advanceAsync(0);
  assert.deepEqual(runs, [0, 433], "a little late");
  clock.stall(5_000);
  await clock.advanceAsync(19);
  assert.deepEqual(runs, [0, 433]);
  await clock.advanceAsync(1);
  assert.deepEqual(runs, [0, 433, 5_453]);
  stop.abort();
  await running;
});

Deno.test("Janitor.run() notes how late each round comes, and not the end as one", async () => {
  const clock = new FakeClock();
  const { janitor: one, lag } = janitor(clock);
  const stop = new AbortController();
  const running = one.run(stop.signal);
  await clock.advanceAsync(333);
  assert.deepEqual([lag.count, lag.maxUs], [1, 0]);
  clock.stall(5_333);
  await clock.advanceAsync(0);
  assert.deepEqual([lag.count, lag.maxUs], [2, 5_000_000]);
  stop.abort();
  await running;
  assert.equal(lag.count, 2);
});

Deno.test("Janitor.run() tells of a round that is more than a second late", async () => {
  const clock = new FakeClock();
  const { gaps, janitor: one } = janitor(clock);
  const stop = new AbortController();
  const running = one.run(stop.signal);
  await clock.advanceAsync(0);
  clock.stall(1_333);
  await clock.advanceAsync(20);
  assert.deepEqual(gaps, []);
  clock.stall(5_333);
  await clock.advanceAsync(20);
  assert.deepEqual(gaps, [5_000]);
  stop.abort();
  await running;
});

Deno.test("Janitor.run() ends at once with the signal and leaves no timer", async () => {
  const clock = new FakeClock();
  const { duty, runs } = recorder(clock);
  const stop = new AbortController();
  const running = janitor(clock, duty).janitor.run(stop.signal);
  await clock.advanceAsync(100);
  stop.abort();
  await running;
  assert.deepEqual([runs.length, clock.timerCount], [1, 0]);
  await janitor(clock, duty).janitor.run(stop.signal);
  assert.equal(runs.length, 1, "a signal that came before");
});

Deno.test("Janitor runs a duty in the first round after its interval, counted from the start", () => {
  const clock = new FakeClock();
  const { duty, runs } = recorder(clock, 1_000);
  const { janitor: worker } = janitor(clock, duty);
  for (let ms = 0; ms < 3_000; ms += SWEEP_INTERVAL_MS) {
    worker.sweep();
    clock.advance(SWEEP_INTERVAL_MS);
  }
  assert.deepEqual(runs, [1_332, 2_664]);
});

Deno.test("Janitor reads an interval anew each round", () => {
  const clock = new FakeClock();
  let intervalMs = 60_000;
  const runs: number[] = [];
  const { janitor: worker } = janitor(clock, {
    intervalMs: () => intervalMs,
    run: (nowMs) => void runs.push(nowMs),
  });
  clock.advance(1_000);
  worker.sweep();
  assert.equal(runs.length, 0);
  intervalMs = 1_000;
  worker.sweep();
  assert.equal(runs.length, 1);
});

Deno.test("a duty that has more to do goes on as soon as others have had the thread", async () => {
  const clock = new FakeClock();
  const startMs = clock.nowMs();
  const { duty: other, runs: otherRuns } = recorder(clock);
  const runs: number[] = [];
  const long: Duty = {
    intervalMs: () => 0,
    run: (nowMs) => runs.push(nowMs - startMs) % 3 === 0 ? undefined : MORE,
  };
  const stop = new AbortController();
  const running = janitor(clock, long, other).janitor.run(stop.signal);
  await clock.advanceAsync(400);
  assert.deepEqual(runs, [0, 1, 2, 335, 336, 337]);
  assert.deepEqual(otherRuns, [0, 335]);
  stop.abort();
  await running;
});

Deno.test("a duty that fails is reported, and neither stops the others nor its own next turn", async () => {
  const clock = new FakeClock();
  const before = recorder(clock);
  const after = recorder(clock);
  let failedCount = 0;
  const failure = new Error("made to fail");
  const failing: Duty = {
    intervalMs: () => 0,
    run: () => {
      failedCount += 1;
      throw failure;
    },
  };
  const { errors, janitor: worker } = janitor(clock, before.duty, failing, after.duty);
  const stop = new AbortController();
  const running = worker.run(stop.signal);
  await clock.advanceAsync(1_000);
  stop.abort();
  await running;
  assert.deepEqual([before.runs.length, failedCount, after.runs.length], [4, 4, 4]);
  assert.deepEqual(errors, Array(4).fill(failure));
});

Deno.test("duties are run in their order, with one and the same moment", () => {
  const clock = new FakeClock();
  const order: string[] = [];
  const duty = (name: string): Duty => ({
    intervalMs: () => 0,
    run: (nowMs) => {
      order.push(`${name} ${nowMs}`);
      clock.advance(10);
    },
  });
  janitor(clock, duty("a"), duty("b")).janitor.sweep();
  assert.deepEqual(order, ["a 1000", "b 1000"]);
});
