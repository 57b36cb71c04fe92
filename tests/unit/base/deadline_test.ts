import assert from "node:assert/strict";
import { CATCH_UP_MS, LATE_MS, startDeadline } from "../../../src/base/deadline.ts";
import { FakeClock } from "../../support/fake_clock.ts";

Deno.test("startDeadline() expires on time, also where the timer is a little late", () => {
  for (const lateMs of [0, LATE_MS]) {
    const clock = new FakeClock();
    let isOver = false;
    startDeadline(clock, 5_000, () => isOver = true);
    clock.advance(4_999);
    assert.equal(isOver, false);
    clock.stall(1 + lateMs);
    clock.advance(0);
    assert.equal(isOver, true, `${lateMs} ms late`);
  }
});

Deno.test("startDeadline() lets what has come be seen first where its timer is late", () => {
  const clock = new FakeClock();
  let isOver = false;
  const timer = startDeadline(clock, 5_000, () => isOver = true);
  clock.stall(5_000 + LATE_MS + 1);
  clock.advance(CATCH_UP_MS - 1);
  assert.equal(isOver, false);
  clock.advance(1);
  assert.equal(isOver, true);
  timer.cancel();
});

Deno.test("startDeadline() never expires once it is cancelled, before its time or after", () => {
  const clock = new FakeClock();
  const [early, late] = [1, 2].map(() => startDeadline(clock, 5_000, () => assert.fail("expired")));
  early!.cancel();
  clock.stall(6_000);
  clock.advance(0);
  late!.cancel();
  assert.equal(clock.timerCount, 0);
});
