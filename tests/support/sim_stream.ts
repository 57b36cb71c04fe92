/**
 * Connections of the simulated network: two lanes, one for each direction, with bounded buffers.
 *
 * Nothing moves by itself: a lane offers what could happen next (`offer()`), and the network decides
 * when it does (`act()`). What a contract leaves open is left to chance: where received bytes are
 * cut, whether a write answers at once, whether a reset loses what was under way. Bytes that are
 * only borrowed are spoiled as soon as the loan is over, so that whoever kept them is found out.
 */

import { assert } from "../../src/base/assert.ts";
import type { ByteStream, Endpoint, Look, Sink } from "../../src/net/byte_stream.ts";
import { SinkHold } from "../../src/net/sink_hold.ts";
import type { TlsHandshake, TlsInUse, TlsStart } from "../../src/net/tls.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { SimTlsSession } from "./sim_tls.ts";

/** How received bytes are cut: as much as there is, single bytes, or anywhere. */
export type Chunking = "whole" | "bytes" | "random";

/** How a write is answered that fits into the buffer: with nothing, a promise, or either. */
export type WriteAnswers = "at_once" | "later" | "either";

/** What the streams of one network have in common. */
export interface SimRules {
  readonly random: SeededRandom;
  chunking: Chunking;
  writeAnswers: WriteAnswers;
  /** Bytes that each direction of a connection holds. */
  bufferBytes: number;
  /** Told of each stream that the pooler writes to or closes, each time. */
  onPoolerCall?: ((stream: SimStream) => void) | undefined;
  /** To be called when something may have become possible. */
  readonly changed: () => void;
  /** Says that the pooler is to fail here; it is asked only for what is the pooler's own. */
  readonly fails?: ((what: "read" | "write") => boolean) | undefined;
}

/** What could happen next in a lane. */
export type LaneOffer = "take" | "deliver" | undefined;

/** What borrowed bytes become when the loan is over. */
const SPOILED = 0xdd;

interface PendingWrite {
  bytes: Uint8Array;
  readonly resolve: () => void;
}

interface PendingRead {
  readonly buffer: Uint8Array;
  readonly resolve: (count: number) => void;
}

/** One direction of a connection. */
export class Lane {
  /** Nothing is delivered while set: a network that is down, or a peer that is slow. */
  isStalled = false;
  /** Whether what is in it is for the pooler. */
  readonly isToPooler: boolean;
  readonly #rules: SimRules;
  #held: Uint8Array[] = [];
  #heldCount = 0;
  #writes: PendingWrite[] = [];
  #read: PendingRead | undefined;
  #isFinished = false;
  #isReset = false;
  #isReaderGone = false;

  constructor(rules: SimRules, isToPooler: boolean) {
    this.#rules = rules;
    this.isToPooler = isToPooler;
  }

  /** Bytes under way or received and not yet read. */
  get heldCount(): number {
    return this.#heldCount;
  }

  get isReset(): boolean {
    return this.#isReset;
  }

  get isReaderGone(): boolean {
    return this.#isReaderGone;
  }

