import assert from "node:assert/strict";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import {
  cancelRequest,
  MAX_STARTUP_BYTES,
  readStartupPacket,
  startupMessage,
  startupPacketBytes,
} from "../../../src/wire/startup_packet.ts";

/** A packet with the given code and rest. */
function packet(code: number, rest: Uint8Array | string = ""): Uint8Array {
  const content = typeof rest === "string" ? new TextEncoder().encode(rest) : rest;
  const bytes = new Uint8Array(8 + content.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, bytes.length);
  view.setInt32(4, code);
  bytes.set(content, 8);
  return bytes;
}

function parameters(bytes: Uint8Array): [string, string][] {
  const read = readStartupPacket(bytes);
  assert.equal(read.kind, "startup_message");
  return [...(read as { parameters: ReadonlyMap<string, string> }).parameters];
}

Deno.test("startupPacketBytes() waits for the length word", () => {
  const bytes = packet(80_877_103);
  for (let count = 0; count < 4; count++) {
    assert.equal(startupPacketBytes(bytes.subarray(0, count)), undefined);
  }
  assert.equal(startupPacketBytes(bytes.subarray(0, 4)), 8);
  assert.equal(startupPacketBytes(bytes), 8);
});

Deno.test("startupPacketBytes() refuses lengths below 8 and over the limit", () => {
  const withLength = (length: number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setInt32(0, length);
    return bytes;
  };
  assert.equal(startupPacketBytes(withLength(MAX_STARTUP_BYTES)), MAX_STARTUP_BYTES);
  for (const length of [MAX_STARTUP_BYTES + 1, 7, 4, 0, -1]) {
    assert.throws(() => startupPacketBytes(withLength(length)), ProtocolError);
  }
  const http = new TextEncoder().encode("GET / HTTP/1.1");
  assert.throws(() => startupPacketBytes(http), /bad packet header: '47455420'/);
});

Deno.test("readStartupPacket() knows SSLRequest and GSSENCRequest", () => {
  assert.deepEqual(readStartupPacket(packet(80_877_103)), { kind: "ssl_request" });
  assert.deepEqual(readStartupPacket(packet(80_877_104)), { kind: "gssenc_request" });
});

Deno.test("readStartupPacket() reads what startupMessage() writes", () => {
  const sent: [string, string][] = [["user", "zoë"], ["database", "db"], ["options", ""]];
  const read = readStartupPacket(startupMessage(sent));
  assert.deepEqual(read, { kind: "startup_message", minor: 0, parameters: new Map(sent) });
  const newer = readStartupPacket(startupMessage(sent, 2));
  assert.deepEqual(newer, { kind: "startup_message", minor: 2, parameters: new Map(sent) });
});

Deno.test("readStartupPacket() tells the minor version", () => {
  const read = readStartupPacket(packet(3 << 16 | 9_999, "user\0a\0\0"));
  assert.deepEqual(read, {
    kind: "startup_message",
    minor: 9_999,
    parameters: new Map([["user", "a"]]),
  });
});

Deno.test("readStartupPacket() tells an old protocol and refuses an unknown one", () => {
  assert.deepEqual(readStartupPacket(packet(2 << 16)), { kind: "old_protocol", major: 2 });
  assert.throws(() => readStartupPacket(packet(4 << 16, "\0")), ProtocolError);
  assert.throws(() => readStartupPacket(packet(80_877_105)), ProtocolError);
  assert.throws(() => readStartupPacket(packet(-1)), ProtocolError);
});

Deno.test("a parameter sent twice keeps its last value", () => {
  assert.deepEqual(parameters(packet(3 << 16, "user\0a\0user\0b\0\0")), [["user", "b"]]);
});

Deno.test("a StartupMessage without parameters is whole", () => {
  assert.deepEqual(parameters(packet(3 << 16, "\0")), []);
});

Deno.test("a StartupMessage must be pairs of texts ended by one zero byte", () => {
  const broken = [
    "",
    "user",
    "user\0",
    "user\0\0a",
    "user\0a",
    "user\0a\0",
    "\0\0",
    "\0a\0\0",
    "user\0a\0\0\0",
  ];
  for (const rest of broken) {
    assert.throws(() => readStartupPacket(packet(3 << 16, rest)), ProtocolError, rest);
  }
});

Deno.test("readStartupPacket() reads what cancelRequest() writes, keys of any length allowed", () => {
  for (let length = 8; length <= 260; length++) {
    const key = new Uint8Array(length).map((_, i) => i);
    assert.deepEqual(readStartupPacket(cancelRequest(key)), { kind: "cancel_request", key });
  }
  for (const length of [0, 1, 4, 7, 261, 300, 1_000]) {
    const sent = cancelRequest(new Uint8Array(length));
    assert.throws(() => readStartupPacket(sent), ProtocolError);
  }
});

Deno.test("the key of a CancelRequest is a copy of its own", () => {
  const bytes = cancelRequest(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  const read = readStartupPacket(bytes);
  bytes.fill(0);
  assert.deepEqual([...(read as { key: Uint8Array }).key], [1, 2, 3, 4, 5, 6, 7, 8]);
});
