/**
 * A clock that does not count the time in which the process did not run: it was stopped, its machine
 * was suspended, or something held its only thread. What could not happen meanwhile must not be
 * taken for late: answers lie unread in sockets, and peers on the same machine did not run either.
 *
 * It is looked at in each of the janitor's rounds at least, so that a longer time between two looks
 * tells of such a gap; of that only the longest ordinary one counts. So every deadline is put off by
 * the length of the gap, with the timers, and no time is ever seen to go back.
 */

import type { Clock, Moment, Timer } from "./clock.ts";

/** As much as passes between two looks, at most: three rounds of the janitor, or one and a half at rest. */
export const LONGEST_LOOK_MS = 1_000;

/** The time of `clock` without the gaps. */
export class AwakeClock implements Clock {
  seenMs = 0;
  readonly #clock: Clock;
  /** On the clock of the gaps. */
  #lookedAtMs = 0;
  #missedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lookedAtMs = clock.nowMs();
  }

  look(): Moment {
    const nowMs = this.#clock.look().seenMs;
    const passedMs = nowMs - this.#lookedAtMs;
    this.#lookedAtMs = nowMs;
    if (passedMs > LONGEST_LOOK_MS) this.#missedMs += passedMs - LONGEST_LOOK_MS;
    this.seenMs = nowMs - this.#missedMs;
    return this;
  }

  nowMs(): number {
    return this.look().seenMs;
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  startTimer(delayMs: number, fire: () => void): Timer {
    const dueMs = this.nowMs() + delayMs;
    const fireIfDue = () => {
      const restMs = dueMs - this.nowMs();
      if (restMs > 0) timer = this.#clock.startTimer(restMs, fireIfDue);
      else fire();
    };
    let timer = this.#clock.startTimer(delayMs, fireIfDue);
    return { cancel: () => timer.cancel() };
  }
}
