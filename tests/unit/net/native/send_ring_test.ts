import assert from "node:assert/strict";
import { type RingCalls, SendRing } from "../../../../src/net/native/send_ring.ts";
import { textOf, utf8 } from "../../../support/messages.ts";

/** As large as the kernel makes a ring for three sends; twice as many completions. */
const ENTRIES = 4;

/** Places in the ring's memory, in words: the kernel chooses them. */
const AT = { head: 3, tail: 5, mask: 7, done: 9, doneTail: 11, doneMask: 13, list: 16, order: 60 };

const AGAIN = -11;

/** The kernel's side of a ring, after `linux/io_uring.h`. */
class RingKernel implements RingCalls {
  readonly bytes = new Uint8Array(new ArrayBuffer(64));
  /** Each `descriptor: text`. */
  readonly sent: string[] = [];
  /** Most that an `enter()` takes, one for each to come; all if there is none. */
  readonly takes: number[] = [];
  /** Whether what was taken is answered at the next `enter()` only. */
  isLate = false;
  /** What of `setup` and `map` fails. */
  failing: "open" | "ring" | "entries" | undefined;
  readonly unmapped: ArrayBuffer[] = [];
  readonly closed: number[] = [];
  /** How often it was entered. */
  enterCount = 0;
  /** Where `bytes` are. */
  address = 0x7fff_0000_1000n;
  readonly ring = new ArrayBuffer(400);
  readonly entries = new ArrayBuffer(ENTRIES * 64);
  readonly #words = new Int32Array(this.ring);
  readonly #late: [number: number, result: number][] = [];

  /** Begins to count somewhere: it goes on past 2^31. */
  constructor(first = 0) {
    for (const place of [AT.head, AT.tail, AT.done, AT.doneTail]) this.#words[place] = first;
    this.#words[AT.mask] = ENTRIES - 1;
    this.#words[AT.doneMask] = 2 * ENTRIES - 1;
  }

  open(count: number, params: Int32Array): number {
    if (this.failing === "open") return -1;
    assert.equal(count, 3);
    assert.equal(params[2], 0x3000, "one thread, and completions when it asks");
    const places = [AT.head, AT.tail, AT.mask, 0, 0, 0, AT.order];
    places.forEach((place, at) => params[10 + at] = place * 4);
    const done = [AT.done, AT.doneTail, AT.doneMask, 0, 0, AT.list];
    done.forEach((place, at) => params[20 + at] = place * 4);
    params[0] = ENTRIES;
    params[1] = 2 * ENTRIES;
    return 9;
  }

  map(descriptor: number, byteCount: number, offset: number): ArrayBuffer | undefined {
    assert.equal(descriptor, 9);
    const name = offset === 0 ? "ring" : "entries";
    if (this.failing === name) return undefined;
    if (name === "ring") assert.equal(byteCount, AT.order * 4 + ENTRIES * 4);
    else assert.deepEqual([offset, byteCount], [0x1000_0000, ENTRIES * 64]);
    return this[name];
  }

  unmap(memory: ArrayBuffer): void {
    this.unmapped.push(memory);
  }

  addressOf(bytes: Uint8Array): bigint {
    assert.equal(bytes, this.bytes);
    return this.address;
  }

  close(descriptor: number): void {
    this.closed.push(descriptor);
  }

  enter(descriptor: number, submit: number, wait: number): number {
    assert.equal(descriptor, 9);
    this.enterCount += 1;
    for (const [number, result] of this.#late.splice(0)) this.#complete(number, result);
    assert.ok(wait > 0);
    const takes = Math.min(submit, this.takes.shift() ?? submit);
    for (let i = 0; i < takes; i++) this.#perform();
    return takes;
  }

  /** Takes one entry. */
  #perform(): void {
    const words = this.#words;
    const head = words[AT.head]!;
    assert.notEqual(head, words[AT.tail]);
    const entry = new DataView(this.entries, words[AT.order + (head & (ENTRIES - 1))]! * 64, 64);
    words[AT.head] = head + 1;
    assert.equal(entry.getUint32(0, true), 26, "a send without flags");
    assert.equal(entry.getUint32(28, true), 0x4040, "which does not wait, and raises no signal");
    const at = Number(entry.getBigUint64(16, true) - this.address);
    const text = textOf(this.bytes.slice(at, at + entry.getUint32(24, true)));
    const target = entry.getInt32(4, true);
    this.sent.push(`${target}: ${text}`);
    // Nobody listens at 99.
    const result = target === 99 ? AGAIN : text.length;
    const number = Number(entry.getBigUint64(32, true));
    if (this.isLate) this.#late.push([number, result]);
    else this.#complete(number, result);
  }

