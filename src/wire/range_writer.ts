/**
 * Gathers the pieces of borrowed buffers that are to be sent on. Pieces that lie side by side stay
 * one range and cost no copy; only where something was left out or put in are they copied together.
 * Pure: whoever has the stream sends what is gathered.
 *
 * HOT PATH. Budget: no allocation while everything is one range.
 */

const NO_BYTES = new Uint8Array(0);

/** Copied pieces up to this size keep their buffer for the next time. */
const KEPT_BYTES = 16_384;

/** Where the gathered bytes go. */
export interface RangeTarget {
  /** As `ByteStream.write()`. */
  write(buffer: Uint8Array, start: number, end: number): void | Promise<void>;
}

/** The outgoing bytes of one received chunk. */
export class RangeWriter {
  #buffer: Uint8Array = NO_BYTES;
  #start = 0;
  #end = 0;
  /** Earlier pieces that the range above does not continue. */
  #copied: Uint8Array = NO_BYTES;
  #copiedCount = 0;

  /** Bytes gathered. */
  get length(): number {
    return this.#copiedCount + this.#end - this.#start;
  }

  /** Adds a piece; it must stay as it is until `flushTo()` has been answered. */
  add(buffer: Uint8Array, start: number, end: number): void {
    if (buffer === this.#buffer && start === this.#end) {
      this.#end = end;
    } else {
      if (this.#end > this.#start) this.#copyRange();
      this.#buffer = buffer;
      this.#start = start;
      this.#end = end;
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#buffer = NO_BYTES;
    this.#start = 0;
    this.#end = 0;
    this.#copiedCount = 0;
    if (this.#copied.length > KEPT_BYTES) this.#copied = NO_BYTES;
  }

  /** Sends all, with one write, and is empty again. Answers as `write()` does. */
  flushTo(target: RangeTarget): void | Promise<void> {
    if (this.#copiedCount === 0) {
      const buffer = this.#buffer;
      const start = this.#start;
      const end = this.#end;
      this.clear();
      return target.write(buffer, start, end);
    }
    this.#copyRange();
    const copied = this.#copied.slice(0, this.#copiedCount);
    this.clear();
    return target.write(copied, 0, copied.length);
  }

  #copyRange(): void {
    const count = this.#end - this.#start;
    const needed = this.#copiedCount + count;
    if (needed > this.#copied.length) {
      const grown = new Uint8Array(Math.max(needed, this.#copied.length * 2));
      grown.set(this.#copied.subarray(0, this.#copiedCount));
      this.#copied = grown;
    }
    this.#copied.set(this.#buffer.subarray(this.#start, this.#end), this.#copiedCount);
    this.#copiedCount = needed;
  }
}
