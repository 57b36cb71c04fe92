/**
 * Walks protocol messages over received chunks without copying. Pure: no I/O, no clock.
 * It frames; it does not judge which message may come when.
 *
 * HOT PATH. Budget: no allocation per message; one copy when an inspected message or a header is
 * split between chunks.
 *
 * Two kinds of message. One whose type is *inspected*, and that is not too long to be held, is
 * yielded once, whole, however it arrived; of a longer one as much as may be held is there when it
 * is first yielded. All others are yielded as soon as their header is known, with as much of the
 * body as is there, and again (`isContinuation`) for each later piece: a large row is never held
 * back or buffered.
 *
 * Invariant: [start, end) of `buffer` is a piece of exactly one message; the pieces, in order, are
 * the bytes received.
 * Source: PostgreSQL, "Message Formats".
 */

import { assert } from "../base/assert.ts";
import { ProtocolError } from "./pg_error.ts";

/** Type byte and length word. */
export const HEADER_BYTES = 5;

/** The length word counts itself. */
const LENGTH_WORD_BYTES = 4;

const NO_BYTES = new Uint8Array(0);

const EVERY_TYPE = new Uint8Array(256).fill(1);

/** What a cursor lets pass. */
export interface CursorLimits {
  /** 1 at the type bytes whose messages are yielded whole. */
  readonly inspected: Uint8Array;
  /** Most of an inspected message that is held before it is yielded, in bytes, type byte included. */
  readonly maxInspectedBytes: number;
  /** Longest message of any type, in bytes. */
  readonly maxMessageBytes: number;
  /** The setting that says so, if one does; for the error. */
  readonly limitName?: string;
}

/** A reader over one direction of one connection. */
export class MessageCursor {
  /** Type byte of the current message. */
  type = 0;
  /** Whether this is a later piece of a message already yielded. */
  isContinuation = false;
  /** Whether the current piece is the whole message. */
  isWhole = false;
  /** Where the current piece lies, as long as `next()` has not said that the chunk is used up. */
  buffer: Uint8Array = NO_BYTES;
  start = 0;
  end = 0;

  readonly #limits: CursorLimits;
  #chunk: Uint8Array = NO_BYTES;
  #chunkLength = 0;
  #position = 0;
  /** Bytes still to come of a message that is passed on in pieces. */
  #streamRemaining = 0;
  #carry: Uint8Array = NO_BYTES;
  #carriedCount = 0;

  constructor(limits: CursorLimits) {
    this.#limits = limits;
  }

  /** A reader that yields every message whole, none of more than `maxBytes`. */
  static ofWhole(maxBytes: number): MessageCursor {
    return new MessageCursor({
      inspected: EVERY_TYPE,
      maxInspectedBytes: maxBytes,
      maxMessageBytes: maxBytes,
    });
  }

  /** Whether the connection stands between two messages. Of use once the chunk has been walked. */
  get isAtBoundary(): boolean {
    return this.#streamRemaining === 0 && this.#carriedCount === 0;
  }

  /** Whether a message was yielded of which more is to come. */
  get isMidMessage(): boolean {
    return this.#streamRemaining > 0;
  }

  /** Bytes still to come of the message of which a part was yielded. */
  get restBytes(): number {
    return this.#streamRemaining;
  }

  /** Bytes of the chunk that `next()` has not yet yielded; for a hand-over to another reader. */
  get unreadCount(): number {
    return this.#chunkLength - this.#position;
  }

