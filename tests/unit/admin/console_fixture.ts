/**
 * A console with a pooler around it made by hand: real clients, pools and servers on a fake clock,
 * with streams that only the test moves.
 */

import type { ClientAuthenticationMethod } from "../../../src/auth/client_authentication.ts";
import { UserCredential } from "../../../src/auth/credential.ts";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../../src/auth/server_authentication.ts";
import type {
  ConsoleContext,
  MemoryUse,
  ShutdownMode,
} from "../../../src/admin/console_context.ts";
import { openConsole } from "../../../src/admin/open_console.ts";
import { Secret } from "../../../src/base/secret.ts";
import { CancelDesk } from "../../../src/client/cancel_request.ts";
import { PeerDesk } from "../../../src/client/peer_desk.ts";
import { peerOf } from "../../../src/config/effective_settings.ts";
import { ClientLogin, type LoginDesk } from "../../../src/client/client_login.ts";
import { ClientRegistry } from "../../../src/client/client_registry.ts";
import { ClientSession, type SessionDesk } from "../../../src/client/client_session.ts";
import { Relay, type ServerPool } from "../../../src/client/relay.ts";
import type { Config } from "../../../src/config/config.ts";
import { ParameterCache, TrackedParameters } from "../../../src/link/parameter_cache.ts";
import { ResultChanges } from "../../../src/link/result_changes.ts";
import { ServerStatements } from "../../../src/link/server_statements.ts";
import { StatementBook } from "../../../src/link/statement_book.ts";
import type { ReloadChange } from "../../../src/maintenance/reload_plan.ts";
import { Logger } from "../../../src/log/logger.ts";
import type { ByteStream, Endpoint, Sink } from "../../../src/net/byte_stream.ts";
import { DnsCache } from "../../../src/net/dns_cache.ts";
import type { Network, ServerAddress } from "../../../src/net/network.ts";
import { NoTls } from "../../../src/net/no_tls.ts";
import { ConnectionCaps } from "../../../src/pool/connection_caps.ts";
import { Pool } from "../../../src/pool/pool.ts";
import { PoolRegistry } from "../../../src/pool/pool_registry.ts";
import { WaitingPlace } from "../../../src/pool/waiting_queue.ts";
import { ServerSession } from "../../../src/server/server_session.ts";
import { LoopLag } from "../../../src/stats/loop_lag.ts";
import { StatsBook } from "../../../src/stats/stats_book.ts";
import type { PgError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { backend, frontend, join } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { loadToml } from "../config/memory_files.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { noHandshake } from "../../support/no_handshake.ts";
import { OWN_NAMES } from "../../support/own_names.ts";
import { turnsOn } from "../../support/turns_on.ts";
import { NotedOperations } from "./noted_operations.ts";

/** A stream of which the test is the other end. */
export class StubStream implements ByteStream {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly peerUid = undefined;
  readonly isUnix = false;
  readonly tls = undefined;
  readonly tlsFailure = undefined;
  readonly startTls = noHandshake;
  isClosed = false;
  /** What a write waits for, if the peer is slow. */
  slowness: Promise<void> | undefined;
  #sent: Uint8Array[] = [];
  #received: Uint8Array[] = [];
  #wake: (() => void) | undefined;

  constructor(remote: Endpoint, local: Endpoint) {
    this.remote = remote;
    this.local = local;
  }

  watch(): void {}

  /** The peer sends. */
  push(...pieces: readonly Uint8Array[]): void {
    this.#received.push(...pieces);
    this.#wake?.();
  }

  /** All that was sent to the peer since the last time. */
  takeSent(): Uint8Array {
    const sent = join(...this.#sent);
    this.#sent = [];
    return sent;
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    while (!this.isClosed) {
      const chunk = this.#received.shift();
      if (chunk !== undefined) yield chunk;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async pump(sink: Sink): Promise<void> {
    for await (const chunk of this.chunks()) await sink(chunk, chunk.length);
  }

  resume(): void {}

  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    if (!this.isClosed) this.#sent.push(buffer.slice(start, end));
    return this.slowness;
  }

  finishWriting(): void {}

  close(): void {
    this.isClosed = true;
    this.#wake?.();
  }
}

/** What to put into a pool. */
export interface PoolPlan {
  readonly database?: string;
  readonly user?: string;
  readonly poolSize?: number;
}

/** What a client is. */
export interface ClientPlan {
  readonly user: string;
  readonly database: string;
  readonly pool?: ServerPool;
  readonly applicationName?: string;
}

const TRACKED = new TrackedParameters([]);

/** The pooler around the console. */
export class ConsoleFixture implements ConsoleContext {
  readonly clock = new FakeClock();
  readonly turns = turnsOn(this.clock);
  readonly clients = new ClientRegistry();
  readonly book = new StatementBook();
  readonly pools = new PoolRegistry<ServerPool>();
  readonly stats = new StatsBook(this.clock.nowMs());
  readonly loopLag = new LoopLag(this.clock);
  readonly caps = new ConnectionCaps({ nowMs: () => this.clock.nowMs(), limitOf: () => 0 });
  readonly engine = "portable";
  readonly names = new DnsCache({
    clock: this.clock,
    resolver: OWN_NAMES,
    maxTtlMs: () => 15_000,
    failureTtlMs: () => 15_000,
    zoneCheckMs: () => 0,
    onMove: () => {},
  });
  readonly operations = new NotedOperations();
  readonly tls: ConsoleContext["tls"] = {
    library: "a library",
    certificates: () => [{
      setting: "client_tls_cert_file",
      path: "own.crt",
      notAfterMs: this.clock.wallMs() + 86_400_000 * 2.5,
    }],
  };
  readonly logLines: string[] = [];
  readonly cancels: CancelDesk;
  readonly peers: PeerDesk;
  readonly servers: ServerSession[] = [];
  readonly serverStreams: StubStream[] = [];
  readonly clientStreams = new Map<ClientSession, StubStream>();
  /** What was asked of the pooler. */
  readonly shutdowns: ShutdownMode[] = [];
  readonly shutdownLimits: (number | undefined)[] = [];
  reloadCount = 0;
  /** What a reload waits for, or fails with. */
  reloading: Promise<void> = Promise.resolve();
  reloadChanges: readonly ReloadChange[] = [];
  secretHolders: string[] = [];
  /** Whether connections to servers come about. */
  areServersUp = true;
  readonly #config: Config;
  readonly #log: Logger;
  readonly #network: Network;
  readonly #running: Promise<void>[] = [];
  readonly #random = new SeededRandom(1);
  readonly #derivation = new KeyDerivation();

  constructor(config: Config) {
    this.#config = config;
    const sink = { write: (line: string) => void this.logLines.push(line) };
    this.#log = new Logger({ clock: this.clock, processId: 1, sink, verbosity: 0 });
    this.#network = {
      tls: new NoTls(),
      listen: () => Promise.reject(new Error("Nothing listens here")),
      dial: (address) => this.#dial(address),
    };
    const limits = {
      network: this.#network,
      clock: this.clock,
      streamOptions: () => ({ receiveBytes: 1024, maxBusyReads: 0, tcp: SYSTEM_TCP }),
      waitTimeoutMs: () => 0,
      connectTimeoutMs: () => 0,
    };
    this.peers = new PeerDesk({
      maxWaiting: () => 100,
      ...limits,
      ownId: () => this.config().settings.peerId,
      peer: (id) => peerOf(this.config(), id),
    });
    this.cancels = new CancelDesk({
      ...limits,
      clients: this.clients,
      peers: this.peers,
      log: this.#log,
    });
  }

  /** With a configuration in TOML. */
  static async from(toml = ""): Promise<ConsoleFixture> {
    return new ConsoleFixture(await loadToml(toml));
  }

  memory(): MemoryUse {
    return { rss: 5_000_000_000, heapTotal: 3_072, heapUsed: 2_048, external: 1_024 };
  }

  config(): Config {
    return this.#config;
  }

  userNames(): Iterable<string> {
    return this.secretHolders;
  }

  reload(): Promise<void> {
    this.reloadCount += 1;
    return this.reloading;
  }

  planReload(): Promise<readonly ReloadChange[]> {
    return this.reloading.then(() => this.reloadChanges);
  }

  shutdown(mode: ShutdownMode, limitMs?: number): void {
    this.shutdowns.push(mode);
    this.shutdownLimits.push(limitMs);
  }

  /** A pool; it opens a server when one is asked for. */
  addPool({ database = "shop", user = "anna", poolSize = 5 }: PoolPlan = {}): ServerPool {
    const pool: ServerPool = new Pool<ServerSession, PgError>({
      database,
      user,
      stats: this.stats.open(database),
      caps: this.caps,
      clock: this.clock,
      rules: () => ({
        poolSize,
        minPoolSize: 0,
        reservePoolSize: 0,
        reservePoolTimeoutMs: 0,
        loginRetryMs: 15_000,
        maxWaiting: 0,
        isRoundRobin: false,
        serverLifetimeMs: 3_600_000,
        weight: 1,
        poolMode: "transaction",
      }),
      openServer: () => this.#openServer(pool),
      isTemporary: () => false,
      turns: this.turns,
    });
    return this.pools.findOrMake(database, user, () => pool);
  }

  /** A client that has logged in; with a pool it also has a relay. */
  addClient(plan: ClientPlan): ClientSession {
    const client = this.addLogin(plan);
    this.clients.admit(client);
    client.enterIdle();
    return client;
  }

  /** A client that is logging in. */
  addLogin({ applicationName, database, pool, user }: ClientPlan): ClientSession {
    const client = this.addConnection();
    client.enterLogin(user, database);
    const parameters = new ParameterCache(TRACKED);
    if (applicationName !== undefined) parameters.set("application_name", applicationName);
    client.parameters = parameters;
    if (pool === undefined) return client;
    client.pool = pool;
    pool.clientCount += 1;
    client.relay = new Relay({
      host: client,
      stream: client.stream,
      pool,
      parameters,
      clock: this.clock,
      maxMessageBytes: 1_000_000,
      refusesQueries: false,
      recovers: () => false,
      onAbandoned: () => {},
      poolMode: () => "transaction",
      rewriter: undefined,
      features: undefined,
      closesFast: () => false,
    });
    client.setService(client.relay);
    return client;
  }

  /** A client of which nothing is known yet. */
  addConnection(): ClientSession {
    const id = this.clients.nextId();
    const stream = new StubStream(
      { host: "127.0.0.1", port: 50_000 + id },
      { host: "127.0.0.1", port: 6432 },
    );
    const options = { id, stream, clock: this.clock, log: this.#log, desk: this.#desk() };
    const client = new ClientSession(options);
    this.clients.add(client);
    this.clientStreams.set(client, stream);
    return client;
  }

  /** The client asks something of its pool. */
  ask(client: ClientSession): void {
    const message = frontend.query("SELECT 1");
    // Held until a server answers, which only the test decides.
    void client.relay!.onClientChunk(message, message.length);
  }

  /** Somebody logs in and waits for what a server of the pool reports. */
  awaitWelcome(pool: ServerPool): void {
    const request = { welcome: () => {}, refuse: () => {}, turnAway: () => {} };
    pool.acquireWelcome(new WaitingPlace(request));
  }

  /** Runs a whole session from its startup packet on, as the accept loop does. */
  connect(startup: Readonly<Record<string, string>>): StubStream {
    const client = this.addConnection();
    const stream = this.clientStreams.get(client)!;
    this.#running.push(client.run());
    stream.push(frontend.startup(startup));
    return stream;
  }

  /** Ends everything, so that the test leaves nothing running. */
  async end(): Promise<void> {
    for (const server of this.servers) server.stream?.close();
    for (const stream of [...this.clientStreams.values(), ...this.serverStreams]) stream.close();
    await Promise.all(this.#running);
  }

  /** Brings a server that has answered from one state to the next, and names each. */
  async *statesOfFreeServer(): AsyncGenerator<string, void, void> {
    const [server] = this.servers;
    server!.beginCancel();
    this.serverStreams[0]!.push(backend.ready());
    await eventTurn();
    yield "being_canceled";
    server!.endCancel();
    yield "idle";
    server!.retire();
    yield "used";
    server!.check();
    yield "tested";
  }

  #openServer(pool: ServerPool): ServerSession {
    const server = new ServerSession({
      id: this.servers.length + 1,
      owner: pool,
      database: pool.database,
      user: pool.user,
      address: { kind: "tcp", host: "db.example", port: 5432 },
      network: this.#network,
      clock: this.clock,
      random: new SeededRandom(1),
      log: this.#log,
      streamOptions: { receiveBytes: 1024, maxBusyReads: 0, tcp: SYSTEM_TCP },
      connectTimeoutMs: 0,
      maxMessageBytes: 1_000_000,
      tracked: TRACKED,
      statements: new ServerStatements(this.book, new ResultChanges()),
      replication: "none",
      startupParameters: new Map([["user", pool.user]]),
      tls: undefined,
      authentication: () =>
        new ServerAuthentication({
          userName: pool.user,
          credential: undefined,
          random: this.#random,
          derivation: this.#derivation,
        }),
      protocolMinor: 0,
      hangUp: (hangUp) => hangUp(),
      onOldProtocol: () => {},
      onHotStandby: () => {},
      connectQuery: undefined,
      upkeep: () => ({
        resetQuery: undefined,
        checkQuery: "",
        isLifetimeOver: false,
        resetsAlways: false,
        checksAlways: false,
      }),
      isTrial: false,
      role: undefined,
      onUnreachable: (_address, error) => ({ kind: "unreachable", error }),
      onReached: () => {},
      logsConnections: false,
      logsDisconnections: true,
    });
    this.servers.push(server);
    this.#running.push(server.run());
    return server;
  }

  /** PostgreSQL that lets everybody in. */
  #dial({ port }: ServerAddress): Promise<ByteStream> {
    const stream = new StubStream({ host: "10.0.0.7", port }, { host: "10.0.0.1", port: 40_001 });
    this.serverStreams.push(stream);
    if (this.areServersUp) {
      stream.push(join(
        backend.authentication(0),
        backend.parameterStatus("application_name", "other"),
        backend.keyData(4711, 42),
        backend.ready(),
      ));
    }
    return Promise.resolve(stream);
  }

  #desk(): SessionDesk {
    return {
      settings: () => this.#config.settings,
      proxyRule: () => "off",
      tlsOffer: () => ({ tls: undefined, isRequired: false }),
      logIn: (client, { input, startup }) =>
        new ClientLogin(client, { desk: this.#loginDesk(), input }).run(startup),
      cancel: () => Promise.resolve(),
      noteMove: () => {},
      noteIdle: () => {},
      noteEnd: () => {},
      forget: (client) => this.clients.remove(client),
    };
  }

  #loginDesk(): LoginDesk {
    const refuse = (): never => {
      throw new Error("Only the console is served here");
    };
    return {
      random: this.#random,
      derivation: this.#derivation,
      tracked: TRACKED,
      mockSecret: new Uint8Array(32),
      looksFor: () => ({ verifierShare: 0, shapes: [], verifierShapes: [] }),
      settings: () => this.#config.settings,
      refusal: () => undefined,
      methodFor: () => this.#config.settings.authType as ClientAuthenticationMethod,
      enroll: () => {},
      holdAnswer: () => Promise.resolve(),
      credentialOf: (user) =>
        this.secretHolders.includes(user)
          ? new UserCredential(user, new Secret("not asked for"))
          : undefined,
      noteMismatch: () => {},
      isOwnProcess: (_client, user) => user === "pgbouncer",
      askOutside: refuse,
      poolFor: refuse,
      openOwnPool: refuse,
      greetingOf: refuse,
      openRelay: refuse,
      openConsole: (client, { isOwnProcess }) =>
        openConsole(client, { context: this, isOwnProcess }),
      giveCancelKey: () => new Uint8Array(8),
      noteLogin: () => {},
      noteAttempt: () => {},
    };
  }
}
