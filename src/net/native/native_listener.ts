/**
 * The accept loop of the native engine: an async iterator, fed by bursts of `accept4` on the
 * descriptor of a listener that the runtime opened.
 */

import { assert } from "../../base/assert.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { ByteStream } from "../byte_stream.ts";
import type { ListenAddress, Listener, StreamOptions } from "../network.ts";
import type { OpenedListener } from "../open_listener.ts";
import { ADDRESS_BYTES, ERRNO, EVENT, type LibcCalls } from "./libc.ts";
import { NativeStream } from "./native_stream.ts";
import { hearOut, turnAwayNewcomers } from "./newcomers.ts";
import type { Reactor, ReactorHandler } from "./reactor.ts";
import { decodeEndpoint } from "./socket_address.ts";
import { setDeferAccept, setTcpOptions } from "./socket_options.ts";

/** Connections accepted in one go, so that those already being served get their turn. */
const MAX_BURST = 8;

/** Pause after an accept that failed: long enough for descriptors to come free, short to recover. */
const ACCEPT_PAUSE_MS = 1_000;

/**
 * What accepting answers for a peer that left before it was accepted: the next one, please. Anything
 * else (a lack of descriptors or memory, most of all) does not pass by itself at once.
 * Source: accept(2), "Error handling".
 */
const OF_ONE_PEER: readonly number[] = [
  ERRNO.notPermitted,
  ERRNO.interrupted,
  ERRNO.noNet,
  ERRNO.protocol,
  ERRNO.noProtocolOption,
  ERRNO.notSupported,
  ERRNO.netDown,
  ERRNO.netUnreachable,
  ERRNO.connectionAborted,
  ERRNO.hostDown,
  ERRNO.hostUnreachable,
];

/**
 * Time in which a listener that drains goes on as before, where connections on which nothing has come
 * are kept in the kernel (`tcp_defer_accept`): the first bytes of those have arrived by then.
 */
const DEFERRED_MS = 250;

/** Time for those who were half connected when newcomers began to be turned away. */
const HALF_CONNECTED_MS = 2;

/** The end of `connections()`. */
const NO_MORE: Readonly<IteratorReturnResult<void>> = { done: true, value: undefined };

/** A socket that listens; disposing of it closes that. */
export type ListeningSocket =
  & Pick<OpenedListener, "address" | "isDeserted" | "isInPlace" | "leave" | "takeOver">
  & Disposable;

/** What a listener is made of. */
export interface NativeListenerOptions {
  readonly libc: LibcCalls;
  readonly reactor: Reactor;
  readonly clock: Clock;
  /** Owns the descriptor. */
  readonly opened: ListeningSocket;
  readonly descriptor: number;
  readonly options: () => StreamOptions;
  /** Told of trouble with accepting. */
  readonly onAcceptError: (error: unknown) => void;
}

/** A listener of the native engine. */
export class NativeListener implements Listener, ReactorHandler {
  readonly address: ListenAddress;
  token = 0;
  readonly #parts: NativeListenerOptions;
  readonly #peerAddress = new Uint8Array(new ArrayBuffer(ADDRESS_BYTES));
  #accepted: ByteStream[] = [];
  /** Whoever asked for the next connection. */
  #asking: (() => void) | undefined;
  #isReadable = false;
  #isClosed = false;
  #isDraining = false;
  #isTurningAway = false;
  #pause: Timer | undefined;
  /** The next step of draining. */
  #draining: Timer | undefined;
  /** The options that the listener, and what it accepts, has. */
  #applied: StreamOptions | undefined;
  /** Whether connections may be waiting that were made with other options. */
  #isStale = false;

  /** @throws {LibcError} If the system refuses to have the descriptor watched or set up. */
  constructor(parts: NativeListenerOptions) {
    this.#parts = parts;
    this.address = parts.opened.address;
    this.#applyOptions(parts.options());
    parts.reactor.register(parts.descriptor, EVENT.in, this);
  }

