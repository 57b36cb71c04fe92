import assert from "node:assert/strict";
import { AssertionError } from "../../../src/base/assert.ts";
import { MessageWriter } from "../../../src/wire/message_writer.ts";

Deno.test("MessageWriter writes type, length and fields in network order", () => {
  const bytes = new MessageWriter().begin(0x5a).int8(1).int16(0x0203).int32(-2).cstring("é").end()
    .take();
  assert.deepEqual([...bytes], [
    ...[0x5a, 0, 0, 0, 14],
    ...[1, 2, 3, 0xff, 0xff, 0xff, 0xfe, 0xc3, 0xa9, 0],
  ]);
});

Deno.test("MessageWriter writes negative and large 16-bit numbers", () => {
  const bytes = new MessageWriter().int16(-1).int16(0xffff).int16(-32_768).take();
  assert.deepEqual([...bytes], [0xff, 0xff, 0xff, 0xff, 0x80, 0]);
});

Deno.test("MessageWriter writes several messages, each with its own length", () => {
  const writer = new MessageWriter();
  writer.begin(0x41).end().beginUntyped().int32(7).end().begin(0x42).text("ab").end();
  assert.equal(writer.length, 20);
  assert.deepEqual([...writer.take()], [
    ...[0x41, 0, 0, 0, 4],
    ...[0, 0, 0, 8, 0, 0, 0, 7],
    ...[0x42, 0, 0, 0, 6, 0x61, 0x62],
  ]);
});

Deno.test("MessageWriter.take() gives the bytes away and starts anew", () => {
  const writer = new MessageWriter();
  const first = writer.begin(0x41).text("one").end().take();
  assert.equal(writer.length, 0);
  writer.begin(0x42).text("two").end().take();
  assert.equal(new TextDecoder().decode(first.subarray(5)), "one");
});

Deno.test("MessageWriter grows as far as it must, from any size", () => {
  for (const initialBytes of [0, 1, 5, 256]) {
    const writer = new MessageWriter(initialBytes);
    const body = new Uint8Array(10_000).map((_, i) => i);
    const bytes = writer.begin(0x44).int32(1).bytes(body).range(body, 3, 5).end().take();
    assert.equal(bytes.length, 5 + 4 + 10_000 + 2);
    assert.equal(new DataView(bytes.buffer).getInt32(1), bytes.length - 1);
    assert.deepEqual(bytes.subarray(9, 10_009), body);
    assert.deepEqual([...bytes.subarray(10_009)], [3, 4]);
  }
});

Deno.test("MessageWriter asserts that messages are begun and ended in turn", () => {
  assert.throws(() => new MessageWriter().begin(1).begin(2), AssertionError);
  assert.throws(() => new MessageWriter().end(), AssertionError);
  assert.throws(() => new MessageWriter().begin(1).take(), AssertionError);
});
