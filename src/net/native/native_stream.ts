/**
 * `ByteStream` over a socket of the reactor.
 *
 * HOT PATH. Budget per chunk: one `recv`, one `send`; no allocation unless somebody has to wait.
 *
 * Events come as edges: that bytes may be there is remembered in `#isReadable`, and only a read that
 * brings less than was asked for (or nothing) says otherwise. A connection has a buffer only from a
 * read until its sink is done with the bytes.
 *
 * Invariants: whoever waits for a write is answered, at the latest by the end of the connection;
 * after a failed write nothing more is sent, and reading goes on to the end, since the last words of
 * a peer that is gone may still be there.
 */

import { assert } from "../../base/assert.ts";
import { nextTurn } from "../../base/turn.ts";
import {
  type ByteStream,
  type Endpoint,
  HOLD,
  type Look,
  type Sink,
  type SinkAnswer,
  type Touchable,
} from "../byte_stream.ts";
import type { StreamOptions } from "../network.ts";
import { type TlsHandshake, TlsHandshakeError, type TlsInUse, type TlsStart } from "../tls.ts";
import type { BufferShelf } from "./buffer_pool.ts";
import { type Channel, PlainChannel } from "./channel.ts";
import { ERRNO, EVENT, type LibcCalls } from "./libc.ts";
import type { Reactor, ReactorHandler, ReactorReader } from "./reactor.ts";
import { decodeEndpoint } from "./socket_address.ts";
import { peerUid } from "./socket_options.ts";
import type { TlsChannel } from "./tls_channel.ts";
import { NativeTlsContext } from "./tls_context.ts";
import { HandshakeUnderWay, type HandshakeWait } from "./tls_handshake.ts";

/** What a connection is watched for: bytes and ends. */
const READING_EVENTS = EVENT.in | EVENT.peerFinished;

/** Where bigger reads no longer pay while there are no pauses: throughput was level from here on. */
export const LARGE_BYTES = 65_536;

/** After so many that nobody asked for meanwhile, what a pause takes is little beside it. */
export const MIN_FLOW_BYTES = 1_048_576;

/**
 * What is read at once after that: with as much as comes in a pause, a tenth more throughput than with
 * `LARGE_BYTES`. A peer that takes nothing pins one, beside the megabytes that the kernel keeps for it.
 */
export const FLOW_BYTES = 262_144;

/** Full reads in a row where no limit is set: nobody may keep the thread for good. */
const MAX_BUSY_READS = 64;

/**
 * Writes that may wait at the same time. Everybody who writes much waits for his turn, so only the
 * pooler's own short messages add up; more than this is a peer that takes nothing.
 */
export const MAX_WAITING_WRITES = 1_000;

/** Where the receive loop is. */
type Loop =
  /** Nobody reads. */
  | { readonly kind: "none" }
  /** `chunks()` waits for bytes. */
  | { readonly kind: "awaiting"; readonly resolve: () => void }
  /** `pump()` waits for bytes, or hands them over this moment. */
  | { readonly kind: "pumping"; readonly pump: Pump }
  /** The pump's sink holds a buffer, until its promise settles or until `resume()`. */
  | { readonly kind: "held"; readonly pump: Pump };

/** A pump, with its two states, which it is in by turns: made once. */
class Pump {
  readonly pumping: Loop = { kind: "pumping", pump: this };
  readonly held: Loop = { kind: "held", pump: this };
  readonly sink: Sink;
  readonly done = Promise.withResolvers<void>();

  constructor(sink: Sink) {
    this.sink = sink;
  }
}

interface WaitingWrite {
  readonly buffer: Uint8Array;
  start: number;
  readonly end: number;
  readonly resolve: () => void;
}

const NO_LOOP: Loop = { kind: "none" };

/** The end of `chunks()`. */
const NO_MORE: Readonly<IteratorReturnResult<void>> = { done: true, value: undefined };

/** What a stream is made of. */
export interface NativeStreamOptions {
  readonly libc: LibcCalls;
  readonly reactor: Reactor;
  /** A connected socket, which belongs to the stream from now on. */
  readonly descriptor: number;
  /** Kept, so that connections set up alike should share it. */
  readonly options: StreamOptions;
  readonly remote: Endpoint;
  readonly isUnix: boolean;
  /** Stands for the port of a unix socket. */
  readonly unixPort: number;
}

