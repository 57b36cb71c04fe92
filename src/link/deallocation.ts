/**
 * SQL that deals with prepared statements, recognised without a parser: only what begins with the
 * letters is looked at any closer. Pure.
 */

import { decodeText } from "../wire/body_reader.ts";
import { afterSpaces } from "./sql_spaces.ts";

const WHOLE =
  /^\s*deallocate\b\s*(?:prepare\b\s*)?(?:"((?:[^"]|"")+)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*))\s*;?\s*$/i;

/**
 * Whether the SQL from `start` to `end` begins as DEALLOCATE and DISCARD do. HOT: asked of every
 * Query and Parse.
 */
export function mayDeallocate(buffer: Uint8Array, start: number, end: number): boolean {
  const at = afterSpaces(buffer, start, end);
  if (at + 1 >= end || (buffer[at]! | 0x20) !== 0x64) return false;
  const second = buffer[at + 1]! | 0x20;
  return second === 0x65 || second === 0x69;
}

/**
 * The name in SQL that is nothing but `DEALLOCATE [PREPARE] name`, or undefined: so too for ALL.
 * Source: PostgreSQL, "DEALLOCATE"; names without quotes are folded to lower case.
 */
export function deallocatedName(
  buffer: Uint8Array,
  start: number,
  end: number,
): Uint8Array<ArrayBuffer> | undefined {
  const match = WHOLE.exec(decodeText(buffer, start, end));
  if (match === null) return undefined;
  const [, quoted, bare] = match;
  const encoder = new TextEncoder();
  if (quoted !== undefined) return encoder.encode(quoted.replaceAll('""', '"'));
  const name = bare!.toLowerCase();
  return name === "all" ? undefined : encoder.encode(name);
}
