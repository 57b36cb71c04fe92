/**
 * A map whose keys are bytes, looked up where they stand in a received chunk: no text is made of
 * them. Pure.
 *
 * HOT PATH: `get()`. Budget: no allocation.
 */

import { isSameBytes } from "../base/bytes.ts";

interface Entry<V> {
  readonly key: Uint8Array;
  value: V;
  /** The next one of the same hash. */
  next: Entry<V> | undefined;
}

/** Values by bytes. */
export class BytesMap<V> {
  readonly #entries = new Map<number, Entry<V>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The value under the bytes of `buffer` from `start` to `end`. */
  get(buffer: Uint8Array, start: number, end: number): V | undefined {
    let entry = this.#entries.get(hash(buffer, start, end));
    while (entry !== undefined && !isSameBytes(entry.key, buffer, start, end)) entry = entry.next;
    return entry?.value;
  }

  /** Sets a value; the key is kept as it is and must not change. */
  set(key: Uint8Array, value: V): void {
    const at = hash(key, 0, key.length);
    const first = this.#entries.get(at);
    for (let entry = first; entry !== undefined; entry = entry.next) {
      if (!isSameBytes(entry.key, key, 0, key.length)) continue;
      entry.value = value;
      return;
    }
    this.#entries.set(at, { key, value, next: first });
    this.#size += 1;
  }

  /** Removes a key. Returns its value, or undefined if it was not there. */
  delete(key: Uint8Array): V | undefined {
    const at = hash(key, 0, key.length);
    let before: Entry<V> | undefined;
    let entry = this.#entries.get(at);
    while (entry !== undefined && !isSameBytes(entry.key, key, 0, key.length)) {
      before = entry;
      entry = entry.next;
    }
    if (entry === undefined) return undefined;
    if (before !== undefined) before.next = entry.next;
    else if (entry.next === undefined) this.#entries.delete(at);
    else this.#entries.set(at, entry.next);
    this.#size -= 1;
    return entry.value;
  }

  /** All values; what is removed meanwhile does no harm. */
  *values(): Generator<V, void, void> {
    for (const first of [...this.#entries.values()]) {
      for (let entry: Entry<V> | undefined = first; entry !== undefined; entry = entry.next) {
        yield entry.value;
      }
    }
  }
}

/** FNV-1a, cut to what the runtime holds without an object. */
function hash(buffer: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let i = start; i < end; i++) value = Math.imul(value ^ buffer[i]!, 0x01000193);
  return value & 0x3fffffff;
}
