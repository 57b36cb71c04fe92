/** The schedule of everything periodic. What a duty decides is its own affair. */

import { LONGEST_LOOK_MS } from "../base/awake_clock.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { CATCH_UP_MS, LATE_MS } from "../base/deadline.ts";
import { TURN_MS } from "../base/turn.ts";
import type { LoopLag } from "../stats/loop_lag.ts";

/** Time between two rounds: deadlines are kept to a third of a second, as in PgBouncer. */
export const SWEEP_INTERVAL_MS = 333;

/**
 * The same while nothing happens: rounds are most of what such a process costs. What begins meanwhile
 * is kept to a third of a second all the same, unless it is due before this round: the next ones are
 * ordinary again.
 */
export const REST_INTERVAL_MS = 2 * SWEEP_INTERVAL_MS;

/** Nothing happens, if nothing has for so long. */
export const REST_AFTER_MS = 10_000;

/** Answered by a duty that has stopped before its end, so as not to hold others up. */
export const MORE = "more";

/** Something to be done again and again. */
export interface Duty {
  /** Time between two turns, read anew each round; a turn comes in the first round after it. */
  intervalMs(): number;
  /** What answers `MORE` is run again as soon as others have had the thread. */
  run(nowMs: number): void | typeof MORE;
}

/** What is going on between two rounds. */
export interface Traffic {
  /** Whether nobody waits for anything. */
  readonly areAllIdle: boolean;
  /** Another number than before, if anything has begun or ended since. */
  readonly changeCount: number;
}

/** What a janitor is made of. */
export interface JanitorOptions {
  readonly clock: Clock;
  /** Told how late each round comes. */
  readonly loopLag: LoopLag;
  /** Told of a duty that failed; it and the others go on in the next round. */
  readonly onError: (error: unknown) => void;
  /** Told of a round so late that the excess counts for no deadline. */
  readonly onGap: (lateMs: number) => void;
  readonly traffic: Traffic;
}

/** Runs the duties. */
export class Janitor {
  readonly #clock: Clock;
  readonly #duties: readonly Duty[];
  readonly #onError: (error: unknown) => void;
  readonly #loopLag: LoopLag;
  readonly #onGap: (lateMs: number) => void;
  readonly #traffic: Traffic;
  readonly #lastRunMs: number[];
  #unfinished: Duty[] = [];
  #seenCount = NaN;
  #lastChangeMs = 0;

  /** The duties are run in their order. */
  constructor(
    duties: readonly Duty[],
    { clock, loopLag, onError, onGap, traffic }: JanitorOptions,
  ) {
    this.#clock = clock;
    this.#duties = duties;
    this.#onError = onError;
    this.#onGap = onGap;
    this.#loopLag = loopLag;
    this.#traffic = traffic;
    this.#lastRunMs = duties.map(() => clock.nowMs());
  }

  /** Sweeps until the signal comes. */
  async run(signal: AbortSignal): Promise<void> {
    using sleeper = new Sleeper(this.#clock, signal);
    while (!signal.aborted) {
      this.sweep();
      while (this.#unfinished.length > 0 && !signal.aborted) {
        await sleeper.sleep(TURN_MS);
        this.#goOn();
      }
      const nowMs = this.#clock.nowMs();
      const pauseMs = this.#pauseMs(nowMs);
      const dueMs = nowMs + pauseMs;
      const lagDueMs = this.#loopLag.nowMs() + pauseMs;
      await sleeper.sleep(pauseMs);
      if (!signal.aborted) this.#noteLag(lagDueMs);
      const isLate = this.#clock.nowMs() - dueMs > LATE_MS;
      if (isLate) await sleeper.sleep(CATCH_UP_MS);
    }
  }

  /** Until the next round. */
  #pauseMs(nowMs: number): number {
    const { areAllIdle, changeCount } = this.#traffic;
    if (!areAllIdle || changeCount !== this.#seenCount) this.#lastChangeMs = nowMs;
    this.#seenCount = changeCount;
    return nowMs - this.#lastChangeMs >= REST_AFTER_MS ? REST_INTERVAL_MS : SWEEP_INTERVAL_MS;
  }

  /** One round. */
  sweep(): void {
    const nowMs = this.#clock.nowMs();
    for (const [at, duty] of this.#duties.entries()) {
      if (nowMs - this.#lastRunMs[at]! < duty.intervalMs()) continue;
      this.#lastRunMs[at] = nowMs;
      this.#run(duty, nowMs);
    }
  }

  #noteLag(dueMs: number): void {
    const lateMs = this.#loopLag.note(dueMs) - dueMs;
    if (lateMs > LONGEST_LOOK_MS) this.#onGap(lateMs);
  }

  #goOn(): void {
    const unfinished = this.#unfinished;
    this.#unfinished = [];
    const nowMs = this.#clock.nowMs();
    for (const duty of unfinished) this.#run(duty, nowMs);
  }

  /** One failing duty must not stop all that depends on time passing. */
  #run(duty: Duty, nowMs: number): void {
    try {
      if (duty.run(nowMs) === MORE) this.#unfinished.push(duty);
    } catch (error) {
      this.#onError(error);
    }
  }
}

/**
 * Sleeps that a signal ends. It is listened to once and not for each sleep: while all are idle, the
 * janitor's timer is most of what the process costs.
 */
class Sleeper implements Disposable {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => {
    this.#timer?.cancel();
    this.#wake();
  };
  #timer: Timer | undefined;
  #wake = () => {};

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    signal.addEventListener("abort", this.#onAbort);
  }

  /** Resolves after the time, or as soon as the signal comes. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#signal.aborted) return resolve();
      this.#wake = resolve;
      this.#timer = this.#clock.startTimer(delayMs, resolve);
    });
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}
