import assert from "node:assert/strict";
import { AssertionError } from "../../../src/base/assert.ts";
import { type CursorLimits, MessageCursor } from "../../../src/wire/message_cursor.ts";
import { typeTable } from "../../../src/wire/message_type.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import {
  ALL_INSPECTED,
  cutAt,
  cutEvery,
  joined,
  message,
  NOTHING_INSPECTED,
  walk,
} from "../../support/walk.ts";

const Z = 0x5a;
const D = 0x44;

/** ReadyForQuery is held whole, rows are not. */
const LIMITS: Readonly<CursorLimits> = {
  inspected: typeTable([Z]),
  maxInspectedBytes: 32,
  maxMessageBytes: 1_000,
};

const CONVERSATION = [
  message(D, "a row that is longer"),
  message(Z, "I"),
  message(D),
  message(D, "x"),
];

interface Piece {
  readonly type: string;
  readonly isWhole: boolean;
  readonly isContinuation: boolean;
  readonly text: string;
}

/** Feeds one chunk and lists what the cursor yields. */
function pieces(cursor: MessageCursor, chunk: Uint8Array): Piece[] {
  const found: Piece[] = [];
  cursor.feed(chunk, chunk.length);
  while (cursor.next()) {
    found.push({
      type: String.fromCharCode(cursor.type),
      isWhole: cursor.isWhole,
      isContinuation: cursor.isContinuation,
      text: new TextDecoder("latin1").decode(cursor.buffer.subarray(cursor.start, cursor.end)),
    });
  }
  return found;
}

Deno.test("MessageCursor yields whole messages in place, without copying them", () => {
  const chunk = joined(...CONVERSATION);
  const cursor = new MessageCursor(LIMITS);
  cursor.feed(chunk, chunk.length);
  let at = 0;
  for (const one of CONVERSATION) {
    assert.equal(cursor.next(), true);
    assert.equal(cursor.buffer, chunk);
    assert.deepEqual([cursor.start, cursor.end], [at, at + one.length]);
    assert.equal(cursor.isWhole, true);
    at += one.length;
  }
  assert.equal(cursor.next(), false);
  assert.equal(cursor.next(), false);
  assert.equal(cursor.isAtBoundary, true);
});

Deno.test("MessageCursor.feed() takes only the first `length` bytes of the buffer", () => {
  const buffer = new Uint8Array(64).fill(0xff);
  buffer.set(message(Z, "I"));
  const cursor = new MessageCursor(LIMITS);
  cursor.feed(buffer, 6);
  assert.equal(cursor.next(), true);
  assert.equal(cursor.next(), false);
});

Deno.test("MessageCursor passes a message on in pieces when its type is not inspected", () => {
  const cursor = new MessageCursor(LIMITS);
  const row = message(D, "0123456789");
  const first = pieces(cursor, row.subarray(0, 8));
  assert.deepEqual(first, [
    { type: "D", isWhole: false, isContinuation: false, text: "D\0\0\0\x0e012" },
  ]);
  assert.equal(cursor.isMidMessage, true);
  assert.equal(cursor.isAtBoundary, false);
  assert.deepEqual(pieces(cursor, row.subarray(8, 12)), [
    { type: "D", isWhole: false, isContinuation: true, text: "3456" },
  ]);
  const rest = pieces(cursor, joined(row.subarray(12), message(Z, "I")));
  assert.deepEqual(rest.map(({ text }) => text), ["789", "Z\0\0\0\x05I"]);
  assert.deepEqual(rest.map(({ isContinuation }) => isContinuation), [true, false]);
  assert.equal(cursor.isMidMessage, false);
  assert.equal(cursor.isAtBoundary, true);
});

Deno.test("MessageCursor holds an inspected message back until it is whole", () => {
  const ready = message(Z, "T");
  for (let cut = 1; cut < ready.length; cut++) {
    const cursor = new MessageCursor(LIMITS);
    assert.deepEqual(pieces(cursor, ready.subarray(0, cut)), []);
    assert.equal(cursor.isAtBoundary, false);
    assert.equal(cursor.isMidMessage, false, "nothing of it has been yielded");
    assert.deepEqual(pieces(cursor, ready.subarray(cut)), [
      { type: "Z", isWhole: true, isContinuation: false, text: "Z\0\0\0\x05T" },
    ]);
    assert.equal(cursor.isAtBoundary, true);
  }
});

