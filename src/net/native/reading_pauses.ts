/**
 * Pauses in reading from who sends much: what has come by the end of one is read in one go, and the
 * sender does not wake this thread for each of its pieces, at its own cost and ours.
 *
 * A pause is a single wait of a timer that the reactor's epoll watches, so that it keeps nobody else
 * waiting. All who pause meanwhile go on with the first.
 */

import type { LibcCalls } from "./libc.ts";

/**
 * How long the first of them pauses, and what the last piece of a large answer, or the answer to what is
 * asked right after it, may come late. COPY was no faster with the double, and slower with four times as
 * much.
 */
const PAUSE_US = 100;

/** What pauses are made of. */
export interface ReadingPausesOptions<Reader> {
  readonly libc: LibcCalls;
  /** Has `end()` called when the timer goes off; answers a negative errno if that cannot be. */
  readonly watch: (timer: number) => number;
  /** Gives a reader its turn, soon: its pause is over, and it may be closed by now. */
  readonly again: (reader: Reader) => void;
}

/** The pauses of one reactor; none if the system has no timer for them. */
export class ReadingPauses<Reader> implements Disposable {
  readonly #libc: LibcCalls;
  readonly #again: (reader: Reader) => void;
  /** Its descriptor; undefined if the system refuses. */
  #timer: number | undefined;
  readonly #paused: Reader[] = [];

  constructor({ again, libc, watch }: ReadingPausesOptions<Reader>) {
    this.#libc = libc;
    this.#again = again;
    const timer = libc.timer();
    if (timer < 0) return;
    if (watch(timer) < 0) libc.close(timer);
    else this.#timer = timer;
  }

  /** Gives the timer back, which is watched no longer. */
  [Symbol.dispose](): void {
    if (this.#timer !== undefined) this.#libc.close(this.#timer);
    this.#timer = undefined;
  }

  /** Lets a reader pause, which has a turn when that is over. False if it may not pause. */
  begin(reader: Reader): boolean {
    if (this.#timer === undefined) return false;
    const isFirst = this.#paused.length === 0;
    if (isFirst && this.#libc.setTimer(this.#timer, PAUSE_US) < 0) return false;
    this.#paused.push(reader);
    return true;
  }

  /** The pause is over, for all who are in it. */
  end(): void {
    for (let i = 0; i < this.#paused.length; i++) this.#again(this.#paused[i]!);
    this.#paused.length = 0;
  }
}
