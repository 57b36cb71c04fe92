/**
 * A whole pooler in memory: Sluice's own `Pooler` on a simulated network, a clock that a test moves
 * and a seeded random source, in front of a fake PostgreSQL.
 *
 * `await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" })`: at the end
 * everything is shut down, and it is an error if anything is left over.
 */

import assert from "node:assert/strict";
import { Pooler } from "../../src/app/pooler.ts";
import type { AskPam, LdapConnectors } from "../../src/app/ask_outside.ts";
import { loadAuthRules } from "../../src/app/auth_rules.ts";
import type { SystemUserOf } from "../../src/app/login_rules.ts";
import type { LoadedConfig } from "../../src/app/live_config.ts";
import { AwakeClock } from "../../src/base/awake_clock.ts";
import type { Secret } from "../../src/base/secret.ts";
import type { ServerPool } from "../../src/client/relay.ts";
import type { ClientSession } from "../../src/client/client_session.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Logger } from "../../src/log/logger.ts";
import { NameError, type NameResolver } from "../../src/net/name_resolver.ts";
import { formatAddress, type ListenAddress } from "../../src/net/network.ts";
import type { ServerSession } from "../../src/server/server_session.ts";
import { LoopLag } from "../../src/stats/loop_lag.ts";
import { checkPooler } from "./checkers.ts";
import { FakeClock } from "./fake_clock.ts";
import { type FakeBackend, FakePostgres, type FakePostgresOptions } from "./fake_postgres.ts";
import { MapWatch } from "./map_watch.ts";
import { memoryRules } from "./memory_rules.ts";
import { frontend, readInt32 } from "./messages.ts";
import { OWN_NAMES } from "./own_names.ts";
import { SeededRandom } from "./seeded_random.ts";
import {
  type Chunking,
  type NetworkCall,
  SimNetwork,
  type SimStream,
  type WriteAnswers,
} from "./sim_net.ts";
import { type LoginOptions, TestClient } from "./test_client.ts";
import { SYSTEM_TCP } from "./stream_options.ts";

/** What may fail of what the pooler asks of its surroundings. */
export type FailingCall = NetworkCall | "dns" | "file";

/** What a world may have otherwise than usual. */
export interface WorldOptions {
  /** Without it, names are what the simulated network knows. */
  readonly resolver?: NameResolver;
  readonly seed?: number;
  readonly chunking?: Chunking;
  readonly writeAnswers?: WriteAnswers;
  readonly bufferBytes?: number;
  /** Whether the network moves by itself; else by `network.step()`. */
  readonly isAutomatic?: boolean;
  /** Whether it is kept what each connection carries. */
  readonly isRecorded?: boolean;
  /** Whether entries that are left in maps of the pooler are a fault. */
  readonly watchesMaps?: boolean;
  /** Says that what the pooler asks of its surroundings now is to fail. */
  readonly fails?: (what: FailingCall) => boolean;
  /** Lines of the section `[pooler]`; they win over those of the world. */
  readonly pooler?: string;
  /** Files by name, for `auth_hba_file` and `auth_ident_file`. */
  readonly files?: Readonly<Record<string, string>>;
  /** Certificates and the like by name; a reload reads what is there by then. */
  readonly tlsFiles?: Record<string, Uint8Array<ArrayBuffer>>;
  /** How much is logged; 0 unless it is said. */
  readonly verbosity?: number;
  /** Names of the system's users by number; without it the system cannot be asked. */
  readonly systemUserOf?: SystemUserOf;
  /** Connects to LDAP directories. */
  readonly ldapConnectors?: LdapConnectors;
  /** Asks PAM. */
  readonly askPam?: AskPam;
  /** Further sections, in place of the world's own databases and users. */
  readonly sections?: string;
  readonly postgres?: Partial<Omit<FakePostgresOptions, "network" | "random">>;
  readonly hostSecret?: string;
}

/** The user and database of a client that does not say otherwise. */
export const ADA: LoginOptions = { user: "ada", database: "app", password: "secret" };

const POOLER_LINES = `
listen_addr = "127.0.0.1"
auth_type = "trust"
pool_mode = "transaction"
default_pool_size = 2
server_login_retry = 15
`;

/** Sections of the users that a world has. */
export const USERS = '[users.ada]\npassword = "secret"\n[users.bob]\npassword = "secret"\n';

const SECTIONS = `
[databases."*"]
host = "127.0.0.1"
${USERS}`;