Deno.test("MessageCursor holds back a header that is split, of whatever type", () => {
  const row = message(D, "abc");
  for (let cut = 1; cut < 5; cut++) {
    const cursor = new MessageCursor(LIMITS);
    assert.deepEqual(pieces(cursor, row.subarray(0, cut)), []);
    const texts = pieces(cursor, row.subarray(cut)).map(({ text }) => text);
    assert.equal(texts.join(""), "D\0\0\0\x07abc");
  }
});

Deno.test("MessageCursor passes on at once what follows a split header", () => {
  const cursor = new MessageCursor(LIMITS);
  const row = message(D, "0123456789");
  assert.deepEqual(pieces(cursor, row.subarray(0, 3)), []);
  const texts = pieces(cursor, row.subarray(3, 8)).map(({ text }) => text);
  assert.equal(texts.join(""), "D\0\0\0\x0e012");
  assert.equal(cursor.isMidMessage, true);
  assert.deepEqual(pieces(cursor, row.subarray(8)).map(({ text }) => text), ["3456789"]);
});

Deno.test("MessageCursor yields a message without a body whole, also when its header was split", () => {
  const cursor = new MessageCursor(LIMITS);
  const empty = message(D);
  assert.deepEqual(pieces(cursor, empty.subarray(0, 3)), []);
  assert.deepEqual(pieces(cursor, empty.subarray(3)).map(({ isWhole }) => isWhole), [true]);
  assert.equal(cursor.isAtBoundary, true);
});

Deno.test("MessageCursor passes on what an inspected message begins with when it is too long to hold", () => {
  const cursor = new MessageCursor(LIMITS);
  const fits = message(Z, "x".repeat(27));
  assert.deepEqual(pieces(cursor, fits.subarray(0, 10)), []);
  assert.equal(pieces(cursor, fits.subarray(10)).length, 1);
  const tooLong = message(Z, "x".repeat(28));
  assert.deepEqual(pieces(cursor, tooLong.subarray(0, 10)), []);
  const [begin, rest] = pieces(cursor, tooLong.subarray(10));
  assert.deepEqual([begin!.text.length, begin!.isWhole, begin!.isContinuation], [32, false, false]);
  assert.deepEqual([rest!.text.length, rest!.isContinuation], [1, true]);
});

Deno.test("MessageCursor keeps nothing of a chunk that is used up", () => {
  const chunks = [
    message(D, "whole"),
    message(D, "in part").subarray(0, 8),
    message(Z).subarray(0, 3),
  ];
  for (const chunk of chunks) {
    const cursor = new MessageCursor(LIMITS);
    cursor.feed(chunk, chunk.length);
    while (cursor.next()) assert.equal(cursor.buffer, chunk);
    assert.equal(cursor.buffer.length, 0);
  }
});

Deno.test("MessageCursor goes on with a message that was begun elsewhere", () => {
  const cursor = new MessageCursor(LIMITS);
  const bytes = joined(message(D, "the rest of it"), message(Z, "I"));
  cursor.feedWalked(12, bytes, 7, bytes.length);
  assert.deepEqual([cursor.next(), cursor.isContinuation], [true, true]);
  assert.deepEqual([cursor.start, cursor.end], [7, 19]);
  assert.deepEqual([cursor.next(), cursor.type, cursor.isWhole], [true, Z, true]);
  assert.deepEqual([cursor.next(), cursor.restBytes], [false, 0]);
});

Deno.test("MessageCursor yields a long inspected message whole if it arrived whole", () => {
  const cursor = new MessageCursor(LIMITS);
  assert.equal(pieces(cursor, message(Z, "x".repeat(100)))[0]!.isWhole, true);
});

Deno.test("MessageCursor refuses a length word below 4", () => {
  for (const length of [3, 0, -1, -2_147_483_648]) {
    const bytes = message(D);
    new DataView(bytes.buffer).setInt32(1, length);
    for (const chunks of [[bytes], cutEvery(bytes, 1)]) {
      assert.throws(() => walk(chunks, LIMITS), ProtocolError);
    }
  }
});