  /** What could happen now. */
  offer(): LaneOffer {
    if (this.#writes.length > 0 && (this.#room() > 0 || this.#isBroken())) return "take";
    if (this.#read === undefined || this.isStalled) return undefined;
    const isOver = this.#isReset || (this.#isFinished && this.#writes.length === 0);
    return this.#heldCount > 0 || isOver ? "deliver" : undefined;
  }

  /** Lets it happen. */
  act(offer: Exclude<LaneOffer, undefined>): void {
    if (offer === "take") this.#take();
    else this.#deliver();
  }

  write(bytes: Uint8Array): void | Promise<void> {
    const { random, writeAnswers } = this.#rules;
    const fits = this.#writes.length === 0 && bytes.length <= this.#room();
    const isAtOnce = writeAnswers === "at_once" ||
      (writeAnswers === "either" && random.chance(0.5));
    if (this.#isReaderGone || (fits && isAtOnce)) return this.#hold(bytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#writes.push({ bytes, resolve });
    this.#rules.changed();
    return promise;
  }

  /** Asks for bytes; resolves with 0 at the end. */
  read(buffer: Uint8Array): Promise<number> {
    assert(this.#read === undefined, "One loop at a time reads a stream");
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#read = { buffer, resolve };
    this.#rules.changed();
    return promise;
  }

  /** The writer has no more to say: the end follows what was written. */
  finish(): void {
    this.#isFinished = true;
    this.#rules.changed();
  }

  /** The writer is gone: what was not yet taken is lost. */
  abandon(): void {
    this.#dropWrites();
    this.finish();
  }

  /** The connection is lost; with it what was under way, unless it has already arrived. */
  reset(losesHeld: boolean): void {
    this.#isReset = true;
    this.#dropWrites();
    if (losesHeld) this.#dropHeld();
    this.#rules.changed();
  }

  /** The reader is gone: whatever is still written vanishes. */
  closeReader(): void {
    this.#isReaderGone = true;
    this.#dropHeld();
    this.#answerRead(0);
    this.#rules.changed();
  }

  #room(): number {
    return this.#rules.bufferBytes - this.#heldCount;
  }

  #isBroken(): boolean {
    return this.#isReaderGone || this.#isReset;
  }

  #take(): void {
    if (this.#isBroken()) return this.#dropWrites();
    const { chunking, random } = this.#rules;
    const write = this.#writes[0]!;
    const most = Math.min(this.#room(), write.bytes.length);
    const count = chunking === "random" ? 1 + random.below(most) : most;
    this.#hold(write.bytes.subarray(0, count));
    write.bytes = write.bytes.subarray(count);
    if (write.bytes.length > 0) return;
    this.#writes.shift();
    write.resolve();
  }

  #hold(bytes: Uint8Array): void {
    if (this.#isBroken()) return;
    this.#held.push(bytes.slice());
    this.#heldCount += bytes.length;
    this.#rules.changed();
  }

  #deliver(): void {
    if (this.#heldCount === 0) return this.#answerRead(0);
    const buffer = this.#read!.buffer;
    let wanted = this.#cut(Math.min(this.#heldCount, buffer.length));
    const count = wanted;
    let at = 0;
    while (wanted > 0) {
      const first = this.#held[0]!;
      const part = first.subarray(0, wanted);
      buffer.set(part, at);
      at += part.length;
      wanted -= part.length;
      if (part.length === first.length) this.#held.shift();
      else this.#held[0] = first.subarray(part.length);
    }
    this.#heldCount -= count;
    this.#answerRead(count);
    this.#rules.changed();
  }

  #cut(most: number): number {
    const { chunking, random } = this.#rules;
    switch (chunking) {
      case "whole":
        return most;
      case "bytes":
        return 1;
      case "random":
        // Often whole, so that long runs get somewhere; else cut near the start or anywhere.
        if (random.chance(0.4)) return most;
        return 1 + random.below(random.chance(0.5) ? Math.min(most, 8) : most);
    }
  }

  #answerRead(count: number): void {
    const read = this.#read;
    this.#read = undefined;
    read?.resolve(count);
  }

  #dropWrites(): void {
    for (const { resolve } of this.#writes.splice(0)) resolve();
  }

  #dropHeld(): void {
    this.#held = [];
    this.#heldCount = 0;
  }
}

/** What a stream is made of. */
export interface SimStreamOptions {
  readonly incoming: Lane;
  readonly outgoing: Lane;
  readonly rules: SimRules;
  readonly receiveBytes: number;
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;
  /** Whether this end is the pooler's. */
  readonly isPoolers?: boolean;
  /** Told of what is written, before it is encrypted. */
  readonly onWritten?: (bytes: Uint8Array) => void;
}

/** One end of a simulated connection. */
export class SimStream implements ByteStream {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;
  readonly #in: Lane;
  readonly #out: Lane;
  readonly #rules: SimRules;
  readonly #isPoolers: boolean;
  readonly #onWritten: ((bytes: Uint8Array) => void) | undefined;
  #buffer: Uint8Array;
  /** Bytes after which it breaks off. */
  #bytesLeft = Infinity;
  #ahead: { buffer: Uint8Array; count: Promise<number> } | undefined;
  #isReading = false;
  readonly #hold = new SinkHold();
  #isClosed = false;
  #tls: SimTlsSession | undefined;

  constructor(options: SimStreamOptions) {
    this.remote = options.remote;
    this.local = options.local;
    this.peerUid = options.peerUid;
    this.isUnix = options.isUnix;
    this.#in = options.incoming;
    this.#out = options.outgoing;
    this.#rules = options.rules;
    this.#isPoolers = options.isPoolers ?? false;
    this.#onWritten = options.onWritten;
    this.#buffer = new Uint8Array(options.receiveBytes);
  }

  get tls(): TlsInUse | undefined {
    return this.#tls?.inUse;
  }

  get tlsFailure(): string | undefined {
    return this.#tls?.failure;
  }

  /** What a client that speaks TLS calls the server, as its other end has learned. */
  get tlsServerName(): string | undefined {
    return this.#tls?.serverName;
  }

