/**
 * Owns tasks: starts them, aborts them together, and is done only when all have ended.
 * No promise of Sluice floats; each is awaited by its caller or belongs to a group.
 */

/** A set of running tasks with one abort signal. */
export class TaskGroup implements AsyncDisposable {
  readonly #running = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  readonly #onError: (error: unknown) => void;

  /** `onError` is told once of each task that failed; the other tasks go on. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Aborted when the group ends. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** How many tasks are running. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts a task of this group. */
  spawn(task: (signal: AbortSignal) => Promise<void>): void {
    const running: Promise<void> = task(this.#abort.signal)
      .catch((error: unknown) => this.#onError(error))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves when no task is running. */
  async whenIdle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Aborts what runs and awaits it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.whenIdle();
  }
}
