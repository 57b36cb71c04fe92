/**
 * How bytes get through one connected socket: as they are, or through TLS (`TlsChannel`). A stream
 * decides what to send and when to read; a channel only carries.
 */

import type { LibcCalls } from "./libc.ts";

/** Carries the bytes of one connection; nothing here blocks. Counts are bytes, or a negative errno. */
export interface Channel {
  /** Whether bytes go out as they are: then others may send them. */
  readonly isPlain: boolean;
  /**
   * Whether there may be more, though the last `receive()` gave less than was asked for: the kernel
   * will not tell of that.
   */
  readonly hasMore: boolean;
  /** Why TLS ended the stream, if it did. */
  readonly readFailure: string | undefined;
  /** Receives at most `length` bytes into `buffer`; 0 at the end of the stream. */
  receive(buffer: Uint8Array, length: number): number;
  /** As `receive()`, and the bytes will be received all the same. */
  peek(buffer: Uint8Array, length: number): number;
  /**
   * Sends from `start` to `end`; what is answered may be less. What was not sent has to be what is
   * sent next.
   */
  send(buffer: Uint8Array, start: number, end: number): number;
  /**
   * Takes back what it had sent together with what others sent, and the kernel has not taken. Returns
   * what is to be sent next in its place.
   */
  takeBack(unsent: Uint8Array): Uint8Array;
  /**
   * Says that nothing more will be sent, after all has been. To be called again if it answers
   * `-ERRNO.again` or `-ERRNO.interrupted`.
   */
  finishSending(): number;
  /** Gives the socket back; nothing gets through any more. To be called once. */
  close(): void;
}

/** Bytes as they are. */
export class PlainChannel implements Channel {
  readonly isPlain = true;
  readonly hasMore = false;
  readonly readFailure: undefined = undefined;
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

  takeBack(unsent: Uint8Array): Uint8Array {
    return unsent;
  }

  finishSending(): number {
    return this.#libc.finishSending(this.#descriptor);
  }

  close(): void {
    this.#libc.close(this.#descriptor);
    this.#descriptor = -1;
  }
}
