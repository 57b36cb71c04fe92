/**
 * `ByteStream` over one of Deno's own connections, or over TLS on one.
 *
 * HOT PATH. Per chunk: one read, one write, their promises, and a view of the bytes written.
 */

import { assert } from "../../base/assert.ts";
import { nextTurn } from "../../base/turn.ts";
import type { ByteStream, Endpoint, Look, Sink } from "../byte_stream.ts";
import type { StreamOptions } from "../network.ts";
import { SinkHold } from "../sink_hold.ts";
import { type TlsHandshake, TlsHandshakeError, type TlsInUse, type TlsStart } from "../tls.ts";
import { isConnectionEnd } from "./connection_end.ts";
import { TlsTransport } from "./tls_transport.ts";
import type { Transport } from "./transport.ts";

/** Where bigger reads no longer pay: throughput was level from here on. */
const MAX_RECEIVE_BYTES = 65_536;

/** Enough for most of what a client sends at once; pinned by each of thousands of idle ones. */
const IDLE_RECEIVE_BYTES = 1_024;

const NO_BYTES: Readonly<Uint8Array> = new Uint8Array(0);

/** What a stream is made of. */
export interface PortableStreamOptions {
  /** Kept, so that connections set up alike should share it. */
  readonly options: StreamOptions;
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;
}

/** A connection of the portable engine. */
export class PortableStream implements ByteStream {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;

  #transport: Transport;
  #tls: TlsTransport | undefined;
  readonly #options: StreamOptions;
  #buffer: Uint8Array<ArrayBuffer>;
  #isClosed = false;
  #isReading = false;
  /** What a write failed with, if that was not the end of the connection. */
  #failure: unknown;
  /** A read begun by `watch()`, for the loop to take over. */
  #ahead: { buffer: Uint8Array<ArrayBuffer>; count: Promise<number> } | undefined;
  #fullReads = 0;
  readonly #hold = new SinkHold();
  #writesInFlight = 0;
  /** Settles with the youngest write; of meaning only while writes are in flight. */
  #lastWrite: Promise<void> = Promise.resolve();

  constructor(
    transport: Transport,
    { isUnix, local, options, peerUid, remote }: PortableStreamOptions,
  ) {
    this.#transport = transport;
    this.#options = options;
    this.remote = remote;
    this.local = local;
    this.peerUid = peerUid;
    this.isUnix = isUnix;
    this.#buffer = new Uint8Array(Math.min(IDLE_RECEIVE_BYTES, options.receiveBytes));
  }

  get tls(): TlsInUse | undefined {
    return this.#tls?.inUse;
  }

  get tlsFailure(): string | undefined {
    return this.#tls?.failure;
  }

