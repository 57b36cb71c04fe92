/**
 * What is sent while events are handed out, all at the end of that and by one system call. It is not
 * the calls themselves that this saves most of: each of them may have the kernel give the processor
 * away to whom it has woken, many times in a round.
 *
 * HOT PATH. Budget: what is sent is copied once; nothing is allocated.
 *
 * Invariant: of one sender it has one piece at most, so that what the kernel takes of that in part
 * is not followed by something else.
 */

import { ERRNO, type LibcCalls } from "./libc.ts";
import type { Sends } from "./send_ring.ts";

/** Sends that are made together: as few as will not keep the first of them waiting for long. */
const MAX_SENDS = 32;

/** Longer ones are worth a call of their own, and are not worth a copy. */
const MAX_BYTES = 4_096;

const ROOM_BYTES = 65_536;

/** As much is copied by a loop in less time than by a call. */
const LOOP_BYTES = 400;

/** Whoever sends. */
export interface BatchSender {
  /** Whether something of it has not been sent yet; the batch's own note. */
  isInBatch: boolean;
  /**
   * Of `bytes`, borrowed, from `start` to `end`, `count` were taken, and so not all; a negative errno
   * if none could be. It may not send anything now: others are still to be told.
   */
  onTakenInPart(count: number, bytes: Uint8Array, start: number, end: number): void;
}

/** The sends of one reactor. */
export class SendBatch implements Disposable {
  readonly #libc: LibcCalls;
  readonly #onError: (error: unknown) => void;
  readonly #bytes = new Uint8Array(new ArrayBuffer(ROOM_BYTES));
  #sends: Sends | undefined;
  readonly #senders: (BatchSender | undefined)[] = [];
  readonly #descriptors = new Int32Array(MAX_SENDS);
  /** Each begins where the one before it ends. */
  readonly #starts = new Int32Array(MAX_SENDS + 1);
  readonly #results = new Int32Array(MAX_SENDS);
  #count = 0;
  #isOpen = false;

  /** @param onError Told what was thrown while it sent: our mistake, which must stop nobody. */
  constructor(libc: LibcCalls, onError: (error: unknown) => void) {
    this.#libc = libc;
    this.#onError = onError;
    this.#sends = libc.openSends(MAX_SENDS, this.#bytes);
  }

  /** Whether the kernel has what it takes; if not, nothing is ever taken. */
  get isOfUse(): boolean {
    return this.#sends !== undefined;
  }

  [Symbol.dispose](): void {
    this.#sends?.[Symbol.dispose]();
    // Its memory is gone: whoever sends all the same does so by himself.
    this.#sends = undefined;
    this.#isOpen = false;
  }

  /** Takes what is sent from now on. */
  open(): void {
    this.#isOpen = this.isOfUse;
  }

  /** Sends what was taken, and takes nothing more. */
  close(): void {
    this.#isOpen = false;
    this.flush();
  }

  /**
   * Takes a piece, which is copied. Returns whether it did; if not, nothing of that sender is left
   * here, and it sends by itself.
   */
  take(
    sender: BatchSender,
    descriptor: number,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (!this.#isOpen) return false;
    const byteCount = end - start;
    if (sender.isInBatch) {
      this.flush();
      return false;
    }
    if (byteCount > MAX_BYTES) return false;
    if (!this.#hasRoom(byteCount)) this.flush();
    const place = this.#count;
    const at = this.#starts[place]!;
    this.#copy(buffer, start, end, at);
    this.#senders[place] = sender;
    this.#descriptors[place] = descriptor;
    this.#starts[place + 1] = at + byteCount;
    this.#count = place + 1;
    sender.isInBatch = true;
    return true;
  }

  /** Sends what was taken. */
  flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    const made = count === 1 ? 0 : this.#sendTogether(count);
    // One that is alone, or what a kernel short of memory has not taken.
    for (let place = made; place < count; place++) this.#sendOne(place);
    for (let place = 0; place < count; place++) this.#note(place);
  }

  #hasRoom(byteCount: number): boolean {
    return this.#count < MAX_SENDS && this.#starts[this.#count]! + byteCount <= ROOM_BYTES;
  }

  #copy(buffer: Uint8Array, start: number, end: number, at: number): void {
    const bytes = this.#bytes;
    if (end - start > LOOP_BYTES) bytes.set(buffer.subarray(start, end), at);
    else for (let from = start; from < end; from++) bytes[at + from - start] = buffer[from]!;
  }

  #sendOne(place: number): void {
    const end = this.#starts[place + 1]!;
    this.#results[place] = this.#libc.send(
      this.#descriptors[place]!,
      this.#bytes,
      this.#starts[place]!,
      end,
    );
  }

  /** Returns how many were made, the first ones. */
  #sendTogether(count: number): number {
    const sends = this.#sends!;
    const starts = this.#starts;
    try {
      for (let place = 0; place < count; place++) {
        sends.put(this.#descriptors[place]!, starts[place]!, starts[place + 1]!);
      }
      return sends.send(this.#results);
    } catch (error) {
      // Nobody knows what was sent, or still is: those connections end, and nothing comes here again.
      this.#sends = undefined;
      this.#isOpen = false;
      this.#results.fill(-ERRNO.brokenPipe);
      this.#onError(error);
      return count;
    }
  }

  #note(place: number): void {
    const sender = this.#senders[place]!;
    this.#senders[place] = undefined;
    sender.isInBatch = false;
    const start = this.#starts[place]!;
    const end = this.#starts[place + 1]!;
    const result = this.#results[place]!;
    if (result === end - start) return;
    try {
      sender.onTakenInPart(result, this.#bytes, start, end);
    } catch (error) {
      this.#onError(error);
    }
  }
}