/** Where clients connect. */
const POOLER_ADDRESS = { kind: "tcp", host: "127.0.0.1", port: 6432 } as const;

const POOLER_SOCKET = { kind: "unix", path: "/run/sluice/.s.PGSQL.6432", port: 6432 } as const;

const DIAL_OPTIONS = { receiveBytes: 8_192, maxBusyReads: 0, tcp: SYSTEM_TCP, timeoutMs: 0 };

/** What remembers on purpose, each within bounds of its own. */
const REMEMBERED_IN: readonly string[] = [
  // Of each database that counted anything: a total never goes down.
  "stats_book.ts",
  "failed_logins.ts",
  // A key for each user of the configuration.
  "credential.ts",
  // The name of each parameter that servers report.
  "parameter_cache.ts",
  // The names of servers, for a while.
  "dns_cache.ts",
  // What was looked up, and how users look of whom something was.
  "secret_cache.ts",
  "mock_challenge.ts",
  // What operators paused or disabled.
  "database_operations.ts",
];

/** What a file cannot be read for. */
const UNREADABLE = "Input/output error";

/** As much time as anything may take to end. */
const LONGEST_FAREWELL_MS = 600_000;

/** One pooler and all around it. */
export class PoolerWorld implements AsyncDisposable {
  readonly clock: FakeClock;
  /** The clock of the pooler. */
  readonly awake: AwakeClock;
  readonly random: SeededRandom;
  readonly network: SimNetwork;
  readonly pooler: Pooler;
  readonly postgres: FakePostgres;
  /** The pooler's log, a line an entry. */
  readonly log: string[];
  readonly addresses: readonly ListenAddress[];
  /** Makes another configuration the one that a reload would read. */
  readonly setConfig: (options: WorldOptions) => Promise<void>;
  /** Lets what a process does with new settings fail from now on. */
  readonly failReloads: (error: Error) => void;
  readonly #maps: MapWatch;
  readonly #serverCounts = new WeakMap<ServerPool, number>();

  private constructor(parts: {
    clock: FakeClock;
    awake: AwakeClock;
    random: SeededRandom;
    network: SimNetwork;
    pooler: Pooler;
    postgres: FakePostgres;
    log: string[];
    addresses: readonly ListenAddress[];
    setConfig: (options: WorldOptions) => Promise<void>;
    failReloads: (error: Error) => void;
    maps: MapWatch;
  }) {
    this.clock = parts.clock;
    this.awake = parts.awake;
    this.random = parts.random;
    this.network = parts.network;
    this.pooler = parts.pooler;
    this.postgres = parts.postgres;
    this.log = parts.log;
    this.addresses = parts.addresses;
    this.setConfig = parts.setConfig;
    this.failReloads = parts.failReloads;
    this.#maps = parts.maps;
  }

  /** Starts everything. */
  static async open(options: WorldOptions = {}): Promise<PoolerWorld> {
    const maps = new MapWatch();
    const open = () => PoolerWorld.#open(options, maps);
    return options.watchesMaps === true ? await maps.during(open) : await open();
  }

