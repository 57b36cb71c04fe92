/** Sending datagrams to a unix socket of the machine: syslog's, or systemd's. */

import { ERRNO } from "./native/libc.ts";
import type { ProcessLibc } from "./native/process_libc.ts";
import { unixAddress } from "./unix_socket.ts";

/** The calls it is made of. */
export type DatagramCalls = Pick<ProcessLibc, "connectDatagrams" | "sendDatagram" | "close">;

/**
 * Sends to one socket, never waiting. It connects when there is something to send, and anew when
 * whoever received has been started again.
 */
export class DatagramSender implements Disposable {
  readonly #libc: DatagramCalls;
  readonly #path: string;
  readonly #encoder = new TextEncoder();
  #descriptor: number | undefined;

  /** `path` may begin with `@` for an abstract name. */
  constructor(libc: DatagramCalls, path: string) {
    this.#libc = libc;
    this.#path = unixAddress(path);
  }

  /** Sends a text as one datagram. Returns whether it was taken; if not, it is lost. */
  send(text: string): boolean {
    const bytes = this.#encoder.encode(text);
    const wasConnected = this.#descriptor !== undefined;
    const result = this.#sendOnce(bytes);
    if (result === 0) return true;
    // Its queue is full: it is there, and to connect anew would help nothing.
    if (result === -ERRNO.again) return false;
    this[Symbol.dispose]();
    if (wasConnected && this.#sendOnce(bytes) === 0) return true;
    this[Symbol.dispose]();
    return false;
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) this.#libc.close(this.#descriptor);
    this.#descriptor = undefined;
  }

  /** Returns 0, or a negative errno. */
  #sendOnce(bytes: Uint8Array<ArrayBuffer>): number {
    if (this.#descriptor === undefined) {
      const descriptor = this.#libc.connectDatagrams(this.#path);
      if (descriptor < 0) return descriptor;
      this.#descriptor = descriptor;
    }
    return this.#libc.sendDatagram(this.#descriptor, bytes);
  }
}