  #complete(number: number, result: number): void {
    const tail = this.#words[AT.doneTail]!;
    const at = AT.list + (tail & (2 * ENTRIES - 1)) * 4;
    this.#words.set([number, 0, result, 0], at);
    this.#words[AT.doneTail] = tail + 1;
  }
}

function openRing(
  kernel: RingKernel,
): (...sends: [descriptor: number, text: string][]) => number[] {
  const ring = SendRing.open(kernel, 3, kernel.bytes)!;
  return (...sends) => {
    let end = 0;
    for (const [descriptor, text] of sends) {
      kernel.bytes.set(utf8(text), end);
      ring.put(descriptor, end, end += text.length);
    }
    const results = new Int32Array(3).fill(77);
    return [...results.subarray(0, ring.send(results))];
  };
}

for (const first of [0, 0x7fff_fffe]) {
  Deno.test(`SendRing makes sends in order, by one call, again and again, from ${first} on`, () => {
    const kernel = new RingKernel(first);
    const send = openRing(kernel);
    for (let i = 0; i < 10; i++) {
      assert.deepEqual(send([5, "abc"], [6, "d"], [7, "ef"]), [3, 1, 2]);
      assert.deepEqual(send([5, "more"]), [4]);
      assert.deepEqual(kernel.sent.splice(0), ["5: abc", "6: d", "7: ef", "5: more"]);
    }
    assert.equal(kernel.enterCount, 20);
  });
}

Deno.test("SendRing answers an errno for the send that it belongs to", () => {
  const send = openRing(new RingKernel());
  assert.deepEqual(send([5, "abc"], [99, "nobody"], [7, "ef"]), [3, AGAIN, 2]);
});

Deno.test("SendRing waits for what the kernel has taken, and answers each", () => {
  const kernel = new RingKernel();
  const send = openRing(kernel);
  kernel.isLate = true;
  assert.deepEqual(send([5, "abc"], [99, "x"]), [3, AGAIN]);
  assert.equal(kernel.enterCount, 2);
});

for (const takes of [0, 1, -12]) {
  Deno.test(`SendRing answers how many were made where the kernel's answer is ${takes}, and goes on`, () => {
    const kernel = new RingKernel();
    const send = openRing(kernel);
    kernel.takes.push(takes);
    assert.deepEqual(send([5, "abc"], [6, "d"]), takes === 1 ? [3] : []);
    assert.deepEqual(send([7, "later"]), [5]);
    assert.deepEqual(kernel.sent, takes === 1 ? ["5: abc", "7: later"] : ["7: later"]);
  });
}

Deno.test("SendRing finds its bytes on both sides of a multiple of 4 GiB", () => {
  const kernel = new RingKernel();
  kernel.address = 0x7fff_ffff_fffen;
  const send = openRing(kernel);
  assert.deepEqual(send([5, "abc"], [6, "def"]), [3, 3]);
  assert.deepEqual(kernel.sent, ["5: abc", "6: def"]);
});

for (const failing of ["open", "ring", "entries"] as const) {
  Deno.test(`SendRing.open() that cannot have its ${failing} gives back what it has`, () => {
    const kernel = new RingKernel();
    kernel.failing = failing;
    assert.equal(SendRing.open(kernel, 3, kernel.bytes), undefined);
    assert.deepEqual(kernel.closed, failing === "open" ? [] : [9]);
    assert.deepEqual(kernel.unmapped, failing === "entries" ? [kernel.ring] : []);
  });
}

Deno.test("SendRing gives back memory and descriptor when it is disposed of", () => {
  const kernel = new RingKernel();
  SendRing.open(kernel, 3, kernel.bytes)![Symbol.dispose]();
  assert.deepEqual(kernel.unmapped, [kernel.ring, kernel.entries]);
  assert.deepEqual(kernel.closed, [9]);
});
