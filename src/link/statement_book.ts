/**
 * The prepared statements that clients have in common: known by query text and parameter types,
 * and called by one name on every server. Pure.
 */

import { closeStatement, parse } from "../wire/extended_messages.ts";
import { BytesMap } from "./bytes_map.ts";
import type { ALL } from "./deallocation.ts";

/** PgBouncer's, so that whoever looks for them in pg_prepared_statements finds them. */
const NAME_PREFIX = "PGBOUNCER_";

/** One statement. */
export class Statement {
  readonly name: string;
  /** The name as it stands in a message, with the zero byte that ends it. */
  readonly nameBytes: Uint8Array;
  /** The message that prepares it. */
  readonly parse: Uint8Array;
  /** The message that closes it. */
  readonly close: Uint8Array;
  /** Query text and parameter types, as they stand in a Parse behind the name. */
  readonly content: Uint8Array;
  /** How many names of clients and how many servers mean it. */
  holderCount = 0;

  constructor(id: number, content: Uint8Array) {
    this.name = `${NAME_PREFIX}${id}`;
    this.nameBytes = new TextEncoder().encode(`${this.name}\0`);
    this.parse = parse(this.nameBytes, content);
    this.close = closeStatement(this.nameBytes);
    this.content = this.parse.subarray(this.parse.length - content.length);
  }
}

/** A name that a client has given to a statement. */
export interface Registration {
  readonly name: Uint8Array;
  readonly statement: Statement;
  /** The name that running it takes away, or that it takes all: it is a DEALLOCATE of the client's. */
  readonly deallocates: Uint8Array | typeof ALL | undefined;
  /** The link in which it was made, and its place there. */
  readonly link: number;
  readonly segment: number;
  readonly index: number;
  /** Whether it holds its statement. */
  isHolding: boolean;
}

/** All statements that anybody holds. */
export class StatementBook {
  readonly #statements = new BytesMap<Statement>();
  #lastId = 0;
  #byteCount = 0;

  /** How many there are. */
  get count(): number {
    return this.#statements.size;
  }

  /** Bytes of their messages. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /** Holds the statement whose content lies from `start` to `end`; made if nobody has it. */
  hold(buffer: Uint8Array, start: number, end: number): Statement {
    const known = this.#statements.get(buffer, start, end);
    if (known !== undefined) return this.holdAgain(known);
    this.#lastId += 1;
    const statement = new Statement(this.#lastId, buffer.subarray(start, end));
    this.#statements.set(statement.content, statement);
    this.#byteCount += bytesOf(statement);
    return this.holdAgain(statement);
  }

  /** Holds a statement once more. */
  holdAgain(statement: Statement): Statement {
    statement.holderCount += 1;
    return statement;
  }

  /** Lets go of a statement; the last one to do so ends it. */
  release(statement: Statement): void {
    statement.holderCount -= 1;
    if (statement.holderCount > 0) return;
    this.#statements.delete(statement.content);
    this.#byteCount -= bytesOf(statement);
  }
}

function bytesOf({ close, nameBytes, parse }: Statement): number {
  return parse.length + close.length + nameBytes.length;
}
