/**
 * SQL that deals with prepared statements, recognised without a parser: only what begins with the
 * letters is looked at any closer. Pure.
 */

import { decodeText } from "../wire/body_reader.ts";
import { firstLetters } from "./sql_words.ts";

/** What takes all names away. */
export const ALL = "all";

const ONE =
  /^\s*deallocate\b\s*(?:prepare\b\s*)?(?:"((?:[^"]|"")+)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*))\s*;?\s*$/i;

const EVERY = /^\s*(?:deallocate\s+(?:prepare\s+)?|discard\s+)all\s*;?\s*$/i;

/** As `firstLetters()` has them. */
const DEALLOCATE = 0x64_65_61;
const DISCARD = 0x64_69_73;

/**
 * Whether the SQL from `start` to `end` begins as DEALLOCATE and DISCARD do. HOT: asked of every
 * Query and Parse.
 */
export function mayDeallocate(buffer: Uint8Array, start: number, end: number): boolean {
  const letters = firstLetters(buffer, start, end);
  return letters === DEALLOCATE || letters === DISCARD;
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
