/**
 * What is prepared on one server, least recently used first out. Pure.
 *
 * What was sent is not yet done: an error makes the server skip all up to the next Sync. So a
 * statement is *pending* until its ParseComplete has come, and *closing* until its CloseComplete
 * has; where one was skipped it is *doubtful*, and closed and prepared anew before it is used: to
 * close what is not there is no error.
 *
 * HOT PATH: `find()` and `touch()`. Budget: no allocation.
 */

import { RangeWriter } from "../wire/range_writer.ts";
import type { ResultChanges } from "./result_changes.ts";
import type { Statement, StatementBook } from "./statement_book.ts";

/** How certain it is that the server has a statement. */
export type Presence = "present" | "pending" | "closing" | "doubtful";

/** A statement on one server. */
export interface ServerStatement {
  readonly statement: Statement;
  presence: Presence;
  /** Of the link: where the Parse or Close was sent that is on its way; -1 if it is not relied on. */
  segment: number;
  /** Which Parse or Close was the last to be sent; 0 once the server does not have it any more. */
  sending: number;
  /** How many `ResultChanges` there were when its last Parse was sent. */
  preparedAt: number;
  /** How often it was used. */
  useCount: number;
  /** Neighbours by use; none while closing. */
  older: ServerStatement | undefined;
  newer: ServerStatement | undefined;
}

/** The statements of one server. */
export class ServerStatements {
  /** What is about to be sent to the server. */
  readonly outgoing: RangeWriter = new RangeWriter(true);
  /**
   * By what the server reads a text as of the last ReadyForQuery, see `ParameterCache`; undefined
   * until a client has sent something.
   */
  reading: string | undefined;
  /** Of all servers of its pool. */
  readonly changes: ResultChanges;
  readonly #book: StatementBook;
  readonly #byStatement = new Map<Statement, ServerStatement>();
  #oldest: ServerStatement | undefined;
  #newest: ServerStatement | undefined;
  #closingCount = 0;
  #lastSending = 0;

  constructor(book: StatementBook, changes: ResultChanges) {
    this.#book = book;
    this.changes = changes;
  }

  /** How many count towards the limit: those being closed do not. */
  get count(): number {
    return this.#byStatement.size - this.#closingCount;
  }

  /** All of them. */
  all(): Iterable<ServerStatement> {
    return this.#byStatement.values();
  }

  find(statement: Statement): ServerStatement | undefined {
    return this.#byStatement.get(statement);
  }

  /** The one that was not used for longest. */
  get oldest(): ServerStatement | undefined {
    return this.#oldest;
  }

  /** Notes a use. */
  touch(one: ServerStatement): void {
    one.useCount += 1;
    if (one === this.#newest) return;
    this.#unlink(one);
    this.#linkNewest(one);
  }

  /** A Parse sets out. */
  prepare(statement: Statement, segment: number): ServerStatement {
    const known = this.#byStatement.get(statement);
    if (known !== undefined) {
      if (known.presence === "closing") this.#reopen(known);
      known.presence = "pending";
      known.preparedAt = this.changes.count;
      known.segment = segment;
      known.sending = this.#nextSending();
      return known;
    }
    this.#book.holdAgain(statement);
    const neighbours = { older: undefined, newer: undefined };
    const made: ServerStatement = {
      ...{ statement, segment, sending: this.#nextSending(), useCount: 0, ...neighbours },
      ...{ presence: "pending", preparedAt: this.changes.count },
    };
    this.#byStatement.set(statement, made);
    this.#linkNewest(made);
    return made;
  }

  /** A Close sets out. */
  close(one: ServerStatement, segment: number): void {
    this.#unlink(one);
    one.presence = "closing";
    one.segment = segment;
    one.sending = this.#nextSending();
    this.#closingCount += 1;
  }

  /** It is not known any more whether the server has it. */
  doubt(one: ServerStatement): void {
    if (one.presence === "closing") this.#reopen(one);
    one.presence = "doubtful";
  }

  /** None is certain any more, of those that are not on their way. */
  doubtAll(): void {
    for (const one of this.#byStatement.values()) {
      if (one.presence === "present") one.presence = "doubtful";
    }
  }

  /** Those that were prepared in a segment may not be what they are held for. */
  doubtOf(segment: number): void {
    for (const one of this.#byStatement.values()) {
      if (one.presence === "present" && one.segment === segment) one.presence = "doubtful";
    }
  }

  /** All are on the way to be closed: none is relied on that was sent before. */
  doubtAllSent(): void {
    this.doubtAll();
    for (const one of this.#byStatement.values()) {
      if (one.presence === "pending") one.segment = -1;
    }
  }

  /** The server does not have it any more. */
  remove(one: ServerStatement): void {
    if (one.presence === "closing") this.#closingCount -= 1;
    else this.#unlink(one);
    one.sending = 0;
    this.#byStatement.delete(one.statement);
    this.#book.release(one.statement);
  }

  /** The server has closed all that was prepared up to now; what is on its way comes later. */
  removePrepared(): void {
    for (const one of [...this.#byStatement.values()]) {
      if (one.presence === "present" || one.presence === "doubtful") this.remove(one);
    }
  }

  /** The server is gone, or has nothing prepared. */
  clear(): void {
    for (const one of [...this.#byStatement.values()]) this.remove(one);
  }

  #nextSending(): number {
    this.#lastSending += 1;
    return this.#lastSending;
  }

  #reopen(one: ServerStatement): void {
    this.#closingCount -= 1;
    this.#linkNewest(one);
  }

  #linkNewest(one: ServerStatement): void {
    one.older = this.#newest;
    one.newer = undefined;
    if (this.#newest === undefined) this.#oldest = one;
    else this.#newest.newer = one;
    this.#newest = one;
  }

  #unlink(one: ServerStatement): void {
    if (one.older === undefined) this.#oldest = one.newer;
    else one.older.newer = one.newer;
    if (one.newer === undefined) this.#newest = one.older;
    else one.newer.older = one.older;
    one.older = undefined;
    one.newer = undefined;
  }
}
