/** Runs of bytes that are too short for the runtime's own calls, each of which needs a view. */

/** Below this a loop is faster than `set()`. */
const LOOP_BYTES = 96;

/** Copies the bytes of `from` between `start` and `end` to where `at` stands in `to`. HOT. */
export function copyBytes(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): void {
  const count = end - start;
  if (count > LOOP_BYTES) to.set(from.subarray(start, end), at);
  else for (let i = 0; i < count; i++) to[at + i] = from[start + i]!;
}

/** Whether `bytes` are those of `buffer` between `start` and `end`. Not for secrets. HOT. */
export function isSameBytes(
  bytes: Uint8Array,
  buffer: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (bytes.length !== end - start) return false;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buffer[start + i]) return false;
  return true;
}