  static async #open(options: WorldOptions, maps: MapWatch): Promise<PoolerWorld> {
    const random = new SeededRandom(options.seed ?? 1);
    const clock = new FakeClock();
    const awake = new AwakeClock(clock);
    const network = new SimNetwork({
      random: random.fork(),
      clock: awake,
      chunking: options.chunking ?? "whole",
      writeAnswers: options.writeAnswers ?? "at_once",
      bufferBytes: options.bufferBytes ?? 65_536,
      isAutomatic: options.isAutomatic ?? true,
      poolerPort: POOLER_ADDRESS.port,
      isRecorded: options.isRecorded ?? false,
      fails: options.fails,
    });
    const isRefused = (what: "dns" | "file") => options.fails?.(what) === true;
    const log: string[] = [];
    const postgres = await FakePostgres.start({
      ...options.postgres,
      network,
      random: random.fork(),
    });
    let loaded = await loadWorld(options);
    let failure: Error | undefined;
    const pooler = new Pooler({
      clock: awake,
      loopLag: new LoopLag(clock),
      random: random.fork(),
      log: new Logger({
        clock,
        processId: 1,
        sink: { write: (line) => log.push(line.trimEnd()) },
        verbosity: options.verbosity ?? 0,
      }),
      network,
      resolver: failing(options.resolver ?? OWN_NAMES, () => isRefused("dns")),
      engine: "simulated",
      loaded,
      load: () =>
        isRefused("file") ? Promise.reject(new Error(UNREADABLE)) : Promise.resolve(loaded),
      ownUid: 1000,
      ...(options.systemUserOf === undefined ? {} : { systemUserOf: options.systemUserOf }),
      ...(options.ldapConnectors === undefined ? {} : { ldapConnectors: options.ldapConnectors }),
      askPam: options.askPam,
      hostSecret: options.hostSecret,
      readTlsFile: (path) => {
        if (isRefused("file")) return Promise.reject(new Error(UNREADABLE));
        const bytes = options.tlsFiles?.[path];
        if (bytes === undefined) return Promise.reject(new Error("No such file or directory"));
        return Promise.resolve(new Uint8Array(bytes));
      },
      onReloaded: () => {
        if (failure !== undefined) throw failure;
      },
      memory: () => ({ rss: 4, heapTotal: 3, heapUsed: 2, external: 1 }),
    });
    const addresses = await pooler.start();
    const setConfig = async (changed: WorldOptions) => {
      loaded = await loadWorld(changed);
    };
    const failReloads = (error: Error) => {
      failure = error;
    };
    return new PoolerWorld({
      ...{
        clock,
        awake,
        random,
        network,
        pooler,
        postgres,
        log,
        addresses,
        setConfig,
        failReloads,
        maps,
      },
    });
  }

  /** Opens a connection to the pooler. */
  async connect(): Promise<TestClient> {
    return new TestClient(await this.dial());
  }

  /** The same over the unix socket, where `unix_socket_dir` is `/run/sluice`. */
  async connectBySocket(): Promise<TestClient> {
    return new TestClient(await this.network.dial(POOLER_SOCKET, DIAL_OPTIONS));
  }

  /** Opens a connection over TCP, as a bare stream. */
  dial(host: string = POOLER_ADDRESS.host): Promise<SimStream> {
    return this.network.dial({ ...POOLER_ADDRESS, host }, DIAL_OPTIONS);
  }

  /** Connects and logs in. */
  async login(options: Partial<LoginOptions> = {}): Promise<TestClient> {
    const client = await this.connect();
    await client.login({ ...ADA, ...options });
    return client;
  }

  /** How a login goes: "in", or the error it is refused with. Nobody is left of it. */
  async outcome(options: Partial<LoginOptions> = {}): Promise<string> {
    const outcome = await (await this.connect()).outcome({ ...ADA, ...options });
    await this.settle();
    return outcome;
  }

  /** Logs in one that is in a transaction, and one that waits for the only server. */
  async loginInLine(): Promise<[linked: TestClient, waiting: TestClient]> {
    const [linked, waiting] = [await this.login(), await this.login()];
    await linked.query("begin");
    await waiting.send(frontend.query("select 1"));
    await this.settle();
    assert.equal(this.pool().waiting.size, 1);
    return [linked, waiting];
  }

  /** Sends a cancel request with a key and waits until it has been answered by the end. */
  async cancel(key: Uint8Array): Promise<void> {
    const client = await this.connect();
    await client.send(frontend.cancelRequest(key));
    await client.receiveUntilEnd();
    client.close();
  }

  /** Lets everything happen that can without time passing. */
  async settle(): Promise<void> {
    await this.network.runUntilIdle();
  }

  /** Lets time pass, a round of the janitor at a time. */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const endMs = this.clock.nowMs() + ms;
    for (;;) {
      const nextMs = this.clock.nextTimerAtMs;
      if (nextMs === undefined || nextMs > endMs) break;
      this.clock.advance(Math.max(0, nextMs - this.clock.nowMs()));
      await this.settle();
    }
    this.clock.advance(endMs - this.clock.nowMs());
    await this.settle();
  }

  /** Puts another configuration in force, as `RELOAD` does. */
  async reload(options: WorldOptions): Promise<boolean> {
    await this.setConfig(options);
    return await this.pooler.reload();
  }

  /** The pool of a database and a server user. */
  pool(database = ADA.database!, user = ADA.user): ServerPool {
    const pool = this.pooler.pools.registry.ofDatabase(database).find((each) => each.user === user);
    assert.ok(pool, `There is no pool ${database}/${user}`);
    return pool;
  }

  /** The pooler's sessions, oldest first. */
  get clients(): ClientSession[] {
    return [...this.pooler.clients.all()];
  }

  /** The backend to which a server of the pooler is connected. */
  backendOf(server: ServerSession): FakeBackend {
    const key = server.cancelKey;
    assert.ok(key, "The server has no key");
    const processId = readInt32(key);
    const backend = this.postgres.backends.find((each) => each.processId === processId);
    assert.ok(backend, `There is no backend ${processId}`);
    return backend;
  }

  /** Whether a line of the log says this. */
  hasLogged(text: string): boolean {
    return this.log.some((line) => line.includes(text));
  }

  /** Asserts what must hold at any moment. */
  check(): void {
    checkPooler(this.pooler, this.postgres, this.#serverCounts);
  }

  /** Ends everything and asserts that nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.settle();
    this.check();
    const { clock, network, pooler, postgres } = this;
    let hasStopped = false;
    const stopped = pooler.stopped.then(() => {
      hasStopped = true;
    });
    pooler.shutdown("immediate");
    await this.settle();
    for (let passedMs = 0; !hasStopped && passedMs < LONGEST_FAREWELL_MS; passedMs += 1_000) {
      await this.advance(1_000);
    }
    const left = () => this.clients.map(({ id, state }) => `C-${id} ${state.kind}`).join();
    assert.ok(hasStopped, `The pooler does not end: ${left()} ${this.log.slice(-5).join("\n")}`);
    await stopped;
    this.#checkConnectionsAreClosed();
    const closing = postgres.close();
    await this.settle();
    await closing;
    for (const { acceptor, dialer } of network.connections) {
      acceptor.close();
      dialer.close();
    }
    await this.settle();
    this.checkNothingIsLeft();
    assert.equal(clock.timerCount, 0, "A timer is left");
    assert.deepEqual(this.log.filter((line) => line.includes("internal error")), []);
  }

  /** The pooler has closed its end of every connection, and dials nobody. */
  #checkConnectionsAreClosed(): void {
    assert.equal(this.network.dialCount, 0, "A dial is left");
    for (const { acceptor, address, dialer } of this.network.connections) {
      const isOpen = address === formatAddress(this.postgres.address) && !dialer.isClosed ||
        this.addresses.some((own) => formatAddress(own) === address) && !acceptor.isClosed;
      assert.ok(!isOpen, `The pooler leaves a connection at ${address} open`);
    }
  }

  /** Asserts that of clients, servers and waiters none is left. */
  checkNothingIsLeft(): void {
    assert.equal(this.pooler.clients.count, 0, "A client is left");
    for (const pool of this.pooler.pools.registry.all()) {
      const { clientCount, loggingIn, servers, waiting } = pool;
      assert.deepEqual(
        [clientCount, loggingIn.size, servers.count, waiting.size],
        [0, 0, 0, 0],
        `Something is left in pool ${pool.database}/${pool.user}`,
      );
    }
    assert.equal(this.postgres.live.length, 0, "A backend is left");
    assert.equal(this.pooler.statements.count, 0, "A prepared statement is left");
    for (const pool of [...this.pooler.pools.registry.all()]) this.pooler.pools.free(pool);
    assert.deepEqual(this.#maps.grown(REMEMBERED_IN), [], "Map entries are left");
  }
}

