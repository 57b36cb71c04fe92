/**
 * Walks bytes through a `MessageCursor` in given chunks, checking all that the cursor promises on
 * the way, and puts the messages together again.
 */

import assert from "node:assert/strict";
import { type CursorLimits, MessageCursor } from "../../src/wire/message_cursor.ts";

/** A whole message, type byte and length word included. */
export interface WalkedMessage {
  readonly type: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What came out. */
export interface Walk {
  /** Whole messages, and as the last one perhaps the beginning of one. */
  readonly messages: readonly WalkedMessage[];
  /** Whether the bytes ended with the end of a message. */
  readonly isAtBoundary: boolean;
}

/** Everything is yielded as it comes. */
export const NOTHING_INSPECTED: Readonly<CursorLimits> = {
  inspected: new Uint8Array(256),
  maxInspectedBytes: 0,
  maxMessageBytes: 0x7fffffff,
};

/** Every message is yielded whole. */
export const ALL_INSPECTED: Readonly<CursorLimits> = {
  inspected: new Uint8Array(256).fill(1),
  maxInspectedBytes: 0x7fffffff,
  maxMessageBytes: 0x7fffffff,
};

/** @throws {ProtocolError} As the cursor does. */
export function walk(chunks: Iterable<Uint8Array>, limits: CursorLimits): Walk {
  const cursor = new MessageCursor(limits);
  const messages: WalkedMessage[] = [];
  // One buffer for all chunks, as a connection has: what is kept of an earlier one is overwritten.
  const buffer = new Uint8Array(Math.max(16, ...Array.from(chunks, (chunk) => chunk.length)));
  for (const chunk of chunks) {
    buffer.fill(0xee);
    buffer.set(chunk);
    cursor.feed(buffer, chunk.length);
    const pieces: { buffer: Uint8Array; start: number; end: number; copy: Uint8Array }[] = [];
    while (cursor.next()) {
      const { start, end } = cursor;
      assert.ok(start < end && end <= cursor.buffer.length, "a piece is never empty");
      const copy = cursor.buffer.slice(start, end);
      pieces.push({ buffer: cursor.buffer, start, end, copy });
      take(cursor, copy, { limits, messages });
    }
    assert.equal(cursor.unreadCount, 0);
    for (const { buffer, start, end, copy } of pieces) {
      assert.deepEqual(buffer.slice(start, end), copy, "a piece stays until the next feed()");
    }
  }
  return { messages, isAtBoundary: cursor.isAtBoundary };
}

function take(
  cursor: MessageCursor,
  piece: Uint8Array,
  { limits, messages }: { limits: CursorLimits; messages: WalkedMessage[] },
): void {
  const last = messages.at(-1);
  if (cursor.isContinuation) {
    assert.ok(last !== undefined && !cursor.isWhole);
    assert.equal(cursor.type, last.type);
    assert.ok(last.bytes.length < lengthOf(last.bytes), "nothing follows a whole message");
    messages[messages.length - 1] = { type: last.type, bytes: joined(last.bytes, piece) };
  } else {
    assert.ok(last === undefined || last.bytes.length === lengthOf(last.bytes));
    assert.equal(piece[0], cursor.type);
    messages.push({ type: cursor.type, bytes: new Uint8Array(piece) });
    const total = lengthOf(piece);
    assert.equal(cursor.isWhole, piece.length === total);
    const heldBytes = limits.inspected[cursor.type] === 1 ? limits.maxInspectedBytes : 0;
    const isHeld = piece.length < Math.min(total, heldBytes);
    assert.ok(!isHeld, "an inspected message is yielded whole, or as much of it as may be held");
  }
  const { bytes } = messages.at(-1)!;
  assert.ok(bytes.length <= lengthOf(bytes));
  assert.equal(cursor.isMidMessage, bytes.length < lengthOf(bytes));
}

/** What the header says, type byte included. */
function lengthOf(message: Uint8Array): number {
  return new DataView(message.buffer, message.byteOffset).getInt32(1) + 1;
}

/** The bytes of both, one after the other. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** Cuts bytes into chunks of `size`; the last one may be shorter. */
export function cutEvery(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}

/** Cuts bytes in two at `offset`. */
export function cutAt(bytes: Uint8Array, offset: number): Uint8Array[] {
  return [bytes.subarray(0, offset), bytes.subarray(offset)];
}

/** One message: type byte, length word and the given body. */
export function message(type: number | string, body: Uint8Array | string = ""): Uint8Array {
  const content = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const bytes = new Uint8Array(5 + content.length);
  bytes[0] = typeof type === "string" ? type.charCodeAt(0) : type;
  new DataView(bytes.buffer).setInt32(1, 4 + content.length);
  bytes.set(content, 5);
  return bytes;
}
