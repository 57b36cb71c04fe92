/**
 * Many sends by one system call: a ring of io_uring that is filled and emptied within one call of
 * `io_uring_enter()`. So nothing is under way between two calls, and the memory that the kernel and
 * we share needs no barriers.
 *
 * HOT PATH. Budget: nothing is allocated.
 *
 * Source: io_uring_setup(2), io_uring_enter(2), Linux' `include/uapi/linux/io_uring.h`.
 */

import { assert } from "../../base/assert.ts";

/** `IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN`: from Linux 6.1 on. */
const ONE_THREAD = (1 << 12) | (1 << 13);

/** `IORING_OP_SEND`. */
const SEND = 26;

/** `MSG_DONTWAIT | MSG_NOSIGNAL`: the kernel keeps nothing that it cannot send at once. */
const SEND_FLAGS = 0x40 | 0x4000;

/** Where the ring and the entries of what is asked for are to be mapped from. */
const OFFSET = { ring: 0, entries: 0x1000_0000 } as const;

/** struct io_uring_params, in words; the lower half are places in the ring's memory, in bytes. */
const PARAMS = {
  wordCount: 30,
  entryCount: 0,
  completionCount: 1,
  flags: 2,
  head: 10,
  tail: 11,
  mask: 12,
  order: 16,
  completionHead: 20,
  completionTail: 21,
  completionMask: 22,
  completions: 25,
} as const;

/** struct io_uring_sqe, in words. */
const ENTRY = {
  wordCount: 16,
  operation: 0,
  descriptor: 1,
  addressLow: 4,
  addressHigh: 5,
  byteCount: 6,
  flags: 7,
  number: 8,
} as const;

/** struct io_uring_cqe, in words. */
const COMPLETION = { wordCount: 4, number: 0, result: 2 } as const;

/** A kernel that takes a request answers it, sooner or later; in fact at once. */
const MAX_WAITS = 1_000;

/** Sends that are made together. */
export interface Sends extends Disposable {
  /** Adds one: the bytes from `start` to `end` of those that it was opened for. */
  put(descriptor: number, start: number, end: number): void;
  /**
   * Makes them, in order. Returns how many: all, unless the kernel is short of memory. `results` gets
   * for each of these how many bytes were taken, or a negative errno.
   */
  send(results: Int32Array): number;
}

/** What a ring asks of the C library; numbers below zero are negative errnos. */
export interface RingCalls {
  /** Makes a ring of at least so many entries; answers its descriptor. */
  open(entryCount: number, params: Int32Array<ArrayBuffer>): number;
  /** Has the kernel take so many entries and waits for so many completions; answers how many it took. */
  enter(descriptor: number, submit: number, wait: number): number;
  /** The kernel's memory as our own. */
  map(descriptor: number, byteCount: number, offset: number): ArrayBuffer | undefined;
  unmap(memory: ArrayBuffer): void;
  addressOf(bytes: Uint8Array<ArrayBuffer>): bigint;
  close(descriptor: number): void;
}

/** Memory that the kernel shares. */
interface SharedMemory {
  readonly ring: ArrayBuffer;
  readonly entries: ArrayBuffer;
}

/** A ring; of the thread that opened it. */
export class SendRing implements Sends {
  readonly #calls: RingCalls;
  readonly #descriptor: number;
  readonly #memory: SharedMemory;
  /** What is sent; where it is, in two words. */
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #addressLow: number;
  readonly #addressHigh: number;
  readonly #ring: Int32Array;
  readonly #entries: Int32Array;
  /** Places of words in the ring. */
  readonly #head: number;
  readonly #tail: number;
  readonly #completionHead: number;
  readonly #completionTail: number;
  readonly #completions: number;
  readonly #mask: number;
  readonly #completionMask: number;
  #count = 0;

