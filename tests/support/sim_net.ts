/**
 * A network in memory, for unit tests and simulations.
 *
 * Everything that could happen (a connection comes about, bytes arrive, a buffer gets room, an end is
 * noticed) waits for the scheduler: `step()` lets one thing happen, chosen by the seeded random
 * source, so that a run can be repeated from its seed. With `isAutomatic`, steps are taken by
 * themselves as long as there are any, for tests that only await what they asked for.
 * Time enters only through dials that time out, by the clock given.
 */

import { setImmediate } from "node:timers";
import type { Clock } from "../../src/base/clock.ts";
import type { ByteStream } from "../../src/net/byte_stream.ts";
import {
  DialError,
  type DialFailure,
  type DialOptions,
  formatAddress,
  type ListenAddress,
  type Listener,
  ListenError,
  type Network,
  type ServerAddress,
  type StreamOptions,
} from "../../src/net/network.ts";
import { eventTurn } from "./event_turn.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { type Chunking, Lane, type SimRules, SimStream, type WriteAnswers } from "./sim_stream.ts";
import { SimTls } from "./sim_tls_context.ts";

export type { Chunking, WriteAnswers } from "./sim_stream.ts";
export { SimStream } from "./sim_stream.ts";

/** First port given out where port 0 is asked for, and to the near end of connections. */
const FIRST_FREE_PORT = 50_000;

/** Steps after which a run that should have come to rest is taken for an endless one. */
const MAX_STEPS = 5_000_000;

/** What a simulated network is made of. */
export interface SimNetworkOptions {
  readonly random: SeededRandom;
  readonly clock: Clock;
  readonly chunking?: Chunking;
  readonly writeAnswers?: WriteAnswers;
  /** Bytes that each direction of a connection holds; 65,536 unless given. */
  readonly bufferBytes?: number;
  /** Whether steps are taken without being asked for. */
  readonly isAutomatic?: boolean;
  /** Where the pooler takes connections; all others that are dialed are taken for its own. */
  readonly poolerPort?: number;
  /** Says that what the pooler asks of the network now is to fail. */
  readonly fails?: ((what: NetworkCall) => boolean) | undefined;
  /** Whether it is kept what each connection carries. */
  readonly isRecorded?: boolean;
}

/** What may fail of what the pooler asks of a network. */
export type NetworkCall = "read" | "write" | "connect" | "accept";

/** What one connection carried, before it was encrypted, in order. */
export interface Recording {
  readonly address: string;
  readonly pieces: { readonly from: "dialer" | "acceptor"; readonly bytes: Uint8Array }[];
  byteCount: number;
}

/** Of what a connection carries, as much is kept. */
const MAX_RECORDED_BYTES = 1_000_000;

/** What dialing an address leads to, if not to its listener. */
export type Obstacle = "refused" | "black hole" | "unknown host";

/** Both ends of one connection. */
export interface SimConnection {
  /** As `formatAddress()` prints what was dialed. */
  readonly address: string;
  readonly dialer: SimStream;
  readonly acceptor: SimStream;
  readonly lanes: readonly [Lane, Lane];
  readonly recording: Recording;
}

interface PendingDial {
  readonly address: ServerAddress;
  readonly options: StreamOptions;
  readonly resolve: (stream: SimStream) => void;
  readonly reject: (error: DialError) => void;
}

/** Something that could happen now: a connection, an accept, what a lane offers. */
type SimEvent = PendingDial | SimListener | Lane;

