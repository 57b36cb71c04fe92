/**
 * Bytes through TLS, over a socket that does not block.
 *
 * HOT PATH. Budget per chunk: one `recv`, one `send`; no allocation as long as a chunk is one record
 * and the kernel takes what is sent.
 *
 * What libssl has encrypted has to be sent, whole and in order: what the kernel does not take waits in
 * `#unsent`, and the bytes it came of (`#owedCount`) count as not sent until it has gone. So whoever
 * sends them again, as `NativeStream` does, goes on where it stopped.
 */

import { assert } from "../../base/assert.ts";
import type { Channel } from "./channel.ts";
import { ERRNO, type LibcCalls } from "./libc.ts";
import {
  type Handle,
  type LibSsl,
  MAX_FEED_BYTES,
  MAX_WRITE_BYTES,
  OUTCOME,
  TAKE_BYTES,
} from "./libssl.ts";

/** Reads in a row that bring no byte of the stream: others first. */
const MAX_EMPTY_READS = 16;

/** More than one write and what answers a peer's changes of keys: who sends those takes nothing. */
const MAX_UNSENT_BYTES = 2 * TAKE_BYTES;

/**
 * So much may come that brings no byte of the stream: a record of which a part is missing, tickets.
 * More of it is a peer that changes its keys all the time, which costs us more than it.
 */
const MAX_BARREN_BYTES = 65_536;

/** For each byte of the stream; a byte by itself, in the oldest version, takes 74. */
const BARREN_BYTES_PER_BYTE = 128;

/** Lent to whoever is at work, each for one call: what was received, and what is to be sent. */
export class TlsBuffers {
  readonly received = new Uint8Array(new ArrayBuffer(MAX_FEED_BYTES));
  readonly toSend = new Uint8Array(new ArrayBuffer(TAKE_BYTES));
}

/** What a channel is made of. */
export interface TlsChannelOptions {
  readonly libc: LibcCalls;
  readonly libssl: LibSsl;
  readonly buffers: TlsBuffers;
  /** Belongs to the channel. */
  readonly descriptor: number;
  /** Belongs to the channel. */
  readonly connection: Handle;
}

/** A socket with TLS on it. */
export class TlsChannel implements Channel {
  readonly isPlain = false;
  readonly #libc: LibcCalls;
  readonly #libssl: LibSsl;
  readonly #buffers: TlsBuffers;
  /**
   * Sends the first `length` bytes together with what others send, if that can be now, and returns
   * whether it will; set when there is somebody to take back what is not taken.
   */
  sendTogether: ((bytes: Uint8Array, length: number) => boolean) | undefined;
  /** -1 once it is closed. */
  #descriptor: number;
  /** Undefined once it is closed, or has failed. */
  #connection: Handle | undefined;
  /** libssl may have bytes. */
  #isUnread = true;
  /** The kernel may have bytes: it filled what was offered. */
  #isFull = false;
  /** What was received, and libssl has not taken yet: it had decrypted as much as was asked for. */
  #unfed: Uint8Array | undefined;
  #unsent: Uint8Array | undefined;
  /** Bytes of the next `send()` that were encrypted already. */
  #owedCount = 0;
  #isFinished = false;
  /** Bytes received, less what is due for those of the stream. */
  #barrenCount = 0;
  /** Why nothing gets through any more. */
  #failure = "the peer takes nothing";
  #readFailure: string | undefined;

  constructor({ buffers, connection, descriptor, libc, libssl }: TlsChannelOptions) {
    this.#libc = libc;
    this.#libssl = libssl;
    this.#buffers = buffers;
    this.#descriptor = descriptor;
    this.#connection = connection;
  }

  get hasMore(): boolean {
    return this.#isUnread || this.#isFull;
  }

