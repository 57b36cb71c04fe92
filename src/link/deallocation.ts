/**
 * SQL that deals with prepared statements, recognised without a parser: only what begins with the
 * letters is looked at any closer. Pure.
 */

import { decodeText } from "../wire/body_reader.ts";
import { afterSpaces } from "./sql_spaces.ts";

/** What takes all names away. */
export const ALL = "all";

const ONE =
  /^\s*deallocate\b\s*(?:prepare\b\s*)?(?:"((?:[^"]|"")+)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*))\s*;?\s*$/i;

const EVERY = /^\s*(?:deallocate\s+(?:prepare\s+)?|discard\s+)all\s*;?\s*$/i;

/** The first letters of the two, in lower case. */
const DEALLOCATE = 0x6465_616c;
const DISCARD = 0x6469_7363;

const LOWER_CASE = 0x2020_2020;

/**
 * Whether the SQL from `start` to `end` begins as DEALLOCATE and DISCARD do. HOT: asked of every
 * Query and Parse.
 */
export function mayDeallocate(buffer: Uint8Array, start: number, end: number): boolean {
  const at = afterSpaces(buffer, start, end);
  if (at + 3 >= end) return false;
  const letters = buffer[at]! << 24 | buffer[at + 1]! << 16 | buffer[at + 2]! << 8 |
    buffer[at + 3]!;
  const word = letters | LOWER_CASE;
  return word === DEALLOCATE || word === DISCARD;
}

/**
 * The name in SQL that is nothing but `DEALLOCATE [PREPARE] name`; ALL if it is nothing but
 * `DEALLOCATE [PREPARE] ALL` or `DISCARD ALL`; else undefined.
 * Source: PostgreSQL, "DEALLOCATE"; names without quotes are folded to lower case.
 */
export function deallocated(
  buffer: Uint8Array,
  start: number,
  end: number,
): Uint8Array<ArrayBuffer> | typeof ALL | undefined {
  const sql = decodeText(buffer, start, end);
  if (EVERY.test(sql)) return ALL;
  const match = ONE.exec(sql);
  if (match === null) return undefined;
  const [, quoted, bare] = match;
  const name = quoted?.replaceAll('""', '"') ?? bare!.toLowerCase();
  return new TextEncoder().encode(name);
}
