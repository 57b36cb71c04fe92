/** Time as an argument, so that tests and simulations decide how it passes. */

/** A pending timer. */
export interface Timer {
  /** Forgets the timer; harmless when it has already fired. */
  cancel(): void;
}

/** The two clocks and the timers of one pooler. */
export interface Clock {
  /** Milliseconds since an arbitrary moment; never goes back. Every `…AtMs` is on this clock. */
  nowMs(): number;
  /** Milliseconds since 1970 in UTC, for people. */
  wallMs(): number;
  /** Calls `fire` once, after `delayMs`. For dialing and the janitor; a query has no timer. */
  startTimer(delayMs: number, fire: () => void): Timer;
}

/** The clock of the machine. */
export function systemClock(): Clock {
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    startTimer(delayMs, fire) {
      const id = setTimeout(fire, delayMs);
      return { cancel: () => clearTimeout(id) };
    },
  };
}

/** How often a held clock looks through its timers, at most. */
const LOOK_EVERY_MS = 1;

/**
 * A clock that can be held: then all who ask are told the same, at the cost of reading a field.
 * Who handles many events in a row holds it for the length of one round.
 */
export class HeldClock implements Clock {
  readonly #clock: Clock;
  #heldMs = -1;
  /** When each timer that has been started is due. */
  readonly #due = new Set<{ readonly atMs: number }>();
  /** The first of those, or earlier. */
  #nextDueAtMs = Infinity;
  #lastLookMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#heldMs < 0 ? this.#clock.nowMs() : this.#heldMs;
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

  /** When the next timer is due, or earlier if one was cancelled; `nowMs` is the time on this clock. */
  nextDueAtMs(nowMs: number): number {
    // One that is overdue stays the first until it fires: not all are looked at each time.
    if (this.#nextDueAtMs > nowMs || nowMs - this.#lastLookMs < LOOK_EVERY_MS) {
      return this.#nextDueAtMs;
    }
    this.#lastLookMs = nowMs;
    this.#nextDueAtMs = Infinity;
    for (const { atMs } of this.#due) this.#nextDueAtMs = Math.min(this.#nextDueAtMs, atMs);
    return this.#nextDueAtMs;
  }

  /** Reads the clock and holds it. Returns the time. */
  hold(): number {
    this.#heldMs = this.#clock.nowMs();
    return this.#heldMs;
  }

  /** Lets it go on. */
  release(): void {
    this.#heldMs = -1;
  }
}
