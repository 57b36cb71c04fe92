/** The beginning of a statement as PostgreSQL's scanner reads it. Pure. */

const SPACE = 0x20;
const TAB = 0x09;
const RETURN = 0x0d;

const LOWER_CASE = 0x20_20_20;

/** Where the first byte stands that is no space, or `end`. HOT. */
export function afterSpaces(buffer: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && isSpace(buffer[at]!)) at += 1;
  return at;
}

/**
 * The three letters that the SQL from `start` to `end` begins with behind its spaces, in lower case
 * and packed into a number; 0 if there are no three. HOT: asked of every Query and Parse.
 */
export function firstLetters(buffer: Uint8Array, start: number, end: number): number {
  const at = afterSpaces(buffer, start, end);
  if (at + 2 >= end) return 0;
  return (buffer[at]! << 16 | buffer[at + 1]! << 8 | buffer[at + 2]!) | LOWER_CASE;
}

function isSpace(byte: number): boolean {
  return byte === SPACE || byte >= TAB && byte <= RETURN;
}