/** The network. */
export class SimNetwork implements Network {
  readonly tls = new SimTls();
  /** May be changed while running; streams obey at once. */
  readonly rules: SimRules;
  /** User ID behind connections to unix sockets, as the accepting side learns it. */
  peerUid: number | undefined;
  /** Whether unix sockets were taken over by a process that has ended. */
  isSocketDeserted = false;
  /** While set, what the pooler dials comes about later. */
  holdsDials = false;
  /** Where TCP connections come from, from now on. */
  sourceHost = "127.0.0.1";
  /** Of every connection there was, oldest first, if they are recorded. */
  readonly recordings: Recording[] = [];
  readonly #options: SimNetworkOptions;
  readonly #listeners = new Map<string, SimListener>();
  readonly #obstacles = new Map<string, Obstacle>();
  readonly #dials = new Set<PendingDial>();
  #connections: SimConnection[] = [];
  #lastPort = FIRST_FREE_PORT;
  #isStepDue = false;
  #isLastOfPooler = false;
  #lastStep: SimEvent | undefined;
  readonly #possible: SimEvent[] = [];

  constructor(options: SimNetworkOptions) {
    this.#options = options;
    this.rules = {
      random: options.random,
      chunking: options.chunking ?? "whole",
      writeAnswers: options.writeAnswers ?? "at_once",
      bufferBytes: options.bufferBytes ?? 65_536,
      changed: () => this.#changed(),
      fails: options.fails,
    };
  }

  /** Connections of which an end is still open, oldest first. */
  get connections(): readonly SimConnection[] {
    return this.#connections;
  }

  /** Dials that have led to nothing yet. */
  get dialCount(): number {
    return this.#dials.size;
  }

  listen(address: ListenAddress, options: () => StreamOptions): Promise<Listener> {
    const bound = address.kind === "tcp" && address.port === 0
      ? { ...address, port: this.#nextPort() }
      : address;
    const name = formatAddress(bound);
    if (this.#listeners.has(name)) {
      return Promise.reject(new ListenError(bound, "address already in use"));
    }
    const listener = new SimListener(bound, {
      options,
      changed: () => this.#changed(),
      onClosed: () => this.#listeners.delete(name),
      isDeserted: () => bound.kind === "unix" && this.isSocketDeserted,
    });
    this.#listeners.set(name, listener);
    return Promise.resolve(listener);
  }

  dial(
    address: ServerAddress,
    options: DialOptions,
  ): Promise<SimStream> {
    const { promise, resolve, reject } = Promise.withResolvers<SimStream>();
    const dial: PendingDial = { address, options, resolve, reject };
    this.#dials.add(dial);
    const giveUp = () => this.#endDial(dial, "connect timeout", "timed out");
    const { signal } = options;
    if (signal?.aborted === true) giveUp();
    signal?.addEventListener("abort", giveUp);
    const forget = () => signal?.removeEventListener("abort", giveUp);
    void promise.then(forget, forget);
    if (options.timeoutMs > 0) {
      const timer = this.#options.clock.startTimer(options.timeoutMs, giveUp);
      void promise.then(() => timer.cancel(), () => timer.cancel());
    }
    this.#changed();
    return promise;
  }

  /** From now on, dialing the address fails in this way; undefined lets it through again. */
  obstruct(address: ServerAddress, obstacle: Obstacle | undefined): void {
    const name = formatAddress(address);
    if (obstacle === undefined) this.#obstacles.delete(name);
    else this.#obstacles.set(name, obstacle);
    this.#changed();
  }

  /** What happened in the last step, and at which address. */
  get lastStep(): string {
    const event = this.#lastStep;
    if (event === undefined) return "nothing";
    if (event instanceof SimListener) return `accept at ${formatAddress(event.address)}`;
    if (!(event instanceof Lane)) return `connect to ${formatAddress(event.address)}`;
    const found = this.#connections.find(({ lanes }) => lanes.includes(event));
    return `bytes of a connection to ${found?.address}`;
  }

  /** Whether the last step woke the pooler, and not who is at the other end of a connection. */
  get isLastOfPooler(): boolean {
    return this.#isLastOfPooler;
  }

  /** Lets one thing happen. Returns false when nothing could. */
  step(): boolean {
    const events = this.#events();
    if (events.length === 0) return false;
    this.#happen(this.rules.random.pick(events));
    return true;
  }

  /**
   * All that could happen now, one thing after the other, each when it is asked for. With thousands
   * of connections, looking for what could happen takes longer than letting it.
   */
  round(): Generator<void, void, void> {
    return this.#each([...this.#events()]);
  }

  *#each(events: readonly SimEvent[]): Generator<void, void, void> {
    for (const event of events) {
      // Several may have connected; and what could happen may have become impossible.
      for (let isFirst = true; this.#isPossible(event, isFirst); isFirst = false) {
        this.#happen(event);
        yield;
      }
    }
  }

