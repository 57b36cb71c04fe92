/**
 * The composition root: one `Pooler` holds everything of one pooler; several run in one process.
 * It knows nothing of the process it runs in: that is `process.ts`.
 */

import { errorStack } from "../base/error_text.ts";
import type { MemoryUse, ShutdownMode } from "../admin/console_context.ts";
import { openConsole } from "../admin/open_console.ts";
import type { OwnNetworks } from "../auth/hba_rules.ts";
import { KeyDerivation } from "../auth/key_derivation.ts";
import type { Clock } from "../base/clock.ts";
import { DONE_A_TURN, InTurns } from "../base/in_turns.ts";
import type { Random } from "../base/random.ts";
import { TaskGroup } from "../base/task_group.ts";
import { turnOn } from "../base/turn.ts";
import { CancelDesk } from "../client/cancel_request.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import { ClientRegistry } from "../client/client_registry.ts";
import { ClientSession } from "../client/client_session.ts";
import { LoginBrake } from "../client/login_brake.ts";
import { LoginLimit } from "../client/login_limit.ts";
import { PeerDesk } from "../client/peer_desk.ts";
import type { Config } from "../config/config.ts";
import { allServerTls, peerOf } from "../config/effective_settings.ts";
import type { Settings } from "../config/settings.ts";
import { isOptional } from "../config/tls_needs.ts";
import { TrackedParameters } from "../link/parameter_cache.ts";
import { StatementBook } from "../link/statement_book.ts";
import { StatementRewriter } from "../link/statement_rewriter.ts";
import type { Logger } from "../log/logger.ts";
import { type Duty, Janitor } from "../maintenance/janitor.ts";
import type { ReloadChange } from "../maintenance/reload_plan.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { DnsCache } from "../net/dns_cache.ts";
import type { NameResolver } from "../net/name_resolver.ts";
import {
  formatAddress,
  type ListenAddress,
  type Listener,
  ListenError,
  type Network,
  type StreamOptions,
} from "../net/network.ts";
import { NoTls } from "../net/no_tls.ts";
import { ResolvingNetwork } from "../net/resolving_network.ts";
import { systemLdapConnector } from "../net/system_ldap.ts";
import { LoopLag } from "../stats/loop_lag.ts";
import { StatsBook } from "../stats/stats_book.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { askerOf, type AskPam, type LdapConnectors } from "./ask_outside.ts";
import { AuthLookUp } from "./auth_lookup.ts";
import { ExpiryWatch } from "./certificate_expiry.ts";
import { dutiesOf } from "./duties.ts";
import { listenAddresses } from "./listen_addresses.ts";
import { DatabaseOperations } from "./database_operations.ts";
import { LiveConfig, type LoadedConfig } from "./live_config.ts";
import { LoginRules, type SystemUserOf } from "./login_rules.ts";
import { OutsideLogins } from "./outside_logins.ts";
import { Reception } from "./reception.ts";
import { Reloader, ReloadError, type UserListFile } from "./reloader.ts";
import { ServerPools } from "./server_pools.ts";
import { Shutdown } from "./shutdown.ts";
import { streamOptionsOf } from "./stream_options.ts";
import { TlsContexts } from "./tls_contexts.ts";
import type { ReadTlsFile } from "./tls_files.ts";

export type { ShutdownMode } from "../admin/console_context.ts";

/** Time for a client to take the news before it is hung up on, and for what is being cancelled. */
const FAREWELL_MS = 500;

/** Least limit where `max_login_clients` is 0: a health check must not end somebody's login. */
const MIN_LOGIN_CLIENTS = 100;

/** How often the log is told of logins that were ended for others. */
const LOGIN_REPORT_INTERVAL_MS = 10_000;

/** How often `auth_file` is looked at. */
const USER_LIST_INTERVAL_MS = 1_000;

