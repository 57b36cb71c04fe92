/**
 * Our framing, readers and writers against those of pg-protocol, on random messages: two programs
 * written apart that must agree. Where pg-protocol is known to read less (a `v` message, a cancel
 * key of protocol 3.2), it is not asked.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { serialize } from "pg-protocol";
import { Parser } from "pg-protocol/dist/parser.js";
import {
  backendKeyData,
  commandComplete,
  dataRow,
  parameterStatus,
  readCommandTag,
  readParameterStatus,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from "../../../src/wire/backend_messages.ts";
import { BodyReader } from "../../../src/wire/body_reader.ts";
import {
  errorResponse,
  noticeResponse,
  readErrorResponse,
} from "../../../src/wire/error_response.ts";
import { HEADER_BYTES } from "../../../src/wire/message_cursor.ts";
import { Backend } from "../../../src/wire/message_type.ts";
import { MessageWriter } from "../../../src/wire/message_writer.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import {
  cancelRequest,
  readStartupPacket,
  startupMessage,
  startupPacketBytes,
} from "../../../src/wire/startup_packet.ts";
import {
  ALL_INSPECTED,
  cutEvery,
  joined,
  message,
  NOTHING_INSPECTED,
  walk,
} from "../../support/walk.ts";

/** A message as pg-protocol reads it: plain fields. */
type Read = Readonly<Record<string, unknown>>;

/** Reads bytes, given in any chunks, with pg-protocol. */
function readByPgProtocol(chunks: readonly Uint8Array[]): Read[] {
  const found: Read[] = [];
  const parser = new Parser();
  for (const chunk of chunks) {
    parser.parse(Buffer.from(chunk), (one) => {
      // An error's message is not a field of its own.
      const { message } = one as { message?: string };
      found.push({ ...one, ...(message === undefined ? {} : { message }) });
    });
  }
  return found;
}

const text = fc.string({ unit: "grapheme", maxLength: 20 })
  .map((value) => value.replaceAll("\0", " "));
const bytes = fc.uint8Array({ maxLength: 40 });

/** Backend messages whose bodies pg-protocol can read. */
const backendMessage: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.constantFrom(...Object.values(TransactionStatus)).map(readyForQuery),
  fc.tuple(text, text).map(([name, value]) => parameterStatus(name, value)),
  text.map(commandComplete),
  fc.array(fc.option(text), { maxLength: 5 }).map(dataRow),
  fc.uint8Array({ minLength: 8, maxLength: 8 }).map(backendKeyData),
  text.map((value) => errorResponse(new PgError("57014", value, { severity: "ERROR" }))),
  bytes.map((body) => message(Backend.CopyData, body)),
  fc.constantFrom(
    Backend.ParseComplete,
    Backend.BindComplete,
    Backend.CloseComplete,
    Backend.NoData,
    Backend.PortalSuspended,
    Backend.EmptyQueryResponse,
    Backend.CopyDone,
  ).map((type) => message(type)),
);

Deno.test("MessageCursor frames a conversation as pg-protocol does, in any chunks", () => {
  const conversation = fc.array(backendMessage, { minLength: 1, maxLength: 15 });
  fc.assert(
    fc.property(conversation, fc.integer({ min: 1, max: 60 }), (messages, size) => {
      const chunks = cutEvery(joined(...messages), size);
      const theirs = readByPgProtocol(chunks);
      for (const limits of [ALL_INSPECTED, NOTHING_INSPECTED]) {
        const ours = walk(chunks, limits).messages;
        assert.deepEqual(
          ours.map((one) => one.bytes.length - 1),
          theirs.map((one) => one["length"]),
        );
        assert.deepEqual(ours.map((one) => one.bytes), messages.map((one) => new Uint8Array(one)));
      }
    }),
    { numRuns: 200 },
  );
});

/** What pg-protocol makes of one message of ours. */
function readOne(one: Uint8Array): Read {
  const [read, ...more] = readByPgProtocol([one]);
  assert.ok(read !== undefined && more.length === 0);
  assert.equal(read["length"], one.length - 1);
  return read;
}

function bodyOf(one: Uint8Array): BodyReader {
  return new BodyReader(one, HEADER_BYTES, one.length);
}

Deno.test("pg-protocol reads the backend messages that Sluice writes", () => {
  fc.assert(
    fc.property(text, text, (one, other) => {
      const status = readOne(parameterStatus(one, other));
      assert.deepEqual([status["parameterName"], status["parameterValue"]], [one, other]);
      const read = readParameterStatus(bodyOf(parameterStatus(one, other)));
      assert.deepEqual(read, { name: one, value: other });

      const complete = commandComplete(one);
      assert.equal(readOne(complete)["text"], one);
      assert.equal(readCommandTag(complete, HEADER_BYTES, complete.length), one);

      const row = readOne(dataRow([one, null, other, ""]));
      assert.deepEqual(row["fields"], [one, null, other, ""]);
    }),
  );
  for (const [letter, status] of [["I", 0x49], ["T", 0x54], ["E", 0x45]] as const) {
    assert.equal(readOne(readyForQuery(status))["status"], letter);
  }
});

Deno.test("pg-protocol reads the cancel key that Sluice gives a client", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), (key) => {
      const { processID, secretKey } = readOne(backendKeyData(key)) as Record<string, number>;
      const view = new DataView(key.buffer, key.byteOffset);
      assert.equal(processID, view.getInt32(0));
      assert.equal(secretKey, view.getInt32(4));
      // And what pg-protocol sends to cancel is the key again.
      const packet = serialize.cancel(processID!, secretKey!);
      assert.deepEqual(readStartupPacket(packet), {
        kind: "cancel_request",
        key: new Uint8Array(key),
      });
      assert.deepEqual(cancelRequest(key), new Uint8Array(packet));
    }),
  );
});

