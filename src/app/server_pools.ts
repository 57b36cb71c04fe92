/** The pools of one pooler, and how a server for one of them is opened. */

import type { UserCredential } from "../auth/credential.ts";
import type { KeyDerivation } from "../auth/key_derivation.ts";
import { ServerAuthentication } from "../auth/server_authentication.ts";
import { assert, unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { InTurns } from "../base/in_turns.ts";
import type { Random } from "../base/random.ts";
import type { TaskGroup } from "../base/task_group.ts";
import type { ServerPool } from "../client/relay.ts";
import type { Config, DatabaseConfig } from "../config/config.ts";
import {
  channelBindingOf,
  maxDbConnectionsOf,
  maxUserConnectionsOf,
  serverTlsOf,
} from "../config/effective_settings.ts";
import { isOptional } from "../config/tls_needs.ts";
import type { TrackedParameters } from "../link/parameter_cache.ts";
import { ResultChanges } from "../link/result_changes.ts";
import type { StatementRewriter } from "../link/statement_rewriter.ts";
import type { Logger } from "../log/logger.ts";
import type { DnsCache } from "../net/dns_cache.ts";
import type { Network, ServerAddress, StreamOptions } from "../net/network.ts";
import { type CapKind, ConnectionCaps } from "../pool/connection_caps.ts";
import { Pool, type PoolRules } from "../pool/pool.ts";
import { PoolRegistry } from "../pool/pool_registry.ts";
import { addressKeyOf, addressOf } from "../server/server_hosts.ts";
import { serverLabel } from "../server/server_log.ts";
import { ServerSession, type ServerUpkeep } from "../server/server_session.ts";
import type { ServerTls } from "../server/server_tls.ts";
import type { StatsBook } from "../stats/stats_book.ts";
import { PgError } from "../wire/pg_error.ts";
import { NEWEST_MINOR } from "../wire/protocol_version.ts";
import type { Replication } from "../wire/replication.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { DatabaseHosts, endOf, hasRoomForTrial } from "./database_hosts.ts";
import type { LiveConfig } from "./live_config.ts";
import { PoolSecrets, type ServerSecrets } from "./pool_secrets.ts";
import { streamOptionsOf } from "./stream_options.ts";
import type { TlsContexts } from "./tls_contexts.ts";

/** The name is of no use to the server, but it is by the name that the pooler finds the server. */
const PHYSICAL_NEEDS_ENTRY =
  'Physical replication needs a database of the configuration too; most programs ask for "replication".';

/** What is other in a pool that has one client and one server. */
const RULES_FOR_ONE = {
  poolSize: 1,
  minPoolSize: 0,
  reservePoolSize: 0,
  maxWaiting: 0,
  poolMode: "session",
} as const;

/** A query for a secret takes a moment: two servers go through hundreds of them in a second. */
const LOOK_UP_RULES = {
  poolSize: 2,
  minPoolSize: 0,
  reservePoolSize: 0,
  maxWaiting: 0,
  poolMode: "transaction",
} as const;

/** Names are asked for as this, whatever the entry of the database says. */
const LOOK_UP_PARAMETERS: ReadonlyMap<string, string> = new Map([["client_encoding", "UTF8"]]);

/** Why a server is closed whose name leads elsewhere. */
const MOVED = "obsolete connection";

/** First receive buffer of a server; it grows under bulk load. */
const SERVER_RECEIVE_BYTES = 16_384;

/** What the pools are made of. */
export interface ServerPoolsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly live: LiveConfig;
  readonly tls: TlsContexts;
  readonly network: Network;
  readonly names: DnsCache;
  readonly tracked: TrackedParameters;
  readonly rewriter: StatementRewriter;
  readonly derivation: KeyDerivation;
  readonly stats: StatsBook;
  /** Numbers for servers; no client has the same, so that SHOW tells them apart. */
  readonly nextId: () => number;
  /** Runs the servers. */
  readonly servers: TaskGroup;
  /** In which much is done to many. */
  readonly turns: InTurns;
  /** Told of each new pool, before anybody has it. */
  readonly onNewPool: (pool: ServerPool) => void;
  /** Told of each server that has gone. */
  readonly onServerGone: () => void;
}

/** How a server is opened for one client alone. */
export interface PrivateServer extends ServerSecrets {
  readonly replication: Exclude<Replication, "none">;
  /** The client's, besides user and database; they go before those of the configuration. */
  readonly startupParameters: ReadonlyMap<string, string>;
}

