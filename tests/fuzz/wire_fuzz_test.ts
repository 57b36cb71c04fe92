/**
 * Any bytes, cut anywhere: the wire's readers answer with a value or a `ProtocolError` and nothing
 * else, the messages do not depend on the chunking, and no byte is lost, invented or moved.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  backendKeyData,
  readBackendKeyData,
  readNegotiateProtocolVersion,
  readParameterStatus,
} from "../../src/wire/backend_messages.ts";
import { BodyReader } from "../../src/wire/body_reader.ts";
import { readErrorResponse } from "../../src/wire/error_response.ts";
import { type CursorLimits, HEADER_BYTES, MessageCursor } from "../../src/wire/message_cursor.ts";
import { PgError, ProtocolError } from "../../src/wire/pg_error.ts";
import { RangeWriter } from "../../src/wire/range_writer.ts";
import { readStartupOptions } from "../../src/wire/startup_options.ts";
import {
  cancelRequest,
  readStartupPacket,
  startupMessage,
  startupPacketBytes,
} from "../../src/wire/startup_packet.ts";
import { cutAt, cutEvery, joined, message, walk } from "../support/walk.ts";

const anyBytes = fc.uint8Array({ maxLength: 200, size: "max" });

/** Bytes that look like messages for a while. */
const almostMessages = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.tuple(fc.nat(255), anyBytes).map(([type, body]) => message(type, body)),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 8 }) },
  ),
  { maxLength: 8 },
).map((parts) => joined(...parts));

const wholeMessages = fc.array(
  fc.tuple(fc.nat(255), fc.oneof(anyBytes, fc.constant(new Uint8Array(0)))),
  { maxLength: 12 },
).map((all) => all.map(([type, body]) => message(type, body)));

/** Limits of every kind, with some types inspected. */
const limits: fc.Arbitrary<CursorLimits> = fc.record({
  inspected: fc.uint8Array({ minLength: 256, maxLength: 256, max: 1, size: "max" }),
  maxInspectedBytes: fc.constantFrom(0, 5, 6, 50, 0x7fffffff),
  maxMessageBytes: fc.constantFrom(206, 300, 0x7fffffff),
});

/** Lengths of chunks; what is left over comes in one. */
const cuts = fc.array(fc.nat(40), { maxLength: 30, size: "max" });

function cutBy(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    chunks.push(bytes.subarray(at, at + length));
    at = Math.min(bytes.length, at + length);
  }
  return [...chunks, bytes.subarray(at)];
}

/** Runs a reader; what it throws must be a `ProtocolError`. */
function readsOrRefuses<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `not a ProtocolError but ${String(error)}`);
    assert.ok(error.message.length > 0 && error.message.length < 200);
    return undefined;
  }
}

