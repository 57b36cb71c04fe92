import assert from "node:assert/strict";
import type { LibcCalls } from "../../../../src/net/native/libc.ts";
import { type BatchSender, SendBatch } from "../../../../src/net/native/send_batch.ts";
import type { Sends } from "../../../../src/net/native/send_ring.ts";
import { textOf, utf8 } from "../../../support/messages.ts";

const BROKEN_PIPE = -32;

/** A C library that notes what is sent: `2: text`, by descriptor. */
class NotedSends {
  /** What each system call sent. */
  readonly calls: string[][] = [];
  /** What is answered for a descriptor; whatever else is taken whole. */
  readonly answers = new Map<number, number>();
  /** How many of those that are sent together the kernel takes; all if undefined. */
  takes: number | undefined;
  /** What sending together throws. */
  mistake: Error | undefined;
  readonly libc = {
    send: (descriptor: number, buffer: Uint8Array, start: number, end: number) => {
      this.calls.push([noted(descriptor, buffer, start, end)]);
      return this.#answer(descriptor, end - start);
    },
    openSends: (_count: number, bytes: Uint8Array) => this.#open(bytes),
  } as unknown as LibcCalls;

  #answer(descriptor: number, byteCount: number): number {
    return this.answers.get(descriptor) ?? byteCount;
  }

  #open(bytes: Uint8Array): Sends {
    let put: [descriptor: number, start: number, end: number][] = [];
    return {
      put: (descriptor, start, end) => void put.push([descriptor, start, end]),
      send: (results) => {
        if (this.mistake !== undefined) throw this.mistake;
        const taken = put.slice(0, this.takes);
        this.calls.push(
          taken.map(([descriptor, start, end]) => noted(descriptor, bytes, start, end)),
        );
        for (const [at, [descriptor, start, end]] of taken.entries()) {
          results[at] = this.#answer(descriptor, end - start);
        }
        put = [];
        return taken.length;
      },
      [Symbol.dispose]: () => {},
    };
  }
}

function noted(descriptor: number, bytes: Uint8Array, start: number, end: number): string {
  const text = textOf(bytes.slice(start, end));
  return `${descriptor}: ${text.length > 20 ? `${text.length} bytes` : text}`;
}

/** One who sends, and notes what he is told of what was taken in part. */
class Sender implements BatchSender {
  isInBatch = false;
  readonly told: string[] = [];
  /** What it throws when it is told. */
  mistake: Error | undefined;
  readonly descriptor: number;
  readonly #batch: SendBatch;

  constructor(batch: SendBatch, descriptor: number) {
    this.#batch = batch;
    this.descriptor = descriptor;
  }

  send(text: string): boolean {
    const buffer = utf8(`<${text}>`);
    return this.#batch.take(this, this.descriptor, buffer, 1, buffer.length - 1);
  }

  onTakenInPart(count: number, bytes: Uint8Array, start: number, end: number): void {
    this.told.push(`${count} of ${textOf(bytes.slice(start, end))}`);
    if (this.mistake !== undefined) throw this.mistake;
  }
}

function openBatch() {
  const kernel = new NotedSends();
  const { answers, calls } = kernel;
  const errors: unknown[] = [];
  const batch = new SendBatch(kernel.libc, (error) => errors.push(error));
  batch.open();
  const senders = (count: number) =>
    Array.from({ length: count }, (_, at) => new Sender(batch, at + 1));
  return { batch, calls, answers, errors, kernel, senders };
}

Deno.test("SendBatch sends what it took when it closes: in order, by one call", () => {
  const { batch, calls, senders } = openBatch();
  const [one, two, three] = senders(3);
  assert.deepEqual([two!.send("a"), one!.send("bc"), three!.send("d")], [true, true, true]);
  assert.deepEqual(calls, []);
  assert.equal(one!.isInBatch, true);
  batch.close();
  assert.deepEqual(calls, [["2: a", "1: bc", "3: d"]]);
  assert.equal(one!.isInBatch, false);
  batch.close();
  assert.equal(calls.length, 1);
});

Deno.test("SendBatch sends a piece that is alone as who has no batch does", () => {
  const { batch, calls, senders } = openBatch();
  senders(1)[0]!.send("alone");
  batch.close();
  assert.deepEqual(calls, [["1: alone"]]);
});

Deno.test("SendBatch takes nothing before it is opened, nor once it is closed", () => {
  const { batch, senders } = openBatch();
  batch.close();
  const [one] = senders(1);
  assert.equal(one!.send("late"), false);
  batch.open();
  assert.equal(one!.send("in time"), true);
});

Deno.test("SendBatch keeps a copy: the sender's buffer may be used again at once", () => {
  const { batch, calls, senders } = openBatch();
  const [one] = senders(1);
  for (const length of [3, 400, 401, 4_096]) {
    const buffer = utf8("x".repeat(length));
    batch.take(one!, 1, buffer, 0, length);
    buffer.fill(0);
    batch.flush();
  }
  assert.deepEqual(calls, [["1: xxx"], ["1: 400 bytes"], ["1: 401 bytes"], ["1: 4096 bytes"]]);
});

