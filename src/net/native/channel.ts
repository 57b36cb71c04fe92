/**
 * How bytes get through one connected socket: as they are, or (later) through TLS. A stream decides
 * what to send and when to read; a channel only carries.
 */

import type { LibcCalls } from "./libc.ts";

/** Carries the bytes of one connection; nothing here blocks. Counts are bytes, or a negative errno. */
export interface Channel {
  /**
   * Whether bytes have been taken from the kernel that `receive()` has not given out yet: the
   * kernel will not tell of those.
   */
  readonly hasPending: boolean;
  /** Receives at most `length` bytes into `buffer`; 0 at the end of the stream. */
  receive(buffer: Uint8Array, length: number): number;
  /** As `receive()`, and the bytes will be received all the same. */
  peek(buffer: Uint8Array, length: number): number;
  /** Sends from `start` to `end`; what is answered may be less. */
  send(buffer: Uint8Array, start: number, end: number): number;
  /** Says that nothing more will be sent. */
  finishSending(): void;
  /** Gives the socket back; nothing gets through any more. To be called once. */
  close(): void;
}

/** Bytes as they are. */
export class PlainChannel implements Channel {
  readonly hasPending = false;
  readonly #libc: LibcCalls;
  /** -1 once it is closed: the number may be somebody else's by then. */
  #descriptor: number;

  constructor(libc: LibcCalls, descriptor: number) {
    this.#libc = libc;
    this.#descriptor = descriptor;
  }

  receive(buffer: Uint8Array, length: number): number {
    return this.#libc.receive(this.#descriptor, buffer, length);
  }

  peek(buffer: Uint8Array, length: number): number {
    return this.#libc.peek(this.#descriptor, buffer, length);
  }

  send(buffer: Uint8Array, start: number, end: number): number {
    return this.#libc.send(this.#descriptor, buffer, start, end);
  }

  finishSending(): void {
    // The peer may have closed already; then there is nobody left to tell.
    this.#libc.finishSending(this.#descriptor);
  }

  close(): void {
    this.#libc.close(this.#descriptor);
    this.#descriptor = -1;
  }
}