/** What is other in a pool that clients do not share. */
interface OwnPool {
  readonly rules: Partial<PoolRules>;
  readonly replication: Replication;
  /** They go before those of the configuration. */
  readonly startupParameters: ReadonlyMap<string, string>;
}

/** Finds and makes pools. */
export class ServerPools {
  readonly registry = new PoolRegistry<ServerPool>();
  /** Limits over several pools. */
  readonly caps: ConnectionCaps;
  /** Those that no client uses; they are in the registry's listing too. */
  readonly #lookUps = new PoolRegistry<ServerPool>();
  readonly #secrets: PoolSecrets;
  readonly #options: ServerPoolsOptions;
  readonly #hosts: DatabaseHosts;
  /** The servers to be hung up on, while many may be closed. */
  #leaving: (() => void)[] | undefined;
  #leavingCount = 0;

  constructor(options: ServerPoolsOptions) {
    this.#options = options;
    const { clock, live, names } = options;
    this.#secrets = new PoolSecrets(live);
    this.caps = new ConnectionCaps({
      nowMs: () => clock.nowMs(),
      limitOf: (kind, name) => serverLimitOf(live.config, kind, name),
    });
    this.#hosts = new DatabaseHosts({
      ...{ clock, live, names },
      hasRoomAt: (addressKey) => this.caps.hasRoomAt(addressKey),
      poolsOf: (database) => this.registry.ofDatabase(database),
    });
  }

  /** Whether there are servers that are closed and have not been hung up on yet. */
  get isHangingUp(): boolean {
    return this.#leavingCount > 0;
  }

  /** Does what may close many servers: all of them at once, and then they are hung up on in turns. */
  closeMany(close: () => void): void {
    if (this.#leaving !== undefined) return close();
    const leaving = this.#leaving = [];
    try {
      close();
    } finally {
      this.#leaving = undefined;
      this.#hangUpOnAll(leaving);
    }
  }

  /** Closes pools, and with them all their servers. */
  closeAll(pools: Iterable<ServerPool>, error: PgError): void {
    this.closeMany(() => {
      for (const pool of pools) pool.close(error, error.message);
    });
  }

  #hangUpOnAll(leaving: readonly (() => void)[]): void {
    const { onServerGone, turns } = this.#options;
    if (leaving.length === 0) return;
    this.#leavingCount += leaving.length;
    turns.each(leaving, (hangUp) => {
      this.#leavingCount -= 1;
      hangUp();
    }, onServerGone);
  }

  #hangUp(hangUp: () => void): void {
    if (this.#leaving === undefined) hangUp();
    else this.#leaving.push(hangUp);
  }

  /** How connections to servers are set up. */
  streamOptions(): StreamOptions {
    return streamOptionsOf(this.#options.live.settings, SERVER_RECEIVE_BYTES);
  }

  /**
   * The pool for a client; made if there is none.
   * @param secrets What its servers log in by.
   * @throws {PgError} If there is no such database, or no user for its servers.
   */
  poolFor(user: string, database: string, secrets: ServerSecrets = {}): ServerPool {
    const serverUser = this.#serverUserFor(user, database);
    const pool = this.registry.findOrMake(
      database,
      serverUser,
      () => this.#makePool(serverUser, database),
    );
    this.#secrets.note(pool, secrets);
    return pool;
  }

  /**
   * The pool whose servers look secrets up; made if there is none. No client is ever linked to one
   * of them, so none can leave anything behind there, and none is waited for.
   * @throws {PgError} If there is no such database.
   */
  lookUpPool(user: string, database: string): ServerPool {
    return this.#lookUps.findOrMake(database, user, () =>
      this.#makePool(user, database, {
        rules: LOOK_UP_RULES,
        replication: "none",
        startupParameters: LOOK_UP_PARAMETERS,
      }));
  }

  /** All such pools. */
  lookUpPools(): readonly ServerPool[] {
    return [...this.#lookUps.all()];
  }

  /** Whether the pool is such a one. */
  isForLookUps(pool: ServerPool): boolean {
    return this.#lookUps.has(pool);
  }

  /**
   * A pool for one client alone, with one server, which is never used again.
   * @throws {PgError} As `poolFor()`.
   */
  openPrivatePool(user: string, database: string, own: PrivateServer): ServerPool {
    const hint = own.replication === "physical" ? PHYSICAL_NEEDS_ENTRY : undefined;
    const pool = this.#makePool(this.#serverUserFor(user, database, hint), database, {
      ...own,
      rules: RULES_FOR_ONE,
    });
    this.#secrets.note(pool, own);
    return pool;
  }

  /** Ends such a pool, whose client is gone. */
  closePrivatePool(pool: ServerPool): void {
    const reason = "replication client was closed";
    pool.close(new PgError(SQLSTATE.adminShutdown, reason), reason);
    this.free(pool);
  }

  /** Frees a pool that has neither clients nor servers. */
  free(pool: ServerPool): void {
    this.registry.remove(pool);
    this.#lookUps.remove(pool);
    this.#options.stats.retire(pool.stats);
    pool.leaveCaps();
    if (this.registry.ofDatabase(pool.database).length === 0) this.#hosts.forget(pool.database);
  }

  /** The user as whom a client's servers log in; undefined if there is no such database. */
  serverUser(user: string, database: string): string | undefined {
    const config = this.#options.live.databaseConfig(database);
    return config === undefined ? undefined : config.user ?? user;
  }

  /** Whether no newcomer comes to the pool any more: its database has another user now, or is gone. */
  isObsolete(pool: ServerPool): boolean {
    if (this.isForLookUps(pool)) return !this.#isAuthUser(pool.user);
    return this.serverUser(pool.user, pool.database) !== pool.user;
  }

  #isAuthUser(user: string): boolean {
    const { config, settings } = this.#options.live;
    if (settings.authUser === user) return true;
    for (const { authUser } of config.databases.values()) if (authUser === user) return true;
    return false;
  }

  /** Whether `min_pool_size` counts: while there are clients, and always for a forced user. */
  wantsSpares(pool: ServerPool): boolean {
    if (this.isObsolete(pool)) return false;
    if (this.isForLookUps(pool)) return false;
    const config = this.#options.live.config.databases.get(pool.database);
    return pool.clientCount > 0 || config?.user === pool.user;
  }

  /** Makes pools for databases with a forced user that want servers without any client. */
  openForcedPools(): void {
    const { live } = this.#options;
    for (const [name, config] of live.config.databases) {
      if (config.user === undefined || name === "*") continue;
      const minPoolSize = config.minPoolSize ?? live.settings.minPoolSize;
      if (minPoolSize > 0) this.poolFor(config.user, name);
    }
  }

  /** @throws {PgError} If there is no such database, with the hint; or no user for its servers. */
  #serverUserFor(user: string, database: string, hint?: string): string {
    const { live, log } = this.#options;
    const config = live.databaseConfig(database);
    if (config === undefined) {
      throw new PgError(
        SQLSTATE.invalidCatalogName,
        `no such database: ${database}`,
        hint === undefined ? {} : { hint },
      );
    }
    if (config.user === undefined && live.settings.authType === "any") {
      log.error(`database "${database}": auth_type=any requires a forced user`);
      throw new PgError(SQLSTATE.internalError, "bouncer config error");
    }
    return config.user ?? user;
  }

  #makePool(user: string, database: string, own?: OwnPool): ServerPool {
    const { clock, live, stats } = this.#options;
    const rulesNow = () => {
      const rules = poolRules(live, user, database);
      return own === undefined ? rules : { ...rules, ...own.rules };
    };
    let rules = rulesNow();
    let rulesOf = live.config;
    const changes = new ResultChanges();
    const pool: ServerPool = new Pool<ServerSession, PgError>({
      database,
      user,
      isPrivate: own !== undefined,
      stats: stats.open(database),
      caps: this.caps,
      addressKeys: () => this.#hosts.addressKeysOf(database),
      nextAddressKeys: () => this.#hosts.nextAddressKeysOf(pool),
      clock,
      rules: () => {
        if (rulesOf !== live.config) {
          rules = rulesNow();
          rulesOf = live.config;
        }
        return rules;
      },
      openServer: () => this.#openServer(pool, { own, changes }),
      isTemporary: (error) => error.sqlstate === SQLSTATE.cannotConnectNow,
      isHostWorthTrying: () => this.#hosts.isOneWorthTrying(database),
      turns: this.#options.turns,
      onServerGone: this.#options.onServerGone,
    });
    this.#options.onNewPool(pool);
    if (own !== undefined) this.registry.addPrivate(pool);
    return pool;
  }

  #openServer(
    pool: ServerPool,
    { changes, own }: { own: OwnPool | undefined; changes: ResultChanges },
  ): ServerSession {
    const { clock, derivation, live, log, network, nextId, random, rewriter, servers, tracked } =
      this.#options;
    const { database, user } = pool;
    const config = live.databaseConfig(database);
    const hosts = this.#hosts.of(database);
    const { settings } = live;
    const { address, isTrial } = hosts.next({ mayTrial: hasRoomForTrial(pool) });
    const isOld = settings.serverProtocol === "3.0" || hosts.isOldProtocol(address);
    const tls = this.#tlsWith(database, address);
    let upkeep: ServerUpkeep | undefined;
    const server = new ServerSession({
      id: nextId(),
      owner: pool,
      database,
      user,
      address,
      network,
      clock,
      random,
      log,
      logsConnections: settings.logConnections,
      logsDisconnections: settings.logDisconnections,
      streamOptions: this.streamOptions(),
      connectTimeoutMs: settings.serverConnectTimeoutMs,
      maxMessageBytes: settings.maxPacketSizeBytes,
      tracked,
      statements: rewriter.newServer(changes),
      startupParameters: new Map([
        ...startupParameters(user, database, config),
        ...own?.startupParameters ?? [],
      ]),
      replication: own?.replication ?? "none",
      tls,
      authentication: () =>
        new ServerAuthentication({
          userName: user,
          credential: this.#serverCredential(pool, config),
          random,
          derivation,
          channelBinding: channelBindingOf(live.config, database),
        }),
      protocolMinor: isOld ? 0 : NEWEST_MINOR,
      // With physical replication a server takes no SQL.
      connectQuery: own?.replication === "physical" ? undefined : config?.connectQuery,
      upkeep: (createdAtMs) => upkeep ??= new LiveUpkeep(pool, { live, clock, createdAtMs }),
      isTrial,
      hangUp: (hangUp) => this.#hangUp(hangUp),
      role: this.#hosts.roleDemand(database, { hosts, address }),
      onUnreachable: (address, error) => {
        const isUnfit = error.sqlstate === SQLSTATE.cannotConnectNow;
        const failure = hosts.noteFailure(address, { isUnfit, why: error.message });
        return endOf(failure, isUnfit ? error : hosts.unfitError ?? error);
      },
      onReached: (address) => {
        if (!hosts.isRoleAsked) hosts.noteSuccess(address);
        this.#leaveIfMoved(server);
      },
      onOldProtocol: (address) => hosts.noteOldProtocol(address),
      onHotStandby: (isStandby) => pool.amendWelcome("in_hot_standby", isStandby),
    });
    if (pool.servers.count >= pool.rules.poolSize) {
      log.warning(`${serverLabel(server)} taking connection from reserve_pool`);
    }
    servers.spawn(async () => {
      using _hold = tls?.hold();
      await server.run();
    });
    return server;
  }

  /** With `prefer-standby`, has a pool come back to a standby: see `DatabaseHosts`. */
  seekBetterHost(pool: ServerPool): void {
    this.#hosts.seekBetter(pool);
  }

  /** Undefined where a server is spoken to in plain text. */
  #tlsWith(database: string, address: ServerAddress): ServerTls | undefined {
    const { live, tls } = this.#options;
    const settings = serverTlsOf(live.config, database);
    // As libpq: whatever the mode, there is none over a unix socket.
    const mode = settings.serverTlsSslmode;
    if (address.kind === "unix" || mode === "disable") return undefined;
    if (isOptional(mode) && !tls.isSpoken) return undefined;
    const setup = tls.serverFor(settings);
    assert(setup !== undefined, "TLS was set up with the configuration");
    return {
      // Whether the certificate is looked at is a matter of the context.
      use: isOptional(mode) ? mode : "require",
      negotiation: settings.serverTlsNegotiation,
      context: setup.context,
      serverName: address.host,
      hold: () => tls.hold(setup),
    };
  }

  #serverCredential(
    pool: ServerPool,
    config: DatabaseConfig | undefined,
  ): UserCredential | undefined {
    // Who looks up is no client: a password for the forced user is not its own.
    if (this.isForLookUps(pool)) return this.#options.live.credentials.get(pool.user);
    return this.#secrets.credentialFor(pool, config);
  }

  /**
   * Closes servers, as they come free, that are where their name does not lead any more. Who
   * replicates keeps a server: what it has begun cannot go on anywhere else.
   */
  doomMoved(name: string): void {
    // Many are at few addresses.
    const byHost = Map.groupBy(this.#serversBy(name), ({ stream }) => stream?.remote.host);
    this.closeMany(() => {
      for (const [host, servers] of byHost) {
        if (host === undefined || this.#options.names.isCurrent(name, host)) continue;
        for (const server of servers) if (!server.isPrivate) server.tag(MOVED);
      }
    });
  }

  /** A name may also have come to lead elsewhere while a server was dialed by it. */
  #leaveIfMoved(server: ServerSession): void {
    const { address, isPrivate, stream } = server;
    if (isPrivate || stream === undefined || address.kind !== "tcp") return;
    const { names } = this.#options;
    if (!names.isCurrent(address.host, stream.remote.host)) server.tag(MOVED);
  }

  /** Whether a server was opened by a name. */
  usesName(name: string): boolean {
    return this.#serversBy(name).some(() => true);
  }

  *#serversBy(name: string): Generator<ServerSession, void, void> {
    for (const { servers } of this.registry.all()) {
      for (const server of servers.all()) {
        if (server.address.kind === "tcp" && server.address.host === name) yield server;
      }
    }
  }
}

