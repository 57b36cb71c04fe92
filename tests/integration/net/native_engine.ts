/** The native engine as tests need it: with faults to order, and an account of what it left open. */

import assert from "node:assert/strict";
import { HeldClock, systemClock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import type {
  ListenAddress,
  Listener,
  StreamOptions,
  TcpOptions,
} from "../../../src/net/network.ts";
import { Libc } from "../../../src/net/native/libc.ts";
import { NativeNetwork } from "../../../src/net/native/native_network.ts";
import { NativeTls } from "../../../src/net/native/native_tls.ts";
import { openSockets } from "../../../src/net/native/open_sockets.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { type Faults, FaultyLibc } from "../../support/faulty_libc.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

/** An address of this machine, at a port that is free. */
export const TCP = { kind: "tcp", host: "127.0.0.1", port: 0, backlog: 1_024 } as const;

/** How the connections of these tests are set up. */
export const STREAM_OPTIONS: StreamOptions = {
  receiveBytes: 4_096,
  maxBusyReads: 5,
  tcp: SYSTEM_TCP,
};

/** A native engine that a test has for itself. */
export class NativeUnderTest implements AsyncDisposable {
  readonly network: NativeNetwork;
  readonly libc: FaultyLibc;
  /** Turns the timers; slices are real time, whatever the timers are. */
  readonly timers: FakeClock;
  readonly clock: HeldClock;
  /** What the engine told of accepting. */
  readonly acceptErrors: unknown[];
  /** What went wrong inside; whoever expects something takes it out. */
  readonly errors: unknown[];
  readonly tls: NativeTls;
  readonly #library: Libc;

  private constructor(parts: Parts, network: NativeNetwork) {
    this.network = network;
    this.libc = parts.libc;
    this.timers = parts.timers;
    this.clock = parts.clock;
    this.acceptErrors = parts.acceptErrors;
    this.errors = parts.errors;
    this.tls = parts.tls;
    this.#library = parts.library;
  }

  /** Opens an engine; faults may be ordered from the first call on, or later. */
  static async open(faults: Faults = {}): Promise<NativeUnderTest> {
    const library = Libc.open();
    const libc = new FaultyLibc(library, faults);
    const timers = new FakeClock();
    const clock = new HeldClock({
      ...systemClock(),
      startTimer: (delayMs, fire) => timers.startTimer(delayMs, fire),
    });
    const acceptErrors: unknown[] = [];
    const errors: unknown[] = [];
    const tls = NativeTls.open();
    assert.ok(tls instanceof NativeTls);
    try {
      const network = await NativeNetwork.open({
        libc,
        tls,
        clock,
        random: systemRandom(),
        onAcceptError: (error) => acceptErrors.push(error),
        onError: (error) => errors.push(error),
        groupIdOf: () => Deno.gid()!,
      });
      const parts = { library, libc, tls, timers, clock, acceptErrors, errors };
      return new NativeUnderTest(parts, network);
    } catch (error) {
      tls[Symbol.dispose]();
      library[Symbol.dispose]();
      throw error;
    }
  }

  /** How many sockets the process has, those of the runtime included. */
  get socketCount(): number {
    return socketCount(this.#library);
  }

  /** The library without faults, to ask it about descriptors. */
  get library(): Libc {
    return this.#library;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.libc.faults = {};
    await this.network[Symbol.asyncDispose]();
    this.tls[Symbol.dispose]();
    this.#library[Symbol.dispose]();
    assert.deepEqual(this.errors, []);
  }
}

/** Runs with an engine of its own, which has given back every descriptor when that is over. */
export async function withEngine(run: (engine: NativeUnderTest) => Promise<void>): Promise<void> {
  await using engine = await NativeUnderTest.open();
  const before = engine.libc.open.size;
  await run(engine);
  assert.equal(engine.libc.open.size, before, "Every descriptor was given back");
}

interface Parts {
  readonly library: Libc;
  readonly libc: FaultyLibc;
  readonly tls: NativeTls;
  readonly timers: FakeClock;
  readonly clock: HeldClock;
  readonly acceptErrors: unknown[];
  readonly errors: unknown[];
}

/** How many sockets the process has. */
export function socketCount(libc: Libc): number {
  return [...openSockets(libc)].length;
}

/** A listener, and what it has accepted. */
export class Acceptor implements AsyncDisposable {
  readonly listener: Listener;
  readonly accepted: AsyncIterableIterator<ByteStream, void, void>;

  constructor(listener: Listener) {
    this.listener = listener;
    this.accepted = listener.connections();
  }

  static async open(
    { network }: NativeUnderTest,
    { address = TCP, options = () => STREAM_OPTIONS }: {
      address?: ListenAddress;
      options?: () => StreamOptions;
    } = {},
  ): Promise<Acceptor> {
    return new Acceptor(await network.listen(address, options));
  }

  /** Port of a TCP listener. */
  get port(): number {
    return this.listener.address.port;
  }

  /** The next connection. */
  async next(): Promise<ByteStream> {
    const next = await this.accepted.next();
    assert.ok(!next.done);
    return next.value;
  }

  /** Closes the listener, and waits for the end of its loop. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    for (;;) {
      const next = await this.accepted.next();
      if (next.done) return;
      next.value.close();
    }
  }
}

/** Connects to a listener through the engine. Returns both ends. */
export async function connect(
  { network }: NativeUnderTest,
  acceptor: Acceptor,
  tcp: TcpOptions = SYSTEM_TCP,
): Promise<[near: ByteStream, far: ByteStream]> {
  const options = { ...STREAM_OPTIONS, tcp, timeoutMs: 0 };
  const dialing = network.dial(acceptor.listener.address, options);
  const far = await acceptor.next();
  return [await dialing, far];
}