  async startTls(start: TlsStart): Promise<TlsHandshake> {
    if (this.#isClosed) throw new TlsHandshakeError("The connection is closed");
    assert(this.#tls === undefined, "TLS is started once");
    assert(!this.#isReading && this.#ahead === undefined, "Nobody reads");
    this.#tls = new TlsTransport(this.#transport, start);
    // From here on close() ends the handshake.
    this.#transport = this.#tls;
    return await this.#tls.shakeHands();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const count = await this.#read();
      if (count === 0) return;
      yield this.#buffer.subarray(0, count);
      const pause = this.#adapt(count);
      if (pause !== undefined) await pause;
    }
  }

  async pump(sink: Sink, first: Uint8Array = NO_BYTES): Promise<void> {
    if (first.length > 0) await this.#hold.call(sink, first, first.length);
    for (;;) {
      const count = await this.#read();
      if (count === 0) return;
      const held = this.#hold.call(sink, this.#buffer, count);
      if (held !== undefined) await held;
      const pause = this.#adapt(count);
      if (pause !== undefined) await pause;
    }
  }

  resume(): void {
    this.#hold.end();
  }

  watch(onLook: Look): void {
    if (this.#isReading || this.#ahead !== undefined || this.#isClosed) return;
    const buffer = new Uint8Array(this.#sizeBelow(this.#options.receiveBytes));
    const count = this.#lookInto(buffer, onLook);
    this.#ahead = { buffer, count };
  }

  /** Never rejects, since the loop may never come to take the read over: what failed is kept for it. */
  async #lookInto(buffer: Uint8Array<ArrayBuffer>, onLook: Look): Promise<number> {
    let count = 0;
    try {
      count = await this.#readInto(buffer);
      // The loop may have taken the read over: then there is nothing ahead of it any more.
      if (this.#ahead !== undefined) onLook(buffer, count);
    } catch (error) {
      this.#failure = error;
      this.close();
    }
    return count;
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
    this.#transport[Symbol.dispose]();
  }

  /** How many bytes came, 0 at the end for whatever reason. */
  #read(): Promise<number> | number {
    const ahead = this.#ahead;
    if (ahead !== undefined) {
      this.#ahead = undefined;
      this.#buffer = ahead.buffer;
      return ahead.count.then((count) => {
        this.#throwFailure();
        return count;
      });
    }
    assert(!this.#isReading, "One loop at a time reads a stream");
    return this.#isClosed ? 0 : this.#readInto(this.#buffer);
  }

  /** Not an async function: every waiting connection would hold one more frame. */
  #readInto(buffer: Uint8Array<ArrayBuffer>): Promise<number> {
    this.#isReading = true;
    return this.#transport.read(buffer).then(this.#onRead, this.#onReadError);
  }

  readonly #onRead = (count: number | null): number => {
    this.#isReading = false;
    this.#throwFailure();
    if (count === null || this.#isClosed) return 0;
    return count;
  };

  readonly #onReadError = (error: unknown): number => {
    this.#isReading = false;
    this.#throwFailure();
    if (!isConnectionEnd(error)) throw error;
    return 0;
  };

  #throwFailure(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /**
   * Fits the buffer to what comes: most connections are idle most of the time, with a small buffer;
   * a transfer gets a bigger one for as long as it lasts. Others get their turn in between.
   */
  #adapt(count: number): Promise<void> | undefined {
    const length = this.#buffer.length;
    this.#fullReads = count === length ? this.#fullReads + 1 : 0;
    if (count < length) {
      if (length > IDLE_RECEIVE_BYTES && count <= this.#sizeBelow(length)) {
        this.#buffer = new Uint8Array(this.#sizeBelow(length));
      }
      return undefined;
    }
    if (length < MAX_RECEIVE_BYTES) this.#buffer = new Uint8Array(this.#sizeAbove(length));
    const { maxBusyReads } = this.#options;
    const isDue = maxBusyReads > 0 && this.#fullReads % maxBusyReads === 0;
    return isDue ? nextTurn() : undefined;
  }

  #sizeAbove(length: number): number {
    const { receiveBytes } = this.#options;
    return length < receiveBytes ? receiveBytes : MAX_RECEIVE_BYTES;
  }

  #sizeBelow(length: number): number {
    const { receiveBytes } = this.#options;
    return length > receiveBytes ? receiveBytes : Math.min(IDLE_RECEIVE_BYTES, receiveBytes);
  }

  async #sendAfter(before: Promise<void>, bytes: Uint8Array): Promise<void> {
    await before;
    await this.#send(bytes);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    try {
      let rest = bytes;
      while (rest.length > 0 && !this.#isClosed) {
        const count = await this.#transport.write(rest);
        if (count === rest.length) break;
        rest = rest.subarray(count);
      }
    } catch (error) {
      // Whoever writes is not told: the loop that reads is.
      if (!isConnectionEnd(error)) this.#failure = error;
      this.close();
    } finally {
      this.#writesInFlight -= 1;
    }
  }

  #closeWrite(): void {
    if (this.#isClosed) return;
    // The peer may have closed already; then there is nobody left to tell.
    this.#transport.closeWrite().catch(() => this.close());
  }
}