const NO_BYTES: Readonly<Uint8Array> = new Uint8Array(0);

/** A connection of the native engine. */
export class NativeStream implements ByteStream, ReactorHandler, ReactorReader {
  readonly remote: Endpoint;
  readonly isUnix: boolean;
  token = 0;
  isInBatch = false;
  readonly #libc: LibcCalls;
  readonly #reactor: Reactor;
  readonly #descriptor: number;
  #channel: Channel;
  readonly #options: StreamOptions;
  readonly #ordinary: BufferShelf;
  readonly #large: BufferShelf;
  readonly #unixPort: number;
  #local: Endpoint | undefined;
  #loop: Loop = NO_LOOP;
  /** What the pump's sink needs. */
  #needed: Touchable | undefined;
  /** Whether a sink is being called: it may close, watch and write. */
  #isInSink = false;
  /** Whether `resume()` was called before the sink has answered. */
  #isResumed = false;
  #isHeldByPromise = false;
  /** What a sink holds, or who awaits chunks, and where it goes afterwards. */
  #lent: Uint8Array | undefined;
  #lentFrom: BufferShelf | undefined;
  #isReadable = false;
  /** The peer has finished or is gone: reading on finds the end, also after a short read. */
  #isEndNear = false;
  #isEnded = false;
  #isClosed = false;
  /** The last read gave more than the ordinary buffer holds, or all that it does. */
  #isFlowing = false;
  /** Of such reads since the last other, or since something was sent; no longer counted when enough. */
  #flowedBytes = 0;
  #fullReads = 0;
  #isTurnDue = false;
  #isReadDue = false;
  #onLook: Look | undefined;
  /** Bytes that a look was shown; the next chunk is just these. */
  #lookedCount = 0;
  #waitingWrites: WaitingWrite[] | undefined;
  #isWatchedForRoom = false;
  /** Bytes that come are not told of, until the pause is over. */
  #isPaused = false;
  #isFinishing = false;
  /** What says that nothing more comes is still to be sent. */
  #isFinishDue = false;
  #hasWriteFailed = false;
  #handshake: HandshakeUnderWay | undefined;
  #tls: TlsInUse | undefined;

  /** @throws {LibcError} If the socket cannot be watched; it then still belongs to the caller. */
  constructor(parts: NativeStreamOptions) {
    this.#libc = parts.libc;
    this.#reactor = parts.reactor;
    this.#descriptor = parts.descriptor;
    this.#channel = new PlainChannel(parts.libc, parts.descriptor);
    this.#options = parts.options;
    this.#ordinary = parts.reactor.buffers.shelf(parts.options.receiveBytes);
    this.#large = parts.reactor.buffers.shelf(LARGE_BYTES);
    this.#unixPort = parts.unixPort;
    this.remote = parts.remote;
    this.isUnix = parts.isUnix;
    parts.reactor.register(parts.descriptor, READING_EVENTS, this);
  }

  get tls(): TlsInUse | undefined {
    return this.#tls;
  }

  get tlsFailure(): string | undefined {
    return this.#channel.readFailure;
  }