Deno.test("MessageCursor takes any bytes, cut anywhere, with nothing worse than ProtocolError", () => {
  fc.assert(
    fc.property(fc.oneof(anyBytes, almostMessages), limits, cuts, (bytes, given, lengths) => {
      const whole = readsOrRefuses(() => walk([bytes], given));
      const pieces = readsOrRefuses(() => walk(cutBy(bytes, lengths), given));
      assert.equal(whole === undefined, pieces === undefined, "refused in any chunking or in none");
      if (whole === undefined || pieces === undefined) return;
      assert.equal(whole.isAtBoundary, pieces.isAtBoundary);
      for (const { messages } of [whole, pieces]) {
        const taken = joined(...messages.map((one) => one.bytes));
        assert.deepEqual(bytes.slice(0, taken.length), taken, "the bytes received, in order");
        if (whole.isAtBoundary) assert.equal(taken.length, bytes.length);
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("MessageCursor gives the same messages whole, byte by byte, cut at each offset", () => {
  fc.assert(
    fc.property(wholeMessages, limits, cuts, (messages, given, lengths) => {
      const bytes = joined(...messages);
      const expected = messages.map((one) => ({ type: one[0]!, bytes: new Uint8Array(one) }));
      const chunkings = [[bytes], cutEvery(bytes, 1), cutEvery(bytes, 7), cutBy(bytes, lengths)];
      for (const chunks of chunkings) {
        const { isAtBoundary, messages } = walk(chunks, given);
        assert.deepEqual(messages, expected);
        assert.equal(isAtBoundary, true);
      }
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(wholeMessages, limits, (messages, given) => {
      const bytes = joined(...messages.slice(0, 4));
      const expected = walk([bytes], given);
      for (let offset = 0; offset <= bytes.length; offset++) {
        assert.deepEqual(walk(cutAt(bytes, offset), given), expected);
      }
    }),
    { numRuns: 20 },
  );
});

Deno.test("MessageCursor streams a long body without holding it, in any chunking", () => {
  const held = { ...walkLimits([]), maxInspectedBytes: 1_000 };
  fc.assert(
    fc.property(fc.integer({ min: 60_000, max: 200_000 }), fc.nat(9_000), (length, size) => {
      const row = message("D", new Uint8Array(length).fill(length));
      const bytes = joined(row, message("Z", "I"));
      const { messages } = walk(cutEvery(bytes, size + 1_000), held);
      assert.deepEqual(messages.map((one) => one.bytes.length), [length + 5, 6]);
      assert.deepEqual(messages[0]!.bytes, new Uint8Array(row));
    }),
    { numRuns: 10 },
  );
});

function walkLimits(inspected: readonly number[]): CursorLimits {
  const table = new Uint8Array(256);
  for (const type of inspected) table[type] = 1;
  return { inspected: table, maxInspectedBytes: 0x7fffffff, maxMessageBytes: 0x7fffffff };
}

Deno.test("RangeWriter gives exactly the pieces added, in order, however they lie", () => {
  const piece = fc.record({
    buffer: fc.nat(2),
    start: fc.nat(100),
    length: fc.nat(100),
    /** Goes on where the last piece of its buffer ended, as messages do. */
    isNext: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(fc.array(piece, { maxLength: 12 }), { maxLength: 4 }), (flushes) => {
      const writer = new RangeWriter();
      const buffers = [0, 1, 2].map((n) => new Uint8Array(200).map((_, i) => i + 50 * n));
      for (const pieces of flushes) {
        const ends = [0, 0, 0];
        const expected: Uint8Array[] = [];
        for (const { buffer, start, length, isNext } of pieces) {
          const from = isNext ? ends[buffer]! : start;
          const to = Math.min(200, from + length);
          ends[buffer] = to;
          writer.add(buffers[buffer]!, from, to);
          expected.push(buffers[buffer]!.slice(from, to));
        }
        const all = joined(...expected);
        assert.equal(writer.length, all.length);
        let writeCount = 0;
        writer.flushTo({
          write(buffer, start, end) {
            writeCount += 1;
            assert.deepEqual(new Uint8Array(buffer.subarray(start, end)), all);
          },
        });
        assert.equal(writeCount, 1);
        assert.equal(writer.length, 0);
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("a conversation passes cursor and writer unchanged, but for what is left out", () => {
  fc.assert(
    fc.property(wholeMessages, limits, cuts, fc.nat(255), (messages, given, lengths, skipped) => {
      const cursor = new MessageCursor(given);
      const writer = new RangeWriter();
      const sent: Uint8Array[] = [];
      const target = {
        write: (buffer: Uint8Array, start: number, end: number) =>
          void sent.push(buffer.slice(start, end)),
      };
      for (const chunk of cutBy(joined(...messages), lengths)) {
        const buffer = new Uint8Array(chunk);
        cursor.feed(buffer, buffer.length);
        while (cursor.next()) {
          if (cursor.type % 3 !== skipped % 3) writer.add(cursor.buffer, cursor.start, cursor.end);
        }
        writer.flushTo(target);
        buffer.fill(0xee);
      }
      const kept = messages.filter((one) => one[0]! % 3 !== skipped % 3);
      assert.deepEqual(joined(...sent), joined(...kept));
    }),
    { numRuns: 500 },
  );
});

Deno.test("BodyReader takes any bytes, with nothing worse than ProtocolError", () => {
  const call = fc.constantFrom("int8", "int16", "int32", "cstring", "bytes");
  fc.assert(
    fc.property(anyBytes, fc.array(call, { maxLength: 20 }), fc.nat(60), (bytes, calls, count) => {
      const start = Math.min(bytes.length, 3);
      const end = Math.max(start, bytes.length - 3);
      const reader = new BodyReader(bytes, start, end);
      readsOrRefuses(() => {
        for (const name of calls) {
          const before = reader.remaining;
          const value = name === "bytes" ? reader.bytes(count) : reader[name]();
          assert.ok(reader.remaining <= before && reader.remaining >= 0, `${name}: ${value}`);
        }
      });
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("the readers of messages take any body, with nothing worse than ProtocolError", () => {
  const zeros = fc.uint8Array({ maxLength: 60, max: 3 });
  fc.assert(
    fc.property(fc.oneof(anyBytes, zeros), (body) => {
      const reader = () => new BodyReader(body, 0, body.length);
      const error = readsOrRefuses(() => readErrorResponse(reader()));
      assert.ok(error === undefined || error instanceof PgError);
      readsOrRefuses(() => readParameterStatus(reader()));
      readsOrRefuses(() => readNegotiateProtocolVersion(reader()));
      readsOrRefuses(() => readBackendKeyData(reader()));
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a cancel key goes through BackendKeyData and CancelRequest unchanged, or through neither", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300, size: "max" }), (key) => {
      const body = backendKeyData(key).subarray(5);
      const given = readsOrRefuses(() => readBackendKeyData(new BodyReader(body, 0, body.length)));
      const packet = cancelRequest(key);
      assert.equal(startupPacketBytes(packet), packet.length);
      const asked = readsOrRefuses(() => readStartupPacket(packet));
      assert.equal(given === undefined, key.length < 8 || key.length > 260);
      assert.equal(asked === undefined, given === undefined);
      if (given === undefined) return;
      assert.deepEqual(given, new Uint8Array(key));
      assert.deepEqual(asked, { kind: "cancel_request", key: given });
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("the readers of startup packets take any bytes, with nothing worse than ProtocolError", () => {
  const code = fc.constantFrom(0, 2 << 16, 3 << 16, 3 << 16 | 2, 80_877_102, 80_877_103, -1);
  const packet = fc.tuple(code, anyBytes).map(([given, rest]) => {
    const bytes = joined(new Uint8Array(8), rest);
    const view = new DataView(bytes.buffer);
    view.setInt32(0, bytes.length);
    view.setInt32(4, given);
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(anyBytes, packet), (bytes) => {
      const length = readsOrRefuses(() => startupPacketBytes(bytes));
      if (length !== undefined && bytes.length >= length) {
        readsOrRefuses(() => readStartupPacket(bytes.subarray(0, length)));
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a StartupMessage is read as it was written, whatever the parameters", () => {
  const text = fc.string({ unit: "grapheme" }).filter((value) => !value.includes("\0"));
  const pairs = fc.array(fc.tuple(text.filter((name) => name !== ""), text), { maxLength: 8 });
  fc.assert(
    fc.property(pairs, (parameters) => {
      const bytes = startupMessage(parameters);
      assert.equal(startupPacketBytes(bytes), bytes.length);
      const read = readStartupPacket(bytes);
      assert.ok(read.kind === "startup_message");
      assert.deepEqual([...read.parameters], [...new Map(parameters)]);
    }),
  );
});

Deno.test("readStartupOptions() takes any text, with nothing worse than ProtocolError", () => {
  const likely = fc.string({ unit: fc.constantFrom("-", "c", " ", "=", "\\", "a", "\t", "é") });
  fc.assert(
    fc.property(fc.oneof(fc.string(), likely), (text) => {
      const read = readsOrRefuses(() => readStartupOptions(text));
      for (const name of read?.keys() ?? []) assert.ok(name.length > 0);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("readStartupOptions() reads back any values, escaped as PostgreSQL asks for", () => {
  const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/);
  const value = fc.string({ unit: fc.constantFrom("a", " ", "\\", "'", "\t", "\n", "é", "=") });
  fc.assert(
    fc.property(fc.dictionary(name, value), (given) => {
      const options = Object.entries(given)
        .map(([key, text]) => `-c ${key}=${text.replaceAll(/[\s\\]/g, "\\$&")}`).join(" ");
      assert.deepEqual(readStartupOptions(options), new Map(Object.entries(given)));
    }),
  );
});

Deno.test("a header alone never makes the cursor hold more than a header", () => {
  // A peer that announces a gigabyte and sends nothing costs nothing.
  const header = message("D").slice();
  new DataView(header.buffer).setInt32(1, 0x3fffffff);
  const cursor = new MessageCursor(walkLimits([]));
  cursor.feed(header, HEADER_BYTES);
  assert.equal(cursor.next(), true);
  assert.equal(cursor.end - cursor.start, HEADER_BYTES);
  assert.equal(cursor.isMidMessage, true);
});
