/**
 * The prepared statements that clients have in common: known by query text, parameter types and the
 * session parameters that the text is read by, and called by one name on every server. Pure.
 */

import { closeStatement, parse } from "../wire/frontend_messages.ts";
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
  /** By what it is read, see `ParameterCache`. */
  readonly reading: string;
  /** How many names of clients and how many servers mean it. */
  holderCount = 0;

  constructor(id: number, content: Uint8Array, reading: string) {
    this.reading = reading;
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
  /** Another one once the client has changed by what it is read. */
  statement: Statement;
  /** The name that running it takes away, or that it takes all: it is a DEALLOCATE of the client's. */
  readonly deallocates: Uint8Array | typeof ALL | undefined;
  /** The link in which it was made, and its place there. */
  readonly link: number;
  readonly segment: number;
  readonly index: number;
  /** How many `ResultChanges` there were when the client was told last what the result is like. */
  toldAt: number;
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

  /** Holds the statement of a content; made if nobody has it. */
  hold(content: Uint8Array, reading: string): Statement {
    const key = keyOf(content, reading);
    const known = this.#statements.get(key, 0, key.length);
    if (known !== undefined) return this.holdAgain(known);
    this.#lastId += 1;
    const statement = new Statement(this.#lastId, content, reading);
    this.#statements.set(key, statement);
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
    this.#statements.delete(keyOf(statement.content, statement.reading));
    this.#byteCount -= bytesOf(statement);
  }
}

function keyOf(content: Uint8Array, reading: string): Uint8Array {
  const by = new TextEncoder().encode(reading);
  const key = new Uint8Array(content.length + by.length);
  key.set(content);
  key.set(by, content.length);
  return key;
}

/** The content counts twice, since it is also the key. */
function bytesOf({ close, content, nameBytes, parse }: Statement): number {
  return parse.length + close.length + nameBytes.length + content.length;
}
