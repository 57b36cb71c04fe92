/**
 * A transport in the form in which the runtime's TLS takes it. The runtime decrypts all that comes
 * whether anybody reads or not, so the back-pressure is here: nothing is read from the transport
 * before it is pulled, and who writes can wait until all has gone out.
 */

import { Duplex } from "node:stream";
import type { Transport } from "./transport.ts";

/** Read at once; pinned while a connection is idle. */
const MIN_PULL_BYTES = 1_024;

/** A whole record of TLS, and a bit. */
const MAX_PULL_BYTES = 20_480;

/** A transport as a stream of the runtime's. */
export class TlsDuplex extends Duplex {
  readonly #below: Transport;
  #buffer = new Uint8Array(MIN_PULL_BYTES);
  #pulling: Promise<void> | undefined;
  #hasEnded = false;
  #failure: unknown;
  #onSent: (() => void)[] = [];

  constructor(below: Transport) {
    super({ allowHalfOpen: true, autoDestroy: false, decodeStrings: true });
    this.#below = below;
  }

  /** Whether the transport has no more to give. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** What the transport failed with, if it did. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Hands on what comes next from the transport, or its end. Never rejects. */
  pull(): Promise<void> {
    this.#pulling ??= this.#pull();
    return this.#pulling;
  }

  /** Resolves when all that was written has gone out, or never will. */
  async sent(): Promise<void> {
    while (this.writableLength > 0 && !this.destroyed) {
      await new Promise<void>((resolve) => this.#onSent.push(resolve));
    }
  }

  override _read(): void {
    // Only pull() reads.
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    void this.#send(chunk).then(() => {
      done();
      this.#tellSent();
    });
  }

  override _final(done: (error?: Error) => void): void {
    // Who owns the transport ends it.
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    done(error);
    this.#tellSent();
  }

  #tellSent(): void {
    for (const resolve of this.#onSent.splice(0)) resolve();
  }

  async #pull(): Promise<void> {
    let count: number | null = null;
    try {
      if (!this.#hasEnded) count = await this.#below.read(this.#buffer);
    } catch (error) {
      this.#failure = error;
    }
    this.#pulling = undefined;
    this.#hasEnded ||= count === null;
    if (this.destroyed) return;
    this.push(count === null ? null : this.#buffer.subarray(0, count));
    if (count !== null) this.#adapt(count);
  }

  #adapt(count: number): void {
    const { length } = this.#buffer;
    const isFull = count === length;
    const isSmall = count <= MIN_PULL_BYTES && length > MIN_PULL_BYTES;
    // What was not taken yet is in the old one.
    if (this.readableLength > 0 || isFull || isSmall) {
      this.#buffer = new Uint8Array(isFull ? MAX_PULL_BYTES : MIN_PULL_BYTES);
    }
  }

  async #send(bytes: Uint8Array): Promise<void> {
    try {
      let rest = bytes;
      while (rest.length > 0 && this.#failure === undefined) {
        rest = rest.subarray(await this.#below.write(rest));
      }
    } catch (error) {
      this.#failure = error;
    }
  }
}
