/**
 * Owns tasks: starts them, aborts them together, and is done only when all have ended.
 * No promise of Sluice floats; each is awaited by its caller or belongs to a group.
 */

import { Deferred } from "./deferred.ts";

/** A set of running tasks with one abort signal. */
export class TaskGroup implements AsyncDisposable {
  readonly #abort = new AbortController();
  readonly #onError: (error: unknown) => void;
  #size = 0;
  /** Settled when the last task ends; there while somebody waits for that. */
  #idle: Deferred<void> | undefined;

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
    return this.#size;
  }

  /** Starts a task of this group. */
  spawn(task: (signal: AbortSignal) => Promise<void>): void {
    // Owned by the group: it counts the task out, and hands its error on.
    void this.#follow(task);
  }

  /** Resolves when no task is running. */
  async whenIdle(): Promise<void> {
    while (this.#size > 0) {
      this.#idle ??= new Deferred<void>();
      await this.#idle.promise;
    }
  }

  /** Aborts what runs and awaits it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.whenIdle();
  }

  async #follow(task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.#size += 1;
    try {
      await task(this.#abort.signal);
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#size -= 1;
      if (this.#size === 0) this.#endWait();
    }
  }

  #endWait(): void {
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