/** The resolver, but for the times at which the name service is to fail. */
function failing(resolver: NameResolver, fails: () => boolean): NameResolver {
  return {
    lookUp: (name) =>
      fails() ? Promise.reject(new NameError(`${name}: no answer`)) : resolver.lookUp(name),
    zoneSerial: (zone) =>
      fails() ? Promise.reject(new NameError(`${zone}: no answer`)) : resolver.zoneSerial(zone),
  };
}

async function loadWorld(
  { files = {}, pooler = "", sections = SECTIONS }: WorldOptions,
): Promise<LoadedConfig> {
  const text = `[pooler]\n${withUsual(pooler, POOLER_LINES)}\n${sections}`;
  const config = await loadConfig("config.toml", {
    readTextFile: () => Promise.resolve(text),
    env: () => undefined,
  });
  const rules = await loadAuthRules(config, memoryRules(files));
  return { config, userList: new Map<string, Secret>(), rules };
}

/** Lines of a section: the usual ones, but for those whose names are among the section's own. */
export function withUsual(own: string, usual: string): string {
  const names = new Set(own.split("\n").map(keyOf));
  return [...usual.split("\n").filter((line) => !names.has(keyOf(line))), own].join("\n");
}

function keyOf(line: string): string {
  return line.split("=")[0]!.trim();
}