/** What a pooler is made of. */
export interface PoolerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The I/O engine. */
  readonly network: Network;
  /** Looks names of servers up. */
  readonly resolver: NameResolver;
  /** Name of the I/O engine, for SHOW CONFIG. */
  readonly engine: string;
  readonly loaded: LoadedConfig;
  /** Where to listen, in place of what the configuration says. */
  readonly listenOn?: readonly ListenAddress[];
  /** Reads the configuration at `path` and the files it names. */
  readonly load: (path: string) => Promise<LoadedConfig>;
  /** `auth_file` by itself; without it, only a reload reads that. */
  readonly userListFile?: UserListFile;
  /** Reads certificates and the like; without it there are none. */
  readonly readTlsFile?: ReadTlsFile;
  /** What the engine notes its lag in; unless given, there is only that of the janitor. */
  readonly loopLag?: LoopLag;
  /** What the process uses, for SHOW MEM. */
  readonly memory: () => MemoryUse;
  /** What else is to be done from time to time. */
  readonly duties?: readonly Duty[];
  /** User ID of this process, where there is such a thing. */
  readonly ownUid: number | undefined;
  /** Names the users of the system, for `peer`; without it nobody gets in by that. */
  readonly systemUserOf?: SystemUserOf;
  /** Connects to LDAP directories; unless said otherwise, over the network of the system. */
  readonly ldapConnectors?: LdapConnectors;
  /** Asks PAM; without it nobody gets in by that. */
  readonly askPam?: AskPam | undefined;
  /** The networks of this machine, for `samehost` and `samenet`; without it there are none. */
  readonly ownNetworks?: OwnNetworks;
  /** What only this machine has and keeps; without it, salts of unknown users last as long as this. */
  readonly hostSecret?: string | undefined;
  /** Told before new settings are in force; if it throws, they do not come in force. */
  readonly onReloaded?: (loaded: LoadedConfig) => void;
  /** Told before a configuration is read anew, and after it was taken over or not. */
  readonly onReloading?: () => void;
  readonly onReloadEnded?: (isTaken: boolean) => void;
  /** Told once, at the first moment of the end. */
  readonly onShuttingDown?: () => void;
}

/** One pooler. */
export class Pooler {
  readonly clients = new ClientRegistry();
  readonly live: LiveConfig;
  readonly tls: TlsContexts;
  readonly pools: ServerPools;
  readonly operations: DatabaseOperations;
  readonly stats: StatsBook;
  readonly loopLag: LoopLag;
  readonly names: DnsCache;
  /** The prepared statements that clients share. */
  readonly statements = new StatementBook();
  readonly janitor: Janitor;

  readonly #options: PoolerOptions;
  readonly #reception: Reception;
  readonly #reloader: Reloader;
  readonly #expiry: ExpiryWatch;
  readonly #cancels: CancelDesk;
  readonly #logins: LoginLimit;
  readonly #clientTasks: TaskGroup;
  readonly #serverTasks: TaskGroup;
  readonly #acceptTasks: TaskGroup;
  /** The janitor, and what it starts. */
  readonly #ownTasks: TaskGroup;
  readonly #turns: InTurns;
  #listeners: Listener[] = [];
  readonly #shutdown: Shutdown;
  #streamOptions: StreamOptions | undefined;
  #streamOptionsOf: Config | undefined;

