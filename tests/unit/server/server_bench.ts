/** What the tests of `server/` share: a server session, and at its other end a peer with a script. */

import assert from "node:assert/strict";
import { UserCredential } from "../../../src/auth/credential.ts";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../../src/auth/server_authentication.ts";
import { Secret } from "../../../src/base/secret.ts";
import { TrackedParameters } from "../../../src/link/parameter_cache.ts";
import { ResultChanges } from "../../../src/link/result_changes.ts";
import { ServerStatements } from "../../../src/link/server_statements.ts";
import { StatementBook } from "../../../src/link/statement_book.ts";
import { Logger } from "../../../src/log/logger.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import type { Listener, ServerAddress } from "../../../src/net/network.ts";
import type { ServerEnd } from "../../../src/server/server_end.ts";
import {
  type ServerOwner,
  ServerSession,
  type ServerSessionOptions,
  type ServerUpkeep,
} from "../../../src/server/server_session.ts";
import type { ServerState } from "../../../src/server/server_state.ts";
import type { ServerTaker } from "../../../src/server/server_taker.ts";
import type { MessageCursor } from "../../../src/wire/message_cursor.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import {
  backend as say,
  join,
  MessageSplitter,
  type RawMessage,
  textOf,
} from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

export const ADDRESS = { kind: "tcp", host: "127.0.0.1", port: 5432 } as const;

const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP };

/** The exchange in which `user` proves who it is. */
export function authentication(secret?: string, user = "ada"): ServerAuthentication {
  return new ServerAuthentication({
    userName: user,
    credential: secret === undefined ? undefined : new UserCredential(user, new Secret(secret)),
    random: new SeededRandom(1),
    derivation: new KeyDerivation(),
  });
}

/** The other end of a connection, which does what a test says. */
export class Peer {
  readonly stream: ByteStream;
  readonly #chunks: AsyncIterator<Uint8Array, void, void>;
  readonly #splitter = new MessageSplitter();

  constructor(stream: ByteStream) {
    this.stream = stream;
    this.#chunks = stream.chunks();
  }

  async send(...messages: readonly Uint8Array[]): Promise<void> {
    const bytes = join(...messages);
    await this.stream.write(bytes, 0, bytes.length);
  }

  /** The body of the StartupMessage. */
  async startup(): Promise<Uint8Array> {
    const packet = await this.#next(() => this.#splitter.nextUntyped());
    assert.ok(packet);
    return packet;
  }

  /** The next message; undefined at the end. */
  receive(): Promise<RawMessage | undefined> {
    return this.#next(() => this.#splitter.next());
  }

  /** The next message as text: type and body. */
  async receiveText(): Promise<string | undefined> {
    const received = await this.receive();
    return received === undefined
      ? undefined
      : `${received.type} ${textOf(received.body).replaceAll("\0", "")}`;
  }

  close(): void {
    this.stream.close();
  }

  async #next<T>(take: () => T | undefined): Promise<T | undefined> {
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      const chunk = await this.#chunks.next();
      if (chunk.done) return undefined;
      this.#splitter.add(chunk.value);
    }
  }
}

/** A taker that keeps what it is given, message by message. */
export class RecordingTaker implements ServerTaker {
  /** Pieces as type and text. */
  readonly received: string[] = [];
  readonly ends: ServerEnd[] = [];
  /** Holds the server's loop while set. */
  hold: Promise<void> | undefined;

  onServerChunk(cursor: MessageCursor): void | Promise<void> {
    while (cursor.next()) {
      const piece = textOf(cursor.buffer.slice(cursor.start, cursor.end)).replaceAll("\0", "");
      this.received.push(cursor.isContinuation ? `…${piece}` : piece);
    }
    return this.hold;
  }

  onServerClosed(end: ServerEnd): void {
    this.ends.push(end);
  }
}

/** What a test may have otherwise. */
export interface BenchOptions extends Partial<Omit<ServerSessionOptions, "upkeep">> {
  readonly upkeep?: Partial<ServerUpkeep>;
}