Deno.test("MessageCursor names the header it refuses", () => {
  const bytes = Uint8Array.of(0x47, 0x45, 0x54, 0x20, 0x2f); // "GET /"
  assert.throws(() => walk([bytes], LIMITS), /^ProtocolError: bad packet header: '474554202f'$/);
});

Deno.test("MessageCursor refuses a message longer than max_packet_size at its header", () => {
  const longest = message(D, "x".repeat(995));
  assert.equal(longest.length, LIMITS.maxMessageBytes);
  assert.equal(walk([longest], LIMITS).messages.length, 1);
  const tooLong = message(D, "x".repeat(996));
  for (const bytes of [tooLong, tooLong.subarray(0, 5)]) {
    assert.throws(() => walk([bytes], LIMITS), ProtocolError);
    assert.throws(() => walk(cutEvery(bytes, 1), LIMITS), ProtocolError);
  }
});

Deno.test("MessageCursor says how long a message is that is too long, and what limits it", () => {
  const tooLong = message(D, "x".repeat(996));
  assert.throws(
    () => walk([tooLong], { ...LIMITS, limitName: "max_packet_size" }),
    /^ProtocolError: bad packet header: '44000003e8' \(1000 bytes, max_packet_size is 1000\)$/,
  );
});

Deno.test("MessageCursor yields what comes before a bad header", () => {
  const cursor = new MessageCursor(LIMITS);
  const chunk = joined(message(Z, "I"), Uint8Array.of(D, 0, 0, 0, 0));
  cursor.feed(chunk, chunk.length);
  assert.equal(cursor.next(), true);
  assert.equal(cursor.type, Z);
  assert.throws(() => cursor.next(), ProtocolError);
});

Deno.test("MessageCursor.feed() asserts that the chunk before has been walked", () => {
  const cursor = new MessageCursor(LIMITS);
  const chunk = joined(...CONVERSATION);
  cursor.feed(chunk, chunk.length);
  assert.equal(cursor.unreadCount, chunk.length);
  cursor.next();
  assert.equal(cursor.unreadCount, chunk.length - CONVERSATION[0]!.length);
  assert.throws(() => cursor.feed(chunk, chunk.length), AssertionError);
});

Deno.test("MessageCursor.abandonChunk() drops what was not walked", () => {
  const cursor = new MessageCursor(LIMITS);
  const chunk = joined(...CONVERSATION);
  cursor.feed(chunk, chunk.length);
  cursor.next();
  cursor.abandonChunk();
  assert.equal(cursor.next(), false);
  assert.equal(cursor.unreadCount, 0);
  assert.equal(pieces(cursor, message(Z, "I")).length, 1);
});

Deno.test("MessageCursor takes an empty chunk for nothing", () => {
  const cursor = new MessageCursor(LIMITS);
  assert.deepEqual(pieces(cursor, new Uint8Array()), []);
  pieces(cursor, message(D, "abc").subarray(0, 6));
  assert.deepEqual(pieces(cursor, new Uint8Array()), []);
  assert.equal(pieces(cursor, message(D, "abc").subarray(6)).length, 1);
});

Deno.test("MessageCursor gives the same messages for any chunking", () => {
  const bytes = joined(...CONVERSATION);
  const expected = CONVERSATION.map((one) => ({ type: one[0]!, bytes: new Uint8Array(one) }));
  for (const limits of [LIMITS, ALL_INSPECTED, NOTHING_INSPECTED]) {
    for (let size = 1; size <= bytes.length; size++) {
      assert.deepEqual(walk(cutEvery(bytes, size), limits).messages, expected);
    }
    for (let offset = 0; offset <= bytes.length; offset++) {
      assert.deepEqual(walk(cutAt(bytes, offset), limits).messages, expected);
    }
  }
});

Deno.test("MessageCursor copes with an inspected message of a megabyte that comes in small chunks", () => {
  const long = message(Z, new Uint8Array(1_000_000).fill(7));
  const bytes = joined(long, message(Z, "I"));
  const { messages } = walk(cutEvery(bytes, 1_000), ALL_INSPECTED);
  assert.deepEqual(messages.map(({ bytes }) => bytes.length), [1_000_005, 6]);
});
