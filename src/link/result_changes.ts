/**
 * Which statements turned out to have another result than they had, since a table was changed. One
 * for all servers of a pool: what one of them says of a statement holds for all. Pure.
 *
 * HOT PATH: `count`. Budget: no allocation.
 */

import type { Statement } from "./statement_book.ts";

/** The changes seen in one pool. */
export class ResultChanges {
  #count = 0;
  /** Which of them was the last of a statement. */
  readonly #last = new WeakMap<Statement, number>();

  /** How many there were. HOT: asked at every Bind. */
  get count(): number {
    return this.#count;
  }

  /** A server said so of a statement. */
  note(statement: Statement): void {
    this.#count += 1;
    this.#last.set(statement, this.#count);
  }

  /** Whether a statement has changed since there were so many. */
  hasChanged(statement: Statement, since: number): boolean {
    return since < this.#count && (this.#last.get(statement) ?? 0) > since;
  }
}
