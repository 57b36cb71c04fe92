/**
 * Timers that give somebody up. One that fires late fires after something that held the thread up,
 * and before what has come meanwhile was read: that may be what was waited for.
 */

import type { Clock, Timer } from "./clock.ts";

/** Later than this, a timer comes after something that held the thread up, or stopped the process. */
export const LATE_MS = 100;

/** Time for what has come meanwhile to be seen, so that nobody is taken for late who was not. */
export const CATCH_UP_MS = 20;

/** Calls `expire` once the time is over and what had come by then has been seen. */
export function startDeadline(clock: Clock, limitMs: number, expire: () => void): Timer {
  const dueMs = clock.nowMs() + limitMs;
  const onTime = () => {
    if (clock.nowMs() - dueMs <= LATE_MS) expire();
    else timer = clock.startTimer(CATCH_UP_MS, expire);
  };
  let timer = clock.startTimer(limitMs, onTime);
  return { cancel: () => timer.cancel() };
}
