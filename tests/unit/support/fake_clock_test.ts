import assert from "node:assert/strict";
import { FakeClock } from "../../support/fake_clock.ts";

Deno.test("FakeClock stands still until it is advanced, both clocks together", () => {
  const clock = new FakeClock({ startMs: 5, wallStartMs: 1_000_000 });
  assert.equal(clock.nowMs(), 5);
  clock.advance(250);
  assert.equal(clock.nowMs(), 255);
  assert.equal(clock.wallMs(), 1_000_250);
});

Deno.test("FakeClock fires due timers in order, at their moments, with those they start", () => {
  const clock = new FakeClock({ startMs: 0 });
  const fired: string[] = [];
  const note = (name: string) => fired.push(`${name}@${clock.nowMs()}`);
  clock.startTimer(30, () => note("c"));
  clock.startTimer(10, () => {
    note("a");
    clock.startTimer(10, () => note("b"));
  });
  clock.startTimer(30, () => note("d"));
  clock.startTimer(31, () => note("late"));
  clock.advance(30);
  assert.deepEqual(fired, ["a@10", "b@20", "c@30", "d@30"]);
  assert.equal(clock.nowMs(), 30);
  assert.equal(clock.nextTimerAtMs, 31);
});

Deno.test("FakeClock never fires a cancelled timer, and cancelling twice is harmless", () => {
  const clock = new FakeClock();
  const timer = clock.startTimer(5, () => assert.fail("fired"));
  timer.cancel();
  timer.cancel();
  clock.advance(10);
  assert.equal(clock.timerCount, 0);
});

Deno.test("FakeClock fires a timer without delay in the next advance, not at once", () => {
  const clock = new FakeClock();
  let count = 0;
  clock.startTimer(0, () => count++);
  clock.startTimer(-5, () => count++);
  assert.equal(count, 0);
  clock.advance(0);
  assert.equal(count, 2);
});

Deno.test("FakeClock.advanceAsync() lets promises run before the next timer", async () => {
  const clock = new FakeClock({ startMs: 0 });
  const seen: string[] = [];
  const sleep = (ms: number) => new Promise<void>((wake) => clock.startTimer(ms, wake));
  const task = async () => {
    await sleep(10);
    seen.push(`first@${clock.nowMs()}`);
    await sleep(10);
    seen.push(`second@${clock.nowMs()}`);
  };
  const running = task();
  await clock.advanceAsync(25);
  await running;
  assert.deepEqual(seen, ["first@10", "second@20"]);
});

Deno.test("FakeClock.fireNextTimer() jumps to one timer", () => {
  const clock = new FakeClock({ startMs: 0 });
  let count = 0;
  clock.startTimer(7, () => count++);
  clock.startTimer(9, () => count++);
  assert.equal(clock.fireNextTimer(), true);
  assert.deepEqual([clock.nowMs(), count], [7, 1]);
  assert.equal(clock.fireNextTimer(), true);
  assert.equal(clock.fireNextTimer(), false);
});

Deno.test("FakeClock refuses to go back", () => {
  assert.throws(() => new FakeClock().advance(-1), RangeError);
});
