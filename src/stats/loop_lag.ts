/**
 * How late the turns of the event loop come: how long somebody who is ready may have to wait for the
 * thread. Who knows when a turn is due notes when it came: the reactor of the native engine between
 * any two of its slices, and the janitor, which is all there is where nothing happens or the runtime
 * has the sockets.
 *
 * HOT PATH, once in a slice. Budget: one look at the clock, and a bucket.
 */

import type { Clock } from "../base/clock.ts";
import { Histogram } from "./histogram.ts";

/** The lag of one event loop. */
export class LoopLag {
  readonly histogram = new Histogram();
  readonly #clock: Clock;

  /** `clock` is that of the machine: a time in which nothing ran is what is looked for. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The moment on its own clock, for those who say when a turn is due. */
  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** Notes that a turn comes now that was due at `dueMs` of this clock. Returns the moment. */
  note(dueMs: number): number {
    const nowMs = this.#clock.nowMs();
    this.histogram.record(Math.max(0, Math.round((nowMs - dueMs) * 1_000)));
    return nowMs;
  }
}