  async startTls({ context, received, serverName }: TlsStart): Promise<TlsHandshake> {
    assert(context instanceof NativeTlsContext, "A context is of the engine that its stream is of");
    assert(this.#channel.isPlain, "TLS is started once");
    const isAtRest = this.#loop.kind === "none" && this.#waitingWrites === undefined &&
      this.#lookedCount === 0 && !this.isInBatch;
    assert(isAtRest, "Nobody reads or writes while TLS is started");
    const libc = this.#libc;
    const { libssl } = context;
    if (this.#isClosed || this.#isFinishing) {
      throw new TlsHandshakeError("the connection was closed");
    }
    const channel = this.#newChannel(context, serverName);
    const handshake = new HandshakeUnderWay({ libc, libssl, channel });
    this.#channel = channel;
    this.#handshake = handshake;
    this.#awaitHandshake(handshake.begin(received));
    return await handshake.outcome;
  }

  /** Without one, nothing may go out in plain text any more. */
  #newChannel(context: NativeTlsContext, serverName: string | undefined): TlsChannel {
    try {
      return context.newChannel(this.#libc, this.#descriptor, serverName);
    } catch (error) {
      this.#failWriting();
      throw error;
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Asked of the kernel when somebody wants to know. */
  get local(): Endpoint {
    if (this.#local === undefined && !this.#isClosed) {
      const address = this.#libc.localAddress(this.#descriptor);
      if (address !== undefined) this.#local = decodeEndpoint(address, this.#unixPort);
    }
    return this.#local ?? { host: "unknown", port: 0 };
  }

  get peerUid(): number | undefined {
    if (!this.isUnix || this.#isClosed) return undefined;
    return peerUid(this.#libc, this.#descriptor);
  }

  chunks(): AsyncIterableIterator<Uint8Array, void, void> {
    const iterator: AsyncIterableIterator<Uint8Array, void, void> = {
      next: () => this.#nextChunk(),
      return: () => {
        this.#takeBack();
        return Promise.resolve(NO_MORE);
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** Not a generator, which would take a promise and some turns more for each chunk. */
  async #nextChunk(): Promise<IteratorResult<Uint8Array, void>> {
    assert(this.#loop.kind === "none", "One loop at a time reads a stream");
    this.#takeBack();
    const shelf = this.#ordinary;
    for (;;) {
      if (this.#isDueToYield()) await nextTurn();
      if (!this.#isReadable && !this.#isOver()) await this.#untilReadable();
      if (this.#isOver()) return NO_MORE;
      const buffer = shelf.take();
      const count = this.#receive(buffer);
      if (count > 0) {
        this.#lend(shelf, buffer);
        return { done: false, value: buffer.subarray(0, count) };
      }
      shelf.give(buffer);
    }
  }

  pump(sink: Sink, first: Uint8Array = NO_BYTES, needed?: Touchable): Promise<void> {
    assert(this.#loop.kind === "none", "One loop at a time reads a stream");
    const pump = new Pump(sink);
    this.#needed = needed;
    this.#loop = pump.pumping;
    this.#takeBack();
    if (first.length > 0) this.#handOver(pump, first, first.length);
    this.#pumpOn();
    return pump.done.promise;
  }

  resume(): void {
    if (this.#isInSink) {
      this.#isResumed = true;
      return;
    }
    const loop = this.#loop;
    if (loop.kind !== "held" || this.#isHeldByPromise) return;
    this.#takeBack();
    this.#goOn(loop.pump);
  }

  watch(onLook: Look): void {
    const isReading = this.#loop.kind === "awaiting" ||
      (this.#loop.kind === "pumping" && !this.#isInSink);
    const isLooking = this.#onLook !== undefined || this.#lookedCount > 0;
    if (isReading || isLooking || this.#isOver()) return;
    this.#onLook = onLook;
    // Not at once: who asks is in the middle of something.
    if (this.#isReadable) this.#askForTurn();
  }

  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    if (start === end || this.#isClosed || this.#hasWriteFailed || this.#isFinishing) return;
    // Nothing may go out in plain text, and TLS is not there yet.
    if (this.#handshake !== undefined) return;
    // It may be answered, soon.
    this.#flowedBytes = 0;
    if (this.#waitingWrites !== undefined) return this.#waitToWrite(buffer, start, end);
    if (this.#channel.isPlain) {
      if (this.#reactor.sends.take(this, this.#descriptor, buffer, start, end)) return;
    } else if (this.isInBatch) this.#reactor.sends.flush();
    // What was taken before has gone first, and may not all have gone.
    if (this.#waitingWrites !== undefined) return this.#waitToWrite(buffer, start, end);
    if (this.#hasWriteFailed) return;
    const count = this.#channel.send(buffer, start, end);
    if (count === end - start) return;
    if (count >= 0) return this.#waitToWrite(buffer, start + count, end);
    if (isForLater(count)) return this.#waitToWrite(buffer, start, end);
    this.#failWriting();
  }

  onTakenInPart(count: number, bytes: Uint8Array, start: number, end: number): void {
    if (count < 0 && !isForLater(count)) return this.#failWriting();
    const rest = this.#channel.takeBack(bytes.slice(start + Math.max(count, 0), end));
    try {
      void this.#waitToWrite(rest, 0, rest.length);
    } catch (error) {
      // Nobody will be told of room, and he who wrote is not here to be told.
      this.#failWriting();
      throw error;
    }
  }

  finishWriting(): void {
    if (this.isInBatch) this.#reactor.sends.flush();
    if (this.#isClosed || this.#isFinishing || this.#handshake !== undefined) return;
    this.#isFinishing = true;
    this.#isFinishDue = true;
    if (this.#waitingWrites === undefined) this.#finishSending();
  }

  close(): void {
    if (this.#isClosed) return;
    if (this.isInBatch) this.#reactor.sends.flush();
    this.#isClosed = true;
    this.#reactor.release(this.#descriptor);
    this.#endHandshake();
    this.#channel.close();
    this.#isReadable = false;
    this.#settleWrites();
    this.#endLoop();
    this.#endLook();
  }

  touch(): number {
    // From the first to the last of its fields.
    const own = this.token + this.#lookedCount + Number(this.#isFinishDue);
    return (own + (this.#needed?.touch?.() ?? 0)) | 0;
  }

  touchRest(): number {
    return this.#needed?.touchRest?.() ?? 0;
  }

  onEvents(events: number): void {
    if (events & EVENT.in) this.#isReadable = true;
    if (events & (EVENT.peerFinished | EVENT.hangUp | EVENT.error)) {
      this.#isReadable = true;
      this.#isEndNear = true;
    }
    // A step may take a signature: in its turn, as other logins.
    if (this.#handshake !== undefined) return this.#askToRead();
    if (events & EVENT.out) this.#writeOn();
    if (this.#isReadable) this.#proceed();
  }

  onTurn(): void {
    this.#isTurnDue = false;
    if (this.#isPaused) this.#endPause();
    if (!this.#isClosed && this.#isReadable) this.#proceed();
  }

  onRead(): void {
    this.#isReadDue = false;
    if (this.#handshake !== undefined) return this.#awaitHandshake(this.#handshake.step());
    const loop = this.#loop;
    // Closed meanwhile, or another loop has begun.
    if (loop.kind !== "awaiting" || !this.#isReadable) return;
    this.#loop = NO_LOOP;
    this.#settle(loop.resolve);
  }

  /** Whether there is nothing more to be read. */
  #isOver(): boolean {
    return this.#isClosed || this.#isEnded;
  }

  /** There may be something to read: for whom? */
  #proceed(): void {
    const loop = this.#loop;
    switch (loop.kind) {
      case "pumping":
        // A write that failed inside the sink must not start the loop over.
        if (!this.#isInSink) this.#pumpOn();
        return;
      case "awaiting":
        return this.#askToRead();
      case "none":
      case "held":
        if (this.#onLook !== undefined) this.#look();
    }
  }

  /** Hands over what comes until there is nothing more, or somebody else is due. */
  #pumpOn(): void {
    while (this.#isReadable) {
      const loop = this.#loop;
      if (loop.kind !== "pumping") return;
      if (this.#isDueToYield()) return this.#askForTurn();
      const shelf = this.#shelf();
      const buffer = shelf.take();
      const count = this.#receive(buffer);
      if (count > 0) this.#handOver(loop.pump, buffer, count);
      if (this.#loop.kind === "held") this.#lend(shelf, buffer);
      else shelf.give(buffer);
    }
    if (this.#isOver()) this.#endLoop();
    else if (this.#isInFlow() && this.#loop.kind === "pumping") this.#pause();
  }

  /** Whether much has come that nobody asked for meanwhile. */
  #isInFlow(): boolean {
    return this.#flowedBytes >= MIN_FLOW_BYTES;
  }

  /** Where the buffer for the next read is taken from. */
  #shelf(): BufferShelf {
    if (!this.#isFlowing) return this.#ordinary;
    return this.#isInFlow() ? this.#reactor.buffers.shelf(FLOW_BYTES) : this.#large;
  }

  #handOver(pump: Pump, buffer: Uint8Array, count: number): void {
    this.#isInSink = true;
    this.#isResumed = false;
    let answer: SinkAnswer;
    try {
      answer = pump.sink(buffer, count);
    } catch (error) {
      return this.#failLoop(pump, error);
    } finally {
      this.#isInSink = false;
    }
    if (answer === HOLD) {
      if (!this.#isResumed) this.#loop = pump.held;
    } else if (answer !== undefined) {
      this.#holdFor(pump, answer);
    }
  }

  /** Holds the loop until a promise settles, which may happen unseen by the reactor. */
  #holdFor(pump: Pump, promise: Promise<void>): void {
    this.#loop = pump.held;
    this.#isHeldByPromise = true;
    this.#reactor.beginHold();
    const end = () => {
      this.#reactor.endHold();
      this.#isHeldByPromise = false;
      this.#takeBack();
    };
    promise.then(() => {
      end();
      this.#goOn(pump);
    }, (error) => {
      end();
      this.#failLoop(pump, error);
    });
  }

  /** The loop is held no longer; it goes on, soon. */
  #goOn(pump: Pump): void {
    this.#loop = pump.pumping;
    if (this.#isOver()) this.#endLoop();
    // Not at once: who lets go is in the middle of something.
    else if (this.#isReadable) this.#askForTurn();
  }

  /** What was borrowed is not looked at any more. */
  #takeBack(): void {
    this.#onLook = undefined;
    if (this.#lent === undefined) return;
    this.#lentFrom!.give(this.#lent);
    this.#lent = undefined;
  }

  /** A buffer is not ours until it is taken back. */
  #lend(shelf: BufferShelf, buffer: Uint8Array): void {
    this.#lent = buffer;
    this.#lentFrom = shelf;
  }

  /** A busy connection yields after so many full reads. */
  #isDueToYield(): boolean {
    const limit = this.#options.maxBusyReads || MAX_BUSY_READS;
    if (this.#fullReads < limit) return false;
    this.#fullReads = 0;
    return true;
  }

  #askForTurn(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#reactor.again(this);
  }

  #askToRead(): void {
    if (this.#isReadDue) return;
    this.#isReadDue = true;
    this.#reactor.letRead(this);
  }

  /** Bytes received; 0 if there is nothing for now, or nothing more. */
  #receive(buffer: Uint8Array): number {
    const length = this.#lookedCount > 0 ? this.#lookedCount : buffer.length;
    this.#lookedCount = 0;
    const count = this.#channel.receive(buffer, length);
    if (count > 0) {
      const { hasMore } = this.#channel;
      const isFull = count === buffer.length || hasMore;
      this.#isFlowing = isFull || count > this.#ordinary.byteCount;
      if (!this.#isFlowing) this.#flowedBytes = 0;
      else if (!this.#isInFlow()) this.#flowedBytes += count;
      // A very large one counts as the large ones that it is made of.
      this.#fullReads = isFull ? this.#fullReads + Math.max(1, (count / LARGE_BYTES) | 0) : 0;
      this.#isReadable = count === length || this.#isEndNear || hasMore;
      return count;
    }
    if (count === -ERRNO.interrupted) {
      this.#fullReads += 1;
      return 0;
    }
    this.#isReadable = false;
    this.#fullReads = 0;
    // Nothing more will come of a peer that can take nothing any more.
    this.#isEnded = count !== -ERRNO.again || this.#hasWriteFailed;
    return 0;
  }

  #untilReadable(): Promise<void> {
    return new Promise<void>((resolve) => this.#loop = { kind: "awaiting", resolve });
  }

  /** Ends the loop where the stream has ended; a sink that holds a buffer comes first. */
  #endLoop(): void {
    const loop = this.#loop;
    if (loop.kind === "none" || loop.kind === "held" || this.#isInSink) return;
    this.#loop = NO_LOOP;
    this.#settle(loop.kind === "awaiting" ? loop.resolve : loop.pump.done.resolve);
  }

  #failLoop(pump: Pump, error: unknown): void {
    // Ended all the same if the sink has closed the stream.
    this.#loop = NO_LOOP;
    this.#settle(() => pump.done.reject(error));
  }

  #look(): void {
    const buffer = this.#ordinary.take();
    const count = this.#channel.peek(buffer, buffer.length);
    if (count === -ERRNO.interrupted) {
      this.#askForTurn();
    } else if (count === -ERRNO.again && !this.#hasWriteFailed) {
      this.#isReadable = false;
    } else {
      // After a failed write there is nothing more to come: that is the end.
      const onLook = this.#onLook!;
      this.#onLook = undefined;
      this.#lookedCount = Math.max(count, 0);
      onLook(buffer, this.#lookedCount);
    }
    this.#ordinary.give(buffer);
  }

  #endLook(): void {
    const onLook = this.#onLook;
    this.#onLook = undefined;
    if (onLook !== undefined) this.#settle(() => onLook(NO_BYTES, 0));
  }

  /** Keeps what the kernel did not take, and answers with when it will have. */
  #waitToWrite(buffer: Uint8Array, start: number, end: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waitingWrites ??= [];
    this.#waitingWrites.push({ buffer, start, end, resolve });
    if (this.#waitingWrites.length > MAX_WAITING_WRITES) this.#failWriting();
    else if (!this.#isWatchedForRoom) this.#watchForRoom(true);
    return promise;
  }

  /** There is room again: goes on with what waits. */
  #writeOn(): void {
    const writes = this.#waitingWrites;
    // Told of room that nobody asked for: it need not be told again.
    if (writes === undefined) {
      return this.#isFinishDue ? this.#finishSending() : this.#watchForRoom(false);
    }
    while (writes.length > 0) {
      const write = writes[0]!;
      const count = this.#channel.send(write.buffer, write.start, write.end);
      // An interrupted call is told of again, like any other, when the edge is asked for anew.
      if (count === -ERRNO.interrupted) return this.#watchForRoom(true);
      if (count === -ERRNO.again) return;
      if (count < 0) return this.#failWriting();
      write.start += count;
      if (write.start < write.end) continue;
      writes.shift();
      this.#settle(write.resolve);
    }
    this.#waitingWrites = undefined;
    if (this.#isFinishDue) this.#finishSending();
  }

  #finishSending(): void {
    // The peer may have closed already; then there is nobody left to tell.
    this.#isFinishDue = isForLater(this.#channel.finishSending());
    if (this.#isFinishDue) this.#watchForRoom(true);
  }

  #watchForRoom(isWatched: boolean): void {
    if (this.#isClosed) return;
    this.#isWatchedForRoom = isWatched;
    this.#watchAnew();
  }

  /** More will come, and is read together: until then nobody is woken for it. */
  #pause(): void {
    if (this.#isPaused || !this.#reactor.pauses.begin(this)) return;
    this.#isPaused = true;
    try {
      this.#watchAnew();
    } catch {
      // It is watched as before then, and does not pause.
      this.#isPaused = false;
    }
  }

  #endPause(): void {
    this.#isPaused = false;
    if (this.#isClosed) return;
    try {
      // What has come meanwhile is told in the next round.
      this.#watchAnew();
    } catch (error) {
      // Nobody will be told of anything on this connection any more.
      this.#failWriting();
      throw error;
    }
  }

  #watchAnew(): void {
    const reading = this.#isPaused ? 0 : READING_EVENTS;
    const writing = this.#isWatchedForRoom ? EVENT.out : 0;
    this.#reactor.watchFor(this.#descriptor, reading | writing);
  }

  /** Goes on with the handshake when there is what it waits for. */
  #awaitHandshake(wait: HandshakeWait): void {
    switch (wait) {
      case "turn":
        return this.#askToRead();
      case "room":
        if (!this.#isWatchedForRoom) this.#watchForRoom(true);
        return;
      case "nothing":
        return this.#endHandshake();
      case "bytes":
    }
  }

  /** Reading goes on; bytes may be there already that the kernel told of long ago. */
  #endHandshake(): void {
    const handshake = this.#handshake;
    if (handshake === undefined) return;
    this.#handshake = undefined;
    this.#tls = handshake.inUse;
    handshake.channel.sendTogether = this.#isClosed ? undefined : this.#togetherInTls();
    this.#isReadable = true;
    this.#settle(() => handshake.settle());
  }

  /** For what TLS has made of what is written; the end goes out at once. */
  #togetherInTls(): (bytes: Uint8Array, length: number) => boolean {
    return (bytes, length) =>
      !this.#isClosed && !this.#isFinishing &&
      this.#reactor.sends.take(this, this.#descriptor, bytes, 0, length);
  }

  /** Whoever writes is not told: the loop that reads is, when it has come to the end. */
  #failWriting(): void {
    this.#hasWriteFailed = true;
    this.#isReadable = true;
    this.#isEndNear = true;
    this.#settleWrites();
    this.#askForTurn();
  }

  #settleWrites(): void {
    const writes = this.#waitingWrites;
    this.#waitingWrites = undefined;
    for (const { resolve } of writes ?? []) this.#settle(resolve);
  }

  /** Lets somebody go on, soon. */
  #settle(resolve: () => void): void {
    this.#reactor.needTurn();
    resolve();
  }
}

/** Whether a call would have been done, but not now. */
function isForLater(result: number): boolean {
  return result === -ERRNO.again || result === -ERRNO.interrupted;
}
