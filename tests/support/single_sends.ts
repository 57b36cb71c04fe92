/** Sends that are made together, made one after the other: for a C library that is not the real one. */

import type { LibcCalls } from "../../src/net/native/libc.ts";
import type { Sends } from "../../src/net/native/send_ring.ts";

/** Sends by `send()`. */
export class SingleSends implements Sends {
  readonly #libc: Pick<LibcCalls, "send">;
  readonly #bytes: Uint8Array;
  /** Descriptor, start and end of each. */
  readonly #put = new Int32Array(300);
  #count = 0;

  constructor(libc: Pick<LibcCalls, "send">, bytes: Uint8Array) {
    this.#libc = libc;
    this.#bytes = bytes;
  }

  [Symbol.dispose](): void {}

  put(descriptor: number, start: number, end: number): void {
    const at = this.#count++ * 3;
    this.#put[at] = descriptor;
    this.#put[at + 1] = start;
    this.#put[at + 2] = end;
  }

  send(results: Int32Array): number {
    const count = this.#count;
    this.#count = 0;
    for (let i = 0; i < count; i++) {
      const at = i * 3;
      const start = this.#put[at + 1]!;
      results[i] = this.#libc.send(this.#put[at]!, this.#bytes, start, this.#put[at + 2]!);
    }
    return count;
  }

  /** Leaves what was put to others. */
  moveTo(sends: Sends): void {
    for (let at = 0; at < this.#count * 3; at += 3) {
      sends.put(this.#put[at]!, this.#put[at + 1]!, this.#put[at + 2]!);
    }
    this.#count = 0;
  }
}