  /** Of OpenSSL's; to be asked while it works. */
  get connection(): Handle {
    assert(this.#connection !== undefined, "The channel works");
    return this.#connection;
  }

  get readFailure(): string | undefined {
    return this.#readFailure;
  }

  /** Why the handshake has failed. */
  get failure(): string {
    return this.#failure;
  }

  receive(buffer: Uint8Array, length: number): number {
    if (this.#isUnread) {
      this.#feedAgain();
      const count = this.#read(buffer, length);
      // The kernel was not asked: nobody knows what it has.
      this.#isFull = true;
      if (count !== -ERRNO.again) return count;
    }
    for (let i = 0; i < MAX_EMPTY_READS; i++) {
      const received = this.#feedFromKernel(length);
      if (received <= 0) return received;
      const count = this.#read(buffer, length);
      if (count !== -ERRNO.again) return count;
    }
    return -ERRNO.interrupted;
  }

  peek(buffer: Uint8Array, length: number): number {
    if (this.#isUnread) {
      this.#feedAgain();
      const count = this.#peek(buffer, length);
      if (count !== -ERRNO.again) return count;
    }
    const received = this.#feedFromKernel(length);
    if (received <= 0) return received;
    const count = this.#peek(buffer, length);
    // Whatever came is not the end: looked at again, at once.
    return count === -ERRNO.again ? -ERRNO.interrupted : count;
  }

  send(buffer: Uint8Array, start: number, end: number): number {
    const connection = this.#connection;
    if (connection === undefined) return -ERRNO.brokenPipe;
    if (this.#unsent !== undefined) {
      const result = this.#sendOn();
      if (result < 0) return result;
    }
    let at = start + this.#owedCount;
    this.#owedCount = 0;
    assert(at <= end, "Bytes that could not be sent are sent again");
    while (at < end) {
      const count = Math.min(end - at, MAX_WRITE_BYTES);
      const bytes = at === 0 ? buffer : buffer.subarray(at, at + count);
      if (this.#libssl.write(connection, bytes, count) !== count) return this.#fail();
      const result = this.flush();
      if (result < 0) {
        this.#owedCount = count;
        return at > start ? at - start : result;
      }
      at += count;
    }
    return end - start;
  }

  takeBack(unsent: Uint8Array): Uint8Array {
    if (this.#connection !== undefined) this.#keep(unsent);
    // It goes first whatever is sent next, be it nothing.
    return NO_BYTES;
  }

  finishSending(): number {
    if (this.#connection !== undefined && !this.#isFinished) {
      this.#isFinished = true;
      this.#libssl.shutdown(this.#connection);
    }
    const result = this.flush();
    if (result < 0 && this.#connection !== undefined) return result;
    return this.#libc.finishSending(this.#descriptor);
  }

  close(): void {
    if (this.#connection !== undefined) {
      if (!this.#isFinished && this.#unsent === undefined) {
        this.#libssl.shutdown(this.#connection);
        this.flush();
      }
      this.#free();
    }
    this.#libc.close(this.#descriptor);
    this.#descriptor = -1;
  }

  /** Takes bytes that were received before there was TLS. */
  feed(bytes: Uint8Array, length: number): void {
    this.#libssl.feed(bytes, length);
  }

  /** Receives for the handshake. Returns how many bytes, 0 at the end, or a negative errno. */
  feedFromKernel(): number {
    return this.#feedFromKernel(MAX_FEED_BYTES);
  }

  /**
   * Goes on with the handshake, with what was fed. Returns 1 when it is done, `-ERRNO.again` when it
   * takes more, and otherwise what `failure` tells of. What is to be sent for it is with `flush()`.
   */
  handshake(): number {
    const connection = this.#connection;
    if (connection === undefined) return -ERRNO.brokenPipe;
    const result = this.#libssl.handshake(connection);
    this.#barrenCount = 0;
    if (result !== 1 && result !== OUTCOME.wait) {
      this.#failure = this.#libssl.handshakeReason(connection);
      return this.#fail();
    }
    const settled = this.#settled(result === 1 ? 1 : -ERRNO.again);
    // Our own part may be more than may wait: then it has failed, whatever libssl says.
    return this.#connection === undefined ? -ERRNO.brokenPipe : settled;
  }

  /** Lets nothing through any more. */
  abandon(): void {
    this.#fail();
  }

  /**
   * Sends what libssl has for the peer. Returns 0 when there is nothing more, or a negative errno;
   * what is left then is sent first by whatever sends next.
   */
  flush(): number {
    const newCount = this.#libssl.toSendCount;
    if (this.#unsent === undefined) return newCount > 0 ? this.#sendNew(newCount) : 0;
    if (newCount > 0) this.#keep(this.#take(newCount).subarray(0, newCount));
    return this.#sendOn();
  }

  #feedFromKernel(length: number): number {
    if (this.#connection === undefined || this.#barrenCount > MAX_BARREN_BYTES) return this.#fail();
    const wanted = Math.min(length, MAX_FEED_BYTES);
    const { received } = this.#buffers;
    const count = this.#libc.receive(this.#descriptor, received, wanted);
    this.#isFull = count === wanted;
    if (count <= 0) return count;
    this.#libssl.feed(received, count);
    this.#barrenCount += count;
    return count;
  }

  /** Decrypts as much as there is room for; `-ERRNO.again` if that takes more bytes. */
  #read(buffer: Uint8Array, length: number): number {
    const connection = this.#connection;
    if (connection === undefined) return -ERRNO.brokenPipe;
    const libssl = this.#libssl;
    let count = libssl.read(connection, buffer, length);
    if (count <= 0) return this.#unreadable(count);
    let isUnread = false;
    while (count < length && libssl.unfedCount > 0) {
      const rest = buffer.subarray(count, length);
      const more = libssl.read(connection, rest, rest.length);
      if (more > 0) {
        count += more;
        continue;
      }
      // An end, or a failure, is met again when these bytes have been given out.
      isUnread = more !== OUTCOME.wait;
      if (more === OUTCOME.failed) this.#failReading();
      break;
    }
    this.#isUnread = isUnread || count === length && libssl.hasUnread(connection);
    this.#barrenCount = Math.max(0, this.#barrenCount - count * BARREN_BYTES_PER_BYTE);
    return this.#settled(count);
  }

  #peek(buffer: Uint8Array, length: number): number {
    const connection = this.#connection;
    if (connection === undefined) return -ERRNO.brokenPipe;
    const count = this.#libssl.peek(connection, buffer, length);
    if (count <= 0) return this.#unreadable(count);
    this.#isUnread = true;
    return this.#settled(count);
  }

  /** A read brought nothing. */
  #unreadable(outcome: number): number {
    // An end is met again.
    this.#isUnread = outcome === OUTCOME.closed;
    if (outcome === OUTCOME.failed) return this.#failReading();
    return this.#settled(outcome === OUTCOME.wait ? -ERRNO.again : 0);
  }

  #failReading(): number {
    this.#readFailure = this.#libssl.reason().text;
    return this.#fail();
  }

  /** Leaves nothing for another connection to find: neither what was fed, nor what is to be sent. */
  #settled(result: number): number {
    if (this.#libssl.toSendCount > 0) this.flush();
    const count = this.#libssl.unfedCount;
    if (count > 0) this.#keepUnfed(count);
    return result;
  }

  #keepUnfed(count: number): void {
    const unfed = new Uint8Array(new ArrayBuffer(count));
    this.#libssl.takeBack(unfed);
    this.#unfed = unfed;
    this.#isUnread = true;
  }

