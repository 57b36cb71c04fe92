/** Stands for what an operator's commands do. */

import type { Operations } from "../../../src/admin/console_context.ts";
import type { PgError } from "../../../src/wire/pg_error.ts";

/** Notes what it is asked to do. */
export class NotedOperations implements Operations {
  mode: Operations["mode"] = "active";
  readonly paused = new Set<string>();
  readonly disabled = new Set<string>();
  /** Each call, its name and what it was given. */
  readonly calls: (readonly unknown[])[] = [];
  /** What every call fails with, if anything. */
  failure: PgError | undefined;
  /** What those that take time wait for. */
  waiting: Promise<void> = Promise.resolve();

  isPaused(database: string): boolean {
    return this.paused.has(database);
  }

  isDisabled(database: string): boolean {
    return this.disabled.has(database);
  }

  heldBack(): ReadonlySet<string> {
    return this.paused.union(this.disabled);
  }

  pause(database: string | undefined, signal: AbortSignal): Promise<void> {
    return this.#wait(["pause", database], signal);
  }

  resume(database: string | undefined): void {
    this.#note(["resume", database]);
  }

  disable(database: string): void {
    this.#note(["disable", database]);
  }

  enable(database: string): void {
    this.#note(["enable", database]);
  }

  reconnect(database: string | undefined): void {
    this.#note(["reconnect", database]);
  }

  async kill(database: string | undefined): Promise<void> {
    await this.#note(["kill", database]);
  }

  killClient(id: number): void {
    this.#note(["killClient", id]);
  }

  suspend(signal: AbortSignal): Promise<void> {
    return this.#wait(["suspend"], signal);
  }

  waitClose(database: string | undefined, signal: AbortSignal): Promise<void> {
    return this.#wait(["waitClose", database], signal);
  }

  set(key: string, value: string): void {
    this.#note(["set", key, value]);
  }

  #note(call: readonly unknown[]): void {
    this.calls.push(call);
    if (this.failure !== undefined) throw this.failure;
  }

  async #wait(call: readonly unknown[], signal: AbortSignal): Promise<void> {
    this.#note(call);
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    await Promise.race([this.waiting, aborted]);
  }
}
