/**
 * Gathers the pieces of borrowed buffers that are to be sent on. Pieces that lie side by side stay
 * one range and cost no copy; only where something was left out or put in are they copied together.
 * Pure: whoever has the stream sends what is gathered.
 *
 * HOT PATH. Budget: no allocation while everything is one range, nor where pieces were copied if
 * the target takes them at once.
 */

import { copyBytes } from "../base/bytes.ts";

const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0);

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
  #copied: Uint8Array<ArrayBuffer> = NO_BYTES;
  #copiedCount = 0;
  /** What was copied and sent last, as long as it is there. */
  #sent: Uint8Array<ArrayBuffer> = NO_BYTES;
  #sentCount = 0;

  readonly #keepsSent: boolean;

  /** `keepsSent`: whether what was copied may be asked for once more after it was sent. */
  constructor(keepsSent = false) {
    this.#keepsSent = keepsSent;
  }

  /** Bytes of the last flush that are still there, since they were copied. */
  get sentCount(): number {
    return this.#sentCount;
  }

  /** Those bytes. */
  copyOfSent(): Uint8Array<ArrayBuffer> {
    return this.#sent.slice(0, this.#sentCount);
  }

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

  /** Adds a copy of a piece, which may change at once. */
  append(bytes: Uint8Array, start: number, end: number): void {
    if (this.#end > this.#start) this.#copyRange();
    this.#buffer = bytes;
    this.#start = start;
    this.#end = end;
    this.#copyRange();
    this.#buffer = NO_BYTES;
    this.#start = 0;
    this.#end = 0;
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
    this.#sentCount = 0;
    if (this.#copiedCount === 0) {
      const buffer = this.#buffer;
      const start = this.#start;
      const end = this.#end;
      this.clear();
      return target.write(buffer, start, end);
    }
    this.#copyRange();
    const copied = this.#copied;
    const count = this.#copiedCount;
    this.clear();
    const sending = target.write(copied, 0, count);
    if (this.#keepsSent && count <= KEPT_BYTES) {
      this.#sent = copied;
      this.#sentCount = count;
    }
    // Lent until it was sent: what comes next needs a buffer of its own.
    if (sending !== undefined) this.#copied = NO_BYTES;
    return sending;
  }

  #copyRange(): void {
    this.#sentCount = 0;
    const count = this.#end - this.#start;
    const needed = this.#copiedCount + count;
    if (needed > this.#copied.length) {
      const grown = new Uint8Array(Math.max(needed, this.#copied.length * 2));
      grown.set(this.#copied.subarray(0, this.#copiedCount));
      this.#copied = grown;
    }
    copyBytes(this.#buffer, this.#start, this.#end, this.#copied, this.#copiedCount);
    this.#copiedCount = needed;
  }
}