/** How one server is kept up, as the configuration in force says; asked at every release. */
class LiveUpkeep implements ServerUpkeep {
  readonly #pool: ServerPool;
  readonly #live: LiveConfig;
  readonly #clock: Clock;
  readonly #createdAtMs: number;

  constructor(
    pool: ServerPool,
    { clock, createdAtMs, live }: {
      live: LiveConfig;
      clock: Clock;
      createdAtMs: number;
    },
  ) {
    this.#pool = pool;
    this.#live = live;
    this.#clock = clock;
    this.#createdAtMs = createdAtMs;
  }

  get resetQuery(): string | undefined {
    const { serverResetQuery } = this.#live.settings;
    return serverResetQuery === "" ? undefined : serverResetQuery;
  }

  get resetsAlways(): boolean {
    return this.#live.settings.serverResetQueryAlways;
  }

  get checkQuery(): string | undefined {
    return this.#live.settings.serverCheckQuery;
  }

  get checksAlways(): boolean {
    return this.#live.settings.serverCheckDelayMs === 0 && this.checkQuery !== undefined;
  }

  get isLifetimeOver(): boolean {
    const lifetimeMs = this.#pool.rules.serverLifetimeMs;
    if (lifetimeMs === 0) return true;
    const isOld = this.#clock.nowMs() - this.#createdAtMs > lifetimeMs;
    // Last, since a turn to be closed is taken by asking.
    return isOld && this.#pool.takeLifetimeTurn(lifetimeMs);
  }
}