  #isPossible(event: SimEvent, isFirst: boolean): boolean {
    if (event instanceof SimListener) return event.hasNews;
    return isFirst &&
      (event instanceof Lane ? event.offer() !== undefined : this.#dials.has(event));
  }

  /** Lets things happen until none is left, with all that follows from them. */
  async runUntilIdle(): Promise<void> {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      await eventTurn();
      if (!this.step()) return;
    }
    throw new Error(`The network does not come to rest in ${MAX_STEPS} steps`);
  }

  /** Everything that could happen now, without an object for each: it is asked before every step. */
  #events(): SimEvent[] {
    const events = this.#possible;
    events.length = 0;
    for (const dial of this.#dials) {
      if (this.#obstacles.size > 0 && this.#isSwallowed(dial)) continue;
      if (this.holdsDials && dial.address.port !== this.#options.poolerPort) continue;
      events.push(dial);
    }
    for (const listener of this.#listeners.values()) if (listener.hasNews) events.push(listener);
    let closedCount = 0;
    for (const { acceptor, dialer, lanes } of this.#connections) {
      if (acceptor.isClosed && dialer.isClosed) closedCount += 1;
      if (lanes[0].offer() !== undefined) events.push(lanes[0]);
      if (lanes[1].offer() !== undefined) events.push(lanes[1]);
    }
    if (closedCount > 0) {
      this.#connections = this.#connections.filter(({ acceptor, dialer }) =>
        !acceptor.isClosed || !dialer.isClosed
      );
    }
    return events;
  }

  #isSwallowed({ address }: PendingDial): boolean {
    return this.#obstacles.get(formatAddress(address)) === "black hole";
  }

  #happen(event: SimEvent): void {
    this.#lastStep = event;
    this.#isLastOfPooler = true;
    if (event instanceof Lane) {
      const offer = event.offer()!;
      this.#isLastOfPooler = event.isToPooler === (offer === "deliver");
      event.act(offer);
    } else if (event instanceof SimListener) event.deliver();
    else this.#connect(event);
  }

  #connect(dial: PendingDial): void {
    const name = formatAddress(dial.address);
    if (this.#obstacles.get(name) === "unknown host") {
      return this.#endDial(dial, "server DNS lookup failed", "failed to lookup address");
    }
    const listener = this.#listenerFor(dial.address);
    const isPoolers = dial.address.port !== this.#options.poolerPort;
    const hasFailed = isPoolers && this.#options.fails?.("connect") === true;
    if (listener === undefined || hasFailed || this.#obstacles.get(name) === "refused") {
      return this.#endDial(dial, "connect failed", "connection refused");
    }
    this.#dials.delete(dial);
    const connection = this.#pair(dial, listener);
    this.#connections.push(connection);
    dial.resolve(connection.dialer);
    // As when there is no descriptor left for it.
    if (!isPoolers && this.#options.fails?.("accept") === true) connection.acceptor.reset();
    else listener.add(connection.acceptor);
    this.#changed();
  }

  #pair({ address, options }: PendingDial, listener: SimListener): SimConnection {
    const { rules } = this;
    const isUnix = address.kind === "unix";
    const there = { host: isUnix ? "unix" : address.host, port: address.port };
    const here = isUnix ? there : { host: this.sourceHost, port: this.#nextPort() };
    const isToPooler = address.port === this.#options.poolerPort;
    const lanes = [new Lane(rules, !isToPooler), new Lane(rules, isToPooler)] as const;
    const recording: Recording = { address: formatAddress(address), pieces: [], byteCount: 0 };
    if (this.#options.isRecorded === true) this.recordings.push(recording);
    const dialer = new SimStream({
      ...this.#recorded(recording, "dialer"),
      isPoolers: !isToPooler,
      incoming: lanes[0],
      outgoing: lanes[1],
      rules,
      receiveBytes: options.receiveBytes,
      remote: there,
      local: here,
      peerUid: undefined,
      isUnix,
    });
    const acceptor = new SimStream({
      ...this.#recorded(recording, "acceptor"),
      isPoolers: isToPooler,
      incoming: lanes[1],
      outgoing: lanes[0],
      rules,
      receiveBytes: listener.options().receiveBytes,
      remote: here,
      local: there,
      peerUid: isUnix ? this.peerUid : undefined,
      isUnix,
    });
    return { address: recording.address, dialer, acceptor, lanes, recording };
  }

  #recorded(
    recording: Recording,
    from: "dialer" | "acceptor",
  ): { onWritten?: (bytes: Uint8Array) => void } {
    if (this.#options.isRecorded !== true) return {};
    const onWritten = (bytes: Uint8Array) => {
      recording.byteCount += bytes.length;
      if (recording.byteCount > MAX_RECORDED_BYTES) return;
      recording.pieces.push({ from, bytes: bytes.slice() });
    };
    return { onWritten };
  }

  #listenerFor(address: ServerAddress): SimListener | undefined {
    const exact = this.#listeners.get(formatAddress(address));
    if (exact !== undefined || address.kind === "unix") return exact;
    return this.#listeners.get(`0.0.0.0:${address.port}`) ??
      this.#listeners.get(`[::]:${address.port}`);
  }

  #endDial(dial: PendingDial, failure: DialFailure, cause: string): void {
    if (this.#dials.delete(dial)) dial.reject(new DialError(failure, new Error(cause)));
  }

  #nextPort(): number {
    this.#lastPort += 1;
    return this.#lastPort;
  }

  #changed(): void {
    if (this.#options.isAutomatic !== true || this.#isStepDue) return;
    this.#isStepDue = true;
    setImmediate(() => {
      this.#isStepDue = false;
      if (this.step()) this.#changed();
    });
  }
}

