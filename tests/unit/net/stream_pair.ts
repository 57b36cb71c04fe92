/** Two ends of a connection in a network under test, and what its tests have in common. */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import type {
  ListenAddress,
  Listener,
  Network,
  ServerAddress,
  StreamOptions,
  TcpOptions,
} from "../../../src/net/network.ts";
import type { TlsStart } from "../../../src/net/tls.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { join } from "../../support/messages.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

/** One network to be tried, made anew for each test. */
export interface NetworkUnderTest extends AsyncDisposable {
  readonly network: Network;
  /** Where the suite may listen. */
  readonly address: ListenAddress;
  /** Bytes that are more than all buffers between two ends can hold. */
  readonly floodBytes: number;
  /** How TCP connections are set up; as the system has them if left out. */
  readonly tcp?: TcpOptions;
  /** What both ends go over to TLS with, if they do; asked for once. */
  readonly tls?: () => { readonly near: TlsStart; readonly far: TlsStart };
  /** Lets a time pass on the network's clock. */
  advance(ms: number): void;
  /** An address at which nobody ever answers; undefined where there can be none. */
  blackHole(): Promise<ServerAddress | undefined>;
}

/** Registers a test that is given its own pair. */
export type Test = (title: string, run: (pair: Pair) => Promise<void>) => void;

/** Of both ends. */
export const STREAM_OPTIONS: StreamOptions = {
  receiveBytes: 4_096,
  maxBusyReads: 5,
  tcp: SYSTEM_TCP,
};

/** Far more turns than anything takes that works. */
const MAX_TURNS = 1_000_000;

/** Two connected ends, and what is needed to make more. */
export class Pair implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #accepted: AsyncIterator<ByteStream, void, void>;
  readonly #streams = new Set<ByteStream>();
  readonly #tls: { readonly near: TlsStart; readonly far: TlsStart } | undefined;

  constructor(readonly under: NetworkUnderTest, listener: Listener) {
    this.#listener = listener;
    this.#accepted = listener.connections();
    this.#tls = under.tls?.();
  }

  static async open(open: () => Promise<NetworkUnderTest>): Promise<Pair> {
    const under = await open();
    const options = { ...STREAM_OPTIONS, tcp: under.tcp ?? SYSTEM_TCP };
    return new Pair(under, await under.network.listen(under.address, () => options));
  }

  get listener(): Listener {
    return this.#listener;
  }

  /** Two ends that speak TLS if those of the network under test do. */
  async connect(
    options: Partial<StreamOptions> = {},
  ): Promise<[near: ByteStream, far: ByteStream]> {
    const [near, far] = await this.connectPlain(options);
    if (this.#tls !== undefined) {
      await Promise.all([near.startTls(this.#tls.near), far.startTls(this.#tls.far)]);
    }
    return [near, far];
  }

  /** Two ends that do not speak TLS yet. */
  async connectPlain(
    options: Partial<StreamOptions> = {},
  ): Promise<[near: ByteStream, far: ByteStream]> {
    const dialing = this.under.network.dial(this.#listener.address, {
      ...STREAM_OPTIONS,
      tcp: this.under.tcp ?? SYSTEM_TCP,
      ...options,
      timeoutMs: 60_000,
    });
    const accepted = await this.#accepted.next();
    assert.ok(!accepted.done);
    const near = await dialing;
    this.#streams.add(near).add(accepted.value);
    return [near, accepted.value];
  }

  /** Closes an end, and keeps nothing of it. */
  forget(stream: ByteStream): void {
    stream.close();
    this.#streams.delete(stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.#streams) stream.close();
    this.#listener.close();
    // Ends the accept loop, so that nothing of it is left.
    await this.#accepted.next();
    await this.under[Symbol.asyncDispose]();
  }
}

/** Pieces of growing length, of which each byte tells where it belongs. */
export function pieces(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => new Uint8Array(1 + at * 97).fill(at));
}

/** Lets the network work until something has come true. */
export async function untilTrue(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < MAX_TURNS, "It does not come true");
    await eventTurn();
  }
}

/** All that comes until the peer finishes. */
export async function readAll(stream: ByteStream): Promise<Uint8Array> {
  const received: Uint8Array[] = [];
  for await (const chunk of stream.chunks()) received.push(chunk.slice());
  return join(...received);
}