Deno.test("pg-protocol reads the RowDescription that Sluice writes", () => {
  const columns = fc.array(
    fc.record({
      name: text,
      oid: fc.nat(0xffffffff),
      sizeBytes: fc.integer({ min: -2, max: 32_767 }),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(columns, (given) => {
      const read = readOne(rowDescription(given));
      const fields = read["fields"] as Record<string, unknown>[];
      assert.equal(read["fieldCount"], given.length);
      for (const [i, { name, oid, sizeBytes }] of given.entries()) {
        assert.deepEqual({ ...fields[i] }, {
          name,
          tableID: 0,
          columnID: 0,
          dataTypeID: oid,
          dataTypeSize: sizeBytes,
          dataTypeModifier: -1,
          format: "text",
        });
      }
    }),
  );
});

const severity = fc.constantFrom(
  ...["ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "LOG", "INFO", "DEBUG"] as const,
);

Deno.test("pg-protocol reads the errors and notices that Sluice writes", () => {
  const error = fc.record({
    sqlstate: fc.stringMatching(/^[0-9A-Z]{5}$/),
    message: text,
    severity,
    detail: fc.option(text, { nil: undefined }),
    hint: fc.option(text, { nil: undefined }),
  });
  fc.assert(
    fc.property(error, ({ sqlstate, message, severity, detail, hint }) => {
      const given = new PgError(sqlstate, message, {
        severity,
        ...(detail === undefined ? {} : { detail }),
        ...(hint === undefined ? {} : { hint }),
      });
      for (
        const [written, name] of [
          [errorResponse(given), "error"],
          [noticeResponse(given), "notice"],
        ] as const
      ) {
        const read = readOne(written);
        assert.deepEqual(
          ["name", "code", "message", "severity", "detail", "hint"].map((field) => read[field]),
          [name, sqlstate, message, severity, detail, hint],
        );
      }
    }),
  );
});

Deno.test("readErrorResponse() reads of any error what pg-protocol reads", () => {
  // Fields in any order, known or not; V is left out, which pg-protocol does not read.
  const letter = fc.constantFrom(..."SCMDHPpqWstcdnFLRxyz");
  fc.assert(
    fc.property(fc.array(fc.tuple(letter, text), { maxLength: 12 }), severity, (fields, level) => {
      const writer = new MessageWriter().begin(Backend.ErrorResponse);
      for (const [code, value] of [["S", level], ...fields] as [string, string][]) {
        // A severity must be one of PostgreSQL's words to be taken over.
        writer.int8(code.charCodeAt(0)).cstring(code === "S" ? level : value);
      }
      const written = writer.int8(0).end().take();
      const ours = readErrorResponse(bodyOf(written));
      const theirs = readOne(written);
      assert.equal(ours.severity, theirs["severity"]);
      // What is no SQLSTATE is not passed on.
      const code = String(theirs["code"] ?? "");
      assert.equal(ours.sqlstate, /^[0-9A-Z]{5}$/.test(code) ? code : "XX000");
      assert.equal(ours.message, theirs["message"] || ours.message);
      assert.equal(ours.detail, theirs["detail"]);
      assert.equal(ours.hint, theirs["hint"]);
    }),
  );
});

Deno.test("readStartupPacket() reads the StartupMessage that pg-protocol writes", () => {
  const name = fc.stringMatching(/^[a-z_]{1,12}$/).filter((one) => one !== "__proto__");
  fc.assert(
    fc.property(fc.dictionary(name, text), (given) => {
      const packet = serialize.startup({ ...given });
      assert.equal(startupPacketBytes(packet), packet.length);
      const read = readStartupPacket(packet);
      assert.ok(read.kind === "startup_message");
      assert.equal(read.minor, 0);
      // pg-protocol adds the encoding it reads.
      const expected = { ...given, client_encoding: "UTF8" };
      assert.deepEqual(Object.fromEntries(read.parameters), expected);
      assert.deepEqual(startupMessage(read.parameters), new Uint8Array(packet));
    }),
  );
  assert.deepEqual(readStartupPacket(serialize.requestSsl()), { kind: "ssl_request" });
});

Deno.test("MessageCursor frames what pg-protocol sends as a client", () => {
  fc.assert(
    fc.property(text, fc.array(fc.option(text), { maxLength: 5 }), bytes, (sql, values, data) => {
      const sent: [letter: string, bytes: Uint8Array][] = [
        ["Q", serialize.query(sql)],
        ["P", serialize.parse({ name: "s", text: sql, types: [23, 25] })],
        ["B", serialize.bind({ portal: "", statement: "s", values })],
        ["D", serialize.describe({ type: "P", name: "" })],
        ["E", serialize.execute({ portal: "", rows: 7 })],
        ["C", serialize.close({ type: "S", name: "s" })],
        ["H", serialize.flush()],
        ["S", serialize.sync()],
        ["d", serialize.copyData(Buffer.from(data))],
        ["c", serialize.copyDone()],
        ["f", serialize.copyFail(sql)],
        ["X", serialize.end()],
      ];
      const { isAtBoundary, messages } = walk(
        cutEvery(joined(...sent.map(([, one]) => one)), 9),
        ALL_INSPECTED,
      );
      assert.equal(isAtBoundary, true);
      assert.deepEqual(
        messages.map((one) => [String.fromCharCode(one.type), one.bytes]),
        sent.map(([letter, one]) => [letter, new Uint8Array(one)]),
      );
    }),
  );
});
