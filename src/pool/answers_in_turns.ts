/**
 * Answers many who have waited, so many at a time and with turns for everybody else between them:
 * each costs some system calls. What they are answered is decided when they come here: they stand in
 * no other queue any more, so nobody serves them, and may leave until they are answered.
 */

import type { WaitingQueue } from "./waiting_queue.ts";

/** How far one turn goes, and how the next is had. */
export interface TurnOptions {
  /** Most that are answered without a turn for others. */
  readonly maxAnswers: number;
  /** Calls `then` when others have had the thread. */
  readonly atNext: (then: () => void) => void;
}

/** Those who are answered alike. */
interface Batch {
  readonly queue: { readonly size: number };
  readonly answerOldest: () => void;
}

/** Those of all pools who have an answer coming, in the order in which that was decided. */
export class AnswersInTurns {
  readonly #options: TurnOptions;
  #batches: Batch[] = [];
  /** Whether a turn is under way or to come. */
  #isTurnSet = false;

  constructor(options: TurnOptions) {
    this.#options = options;
  }

  /** Has each of a queue answered, which is its own from now on; `begin()` follows. */
  add<T>(queue: WaitingQueue<T>, answer: (owner: T) => void): void {
    this.#batches.push({ queue, answerOldest: () => answer(queue.shift()!) });
  }

  /** Answers the first at once, unless others have their turns already. */
  begin(): void {
    if (!this.#isTurnSet) this.#answerSome();
  }

  #answerSome(): void {
    this.#isTurnSet = true;
    try {
      for (let left = this.#options.maxAnswers; left > 0 && this.#hasMore(); left--) {
        this.#batches[0]!.answerOldest();
      }
    } finally {
      // The others are not to blame for one that failed.
      this.#isTurnSet = this.#hasMore();
      if (this.#isTurnSet) this.#options.atNext(() => this.#answerSome());
    }
  }

  /** Whether anybody is left; the first batch has one of them. */
  #hasMore(): boolean {
    this.#batches = this.#batches.filter(({ queue }) => queue.size > 0);
    return this.#batches.length > 0;
  }
}