  startTls(start: TlsStart): Promise<TlsHandshake> {
    assert(this.#tls === undefined && !this.#isReading, "TLS is started once, by who reads");
    const buffer = new Uint8Array(this.#buffer.length);
    this.#tls = new SimTlsSession({
      read: async () => buffer.subarray(0, await this.#readRaw(buffer)),
      write: (bytes) => this.#isClosed ? undefined : this.#out.write(bytes),
    }, start);
    return this.#tls.shakeHands();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const count = await this.#read();
      if (count === 0) return;
      try {
        yield this.#buffer.subarray(0, count);
      } finally {
        this.#buffer.fill(SPOILED, 0, count);
      }
    }
  }

  async pump(sink: Sink, first: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (first.length > 0) await this.#hold.call(sink, first, first.length);
    for (;;) {
      const count = await this.#read();
      if (count === 0) return;
      const held = this.#hold.call(sink, this.#buffer, count);
      if (held !== undefined) await held;
      this.#buffer.fill(SPOILED, 0, count);
    }
  }

  resume(): void {
    this.#hold.end();
  }

  watch(onLook: Look): void {
    if (this.#isReading || this.#ahead !== undefined || this.#isClosed) return;
    const buffer = new Uint8Array(this.#buffer.length);
    const count = this.#readInto(buffer).then((count) => {
      if (this.#ahead !== undefined) onLook(buffer, count);
      return count;
    });
    this.#ahead = { buffer, count };
  }

  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    if (this.#isClosed || start === end) return;
    this.#noteCall();
    // The answer to what was written before has come: there is nobody.
    if (this.#in.isReset) return this.close();
    if (this.#out.isReaderGone) this.#in.reset(false);
    if (this.#fails("write")) return;
    const bytes = buffer.subarray(start, end);
    this.#onWritten?.(bytes);
    const sealed = this.#tls?.seal(bytes) ?? bytes;
    return this.#bytesLeft === Infinity ? this.#out.write(sealed) : this.#writeSome(sealed);
  }

  /** Breaks off when so many more bytes were sent or received, in the middle of whatever it is. */
  breakOffAfter(byteCount: number): void {
    this.#bytesLeft = byteCount;
  }

  #writeSome(bytes: Uint8Array): void | Promise<void> {
    const count = Math.min(bytes.length, this.#bytesLeft);
    const sending = this.#out.write(bytes.subarray(0, count));
    this.#spend(count);
    return sending;
  }

  #spend(count: number): void {
    this.#bytesLeft -= count;
    if (this.#bytesLeft > 0) return;
    if (this.#rules.random.chance(0.5)) this.reset();
    else this.close();
  }

  #noteCall(): void {
    if (this.#isPoolers) this.#rules.onPoolerCall?.(this);
  }

  /** As when the kernel answers an error: the connection is lost, and its reader hears of it. */
  #fails(what: "read" | "write"): boolean {
    if (!this.#isPoolers || this.#rules.fails?.(what) !== true) return false;
    this.#in.reset(true);
    this.#out.reset(true);
    return true;
  }

  finishWriting(): void {
    if (this.#isClosed) return;
    this.#noteCall();
    if (this.#tls !== undefined) void this.#out.write(this.#tls.sealEnd());
    this.#out.finish();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#noteCall();
    this.#isClosed = true;
    // A kernel answers bytes that nobody will read with a reset, and that may overtake what was sent.
    const isRude = this.#in.heldCount > 0 && this.#rules.chunking === "random" &&
      this.#rules.random.chance(0.5);
    if (isRude) this.#out.reset(true);
    else this.#out.abandon();
    this.#in.closeReader();
  }

  /** Breaks the connection off, as a machine that lost power or a process that was killed does. */
  reset(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#out.reset(true);
    this.#in.closeReader();
  }

  /** Nothing more arrives here until `unstall()`. */
  stall(): void {
    this.#in.isStalled = true;
  }

  /** What was held back may arrive. */
  unstall(): void {
    this.#in.isStalled = false;
    this.#rules.changed();
  }

  async #read(): Promise<number> {
    const ahead = this.#ahead;
    if (ahead !== undefined) {
      this.#ahead = undefined;
      this.#buffer = ahead.buffer;
      return await ahead.count;
    }
    assert(!this.#isReading, "One loop at a time reads a stream");
    return this.#isClosed ? 0 : await this.#readInto(this.#buffer);
  }

  async #readInto(buffer: Uint8Array): Promise<number> {
    this.#isReading = true;
    const count = await (this.#tls?.read(buffer) ?? this.#readRaw(buffer));
    this.#isReading = false;
    return this.#isClosed ? 0 : count;
  }

  /** What is on the lane, whether TLS is spoken or not. */
  async #readRaw(buffer: Uint8Array): Promise<number> {
    const count = this.#isClosed ? 0 : await this.#in.read(buffer);
    if (this.#isClosed || this.#fails("read")) return 0;
    if (this.#bytesLeft !== Infinity) this.#spend(count);
    return this.#isClosed ? 0 : count;
  }
}
