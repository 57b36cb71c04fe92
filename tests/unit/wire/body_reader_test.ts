import assert from "node:assert/strict";
import { BodyReader, decodeText } from "../../../src/wire/body_reader.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";

function reader(...bytes: number[]): BodyReader {
  // In the middle of a larger buffer: what lies around it must not be read.
  const buffer = Uint8Array.of(9, 9, ...bytes, 0, 9, 0);
  return new BodyReader(buffer, 2, 2 + bytes.length);
}

Deno.test("BodyReader reads numbers in network order; 32 bits are signed, 16 are not", () => {
  const numbers = reader(1, 2, 3, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xfe, 1, 2, 3, 4);
  assert.equal(numbers.int8(), 1);
  assert.equal(numbers.int16(), 0x0203);
  assert.equal(numbers.int16(), 0xfffe);
  assert.equal(numbers.int32(), -2);
  assert.equal(numbers.int32(), 0x01020304);
  assert.equal(numbers.remaining, 0);
});

Deno.test("BodyReader refuses to read past the end, whatever lies behind it", () => {
  assert.throws(() => reader().int8(), ProtocolError);
  assert.throws(() => reader(1).int16(), ProtocolError);
  assert.throws(() => reader(1, 2, 3).int32(), ProtocolError);
  assert.throws(() => reader(1, 2).bytes(3), ProtocolError);
  assert.throws(() => reader(1, 2).bytes(-1), ProtocolError);
  assert.throws(() => reader(0x61).cstring(), ProtocolError, "the zero byte lies behind the end");
  const endless = new BodyReader(Uint8Array.of(0x61), 0, 1);
  assert.throws(() => endless.cstring(), ProtocolError, "there is no zero byte at all");
});

Deno.test("BodyReader.bytes() gives a copy that the caller owns, of a Node Buffer too", () => {
  for (const source of [Uint8Array.of(1, 2, 3, 4), Buffer.from([1, 2, 3, 4])]) {
    const taken = new BodyReader(source, 1, 3).bytes(2);
    source.fill(9);
    assert.deepEqual([...taken], [2, 3]);
    assert.equal(taken.buffer.byteLength, 2);
  }
});

Deno.test("BodyReader.cstring() reads up to the zero byte and goes on behind it", () => {
  const texts = reader(0x61, 0x62, 0, 0, 0xc3, 0xa9, 0);
  assert.equal(texts.cstring(), "ab");
  assert.equal(texts.cstring(), "");
  assert.equal(texts.cstring(), "é");
  assert.equal(texts.remaining, 0);
});

Deno.test("decodeText() reads texts of every length, and what is not UTF-8 wherever it stands", () => {
  const letters = "abcdefghijklmnop";
  for (let length = 0; length <= letters.length; length++) {
    const text = letters.slice(0, length);
    const bytes = new TextEncoder().encode(`<<<${text}>>>`);
    assert.equal(decodeText(bytes, 3, 3 + length), text);
    for (let at = 0; at < length; at++) {
      const spoiled = bytes.with(3 + at, 0xff);
      const shown = `${text.slice(0, at)}\ufffd${text.slice(at + 1)}`;
      assert.equal(decodeText(spoiled, 3, 3 + length), shown);
    }
  }
});

Deno.test("decodeText() shows what is not UTF-8 as U+FFFD and keeps a byte order mark", () => {
  assert.equal(decodeText(Uint8Array.of(0x61, 0xff, 0x62), 0, 3), "a\ufffdb");
  assert.equal(decodeText(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61), 0, 4), "\ufeffa");
});