/** A listening address. */
class SimListener implements Listener {
  readonly address: ListenAddress;
  readonly options: () => StreamOptions;
  readonly #changed: () => void;
  readonly #onClosed: () => void;
  readonly #isDeserted: () => boolean;
  readonly #backlog: SimStream[] = [];
  #wake: ((stream: SimStream | undefined) => void) | undefined;
  #isClosed = false;

  constructor(
    address: ListenAddress,
    { options, changed, isDeserted, onClosed }: {
      options: () => StreamOptions;
      changed: () => void;
      onClosed: () => void;
      isDeserted: () => boolean;
    },
  ) {
    this.address = address;
    this.options = options;
    this.#changed = changed;
    this.#onClosed = onClosed;
    this.#isDeserted = isDeserted;
  }

  get hasNews(): boolean {
    return this.#wake !== undefined && this.#backlog.length > 0;
  }

  add(stream: SimStream): void {
    this.#backlog.push(stream);
  }

  deliver(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.(this.#backlog.shift());
  }

  async *connections(): AsyncGenerator<ByteStream, void, void> {
    while (!this.#isClosed) {
      const stream = await new Promise<SimStream | undefined>((resolve) => {
        this.#wake = resolve;
        this.#changed();
      });
      if (stream === undefined) break;
      yield stream;
    }
    for (let next = this.#backlog.shift(); next; next = this.#backlog.shift()) yield next;
  }

  isInPlace(): boolean {
    return true;
  }

  isDeserted(): Promise<boolean> {
    return Promise.resolve(this.#isDeserted());
  }

  takeOver(): void {}

  drain(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClosed();
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.(undefined);
  }

  close(): void {
    for (const stream of this.#backlog.splice(0)) stream.reset();
    this.drain();
  }
}
