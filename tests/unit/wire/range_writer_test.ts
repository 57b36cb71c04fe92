import assert from "node:assert/strict";
import { RangeWriter } from "../../../src/wire/range_writer.ts";

/** Takes what is written; each write as it came. What it takes at once it copies. */
class Target {
  readonly writes: { buffer: Uint8Array; start: number; end: number }[] = [];
  answer: Promise<void> | undefined;
  /** Whether it is to copy; a borrowed buffer is told by its identity. */
  copies = true;

  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    const isTaken = this.answer === undefined && this.copies;
    this.writes.push(
      isTaken
        ? { buffer: buffer.slice(start, end), start: 0, end: end - start }
        : { buffer, start, end },
    );
    return this.answer;
  }

  texts(): string[] {
    return this.writes.map(({ buffer, start, end }) =>
      new TextDecoder().decode(buffer.subarray(start, end))
    );
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("RangeWriter sends pieces that lie side by side as one range of their own buffer", () => {
  const writer = new RangeWriter();
  const target = new Target();
  target.copies = false;
  const buffer = bytes("0123456789");
  writer.add(buffer, 2, 4);
  writer.add(buffer, 4, 5);
  writer.add(buffer, 5, 9);
  assert.equal(writer.length, 7);
  writer.flushTo(target);
  assert.deepEqual(target.writes, [{ buffer, start: 2, end: 9 }]);
  assert.equal(target.writes[0]!.buffer, buffer, "nothing was copied");
  assert.equal(writer.length, 0);
});

Deno.test("RangeWriter joins pieces with something left out between them into one write", () => {
  const writer = new RangeWriter();
  const target = new Target();
  const buffer = bytes("0123456789");
  writer.add(buffer, 0, 3);
  writer.add(buffer, 5, 6);
  writer.add(bytes("abc"), 1, 3);
  writer.add(buffer, 6, 8);
  assert.equal(writer.length, 8);
  writer.flushTo(target);
  assert.deepEqual(target.texts(), ["0125bc67"]);
});

Deno.test("RangeWriter is empty and ready again after each flush", () => {
  const writer = new RangeWriter();
  const target = new Target();
  for (const text of ["first", "second", "third"]) {
    writer.add(bytes(text), 0, 2);
    writer.add(bytes(text), 3, text.length);
    writer.flushTo(target);
  }
  writer.add(bytes("x"), 0, 1);
  writer.flushTo(target);
  assert.deepEqual(target.texts(), ["fist", "seond", "thrd", "x"]);
});

Deno.test("RangeWriter answers as the target's write does", async () => {
  const target = new Target();
  const writer = new RangeWriter();
  writer.add(bytes("a"), 0, 1);
  assert.equal(writer.flushTo(target), undefined);
  target.answer = Promise.resolve();
  writer.add(bytes("a"), 0, 1);
  writer.add(bytes("b"), 0, 1);
  assert.equal(writer.flushTo(target), target.answer);
  await target.answer;
});

Deno.test("what was joined stays as it is until it was sent, while later pieces are gathered", () => {
  const target = new Target();
  target.answer = Promise.resolve();
  const writer = new RangeWriter();
  writer.add(bytes("ab"), 0, 2);
  writer.add(bytes("cd"), 0, 2);
  writer.flushTo(target);
  writer.add(bytes("XX"), 0, 2);
  writer.add(bytes("YY"), 0, 2);
  assert.deepEqual(target.texts(), ["abcd"]);
});

Deno.test("RangeWriter joins into the same buffer again when all was taken at once", () => {
  const target = new Target();
  target.copies = false;
  const writer = new RangeWriter();
  for (let i = 0; i < 2; i++) {
    writer.add(bytes("ab"), 0, 2);
    writer.add(bytes("cd"), 0, 2);
    writer.flushTo(target);
  }
  assert.equal(target.writes[0]!.buffer, target.writes[1]!.buffer);
});

Deno.test("RangeWriter.append() takes a copy, at its place", () => {
  const target = new Target();
  const writer = new RangeWriter();
  const buffer = bytes("0123456789");
  const borrowed = bytes("abc");
  writer.add(buffer, 0, 2);
  writer.append(borrowed, 1, 3);
  borrowed.fill(0x58);
  writer.add(buffer, 2, 4);
  assert.equal(writer.length, 6);
  writer.flushTo(target);
  assert.deepEqual(target.texts(), ["01bc23"]);
});

Deno.test("RangeWriter has what it copied once more until something is gathered, if it is to keep it", () => {
  for (const answer of [undefined, Promise.resolve()]) {
    const target = new Target();
    target.answer = answer;
    const writer = new RangeWriter(true);
    writer.append(bytes("abc"), 0, 3);
    writer.flushTo(target);
    assert.deepEqual([writer.sentCount, writer.copyOfSent()], [3, bytes("abc")]);
    writer.append(bytes("d"), 0, 1);
    assert.equal(writer.sentCount, 0);
    writer.clear();
    const forgetful = new RangeWriter();
    forgetful.append(bytes("abc"), 0, 3);
    forgetful.flushTo(target);
    assert.equal(forgetful.sentCount, 0);
  }
});

Deno.test("RangeWriter.clear() drops everything", () => {
  const target = new Target();
  const writer = new RangeWriter();
  writer.add(bytes("a"), 0, 1);
  writer.add(bytes("b"), 0, 1);
  writer.clear();
  assert.equal(writer.length, 0);
  writer.add(bytes("c"), 0, 1);
  writer.flushTo(target);
  assert.deepEqual(target.texts(), ["c"]);
});

Deno.test("RangeWriter joins more than its buffer held before", () => {
  const target = new Target();
  const writer = new RangeWriter();
  const big = new Uint8Array(100_000).map((_, i) => i);
  for (let at = 0; at < big.length; at += 1_000) writer.add(big.slice(at, at + 1_000), 0, 1_000);
  writer.flushTo(target);
  const [write] = target.writes;
  assert.deepEqual(write!.buffer.subarray(write!.start, write!.end), big);
});

Deno.test("RangeWriter takes pieces of no length for nothing", () => {
  const target = new Target();
  const writer = new RangeWriter();
  const buffer = bytes("0123");
  writer.add(buffer, 0, 0);
  writer.add(buffer, 1, 3);
  writer.add(bytes("x"), 1, 1);
  writer.add(buffer, 3, 4);
  assert.equal(writer.length, 3);
  writer.flushTo(target);
  assert.deepEqual(target.texts(), ["123"]);
});
