import assert from "node:assert/strict";
import fc from "fast-check";
import { serialize } from "pg-protocol";
import { Parser } from "pg-protocol/dist/parser.js";
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  readAuthentication,
  readPasswordBytes,
  readSaslInitialResponse,
} from "../../../src/wire/authentication_messages.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";

const SALT = Uint8Array.of(1, 0, 255, 4);

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** What an independent reader of backend messages makes of a message. */
function asPgProtocolReads(message: Uint8Array): Record<string, unknown> {
  const read: Record<string, unknown>[] = [];
  new Parser().parse(Buffer.from(message), (m) => read.push({ ...m }));
  assert.equal(read.length, 1);
  return read[0]!;
}

Deno.test("the builders write what pg-protocol reads", () => {
  const expected: [Uint8Array, Record<string, unknown>][] = [
    [authenticationOk(), { name: "authenticationOk" }],
    [authenticationCleartextPassword(), { name: "authenticationCleartextPassword" }],
    [
      authenticationMd5Password(SALT),
      { name: "authenticationMD5Password", salt: Buffer.from(SALT) },
    ],
    [
      authenticationSasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
      { name: "authenticationSASL", mechanisms: ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"] },
    ],
    [
      authenticationSaslContinue("r=a"),
      { name: "authenticationSASLContinue", data: "r=a" },
    ],
    [authenticationSaslFinal("v=b"), { name: "authenticationSASLFinal", data: "v=b" }],
  ];
  for (const [message, fields] of expected) {
    const { length, ...rest } = asPgProtocolReads(message);
    assert.equal(length, message.length - 1);
    assert.deepEqual(rest, fields);
  }
});

Deno.test("readAuthentication() reads what the builders write", () => {
  const read = (message: Uint8Array) => readAuthentication(message.subarray(5));
  assert.deepEqual(read(authenticationOk()), { kind: "ok" });
  assert.deepEqual(read(authenticationCleartextPassword()), { kind: "cleartext" });
  assert.deepEqual(read(authenticationMd5Password(SALT)), { kind: "md5", salt: SALT });
  assert.deepEqual(read(authenticationSasl([])), { kind: "sasl", mechanisms: [] });
  assert.deepEqual(read(authenticationSasl(["A", "B"])), { kind: "sasl", mechanisms: ["A", "B"] });
  const expected = { kind: "saslContinue", data: bytes("r=a") };
  assert.deepEqual(read(authenticationSaslContinue("r=a")), expected);
  assert.deepEqual(read(authenticationSaslFinal("")), {
    kind: "saslFinal",
    data: new Uint8Array(),
  });
});

Deno.test("readAuthentication() names a method it does not know by its code", () => {
  assert.deepEqual(readAuthentication(Uint8Array.of(0, 0, 0, 7)), { kind: "unsupported", code: 7 });
  assert.deepEqual(readAuthentication(Uint8Array.of(255, 255, 255, 255, 9)), {
    kind: "unsupported",
    code: -1,
  });
});

Deno.test("readAuthentication() refuses a body cut anywhere or with a byte too many", () => {
  for (
    const message of [
      authenticationOk(),
      authenticationMd5Password(SALT),
      authenticationSasl(["A"]),
    ]
  ) {
    const body = message.subarray(5);
    for (let length = 0; length < body.length; length++) {
      assert.throws(() => readAuthentication(body.subarray(0, length)), ProtocolError);
    }
    assert.throws(() => readAuthentication(Uint8Array.of(...body, 0)), ProtocolError);
  }
});

Deno.test("readAuthentication() owns the bytes it returns, even those of a Buffer", () => {
  const body = Buffer.from(authenticationMd5Password(SALT).subarray(5));
  const read = readAuthentication(body);
  body.fill(0);
  assert.deepEqual(read, { kind: "md5", salt: SALT });
});

Deno.test("readPasswordBytes() reads what pg-protocol writes", () => {
  for (const password of ["", "secret", "pässwörd ☃", "\uFEFFmark"]) {
    const body = serialize.password(password).subarray(5);
    assert.deepEqual(Buffer.from(readPasswordBytes(body)), Buffer.from(password));
  }
});

Deno.test("readPasswordBytes() demands one zero byte, at the end", () => {
  for (const body of ["", "secret", "sec\0ret", "sec\0ret\0", "secret\0\0"]) {
    assert.throws(() => readPasswordBytes(bytes(body)), ProtocolError);
  }
});

Deno.test("readPasswordBytes() keeps bytes that are not UTF-8", () => {
  assert.deepEqual(readPasswordBytes(Uint8Array.of(0xff, 0xfe, 0)), Uint8Array.of(0xff, 0xfe));
});

Deno.test("readSaslInitialResponse() reads what pg-protocol writes", () => {
  const body = serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", "n,,n=,r=x").subarray(5);
  const read = readSaslInitialResponse(body);
  assert.equal(read.mechanism, "SCRAM-SHA-256");
  assert.deepEqual(read.data, bytes("n,,n=,r=x"));
  body.fill(0);
  assert.deepEqual(read.data, bytes("n,,n=,r=x"));
});

Deno.test("readSaslInitialResponse() tells no data from empty data", () => {
  const none = readSaslInitialResponse(Uint8Array.of(0x41, 0, 255, 255, 255, 255));
  assert.deepEqual(none, { mechanism: "A", data: undefined });
  const empty = readSaslInitialResponse(Uint8Array.of(0x41, 0, 0, 0, 0, 0));
  assert.deepEqual(empty, { mechanism: "A", data: new Uint8Array() });
});

Deno.test("readSaslInitialResponse() refuses a wrong length", () => {
  const whole = Uint8Array.of(0x41, 0, 0, 0, 0, 2, 1, 2);
  assert.deepEqual(readSaslInitialResponse(whole).data, Uint8Array.of(1, 2));
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => readSaslInitialResponse(whole.subarray(0, length)), ProtocolError);
  }
  const others = [
    Uint8Array.of(...whole, 3),
    Uint8Array.of(0x41, 0, 255, 255, 255, 255, 1),
    Uint8Array.of(0x41, 0, 255, 255, 255, 254),
    Uint8Array.of(0x41, 0, 127, 255, 255, 255),
  ];
  for (const body of others) assert.throws(() => readSaslInitialResponse(body), ProtocolError);
});

Deno.test("the readers answer any bytes with a value or a ProtocolError", () => {
  const readers = [readAuthentication, readPasswordBytes, readSaslInitialResponse];
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (body) => {
    for (const read of readers) {
      try {
        read(body);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }
  }));
});
