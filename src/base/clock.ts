/** Time as an argument, so that tests and simulations decide how it passes. */

/** A pending timer. */
export interface Timer {
  /** Forgets the timer; harmless when it has already fired. */
  cancel(): void;
}

/** What holds a moment to be read. */
export interface Moment {
  /** Milliseconds since an arbitrary moment. Every `…AtMs` is on this clock. */
  readonly seenMs: number;
}

/**
 * The two clocks and the timers of one pooler.
 *
 * `look().seenMs` tells the same as `nowMs()`, and is what the hot path uses: a number with a
 * fraction that a function takes or returns is one more thing on the heap, unless the compiler
 * happens to inline that function. One that is read from a field and kept in a field is not.
 */
export interface Clock extends Moment {
  /** Reads the clock, which never goes back, into `seenMs`, and returns itself. */
  look(): Moment;
  /** Looks, and returns what was seen. */
  nowMs(): number;
  /** Milliseconds since 1970 in UTC, for people. */
  wallMs(): number;
  /** Calls `fire` once, after `delayMs`. For dialing and the janitor; a query has no timer. */
  startTimer(delayMs: number, fire: () => void): Timer;
}

/** The clock of the machine. */
export function systemClock(): Clock & { seenMs: number } {
  return {
    seenMs: 0,
    look() {
      this.seenMs = performance.now();
      return this;
    },
    nowMs() {
      return this.look().seenMs;
    },
    wallMs: () => Date.now(),
    startTimer(delayMs, fire) {
      const id = setTimeout(fire, delayMs);
      return { cancel: () => clearTimeout(id) };
    },
  };
}

/** How often a held clock looks through its timers, at most. */
const SEARCH_EVERY_MS = 1;

/**
 * A clock that can be held: then all who ask are told the same, at the cost of reading a field.
 * Who handles many events in a row holds it for the length of one round.
 */
export class HeldClock implements Clock {
  seenMs = 0;
  readonly #clock: Clock;
  #isHeld = false;
  /** When each timer that has been started is due. */
  readonly #due = new Set<{ readonly atMs: number }>();
  /** The first of those, or earlier. */
  #nextDueAtMs = Infinity;
  #lastSearchMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  look(): Moment {
    if (!this.#isHeld) this.seenMs = this.#clock.look().seenMs;
    return this;
  }

  nowMs(): number {
    return this.look().seenMs;
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  startTimer(delayMs: number, fire: () => void): Timer {
    const due = { atMs: this.nowMs() + delayMs };
    this.#due.add(due);
    this.#nextDueAtMs = Math.min(this.#nextDueAtMs, due.atMs);
    const timer = this.#clock.startTimer(delayMs, () => {
      this.#due.delete(due);
      fire();
    });
    return {
      cancel: () => {
        this.#due.delete(due);
        timer.cancel();
      },
    };
  }

  /**
   * In how many milliseconds, counted from `seenMs` and rounded up, the next timer is due, or fewer
   * if one was cancelled: `limitMs` at most, 0 or fewer for one that is overdue.
   */
  nextDueInMs(limitMs: number): number {
    const { seenMs } = this;
    // One that is overdue stays the first until it fires: not all are looked at each time.
    if (this.#nextDueAtMs <= seenMs && seenMs - this.#lastSearchMs >= SEARCH_EVERY_MS) {
      this.#lastSearchMs = seenMs;
      this.#findNextDue();
    }
    return Math.min(limitMs, Math.ceil(this.#nextDueAtMs - seenMs));
  }

  #findNextDue(): void {
    this.#nextDueAtMs = Infinity;
    for (const { atMs } of this.#due) this.#nextDueAtMs = Math.min(this.#nextDueAtMs, atMs);
  }

  /** Reads the clock and holds it. */
  hold(): void {
    this.seenMs = this.#clock.look().seenMs;
    this.#isHeld = true;
  }

  /** Lets it go on. */
  release(): void {
    this.#isHeld = false;
  }
}
