import assert from "node:assert/strict";
import {
  backendKeyData,
  commandComplete,
  dataRow,
  isTransactionStatus,
  negotiateProtocolVersion,
  parameterStatus,
  readBackendKeyData,
  readCommandTag,
  readNegotiateProtocolVersion,
  readParameterStatus,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from "../../../src/wire/backend_messages.ts";
import { BodyReader } from "../../../src/wire/body_reader.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";

/** Type letter and body of the one message that the bytes are. */
function split(bytes: Uint8Array): { type: string; body: number[] } {
  assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getInt32(1), bytes.length - 1);
  return { type: String.fromCharCode(bytes[0]!), body: [...bytes.subarray(5)] };
}

Deno.test("readyForQuery() tells the transaction status", () => {
  assert.deepEqual(split(readyForQuery(TransactionStatus.Idle)), { type: "Z", body: [0x49] });
  assert.deepEqual(split(readyForQuery(TransactionStatus.Failed)), { type: "Z", body: [0x45] });
});

Deno.test("isTransactionStatus() knows I, T and E only", () => {
  const known = Array.from({ length: 256 }, (_, byte) => byte).filter(isTransactionStatus);
  assert.equal(String.fromCharCode(...known), "EIT");
});

Deno.test("readParameterStatus() reads what parameterStatus() writes", () => {
  const body = parameterStatus("TimeZone", "Zürich").subarray(5);
  const read = readParameterStatus(new BodyReader(body, 0, body.length));
  assert.deepEqual(read, { name: "TimeZone", value: "Zürich" });
});

Deno.test("readParameterStatus() refuses what is not two texts", () => {
  for (const body of [[], [0], [0x61, 0], [0x61, 0, 0x62], [0x61, 0x62]]) {
    const bytes = Uint8Array.from(body);
    const reader = new BodyReader(bytes, 0, bytes.length);
    assert.throws(() => readParameterStatus(reader), ProtocolError);
  }
});

Deno.test("backendKeyData() carries the key as it is, also a long one of protocol 3.2", () => {
  for (const length of [8, 36, 260]) {
    const key = new Uint8Array(length).map((_, i) => i);
    assert.deepEqual(split(backendKeyData(key)), { type: "K", body: [...key] });
  }
});

Deno.test("negotiateProtocolVersion() tells the whole version and the unknown options", () => {
  assert.deepEqual(split(negotiateProtocolVersion(0, [])), {
    type: "v",
    body: [0, 3, 0, 0, 0, 0, 0, 0],
  });
  assert.deepEqual(split(negotiateProtocolVersion(2, ["_pq_.a", "_pq_.b"])), {
    type: "v",
    body: [0, 3, 0, 2, 0, 0, 0, 2, ...new TextEncoder().encode("_pq_.a\0_pq_.b\0")],
  });
});

Deno.test("readBackendKeyData() reads what backendKeyData() writes, of any length that a key may have", () => {
  for (let length = 0; length <= 300; length++) {
    const key = Uint8Array.from({ length }, (_, at) => at & 0xff);
    const body = backendKeyData(key).subarray(5);
    const read = () => readBackendKeyData(new BodyReader(body, 0, body.length));
    if (length >= 8 && length <= 260) assert.deepEqual(read(), key);
    else assert.throws(read, ProtocolError);
  }
});

Deno.test("readNegotiateProtocolVersion() reads what negotiateProtocolVersion() writes", () => {
  for (const unknownOptions of [[], ["_pq_.a"], ["_pq_.a", "", "_pq_.b"]]) {
    const body = negotiateProtocolVersion(2, unknownOptions).subarray(5);
    const read = readNegotiateProtocolVersion(new BodyReader(body, 0, body.length));
    assert.deepEqual(read, { version: 0x30002, unknownOptions });
    for (let length = 0; length < body.length; length++) {
      const cut = new BodyReader(body, 0, length);
      assert.throws(() => readNegotiateProtocolVersion(cut), ProtocolError);
    }
  }
});

Deno.test("readCommandTag() reads what commandComplete() writes", () => {
  const bytes = commandComplete("INSERT 0 1");
  assert.equal(readCommandTag(bytes, 5, bytes.length), "INSERT 0 1");
  assert.equal(readCommandTag(bytes, 5, 5), "", "a body of no length has no tag");
});

Deno.test("rowDescription() describes columns in text format", () => {
  const { type, body } = split(rowDescription([{ name: "a", oid: 25, sizeBytes: -1 }]));
  assert.equal(type, "T");
  assert.deepEqual(body, [
    ...[0, 1, 0x61, 0],
    ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
  ]);
});

Deno.test("dataRow() tells NULL from an empty text and counts bytes, not characters", () => {
  assert.deepEqual(split(dataRow([null, "", "é"])), {
    type: "D",
    body: [0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0xc3, 0xa9],
  });
});