  /** Feeds what there was no room for. */
  #feedAgain(): void {
    const unfed = this.#unfed;
    if (unfed === undefined) return;
    this.#unfed = undefined;
    this.#libssl.feed(unfed, unfed.length);
  }

  /** Sends what was just encrypted, while nothing else waits. */
  #sendNew(length: number): number {
    const bytes = this.#take(length);
    if (this.sendTogether?.(bytes, length) === true) return 0;
    if (this.#unsent !== undefined) {
      // What went together with others has just come back.
      this.#keep(bytes.subarray(0, length));
      return this.#sendOn();
    }
    const count = this.#libc.send(this.#descriptor, bytes, 0, length);
    if (count === length) return 0;
    this.#keep(bytes.subarray(Math.max(count, 0), length));
    return count < 0 ? count : this.#sendOn();
  }

  /** Sends what waits, until the kernel takes no more: only then will it tell of room. */
  #sendOn(): number {
    for (;;) {
      const unsent = this.#unsent;
      if (unsent === undefined) return 0;
      const count = this.#libc.send(this.#descriptor, unsent, 0, unsent.length);
      if (count < 0) return count;
      this.#unsent = count < unsent.length ? unsent.subarray(count) : undefined;
    }
  }

  /**
   * Takes the `count` bytes that were encrypted, all of them: the next call may be another
   * connection's. Our part of a handshake may be long, by the authorities and certificates in it.
   */
  #take(count: number): Uint8Array {
    const { toSend } = this.#buffers;
    const bytes = count <= toSend.length ? toSend : new Uint8Array(new ArrayBuffer(count));
    const taken = this.#libssl.take(bytes);
    assert(taken === count, "What was encrypted can be taken");
    return bytes;
  }

  #keep(bytes: Uint8Array): void {
    const before = this.#unsent ?? NO_BYTES;
    const kept = new Uint8Array(before.length + bytes.length);
    kept.set(before);
    kept.set(bytes, before.length);
    this.#unsent = kept;
    if (kept.length > MAX_UNSENT_BYTES) this.#fail();
  }

  /** Nothing gets through any more; the alert that says why is sent if that can be at once. */
  #fail(): number {
    if (this.#connection === undefined) return -ERRNO.brokenPipe;
    this.#free();
    if (this.#libssl.toSendCount > 0) this.flush();
    this.#libssl.takeBack(this.#buffers.received);
    this.#unsent = undefined;
    this.#unfed = undefined;
    return -ERRNO.brokenPipe;
  }

  #free(): void {
    const connection = this.#connection!;
    this.#connection = undefined;
    this.#libssl.free(connection);
    this.#libssl.calls.ERR_clear_error();
  }
}

const NO_BYTES: Readonly<Uint8Array> = new Uint8Array(0);
