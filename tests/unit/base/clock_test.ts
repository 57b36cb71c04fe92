import assert from "node:assert/strict";
import { systemClock } from "../../../src/base/clock.ts";

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
