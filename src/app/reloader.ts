/**
 * Takes new configurations over, from all files or from `auth_file` alone: all of it or nothing.
 * One after the other: each reads in its turn, so that the newest files count.
 */

import { Deferred } from "../base/deferred.ts";
import { errorText } from "../base/error_text.ts";
import type { InTurns } from "../base/in_turns.ts";
import type { Secret } from "../base/secret.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { ServerPool } from "../client/relay.ts";
import { serverTlsOf } from "../config/effective_settings.ts";
import type { Logger } from "../log/logger.ts";
import { changeLines } from "../maintenance/change_lines.ts";
import { reloadChanges, tlsFileChanges } from "../maintenance/reload_changes.ts";
import { planReload, type ReloadChange } from "../maintenance/reload_plan.ts";
import { TlsSetupError } from "../net/tls.ts";
import { DATABASE_CHANGED } from "../server/server_end.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig, LoadedConfig } from "./live_config.ts";
import type { ServerPools } from "./server_pools.ts";
import type { PreparedTls, TlsContexts } from "./tls_contexts.ts";

/** `auth_file`, by itself. */
export interface UserListFile {
  /** What changes whenever the file does; it never rejects, and no two paths have the same. */
  stampOf(path: string): Promise<string>;
  /** What the file holds. Rejects if it is bad, with a line for each thing that is wrong. */
  read(path: string): Promise<ReadonlyMap<string, Secret>>;
}

/** What a reload works on. */
export interface ReloaderOptions {
  readonly live: LiveConfig;
  readonly pools: ServerPools;
  readonly clients: ClientRegistry;
  /** In which much is done to many. */
  readonly turns: InTurns;
  readonly log: Logger;
  readonly tls: TlsContexts;
  readonly load: (path: string) => Promise<LoadedConfig>;
  readonly userListFile: UserListFile | undefined;
  /** Told before everything is read anew, and after it was taken over or not. */
  readonly onReloading: (() => void) | undefined;
  readonly onReloadEnded: ((isTaken: boolean) => void) | undefined;
  /** Told before a configuration is put in force; if it throws, that is not done. */
  readonly onReloaded: ((loaded: LoadedConfig) => void) | undefined;
  /** Told when it is in force; whether all files were read for it. */
  readonly onTakenOver: (taken: { readonly isReload: boolean }) => void;
}

/** A configuration was not taken over, of which the log tells. */
export class ReloadError extends Error {
  override readonly name = "ReloadError";
}

/** Reads anew and takes over. */
export class Reloader {
  readonly #options: ReloaderOptions;
  /** The youngest of what is done one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #turnCount = 0;
  /** Stamp of an `auth_file` that was found bad. */
  #badStamp: string | undefined;

  constructor(options: ReloaderOptions) {
    this.#options = options;
  }