  connections(): AsyncIterableIterator<ByteStream, void, void> {
    const iterator: AsyncIterableIterator<ByteStream, void, void> = {
      next: () => this.#next(),
      return: () => {
        this.#closeAccepted();
        return Promise.resolve(NO_MORE);
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** Not a generator, which would take some promises and turns more for each connection. */
  async #next(): Promise<IteratorResult<ByteStream, void>> {
    for (;;) {
      const stream = this.#accepted.shift();
      if (stream !== undefined) return { done: false, value: stream };
      if (this.#isClosed) return NO_MORE;
      // If its burst was full: the others first.
      if (this.#isReadable && this.#pause === undefined) this.#parts.reactor.again(this);
      await this.#untilMore();
      this.#acceptMore();
    }
  }

  #untilMore(): Promise<void> {
    assert(this.#asking === undefined, "One loop at a time takes connections");
    return new Promise<void>((resolve) => this.#asking = resolve);
  }

  /** Who leaves the loop early, or closes the listener, keeps no more of what was accepted. */
  #closeAccepted(): void {
    for (const stream of this.#accepted.splice(0)) stream.close();
  }

  isInPlace(): boolean {
    return this.#parts.opened.isInPlace();
  }

  isDeserted(): Promise<boolean> {
    return this.#parts.opened.isDeserted();
  }

  takeOver(): void {
    this.#parts.opened.takeOver();
  }

  drain(): void {
    if (this.#isClosed || this.#isDraining) return;
    this.#isDraining = true;
    const { descriptor, libc, opened, options } = this.#parts;
    opened.leave();
    const { address } = this;
    // Nobody else listens there: newcomers are best told at once.
    if (address.kind === "unix" || address.isShared !== true) return this.#finish();
    const { deferAcceptSeconds } = options().tcp;
    this.#guarded(() => setDeferAccept(libc, descriptor, 0));
    this.#after(deferAcceptSeconds > 0 ? DEFERRED_MS : 0, () => {
      this.#isTurningAway = turnAwayNewcomers(libc, descriptor);
      this.#after(HALF_CONNECTED_MS, () => this.#finish());
    });
  }

  #after(ms: number, step: () => void): void {
    this.#draining = this.#parts.clock.startTimer(ms, step);
  }

  /** Takes all who are left, and closes. */
  #finish(): void {
    while (this.#acceptBurst(this.#parts.options()));
    this.#closeSocket();
    this.#answer();
  }

  close(): void {
    this.#closeSocket();
    this.#closeAccepted();
    this.#answer();
  }

  #closeSocket(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pause?.cancel();
    this.#draining?.cancel();
    this.#parts.reactor.release(this.#parts.descriptor);
    this.#parts.opened[Symbol.dispose]();
  }

  onEvents(_events: number): void {
    this.#isReadable = true;
    this.#answer();
  }

  onTurn(): void {
    this.#answer();
  }

  /** Lets the iterator go on, if it waits. */
  #answer(): void {
    const asking = this.#asking;
    if (asking === undefined) return;
    this.#asking = undefined;
    this.#parts.reactor.needTurn();
    asking();
  }

  /** A burst; ends early when nobody is waiting any more. */
  #acceptMore(): void {
    if (this.#isClosed || !this.#isReadable || this.#pause !== undefined) return;
    const options = this.#parts.options();
    if (options !== this.#applied) this.#reapply(options);
    this.#acceptBurst(options);
  }

  /** Returns whether there may be more. */
  #acceptBurst(options: StreamOptions): boolean {
    for (let i = 0; i < MAX_BURST; i++) {
      const descriptor = this.#parts.libc.accept(this.#parts.descriptor, this.#peerAddress);
      if (descriptor >= 0) {
        this.#take(descriptor, options);
      } else if (descriptor === -ERRNO.again) {
        this.#isReadable = false;
        this.#isStale = false;
        return false;
      } else if (!OF_ONE_PEER.includes(-descriptor)) {
        this.#pauseAccepting(this.#parts.libc.error(descriptor));
        return false;
      }
    }
    return true;
  }

  /** Makes a stream of a connection; one that fails must not end the loop. */
  #take(descriptor: number, options: StreamOptions): void {
    const { libc, onAcceptError, reactor } = this.#parts;
    const { address } = this;
    if (this.#isTurningAway) hearOut(libc, descriptor);
    if (this.#isStale) this.#guarded(() => setTcpOptions(libc, descriptor, options.tcp));
    try {
      this.#accepted.push(
        new NativeStream({
          libc,
          reactor,
          descriptor,
          options,
          remote: decodeEndpoint(this.#peerAddress, address.port),
          isUnix: address.kind === "unix",
          unixPort: address.port,
        }),
      );
    } catch (error) {
      libc.close(descriptor);
      onAcceptError(error);
    }
  }

  #pauseAccepting(error: unknown): void {
    this.#parts.onAcceptError(error);
    this.#pause = this.#parts.clock.startTimer(ACCEPT_PAUSE_MS, () => {
      this.#pause = undefined;
      this.#answer();
    });
  }

  /** A reload has brought other options; what has connected by now has the old ones. */
  #reapply(options: StreamOptions): void {
    this.#applied = options;
    this.#guarded(() => {
      this.#applyOptions(options);
      this.#isStale = this.address.kind === "tcp";
    });
  }

  /** Options that the kernel refuses stay as they were. */
  #guarded(apply: () => void): void {
    try {
      apply();
    } catch (error) {
      this.#parts.onAcceptError(error);
    }
  }

  #applyOptions(options: StreamOptions): void {
    const { descriptor, libc } = this.#parts;
    if (this.address.kind === "tcp") {
      setTcpOptions(libc, descriptor, options.tcp);
      setDeferAccept(libc, descriptor, this.#isDraining ? 0 : options.tcp.deferAcceptSeconds);
    }
    this.#applied = options;
  }
}
