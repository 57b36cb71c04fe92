/** Reads the body of one message, checking every length before use. Pure. */

import { copyBytes } from "../base/bytes.ts";
import { ProtocolError } from "./pg_error.ts";

/** A reader over [start, end) of a buffer; borrowed, nothing is copied until a value is taken. */
export class BodyReader {
  readonly #buffer: Uint8Array;
  readonly #end: number;
  #position: number;

  constructor(buffer: Uint8Array, start: number, end: number) {
    this.#buffer = buffer;
    this.#position = start;
    this.#end = end;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#end - this.#position;
  }

  /** @throws {ProtocolError} If no byte is left. */
  int8(): number {
    this.#need(1);
    return this.#buffer[this.#position++]!;
  }

  /** @throws {ProtocolError} If fewer than two bytes are left. */
  int16(): number {
    return this.int8() << 8 | this.int8();
  }

  /** Signed. @throws {ProtocolError} If fewer than four bytes are left. */
  int32(): number {
    return this.int16() << 16 | this.int16();
  }

  /** A copy of the next `count` bytes. @throws {ProtocolError} If there are fewer. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    this.#need(count);
    // Not slice(): on a Node Buffer that is a view.
    const taken = new Uint8Array(count);
    copyBytes(this.#buffer, this.#position, this.#position + count, taken, 0);
    this.#position += count;
    return taken;
  }

  /**
   * The text up to the next zero byte, which no encoding of PostgreSQL's has in a character.
   * @throws {ProtocolError} If there is none.
   */
  cstring(read: (buffer: Uint8Array, start: number, end: number) => string = decodeText): string {
    const zero = this.#buffer.indexOf(0, this.#position);
    if (zero < 0 || zero >= this.#end) throw new ProtocolError("failed to parse packet");
    const text = read(this.#buffer, this.#position, zero);
    this.#position = zero + 1;
    return text;
  }

  #need(count: number): void {
    if (count < 0 || this.remaining < count) throw new ProtocolError("failed to parse packet");
  }
}

/**
 * Decodes UTF-8; what is not UTF-8 becomes U+FFFD, since names and messages from a peer may be in
 * any encoding and must still be shown.
 */
export function decodeText(buffer: Uint8Array, start: number, end: number): string {
  let text = "";
  let at = start;
  // By fours, since each piece is a text that is thrown away.
  for (; at + 4 <= end; at += 4) {
    const first = buffer[at]!;
    const second = buffer[at + 1]!;
    const third = buffer[at + 2]!;
    const fourth = buffer[at + 3]!;
    if ((first | second | third | fourth) >= 0x80) return decodeNonAscii(buffer, start, end);
    text += String.fromCharCode(first, second, third, fourth);
  }
  for (; at < end; at++) {
    if (buffer[at]! >= 0x80) return decodeNonAscii(buffer, start, end);
    text += String.fromCharCode(buffer[at]!);
  }
  return text;
}

/** Apart: nearly everything is ASCII, for which this call would cost more than the text. */
function decodeNonAscii(buffer: Uint8Array, start: number, end: number): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(buffer.subarray(start, end));
}