Deno.test("SendBatch has no two pieces of one sender: the first is sent, the second is not taken", () => {
  const { batch, calls, senders } = openBatch();
  const [one, two] = senders(2);
  one!.send("first");
  two!.send("other");
  assert.equal(one!.send("second"), false);
  assert.deepEqual(calls, [["1: first", "2: other"]]);
  batch.close();
  assert.equal(calls.length, 1);
});

Deno.test("SendBatch takes no piece of more than 4096 bytes, and leaves those of others", () => {
  const { batch, calls, senders } = openBatch();
  const [one, two] = senders(2);
  two!.send("short");
  assert.equal(one!.send("x".repeat(4_097)), false);
  assert.deepEqual(calls, []);
  batch.close();
  assert.deepEqual(calls, [["2: short"]]);
});

Deno.test("SendBatch sends what it has when 32 pieces are there, and goes on", () => {
  const { batch, calls, senders } = openBatch();
  for (const sender of senders(70)) assert.equal(sender.send("x"), true);
  batch.close();
  assert.deepEqual(calls.map(({ length }) => length), [32, 32, 6]);
  assert.equal(calls.flat().at(-1), "70: x");
});

Deno.test("SendBatch sends what it has when its room is full, and goes on", () => {
  const { batch, calls, senders } = openBatch();
  for (const sender of senders(20)) assert.equal(sender.send("x".repeat(4_000)), true);
  batch.close();
  assert.deepEqual(calls.map(({ length }) => length), [16, 4]);
});

for (const answer of [0, 2, BROKEN_PIPE]) {
  Deno.test(`SendBatch tells a sender of whose piece ${answer} was the answer, and nobody else`, () => {
    const { answers, batch, senders } = openBatch();
    const all = senders(3);
    answers.set(2, answer);
    for (const sender of all) sender.send("text");
    batch.close();
    assert.deepEqual(all.map(({ told }) => told), [[], [`${answer} of text`], []]);
  });
}

Deno.test("SendBatch takes of a sender again when what it took before is gone", () => {
  const { answers, batch, calls, senders } = openBatch();
  const [one, two] = senders(2);
  answers.set(1, 1).set(2, BROKEN_PIPE);
  for (const sender of [one!, two!]) sender.send("first");
  batch.flush();
  assert.deepEqual([one!.send("more"), two!.send("more")], [true, true]);
  batch.close();
  assert.deepEqual(calls.at(-1), ["1: more", "2: more"]);
});

Deno.test("SendBatch sends by itself what the kernel has not taken of those sent together", () => {
  const { answers, batch, calls, kernel, senders } = openBatch();
  kernel.takes = 2;
  answers.set(2, 1).set(4, 3);
  const all = senders(4);
  for (const sender of all) assert.equal(sender.send("text"), true);
  batch.close();
  assert.deepEqual(calls, [["1: text", "2: text"], ["3: text"], ["4: text"]]);
  assert.deepEqual(all.map(({ told }) => told), [[], ["1 of text"], [], ["3 of text"]]);
});

Deno.test("SendBatch tells the others though a sender throws, and tells onError", () => {
  const { answers, batch, errors, senders } = openBatch();
  const [one, two, three] = senders(3);
  const mistake = new Error("told");
  one!.mistake = mistake;
  answers.set(1, 1).set(3, 2);
  for (const sender of [one!, two!, three!]) sender.send("text");
  batch.close();
  assert.deepEqual(errors, [mistake]);
  assert.deepEqual(three!.told, ["2 of text"]);
  assert.deepEqual([one, two, three].map((sender) => sender!.isInBatch), [false, false, false]);
});

Deno.test("SendBatch fails whose bytes may be anywhere when sending throws, and takes nothing more", () => {
  const { batch, calls, errors, kernel, senders } = openBatch();
  const [one, two, three] = senders(3);
  kernel.mistake = new Error("sent");
  for (const sender of [one!, two!]) sender.send("text");
  batch.flush();
  assert.deepEqual(errors, [kernel.mistake]);
  assert.deepEqual([one!.told, two!.told], [["-32 of text"], ["-32 of text"]]);
  assert.equal(three!.send("more"), false);
  batch.close();
  batch.open();
  assert.equal(three!.send("more"), false);
  assert.deepEqual([batch.isOfUse, calls], [false, []]);
});

Deno.test("SendBatch takes nothing any more when it is disposed of, be it while it is open", () => {
  const { batch, calls, senders } = openBatch();
  const [one, two] = senders(2);
  batch[Symbol.dispose]();
  assert.equal(one!.send("late"), false);
  batch.open();
  assert.equal(two!.send("later"), false);
  batch.close();
  assert.deepEqual(calls, []);
});

Deno.test("SendBatch takes nothing where the kernel has no call for many sends", () => {
  const libc = { openSends: () => undefined } as unknown as LibcCalls;
  const batch = new SendBatch(libc, (error) => assert.fail(String(error)));
  batch.open();
  assert.equal(batch.isOfUse, false);
  assert.equal(new Sender(batch, 1).send("x"), false);
  batch.close();
  batch[Symbol.dispose]();
});
