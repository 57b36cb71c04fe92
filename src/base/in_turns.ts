/**
 * Carries much out that was decided at once, so much of it in a turn, with turns for everybody else
 * between them: what is done to each of thousands of connections costs some system calls each time.
 */

/** So much is done without a turn for others, where each thing takes 30 to 40 µs. */
export const DONE_A_TURN = 100;

/** How far one turn goes, and how the next is had. */
export interface TurnOptions {
  /** Most that is done without a turn for others. */
  readonly maxActions: number;
  /** Calls `then` when others have had the thread. */
  readonly atNext: (then: () => void) => void;
}

/** What belongs together. */
export interface Batch {
  /** How much is left of it; may also shrink by itself. */
  readonly size: number;
  /** Does the first of what is left. */
  next(): void;
}

/** What is still to be done, in the order in which it was decided. */
export class InTurns {
  readonly #options: TurnOptions;
  #batches: Batch[] = [];
  /** Whether a turn is under way or to come. */
  #isTurnSet = false;

  constructor(options: TurnOptions) {
    this.#options = options;
  }

  /** Has it all done: the first of it at once, unless there is other work already. */
  add(...batches: Batch[]): void {
    this.#batches.push(...batches);
    if (!this.#isTurnSet) this.#doSome();
  }

  /** Has something done to each, the first at once, as above. `onDone` is called with the last. */
  each<T>(all: readonly T[], act: (each: T) => void, onDone = () => {}): void {
    if (all.length === 0) return onDone();
    let at = 0;
    this.add({
      get size() {
        return all.length - at;
      },
      next() {
        const one = all[at++]!;
        try {
          act(one);
        } finally {
          if (at === all.length) onDone();
        }
      },
    });
  }

  /** The same; resolves when it is done to all. */
  whenEach<T>(all: readonly T[], act: (each: T) => void): Promise<void> {
    return new Promise((resolve) => this.each(all, act, resolve));
  }

  #doSome(): void {
    this.#isTurnSet = true;
    try {
      for (let left = this.#options.maxActions; left > 0 && this.#hasMore(); left--) {
        this.#batches[0]!.next();
      }
    } finally {
      // What comes behind something that failed is done all the same.
      this.#isTurnSet = this.#hasMore();
      if (this.#isTurnSet) this.#options.atNext(() => this.#doSome());
    }
  }

  /** Whether anything is left; the first batch has some of it. */
  #hasMore(): boolean {
    while (this.#batches[0]?.size === 0) this.#batches.shift();
    return this.#batches.length > 0;
  }
}
