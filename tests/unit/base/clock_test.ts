import assert from "node:assert/strict";
import { HeldClock, systemClock } from "../../../src/base/clock.ts";
import { FakeClock } from "../../support/fake_clock.ts";

Deno.test("systemClock().nowMs() never goes back", () => {
  const clock = systemClock();
  let before = clock.nowMs();
  for (let i = 0; i < 1_000; i++) {
    const now = clock.nowMs();
    assert.ok(now >= before);
    before = now;
  }
});

Deno.test("systemClock().wallMs() is the time of day since 1970", () => {
  const before = Date.now();
  const now = systemClock().wallMs();
  assert.ok(now >= before && now <= Date.now());
});

Deno.test("systemClock().startTimer() fires once", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const timer = systemClock().startTimer(0, () => {
    count += 1;
    resolve();
  });
  await promise;
  timer.cancel();
  assert.equal(count, 1);
});

Deno.test("a cancelled timer does not fire, nor does it keep the process", () => {
  // The test sanitizers see to the second half.
  const timer = systemClock().startTimer(0, () => assert.fail("fired"));
  timer.cancel();
  timer.cancel();
});

Deno.test("HeldClock goes with its clock, as long as nobody holds it", () => {
  const clock = new FakeClock({ startMs: 5, wallStartMs: 1_000 });
  const held = new HeldClock(clock);
  assert.deepEqual([held.nowMs(), held.wallMs()], [5, 1_000]);
  clock.advance(10);
  assert.deepEqual([held.nowMs(), held.wallMs()], [15, 1_010]);
});

Deno.test("HeldClock.hold() stops it at the present moment, until release()", () => {
  const clock = new FakeClock({ startMs: 5 });
  const held = new HeldClock(clock);
  held.hold();
  clock.advance(10);
  assert.equal(held.nowMs(), 5);
  held.release();
  assert.equal(held.nowMs(), 15);
  held.release();
  assert.equal(held.nowMs(), 15);
});

Deno.test("HeldClock.hold() holds it anew, also at the moment 0", () => {
  const clock = new FakeClock({ startMs: 0 });
  const held = new HeldClock(clock);
  held.hold();
  clock.advance(10);
  assert.equal(held.nowMs(), 0);
  held.hold();
  assert.equal(held.nowMs(), 10);
  clock.advance(10);
  assert.equal(held.nowMs(), 10);
});

Deno.test("HeldClock holds neither the time of day nor its timers", () => {
  const clock = new FakeClock({ startMs: 0, wallStartMs: 1_000 });
  const held = new HeldClock(clock);
  held.hold();
  let firedAtMs = -1;
  held.startTimer(20, () => firedAtMs = clock.nowMs());
  held.startTimer(20, () => assert.fail("It was cancelled")).cancel();
  clock.advance(30);
  assert.equal(held.wallMs(), 1_030);
  assert.equal(firedAtMs, 20);
});

Deno.test("HeldClock.nextDueInMs() tells in how many milliseconds the next of its timers is due", () => {
  const clock = new FakeClock();
  const held = new HeldClock(clock);
  const dueInMs = () => {
    held.look();
    return held.nextDueInMs(100);
  };
  assert.equal(dueInMs(), 100, "there is none");
  held.startTimer(50, () => {});
  const cancelled = held.startTimer(10, () => {});
  held.startTimer(19.5, () => {});
  assert.equal(dueInMs(), 10);
  cancelled.cancel();
  clock.advance(10);
  assert.equal(dueInMs(), 10, "9.5, rounded up");
  clock.advance(10);
  assert.equal(dueInMs(), 30);
  clock.advance(30);
  assert.equal(dueInMs(), 100);
  held.startTimer(200, () => {});
  assert.equal(dueInMs(), 100, "the limit");
});