  constructor(options: PoolerOptions) {
    this.#options = options;
    const { clock, log, random, resolver } = options;
    const onError = (error: unknown) => log.error(`internal error: ${errorStack(error)}`);
    this.#clientTasks = new TaskGroup(onError);
    this.#serverTasks = new TaskGroup(onError);
    this.#acceptTasks = new TaskGroup(onError);
    this.#ownTasks = new TaskGroup(onError);
    const turns = this.#turns = new InTurns({
      maxActions: DONE_A_TURN,
      atNext: (then) => this.#serverTasks.spawn(() => turnOn(clock).then(then)),
    });
    this.live = new LiveConfig(options.loaded);
    this.tls = new TlsContexts({
      engine: options.network.tls,
      read: options.readTlsFile ?? (() => Promise.reject(new Error("No such file"))),
      serverSettingsOf: allServerTls,
    });
    const certificates = () => this.tls.certificates;
    this.#expiry = new ExpiryWatch({ clock, log, certificates });
    this.names = new DnsCache({
      clock,
      resolver,
      maxTtlMs: () => this.live.settings.dnsMaxTtlMs,
      failureTtlMs: () => this.live.settings.dnsNxdomainTtlMs,
      zoneCheckMs: () => this.live.settings.dnsZoneCheckPeriodMs,
      onMove: (name) => this.pools.doomMoved(name),
    });
    const network = new ResolvingNetwork({ engine: options.network, names: this.names, clock });
    this.stats = new StatsBook(clock.nowMs());
    this.loopLag = options.loopLag ?? new LoopLag(clock);
    // The console has a row of its own, as PgBouncer's, in which nothing is counted.
    this.stats.open(CONSOLE_DATABASE);
    const tracked = new TrackedParameters(this.live.settings.trackExtraParameters);
    const rewriter = new StatementRewriter({
      book: this.statements,
      limit: () => this.live.settings.maxPreparedStatements,
    });
    const derivation = new KeyDerivation();
    this.pools = new ServerPools({
      clock,
      random,
      log,
      live: this.live,
      tls: this.tls,
      network,
      names: this.names,
      tracked,
      rewriter,
      derivation,
      stats: this.stats,
      nextId: () => this.clients.nextId(),
      servers: this.#serverTasks,
      turns,
      onNewPool: (pool) => this.operations.adoptPool(pool),
      onServerGone: () => this.operations.check(),
    });
    this.#shutdown = new Shutdown({
      clock,
      log,
      live: this.live,
      clients: this.clients,
      pools: this.pools,
      turns,
      listeners: () => this.#listeners,
      onFirst: () => {
        options.onShuttingDown?.();
        this.#lookForDeserted();
      },
      onBegun: () => this.operations.beginShutdown(),
      endEverything: () => this.#endEverything(),
    });
    this.operations = new DatabaseOperations({
      live: this.live,
      clients: this.clients,
      pools: this.pools.registry,
      log,
      nowMs: () => clock.nowMs(),
      isShuttingDown: () => this.#shutdown.hasBegun,
      isWaitingForClients: () => this.#shutdown.isWaitingForClients,
      turns,
      closeMany: (close) => this.pools.closeMany(close),
      isHangingUp: () => this.pools.isHangingUp,
      apply: (config) => this.#reloader.takeOver({ ...this.live.loaded, config }),
    });
    const authLookUp = new AuthLookUp({
      clock,
      log,
      live: this.live,
      pools: this.pools,
      turns,
      isDisabled: (database) => this.operations.isDisabled(database),
    });
    this.#reloader = new Reloader({
      live: this.live,
      pools: this.pools,
      clients: this.clients,
      turns,
      log,
      tls: this.tls,
      load: options.load,
      userListFile: options.userListFile,
      onReloading: options.onReloading,
      onReloadEnded: options.onReloadEnded,
      onReloaded: options.onReloaded,
      onTakenOver: ({ isReload }) => {
        if (isReload) {
          this.#expiry.warn();
          this.#lookForDeserted();
        }
        this.operations.forgetRemoved();
        authLookUp.onTakenOver();
        this.pools.caps.refresh();
      },
    });
    const cancelLimits = {
      network,
      clock,
      streamOptions: () => this.pools.streamOptions(),
      waitTimeoutMs: () => this.live.settings.cancelWaitTimeoutMs,
      connectTimeoutMs: () => this.live.settings.serverConnectTimeoutMs,
    };
    const maxLogins = () => maxLoginClients(this.live.settings);
    const peers = new PeerDesk({
      ...cancelLimits,
      maxWaiting: maxLogins,
      ownId: () => this.live.settings.peerId,
      peer: (id) => peerOf(this.live.config, id),
    });
    const cancels = this.#cancels = new CancelDesk({
      ...cancelLimits,
      log,
      clients: this.clients,
      peers,
    });
    const consoleContext = {
      clients: this.clients,
      pools: this.pools.registry,
      caps: this.pools.caps,
      stats: this.stats,
      loopLag: this.loopLag,
      names: this.names,
      cancels,
      peers,
      clock,
      engine: options.engine,
      operations: this.operations,
      planReload: () => this.planReload(),
      tls: {
        library: network.tls.name,
        certificates: () =>
          this.tls.certificates.map(({ file, ...rest }) => ({ ...file, ...rest })),
      },
      memory: options.memory,
      config: () => this.live.config,
      userNames: () => this.live.credentials.keys(),
      reload: async () => {
        log.log("RELOAD command issued");
        if (!await this.reload()) throw new ReloadError("Cannot reload: see the log");
      },
      shutdown: (mode: ShutdownMode, limitMs?: number) => {
        log.log("SHUTDOWN command issued");
        this.shutdown(mode, limitMs);
      },
    };
    this.#logins = new LoginLimit({ log, limit: maxLogins });
    const brake = new LoginBrake({ clock, log, turns, settings: () => this.live.settings });
    this.#reception = new Reception({
      clock,
      log,
      random,
      derivation,
      tracked,
      rewriter,
      live: this.live,
      tls: this.tls,
      rules: new LoginRules({
        live: this.live,
        log,
        systemUserOf: options.systemUserOf,
        ownNetworks: options.ownNetworks ?? (() => []),
      }),
      clients: this.clients,
      logins: this.#logins,
      brake,
      pools: this.pools,
      authLookUp,
      outside: new OutsideLogins({
        clock,
        log,
        tasks: this.#ownTasks,
        ask: askerOf({
          clock,
          random,
          live: this.live,
          ldapConnectors: options.ldapConnectors ?? systemLdapConnector,
          askPam: options.askPam,
        }),
      }),
      cancels,
      ownUid: options.ownUid,
      hostSecret: options.hostSecret,
      onAbandoned: (server, pool) => {
        // The end of all is not held up by what nobody waits for.
        if (this.#shutdown.isStopping) return;
        this.#clientTasks.spawn(() => cancels.cancelAbandoned(server, pool));
      },
      isTurnedAway: (client) => this.#shutdown.isTurnedAway(client),
      operations: this.operations,
      openConsole: (client, { isOwnProcess }) =>
        openConsole(client, { context: consoleContext, isOwnProcess }),
    });
    this.janitor = new Janitor([
      ...dutiesOf({
        clock,
        log,
        live: this.live,
        clients: this.clients,
        pools: this.pools,
        stats: this.stats,
      }),
      { intervalMs: () => 0, run: () => this.names.refresh((name) => this.pools.usesName(name)) },
      { intervalMs: () => 0, run: () => this.pools.caps.look() },
      { intervalMs: () => 0, run: (nowMs) => authLookUp.expire(nowMs) },
      { intervalMs: () => 0, run: () => this.#expiry.warnDaily() },
      { intervalMs: () => 0, run: (nowMs) => brake.release(nowMs) },
      { intervalMs: () => LOGIN_REPORT_INTERVAL_MS, run: () => this.#logins.report() },
      { intervalMs: () => 0, run: () => this.operations.check() },
      { intervalMs: () => 0, run: () => this.#shutdown.advance() },
      {
        intervalMs: () => USER_LIST_INTERVAL_MS,
        run: () => this.#ownTasks.spawn((signal) => this.#reloader.lookAtUserList(signal)),
      },
      ...(options.duties ?? []),
    ], {
      clock,
      loopLag: this.loopLag,
      onError,
      onGap: (lateMs) => warnOfGap(log, lateMs),
      traffic: this.clients,
    });
  }

  /** Resolves when the pooler has ended and nothing of it is left. */
  get stopped(): Promise<void> {
    return this.#shutdown.stopped;
  }

  /**
   * Opens the listeners and begins to serve. Returns the addresses as bound.
   * @throws {ListenError} If the unix socket or all of TCP cannot be listened on; then nothing is.
   * @throws {TlsSetupError} If TLS cannot be set up as the configuration says.
   */
  async start(): Promise<readonly ListenAddress[]> {
    using prepared = await this.tls.prepare(this.live.config);
    prepared.putInForce();
    this.#noteTls();
    this.#expiry.warn();
    try {
      await this.#openListeners();
      for (const listener of this.#listeners) listener.takeOver();
    } catch (error) {
      this.#closeListeners();
      this.tls[Symbol.dispose]();
      throw error;
    }
    for (const listener of this.#listeners) this.#acceptTasks.spawn(() => this.#accept(listener));
    this.#ownTasks.spawn((signal) => this.janitor.run(signal));
    return this.#listeners.map(({ address }) => address);
  }

  /** As PgBouncer and PostgreSQL do, is content with some of several addresses of TCP. */
  async #openListeners(): Promise<void> {
    const { listenOn, log, network } = this.#options;
    const addresses = listenOn ?? listenAddresses(this.live.settings);
    const tcpCount = addresses.filter(({ kind }) => kind === "tcp").length;
    const failures: ListenError[] = [];
    for (const address of addresses) {
      try {
        const listener = await network.listen(address, () => this.#clientStreamOptions());
        this.#listeners.push(listener);
        log.log(`listening on ${formatAddress(listener.address)}`);
      } catch (error) {
        if (!(error instanceof ListenError) || address.kind === "unix") throw error;
        failures.push(error);
        if (failures.length === tcpCount) throw failures[0];
      }
    }
    for (const { message } of failures) log.warning(message);
  }

  /** Nobody should believe in a protection that is not there. */
  #noteTls(): void {
    const { tls } = this.#options.network;
    const isMissed = tls instanceof NoTls &&
      allServerTls(this.live.config).some(({ serverTlsSslmode }) => isOptional(serverTlsSslmode));
    if (isMissed) {
      this.#options.log.warning(`servers are reached in plain text: no TLS here (${tls.reason})`);
    }
  }

  /** Serves one connection; the accept loop does this for each it takes. */
  serve(stream: ByteStream, isLate = this.#shutdown.hasBegun): ClientSession {
    const { clock, log } = this.#options;
    const client = new ClientSession({
      id: this.clients.nextId(),
      stream,
      isLate,
      clock,
      log,
      desk: this.#reception,
    });
    this.clients.add(client);
    this.#logins.add(client);
    this.#clientTasks.spawn(() => client.run());
    return client;
  }

  /**
   * Reads the configuration anew and takes it over; all or nothing. Returns whether it did; if
   * not, the log says why.
   */
  reload(): Promise<boolean> {
    return this.#reloader.reload();
  }

  /**
   * What a reload would change; it changes nothing.
   * @throws {ReloadError} If the configuration is bad, of which the log tells.
   */
  planReload(): Promise<readonly ReloadChange[]> {
    return this.#reloader.plan();
  }

  /**
   * Begins to end; the next time it only gets stricter. `limitMs` is how long transactions may go on
   * with `wait_for_transactions`; undefined: as long as they take.
   */
  shutdown(mode: ShutdownMode, limitMs?: number): void {
    this.#shutdown.begin(mode, limitMs);
  }

  /** Whether it has begun to end. */
  get isShuttingDown(): boolean {
    return this.#shutdown.hasBegun;
  }

  async #accept(listener: Listener): Promise<void> {
    await this.#acceptAll(listener);
    this.#shutdown.noteClosed(listener);
  }

  async #acceptAll(listener: Listener): Promise<void> {
    for await (const stream of listener.connections()) {
      try {
        this.serve(stream, this.#shutdown.isLate(listener));
      } catch (error) {
        // One connection that cannot be served must not end the accepting of others.
        this.#options.log.error(`internal error: ${errorStack(error)}`);
        stream.close();
      }
    }
  }

  /**
   * Says of addresses that another process took over that it has ended since. Nothing tells of that
   * by itself, so it is looked at when an operator does something that may have to do with it.
   */
  #lookForDeserted(): void {
    for (const listener of this.#listeners) {
      this.#ownTasks.spawn(async () => {
        if (!await listener.isDeserted()) return;
        this.#options.log.warning(
          `nobody listens on ${formatAddress(listener.address)}: the process that took it over ` +
            "has ended; one that is started anew takes it over in turn",
        );
      });
    }
  }

  /** The same object for all, until the configuration changes. */
  #clientStreamOptions(): StreamOptions {
    const { config, settings } = this.live;
    if (this.#streamOptionsOf !== config) {
      this.#streamOptionsOf = config;
      this.#streamOptions = streamOptionsOf(settings, settings.pktBufBytes);
    }
    return this.#streamOptions!;
  }

  async #endEverything(): Promise<void> {
    await this.#acceptTasks.whenIdle();
    const error = new PgError(SQLSTATE.adminShutdown, "pooler is shutting down");
    await this.#turns.whenEach(
      [...this.clients.all()],
      (client) => client.end(error.message, error),
    );
    const farewell = this.#options.clock.startTimer(FAREWELL_MS, () => {
      this.#turns.each([...this.clients.all()], (client) => client.hangUp());
      this.#cancels.end();
    });
    await this.#clientTasks.whenIdle();
    farewell.cancel();
    this.pools.closeAll(this.pools.registry.all(), error);
    await this.#serverTasks.whenIdle();
    await this.#ownTasks[Symbol.asyncDispose]();
    this.tls[Symbol.dispose]();
  }

  #closeListeners(): void {
    for (const listener of this.#listeners) listener.close();
  }
}

/** Unless set, as many as may be in at the same time: then no rush of theirs is too many. */
function maxLoginClients({ maxClientConn, maxLoginClients }: Settings): number {
  return maxLoginClients > 0 ? maxLoginClients : Math.max(MIN_LOGIN_CLIENTS, maxClientConn);
}

/** Without it, whoever reads the log later finds that all stood still, and nothing that says why. */
function warnOfGap(log: Logger, lateMs: number): void {
  const seconds = (lateMs / 1_000).toFixed(1);
  log.warning(
    `nothing ran for ${seconds} s: the process was stopped, suspended or held up; ` +
      "deadlines are put off by that",
  );
}