  private constructor(
    calls: RingCalls,
    descriptor: number,
    { bytes, memory, params }: {
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly memory: SharedMemory;
      readonly params: Int32Array;
    },
  ) {
    const placeOf = (name: keyof typeof PARAMS) => params[PARAMS[name]]! >> 2;
    const address = calls.addressOf(bytes);
    this.#calls = calls;
    this.#descriptor = descriptor;
    this.#memory = memory;
    this.#bytes = bytes;
    this.#addressLow = Number(address & 0xffff_ffffn);
    this.#addressHigh = Number(address >> 32n);
    this.#ring = new Int32Array(memory.ring);
    this.#entries = new Int32Array(memory.entries);
    this.#head = placeOf("head");
    this.#tail = placeOf("tail");
    this.#completionHead = placeOf("completionHead");
    this.#completionTail = placeOf("completionTail");
    this.#completions = placeOf("completions");
    this.#mask = this.#ring[placeOf("mask")]!;
    this.#completionMask = this.#ring[placeOf("completionMask")]!;
    // Entries are taken in the order in which they lie.
    for (let i = 0; i <= this.#mask; i++) this.#ring[placeOf("order") + i] = i;
  }

  /**
   * Opens a ring for sends of parts of `bytes`, at most `count` together; undefined if the kernel has
   * none of this kind, or none for us.
   */
  static open(
    calls: RingCalls,
    count: number,
    bytes: Uint8Array<ArrayBuffer>,
  ): SendRing | undefined {
    const params = new Int32Array(new ArrayBuffer(PARAMS.wordCount * 4));
    params[PARAMS.flags] = ONE_THREAD;
    const descriptor = calls.open(count, params);
    if (descriptor < 0) return undefined;
    const memory = mapMemory(calls, descriptor, params);
    if (memory !== undefined) return new SendRing(calls, descriptor, { bytes, memory, params });
    calls.close(descriptor);
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#calls.unmap(this.#memory.ring);
    this.#calls.unmap(this.#memory.entries);
    this.#calls.close(this.#descriptor);
  }

  put(descriptor: number, start: number, end: number): void {
    assert(end <= this.#bytes.length, "What is sent is there");
    const words = this.#entries;
    const tail = this.#ring[this.#tail]!;
    const at = (tail & this.#mask) * ENTRY.wordCount;
    const low = this.#addressLow + start;
    words[at + ENTRY.operation] = SEND;
    words[at + ENTRY.descriptor] = descriptor;
    words[at + ENTRY.addressLow] = low | 0;
    words[at + ENTRY.addressHigh] = low > 0xffff_ffff ? this.#addressHigh + 1 : this.#addressHigh;
    words[at + ENTRY.byteCount] = end - start;
    words[at + ENTRY.flags] = SEND_FLAGS;
    words[at + ENTRY.number] = this.#count;
    this.#ring[this.#tail] = (tail + 1) | 0;
    this.#count += 1;
  }

  send(results: Int32Array): number {
    const count = this.#count;
    this.#count = 0;
    const taken = Math.max(this.#calls.enter(this.#descriptor, count, count), 0);
    let completed = this.#collect(results);
    // The bytes are not ours before that.
    for (let i = 0; completed < taken; i++) {
      assert(i < MAX_WAITS, "The kernel answers what it has taken");
      this.#calls.enter(this.#descriptor, 0, taken - completed);
      completed += this.#collect(results);
    }
    // What was not taken is not to be taken later.
    if (taken < count) this.#ring[this.#tail] = this.#ring[this.#head]!;
    return taken;
  }

  /** Notes what came of sends; returns of how many. */
  #collect(results: Int32Array): number {
    const ring = this.#ring;
    const first = ring[this.#completionHead]!;
    const count = (ring[this.#completionTail]! - first) | 0;
    for (let i = 0; i < count; i++) {
      const at = this.#completions + ((first + i) & this.#completionMask) * COMPLETION.wordCount;
      results[ring[at + COMPLETION.number]!] = ring[at + COMPLETION.result]!;
    }
    ring[this.#completionHead] = (first + count) | 0;
    return count;
  }
}

function mapMemory(
  calls: RingCalls,
  descriptor: number,
  params: Int32Array,
): SharedMemory | undefined {
  const entryCount = params[PARAMS.entryCount]!;
  const completionBytes = params[PARAMS.completionCount]! * COMPLETION.wordCount * 4;
  const ringBytes = Math.max(
    params[PARAMS.order]! + entryCount * 4,
    params[PARAMS.completions]! + completionBytes,
  );
  const ring = calls.map(descriptor, ringBytes, OFFSET.ring);
  if (ring === undefined) return undefined;
  const entries = calls.map(descriptor, entryCount * ENTRY.wordCount * 4, OFFSET.entries);
  if (entries !== undefined) return { ring, entries };
  calls.unmap(ring);
  return undefined;
}
