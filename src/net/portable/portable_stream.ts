/**
 * `ByteStream` over one of Deno's own connections.
 *
 * HOT PATH. Per chunk: one read, one write, their promises, and a view of the bytes written.
 */

import { assert } from "../../base/assert.ts";
import type { ByteStream, Endpoint, Sink } from "../byte_stream.ts";
import type { StreamOptions } from "../network.ts";

/** Where bigger reads no longer pay: throughput was level from here on. */
const MAX_RECEIVE_BYTES = 65_536;

/** Full reads in a row that show a bulk transfer, for which the buffer is made large. */
const BULK_READS = 2;

/** Gives the runtime's event loop a turn. */
export type YieldTurn = () => Promise<void>;

/** What a stream is made of. */
export interface PortableStreamOptions extends StreamOptions {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;
  readonly yieldTurn: YieldTurn;
}

/** A connection of the portable engine. */
export class PortableStream implements ByteStream {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;

  readonly #conn: Deno.Conn;
  readonly #options: PortableStreamOptions;
  #buffer: Uint8Array<ArrayBuffer>;
  #isClosed = false;
  #isReading = false;
  #fullReads = 0;
  #writesInFlight = 0;
  /** Settles with the youngest write; of meaning only while writes are in flight. */
  #lastWrite: Promise<void> = Promise.resolve();

  constructor(conn: Deno.Conn, options: PortableStreamOptions) {
    this.#conn = conn;
    this.#options = options;
    this.remote = options.remote;
    this.local = options.local;
    this.peerUid = options.peerUid;
    this.isUnix = options.isUnix;
    this.#buffer = new Uint8Array(options.receiveBytes);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const count = await this.#read();
      if (count === 0) return;
      yield this.#buffer.subarray(0, count);
      if (this.#fullReads > 0) await this.#afterFullReads();
    }
  }

  async pump(sink: Sink): Promise<void> {
    for (;;) {
      const count = await this.#read();
      if (count === 0) return;
      const held = sink(this.#buffer, count);
      if (held !== undefined) await held;
      if (this.#fullReads > 0) await this.#afterFullReads();
    }
  }

  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    if (this.#isClosed || start === end) return;
    const bytes = buffer.subarray(start, end);
    const isFirst = this.#writesInFlight === 0;
    this.#writesInFlight += 1;
    this.#lastWrite = isFirst ? this.#send(bytes) : this.#sendAfter(this.#lastWrite, bytes);
    return this.#lastWrite;
  }

  finishWriting(): void {
    if (this.#writesInFlight === 0) this.#closeWrite();
    else this.#lastWrite.then(() => this.#closeWrite());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#conn[Symbol.dispose]();
  }

  /** Returns how many bytes came, 0 at the end for whatever reason. */
  async #read(): Promise<number> {
    assert(!this.#isReading, "One loop at a time reads a stream");
    if (this.#isClosed) return 0;
    this.#isReading = true;
    try {
      const count = await this.#conn.read(this.#buffer) ?? 0;
      this.#noteRead(count);
      return this.#isClosed ? 0 : count;
    } catch (error) {
      if (!isConnectionEnd(error)) throw error;
      return 0;
    } finally {
      this.#isReading = false;
    }
  }

  #noteRead(count: number): void {
    if (count === this.#buffer.length) this.#fullReads += 1;
    else this.#fullReads = 0;
  }

  /** A bulk transfer gets a bigger buffer, and leaves the others their turn. */
  async #afterFullReads(): Promise<void> {
    const { maxBusyReads, yieldTurn } = this.#options;
    if (this.#fullReads === BULK_READS && this.#buffer.length < MAX_RECEIVE_BYTES) {
      this.#buffer = new Uint8Array(MAX_RECEIVE_BYTES);
    }
    if (maxBusyReads > 0 && this.#fullReads % maxBusyReads === 0) await yieldTurn();
  }

  async #sendAfter(before: Promise<void>, bytes: Uint8Array): Promise<void> {
    await before;
    await this.#send(bytes);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    try {
      let rest = bytes;
      while (rest.length > 0 && !this.#isClosed) {
        const count = await this.#conn.write(rest);
        if (count === rest.length) break;
        rest = rest.subarray(count);
      }
    } catch (error) {
      this.close();
      if (!isConnectionEnd(error)) throw error;
    } finally {
      this.#writesInFlight -= 1;
    }
  }

  #closeWrite(): void {
    if (this.#isClosed) return;
    // The peer may have closed already; then there is nobody left to tell.
    this.#conn.closeWrite().catch(() => this.close());
  }
}

/** Whether an error only says that the connection is over, by either side's doing. */
export function isConnectionEnd(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.TimedOut ||
    // What has no class of its own (host or network unreachable) ends a connection just the same.
    error instanceof Error && /\(os error \d+\)/.test(error.message);
}
