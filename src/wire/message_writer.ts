/** Builds messages in one growing buffer. Pure. */

import { assert } from "../base/assert.ts";
import { copyBytes } from "../base/bytes.ts";

/** What a writer has that gave away what it had; nothing is ever written to it. */
const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** Writes messages one after the other; numbers in network order. */
export class MessageWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;
  /** Where the length word of the message being written stands; -1 between messages. */
  #lengthAt = -1;

  constructor(initialBytes = 256) {
    this.#bytes = new Uint8Array(initialBytes);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Begins a message of the given type byte. */
  begin(type: number): this {
    return this.int8(type).beginUntyped();
  }

  /** Begins a packet without a type byte (StartupMessage and its like). */
  beginUntyped(): this {
    assert(this.#lengthAt === -1, "The message before must have been ended");
    this.#lengthAt = this.#length;
    return this.int32(0);
  }

  /** Ends the message: its length is now known. */
  end(): this {
    assert(this.#lengthAt >= 0, "A message must have been begun");
    const end = this.#length;
    const count = end - this.#lengthAt;
    this.#length = this.#lengthAt;
    this.int32(count);
    this.#length = end;
    this.#lengthAt = -1;
    return this;
  }

  /** Adds one byte. */
  int8(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  /** Adds a 16-bit number. */
  int16(value: number): this {
    return this.int8(value >> 8 & 0xff).int8(value & 0xff);
  }

  /** Adds a 32-bit number. */
  int32(value: number): this {
    return this.int16(value >>> 16).int16(value & 0xffff);
  }

  /** Adds bytes as they are. */
  bytes(value: Uint8Array): this {
    return this.range(value, 0, value.length);
  }

  /** Adds the bytes of `value` from `start` to `end`. */
  range(value: Uint8Array, start: number, end: number): this {
    this.#reserve(end - start);
    copyBytes(value, start, end, this.#bytes, this.#length);
    this.#length += end - start;
    return this;
  }

  /** Adds a text in UTF-8, without an end mark. */
  text(value: string): this {
    const start = this.#length;
    this.#reserve(value.length);
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        // Not ASCII, as nearly everything is: the encoder's call would cost more than the text.
        this.#length = start;
        return this.bytes(new TextEncoder().encode(value));
      }
      this.#bytes[this.#length++] = code;
    }
    return this;
  }

  /** Adds a text and the zero byte that ends it. */
  cstring(value: string): this {
    return this.text(value).int8(0);
  }

  /** Gives away what was written, and starts anew. */
  take(): Uint8Array<ArrayBuffer> {
    assert(this.#lengthAt === -1, "The last message must have been ended");
    const bytes = this.#bytes;
    const taken = this.#length === bytes.length ? bytes : bytes.subarray(0, this.#length);
    this.#bytes = NO_BYTES;
    this.#length = 0;
    return taken;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    copyBytes(this.#bytes, 0, this.#length, grown, 0);
    this.#bytes = grown;
  }
}
