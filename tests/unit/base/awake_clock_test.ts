import assert from "node:assert/strict";
import { AwakeClock, LONGEST_LOOK_MS } from "../../../src/base/awake_clock.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const HOUR_MS = 3_600_000;

Deno.test("AwakeClock goes with its clock, as long as it is looked at", () => {
  const clock = new FakeClock({ startMs: 5, wallStartMs: 1_000 });
  const awake = new AwakeClock(clock);
  for (const ms of [0, 1, 333, LONGEST_LOOK_MS]) {
    clock.advance(ms);
    assert.equal(awake.nowMs(), clock.nowMs());
    assert.equal(awake.wallMs(), clock.wallMs());
  }
});

Deno.test("AwakeClock leaves out a gap, whoever looks first after it, and stays behind by as much", () => {
  const clock = new FakeClock({ startMs: 0 });
  const awake = new AwakeClock(clock);
  clock.advance(HOUR_MS);
  assert.equal(awake.nowMs(), LONGEST_LOOK_MS);
  assert.equal(awake.nowMs(), LONGEST_LOOK_MS);
  clock.advance(400);
  assert.equal(awake.nowMs(), LONGEST_LOOK_MS + 400);
  clock.advance(HOUR_MS);
  assert.equal(awake.nowMs(), 2 * LONGEST_LOOK_MS + 400);
  assert.equal(awake.wallMs(), clock.wallMs(), "the time of day is what it is");
});

Deno.test("AwakeClock puts its timers off by the length of a gap", () => {
  const clock = new FakeClock({ startMs: 0 });
  const awake = new AwakeClock(clock);
  const fired: number[] = [];
  awake.startTimer(5_000, () => fired.push(clock.nowMs()));
  // Nobody looks before the timer itself.
  clock.stall(HOUR_MS);
  clock.advance(0);
  assert.deepEqual(fired, []);
  for (let ms = 0; ms < 3_996; ms += 333) {
    awake.nowMs();
    clock.advance(333);
  }
  assert.deepEqual(fired, []);
  awake.nowMs();
  clock.advance(4);
  assert.deepEqual(fired, [HOUR_MS + 4_000]);
});

Deno.test("AwakeClock fires a timer on time where there is no gap, and not one that is cancelled", () => {
  const clock = new FakeClock({ startMs: 0 });
  const awake = new AwakeClock(clock);
  const fired: number[] = [];
  awake.startTimer(1_500, () => fired.push(clock.nowMs()));
  const cancelled = awake.startTimer(1_400, () => assert.fail("It was cancelled"));
  const putOff = awake.startTimer(3_000, () => assert.fail("It was cancelled after a gap"));
  clock.advance(700);
  awake.nowMs();
  cancelled.cancel();
  clock.advance(799);
  assert.deepEqual(fired, []);
  awake.nowMs();
  clock.advance(1);
  assert.deepEqual(fired, [1_500]);
  clock.stall(HOUR_MS);
  clock.advance(0);
  putOff.cancel();
  assert.equal(clock.timerCount, 0);
});