  /** Gives the cursor a received chunk, borrowed until it has been walked. */
  feed(chunk: Uint8Array, length: number): void {
    assert(this.#position === this.#chunkLength, "The chunk before must have been walked");
    this.#chunk = chunk;
    this.#chunkLength = length;
    this.#position = 0;
  }

  /**
   * Gives the cursor a part of a chunk that another cursor has walked; it begins with the last
   * `restBytes` of a message.
   */
  feedWalked(restBytes: number, chunk: Uint8Array, start: number, end: number): void {
    assert(this.#carriedCount === 0, "Nothing may be held of what came before");
    this.#streamRemaining = restBytes;
    this.feed(chunk, end);
    this.#position = start;
  }

  /** Drops what was not walked yet, after a message that ends the conversation. */
  abandonChunk(): void {
    this.#position = this.#chunkLength;
  }

  /**
   * Moves to the next message or piece; false when the chunk is used up.
   * @throws {ProtocolError} If a length word is impossible or over `maxMessageBytes`.
   */
  next(): boolean {
    if (this.#streamRemaining > 0) return this.#continueStream();
    if (this.#carriedCount > 0) return this.#continueCarry();
    const position = this.#position;
    const available = this.#chunkLength - position;
    if (available < HEADER_BYTES) return this.#carryRest();
    const chunk = this.#chunk;
    const type = chunk[position]!;
    const total = this.#totalBytes(chunk, position);
    this.isWhole = total <= available;
    if (!this.isWhole && this.#neededBytes(type, total) > available) return this.#carryRest();
    this.type = type;
    this.isContinuation = false;
    this.buffer = chunk;
    this.start = position;
    if (this.isWhole) {
      this.end = position + total;
    } else {
      this.end = this.#chunkLength;
      this.#streamRemaining = total - available;
    }
    this.#position = this.end;
    return true;
  }

  /** Length of the whole message whose header is at `at`, type byte included. */
  #totalBytes(bytes: Uint8Array, at: number): number {
    const length = (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) |
      bytes[at + 4]!;
    if (length < LENGTH_WORD_BYTES) throw badHeader(bytes, at);
    if (length >= this.#limits.maxMessageBytes) throw badHeader(bytes, at, this.#limitText(length));
    return length + 1;
  }

  /** What is wrong with a length, where a setting says so. */
  #limitText(length: number): string {
    const { limitName, maxMessageBytes } = this.#limits;
    return limitName === undefined ? "" : ` (${length} bytes, ${limitName} is ${maxMessageBytes})`;
  }

  /** How much of a message has to be there before it is yielded. */
  #neededBytes(type: number, total: number): number {
    if (this.#limits.inspected[type] === 0) return HEADER_BYTES;
    return Math.max(HEADER_BYTES, Math.min(total, this.#limits.maxInspectedBytes));
  }

  #continueStream(): boolean {
    const available = this.#chunkLength - this.#position;
    if (available === 0) return this.#letGo();
    const count = Math.min(available, this.#streamRemaining);
    this.isContinuation = true;
    this.isWhole = false;
    this.buffer = this.#chunk;
    this.start = this.#position;
    this.end = this.#position + count;
    this.#position = this.end;
    this.#streamRemaining -= count;
    return true;
  }

  /** The chunk is used up: it goes back to whom it was borrowed from. A cursor may be idle for hours. */
  #letGo(): false {
    this.#chunk = NO_BYTES;
    this.buffer = NO_BYTES;
    return false;
  }

  #carryRest(): boolean {
    if (this.#position < this.#chunkLength) {
      this.#carryBytes(this.#chunkLength - this.#position);
    }
    return this.#letGo();
  }

  #continueCarry(): boolean {
    if (!this.#carryUpTo(HEADER_BYTES)) return this.#letGo();
    const total = this.#totalBytes(this.#carry, 0);
    const type = this.#carry[0]!;
    if (!this.#carryUpTo(this.#neededBytes(type, total))) return this.#letGo();
    this.type = type;
    this.isContinuation = false;
    this.isWhole = this.#carriedCount === total;
    this.buffer = this.#carry;
    this.start = 0;
    this.end = this.#carriedCount;
    this.#streamRemaining = total - this.#carriedCount;
    this.#carriedCount = 0;
    // The piece yielded must outlast whatever is carried next from the same chunk.
    this.#carry = NO_BYTES;
    return true;
  }

  /** Carries on until `count` bytes are held; false when the chunk ran out first. */
  #carryUpTo(count: number): boolean {
    const missing = count - this.#carriedCount;
    if (missing <= 0) return true;
    const available = this.#chunkLength - this.#position;
    this.#carryBytes(Math.min(missing, available));
    return available >= missing;
  }

  #carryBytes(count: number): void {
    const needed = this.#carriedCount + count;
    if (needed > this.#carry.length) {
      // Doubling keeps a message that arrives byte by byte from costing a copy a byte.
      const grown = new Uint8Array(Math.max(needed, this.#carry.length * 2, 16));
      grown.set(this.#carry.subarray(0, this.#carriedCount));
      this.#carry = grown;
    }
    this.#carry.set(
      this.#chunk.subarray(this.#position, this.#position + count),
      this.#carriedCount,
    );
    this.#carriedCount = needed;
    this.#position += count;
  }
}

function badHeader(bytes: Uint8Array, at: number, detail = ""): ProtocolError {
  const shown = Array.from(
    bytes.subarray(at, at + HEADER_BYTES),
    (byte) => byte.toString(16).padStart(2, "0"),
  );
  return new ProtocolError(`bad packet header: '${shown.join("")}'${detail}`);
}