  /** Reads everything anew and takes it over. Returns whether it did; if not, the log says why. */
  reload(): Promise<boolean> {
    const { onReloadEnded, onReloading } = this.#options;
    return this.#inTurn(async () => {
      onReloading?.();
      const isTaken = await this.#reload();
      onReloadEnded?.(isTaken);
      return isTaken;
    });
  }

  /**
   * What a reload would change.
   * @throws {ReloadError} If a file is bad, of which the log tells.
   */
  async plan(): Promise<readonly ReloadChange[]> {
    const { live, load, log, tls } = this.#options;
    const changes = await this.#inTurn(async () => {
      try {
        const read = await load(live.settings.conffile);
        using prepared = await tls.prepare(read.config);
        return this.#changesBy(read, prepared);
      } catch (error) {
        this.#logError(error);
        log.error("what a reload would change cannot be told");
        return undefined;
      }
    });
    if (changes === undefined) throw new ReloadError("Cannot reload: see the log");
    return changes;
  }

  /**
   * Reads `auth_file` anew if it has changed; what is bad changes nothing. Not waited for beyond
   * `signal`: a disk that does not answer cannot be told to stop, and must not hold up the end.
   */
  async lookAtUserList(signal: AbortSignal): Promise<void> {
    // A slow disk must not make a queue; and what is being done may bring the file as well.
    if (this.#turnCount > 0) return;
    const ended = new Deferred<void>();
    const onAbort = () => ended.resolve();
    signal.addEventListener("abort", onAbort);
    try {
      await Promise.race([this.#inTurn(() => this.#followUserList()), ended.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Puts a configuration in force, with what was made ready for TLS; without that, its settings for
   * TLS have to be those that are in force.
   * @throws If that cannot be done; then nothing has changed.
   */
  takeOver(read: LoadedConfig, prepared?: PreparedTls): void {
    const { live, log, onReloaded, onTakenOver, pools, tls } = this.#options;
    if (prepared === undefined && !tls.isMeantBy(read.config, live.config)) {
      throw new TlsSetupError(
        "Settings for TLS are taken over by RELOAD: change them in the configuration file",
      );
    }
    const names = new Set([...pools.registry.all()].map(({ database }) => database));
    const plan = planReload(live.config, read.config, names);
    const otherTls = this.#withOtherTls(names, read.config, prepared);
    const next = live.prepare(read);
    // The last that may fail: from here on all of it is done.
    onReloaded?.(next.loaded);
    next.putInForce();
    prepared?.putInForce();
    for (const warning of read.config.warnings) log.warning(warning);
    for (const key of plan.needsRestart) log.warning(`${key} takes effect with a restart only`);
    pools.closeMany(() => {
      for (const name of plan.changedDatabases) this.#recycle(name);
      for (const name of otherTls) this.#doomServers(name, "TLS settings changed");
      for (const name of plan.removedDatabases) this.#remove(name);
      onTakenOver({ isReload: prepared !== undefined });
    });
  }

  async #reload(): Promise<boolean> {
    const { live, load, log, tls } = this.#options;
    try {
      const read = await load(live.settings.conffile);
      using prepared = await tls.prepare(read.config);
      const changes = this.#changesBy(read, prepared);
      this.takeOver(read, prepared);
      this.#logChanges(changes);
    } catch (error) {
      this.#logError(error);
      log.error("reload failed, nothing has been changed");
      return false;
    }
    this.#badStamp = undefined;
    log.log("configuration reloaded");
    return true;
  }

  async #followUserList(): Promise<void> {
    const { live, log, userListFile } = this.#options;
    const path = live.settings.authFile;
    if (path === undefined || userListFile === undefined) return;
    const userListStamp = await userListFile.stampOf(path);
    const isKnown = userListStamp === live.loaded.userListStamp ||
      userListStamp === this.#badStamp;
    if (isKnown) return;
    try {
      const userList = await userListFile.read(path);
      // SET may have named another file meanwhile.
      if (live.settings.authFile !== path) return;
      const next = {
        ...live.loaded,
        config: withoutWarnings(live.loaded),
        userList,
        userListStamp,
      };
      const changes = reloadChanges(live.loaded, next);
      this.takeOver(next);
      this.#logChanges(changes);
      log.log(`auth_file ${path} has changed: its users are in force`);
    } catch (error) {
      this.#badStamp = userListStamp;
      this.#logError(error);
      log.error(`auth_file ${path} has changed and is bad: its users are as before`);
    }
  }

  /** To be asked when all has been read, and not before: SET may have changed something meanwhile. */
  #changesBy(read: LoadedConfig, prepared: PreparedTls): ReloadChange[] {
    const { live, tls } = this.#options;
    return [
      ...reloadChanges(live.loaded, read),
      ...tlsFileChanges(tls.digests, prepared.digests),
    ];
  }

  #logChanges(changes: readonly ReloadChange[]): void {
    for (const line of changeLines(changes)) this.#options.log.log(line);
  }

  #logError(error: unknown): void {
    for (const line of errorText(error).split("\n")) this.#options.log.error(line);
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    this.#turnCount += 1;
    // One that failed is its caller's affair, and holds nobody up.
    const turn = this.#turn.then(action, action).finally(() => {
      this.#turnCount -= 1;
    });
    this.#turn = turn;
    return turn;
  }

  /** Databases to whose servers TLS is spoken otherwise from now on, by settings or by files. */
  #withOtherTls(
    databases: Iterable<string>,
    next: LoadedConfig["config"],
    prepared: PreparedTls | undefined,
  ): string[] {
    if (prepared === undefined) return [];
    const { live, tls } = this.#options;
    return [...databases].filter((name) =>
      tls.serverFor(serverTlsOf(live.config, name)) !== prepared.serverFor(serverTlsOf(next, name))
    );
  }

  #doomServers(database: string, reason: string): void {
    for (const pool of this.#options.pools.registry.ofDatabase(database)) pool.doomServers(reason);
  }

  /** Closes a database's servers as they come free, and ends clients that need another user's. */
  #recycle(database: string): void {
    const { clients, pools, turns } = this.#options;
    const misplaced = [...clients.all()].filter(({ pool, user }) =>
      pool?.database === database && user !== undefined &&
      pools.serverUser(user, database) !== pool.user
    );
    // First, so that no server is opened for them in place of those that are closed.
    for (const pool of pools.registry.ofDatabase(database)) {
      if (pools.isObsolete(pool)) pool.refuseWaiting(DATABASE_CHANGED);
    }
    for (const client of misplaced) {
      // Others stay who wait there: those of the user who was forced upon these.
      if (!pools.isObsolete(client.pool!)) endIfWaiting(client);
      client.relay?.renounceObsoletePool();
    }
    this.#doomServers(database, "connect string changed");
    turns.each(misplaced, (client) => leaveObsoletePool(client));
  }

  #remove(database: string): void {
    const { clients, pools, turns } = this.#options;
    const error = new PgError(SQLSTATE.adminShutdown, "database removed");
    const removed = pools.registry.ofDatabase(database);
    for (const pool of removed) pool.stopServing(error);
    turns.each(
      [...clients.all()].filter(({ pool }) => pool?.database === database),
      (client) => client.end(error.message, error),
      () => this.#closePools(removed, error),
    );
  }

  #closePools(removed: readonly ServerPool[], error: PgError): void {
    const { pools } = this.#options;
    pools.closeAll(removed, error);
    // The janitor may have come first.
    for (const pool of removed) if (pools.registry.has(pool)) pools.free(pool);
  }
}

/** Who still waits, for a server or for its login, would wait for one that is not opened any more. */
function endIfWaiting(client: ClientSession): void {
  const { relay } = client;
  if (relay !== undefined && relay.waitingSinceMs === undefined) return;
  client.end(DATABASE_CHANGED.message, DATABASE_CHANGED);
}

/** Who logs in to it ends, as does who is in, but for what is under way. */
function leaveObsoletePool(client: ClientSession): void {
  const { isOpen, relay } = client;
  if (relay === undefined) client.end(DATABASE_CHANGED.message, DATABASE_CHANGED);
  else if (isOpen) relay.leaveObsoletePool();
}

/** They have been said when the files were read. */
function withoutWarnings({ config }: LoadedConfig): LoadedConfig["config"] {
  return { ...config, warnings: [] };
}