function poolRules(live: LiveConfig, user: string, database: string): PoolRules {
  const { settings } = live;
  const ofUser = live.config.users.get(user);
  const ofDatabase = live.databaseConfig(database);
  const poolSize = ofUser?.poolSize ?? ofDatabase?.poolSize ?? settings.defaultPoolSize;
  return {
    // Of 0, too: without a server its clients would wait for nothing.
    poolSize: Math.max(poolSize, 1),
    minPoolSize: ofDatabase?.minPoolSize ?? settings.minPoolSize,
    reservePoolSize: ofUser?.reservePoolSize ?? ofDatabase?.reservePoolSize ??
      settings.reservePoolSize,
    reservePoolTimeoutMs: settings.reservePoolTimeoutMs,
    loginRetryMs: settings.serverLoginRetryMs,
    maxWaiting: ofUser?.maxWaitingClients ?? ofDatabase?.maxWaitingClients ??
      settings.maxWaitingClients,
    isRoundRobin: settings.serverRoundRobin,
    serverLifetimeMs: ofDatabase?.serverLifetimeMs ?? settings.serverLifetimeMs,
    weight: ofUser?.weight ?? ofDatabase?.weight ?? 1,
    poolMode: live.poolMode(user, database),
  };
}

/** What is said of a physical server counts for whoever comes to the same host and port. */
function serverLimitOf(config: Config, kind: CapKind, name: string): number {
  switch (kind) {
    case "database":
      return maxDbConnectionsOf(config, name);
    case "user":
      return maxUserConnectionsOf(config, name);
    case "server":
      for (const { host, maxConnections, port } of config.servers.values()) {
        if (addressKeyOf(addressOf(host, port)) === name) return maxConnections;
      }
      return 0;
    default:
      return unreachable(kind);
  }
}

function startupParameters(
  user: string,
  database: string,
  config: DatabaseConfig | undefined,
): ReadonlyMap<string, string> {
  return new Map([
    ["user", user],
    ["database", config?.dbname ?? database],
    ...config?.startupParameters ?? [],
  ]);
}
