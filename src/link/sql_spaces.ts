/** Whitespace as PostgreSQL's scanner counts it. Pure. */

const SPACE = 0x20;
const TAB = 0x09;
const RETURN = 0x0d;

/** Where the first byte stands that is no space, or `end`. HOT. */
export function afterSpaces(buffer: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && isSpace(buffer[at]!)) at += 1;
  return at;
}

function isSpace(byte: number): boolean {
  return byte === SPACE || byte >= TAB && byte <= RETURN;
}
