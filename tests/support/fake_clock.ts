/**
 * A clock that moves only when it is told to. For unit tests and simulations.
 *
 * Timers fire in the order in which they are due, and of those due together the one started first
 * fires first. While a timer fires, `nowMs()` is the moment at which it was due.
 */

import type { Clock, Moment, Timer } from "../../src/base/clock.ts";
import { eventTurn } from "./event_turn.ts";

/** Where both clocks begin, unless told otherwise. */
export interface FakeClockOptions {
  /** On the monotonic clock; not 0 by default, so that a forgotten moment shows. */
  readonly startMs?: number;
  /** Since 1970, at the same moment. */
  readonly wallStartMs?: number;
}

/** Timers fired by one `advance()` before it is taken for an endless chain of timers. */
const MAX_FIRED = 1_000_000;

interface PendingTimer {
  readonly dueMs: number;
  readonly fire: () => void;
}

/** A clock for tests. */
export class FakeClock implements Clock {
  seenMs = 0;
  #nowMs: number;
  readonly #wallOffsetMs: number;
  /** In the order in which they fire. */
  readonly #timers: PendingTimer[] = [];

  /** Starts at the given moments. */
  constructor(options: FakeClockOptions = {}) {
    this.#nowMs = options.startMs ?? 1_000;
    const wallStartMs = options.wallStartMs ?? Date.UTC(2026, 10, 22, 10, 35, 55, 34);
    this.#wallOffsetMs = wallStartMs - this.#nowMs;
  }

  /** How many timers have neither fired nor been cancelled; 0 at the end of a tidy test. */
  get timerCount(): number {
    return this.#timers.length;
  }

  /** When the next timer is due, or undefined if there is none. */
  get nextTimerAtMs(): number | undefined {
    return this.#timers[0]?.dueMs;
  }

  look(): Moment {
    this.seenMs = this.#nowMs;
    return this;
  }

  /** The moment on the monotonic clock. */
  nowMs(): number {
    return this.look().seenMs;
  }

  /** The moment since 1970; moves together with the other clock. */
  wallMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  /** Calls `fire` in the `advance()` that reaches the moment; never before that call. */
  startTimer(delayMs: number, fire: () => void): Timer {
    const timer: PendingTimer = { dueMs: this.#nowMs + Math.max(0, delayMs), fire };
    let at = this.#timers.length;
    while (at > 0 && this.#timers[at - 1]!.dueMs > timer.dueMs) at -= 1;
    this.#timers.splice(at, 0, timer);
    return { cancel: () => this.#forget(timer) };
  }

  /** Lets `ms` pass, firing all that falls due, also what those timers start. */
  advance(ms: number): void {
    const endMs = this.#end(ms);
    for (let fired = 0; this.#fireNext(endMs); fired++) checkChain(fired);
    this.#nowMs = endMs;
  }

  /**
   * Lets `ms` pass in which nothing runs, as while a process is stopped: timers that have fallen due
   * fire in the next `advance()`, late.
   */
  stall(ms: number): void {
    this.#nowMs = this.#end(ms);
  }

  /** As `advance()`; before each timer and at the end, everything that is ready to run runs. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#end(ms);
    await eventTurn();
    for (let fired = 0; this.#fireNext(endMs); fired++) {
      checkChain(fired);
      await eventTurn();
    }
    this.#nowMs = endMs;
    await eventTurn();
  }

  /** Moves to the next timer and fires it alone. Returns whether there was one. */
  fireNextTimer(): boolean {
    return this.#fireNext(Infinity);
  }

  #end(ms: number): number {
    if (!(ms >= 0)) throw new RangeError(`Cannot advance the clock by ${ms} ms`);
    return this.#nowMs + ms;
  }

  #fireNext(endMs: number): boolean {
    const timer = this.#timers[0];
    if (timer === undefined || timer.dueMs > endMs) return false;
    this.#timers.shift();
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
    timer.fire();
    return true;
  }

  #forget(timer: PendingTimer): void {
    const at = this.#timers.indexOf(timer);
    if (at >= 0) this.#timers.splice(at, 1);
  }
}

function checkChain(fired: number): void {
  if (fired >= MAX_FIRED) throw new Error(`${MAX_FIRED} timers fired: each starts another`);
}

/** Lets all promises that are ready run to where they wait; no time passes. */
export { eventTurn as settle };