/** A session that is about to run, and all around it. */
export class ServerBench implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly network: SimNetwork;
  readonly server: ServerSession;
  /** Every state the owner was told of, the first one left out. */
  readonly states: ServerState["kind"][] = [];
  readonly log: string[] = [];
  readonly unreachable: ServerAddress[] = [];
  /** May be changed while running. */
  upkeep: ServerUpkeep;
  /** What the owner does at each change of state. */
  onState: ((server: ServerSession) => void) | undefined;
  readonly #listener: Listener;
  #running: Promise<void> | undefined;

  private constructor(network: SimNetwork, listener: Listener, options: BenchOptions) {
    this.network = network;
    this.#listener = listener;
    const { upkeep, ...others } = options;
    this.upkeep = {
      resetQuery: undefined,
      checkQuery: undefined,
      isLifetimeOver: false,
      resetsAlways: false,
      checksAlways: false,
      ...upkeep,
    };
    const owner: ServerOwner = {
      onServerState: (server) => {
        this.states.push(server.state.kind);
        this.onState?.(server);
      },
    };
    this.server = new ServerSession({
      id: 1,
      owner,
      database: "app",
      user: "ada",
      address: ADDRESS,
      network,
      clock: this.clock,
      random: new SeededRandom(1),
      log: new Logger({
        clock: this.clock,
        processId: 1,
        sink: { write: (line) => this.log.push(line.trimEnd()) },
        verbosity: 0,
      }),
      streamOptions: STREAM_OPTIONS,
      connectTimeoutMs: 15_000,
      maxMessageBytes: 1_000_000,
      tracked: new TrackedParameters([]),
      statements: new ServerStatements(new StatementBook(), new ResultChanges()),
      replication: "none",
      startupParameters: new Map([["user", "ada"], ["database", "app"]]),
      tls: undefined,
      authentication: () => authentication(),
      protocolMinor: 0,
      hangUp: (hangUp) => hangUp(),
      connectQuery: undefined,
      isTrial: false,
      role: undefined,
      onUnreachable: (address, error) => {
        this.unreachable.push(address);
        return { kind: "unreachable", error };
      },
      onReached: () => {},
      onOldProtocol: () => {},
      onHotStandby: () => {},
      logsConnections: false,
      logsDisconnections: true,
      ...others,
      upkeep: () => this.upkeep,
    });
  }

  static async open(options: BenchOptions = {}): Promise<ServerBench> {
    const network = new SimNetwork({
      random: new SeededRandom(1),
      clock: new FakeClock(),
      isAutomatic: true,
    });
    const listener = await network.listen({ ...ADDRESS, backlog: 1 }, () => STREAM_OPTIONS);
    return new ServerBench(network, listener, options);
  }

  /** Runs the session up to where the peer has its StartupMessage. */
  async connect(): Promise<Peer> {
    this.run();
    const peer = await this.accept();
    await peer.startup();
    return peer;
  }

  /** The next connection of the session. */
  async accept(): Promise<Peer> {
    const accepted = await this.#listener.connections().next();
    assert.ok(!accepted.done);
    return new Peer(accepted.value);
  }

  /** Runs the session up to where it is logged in, idle. */
  async logIn(): Promise<Peer> {
    const peer = await this.connect();
    await peer.send(say.authentication(0), say.keyData(17, 4711), say.ready());
    await this.settle();
    return peer;
  }

  /** Starts the session. */
  run(): void {
    this.#running = this.server.run();
  }

  /** Resolves when the session has ended. */
  async ended(): Promise<void> {
    await this.#running;
  }

  settle(): Promise<void> {
    return this.network.runUntilIdle();
  }

  /** Links a taker; the server must be idle. */
  link(): RecordingTaker {
    const taker = new RecordingTaker();
    this.server.link(taker);
    return taker;
  }

  /** Why the session was closed, for the log and for whoever depended on it. */
  end(): ServerEnd {
    const { state } = this.server;
    assert.ok(state.kind === "closed", `It is ${state.kind}`);
    return state.end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.server.state.kind !== "closed") this.server.discard("end of the test");
    this.#listener.close();
    for (const { acceptor, dialer } of this.network.connections) {
      acceptor.close();
      dialer.close();
    }
    await this.settle();
    await this.#running;
  }
}
