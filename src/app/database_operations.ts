/**
 * What operators do with databases, servers and clients: PAUSE and its kin, each with PgBouncer's
 * meaning in every state of the others.
 *
 * All is decided between two awaits; where it is about all clients, it is carried out in turns, and
 * others are served in between.
 * Those that wait look again each time a server has gone, and once in each of the janitor's rounds.
 */

import type { Operations } from "../admin/console_context.ts";
import { AssertionError } from "../base/assert.ts";
import { Deferred } from "../base/deferred.ts";
import { errorText } from "../base/error_text.ts";
import type { InTurns } from "../base/in_turns.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { ServerPool } from "../client/relay.ts";
import { withSetting } from "../config/set_setting.ts";
import type { Config } from "../config/config.ts";
import type { Logger } from "../log/logger.ts";
import type { PoolRegistry } from "../pool/pool_registry.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";
import { streamCount } from "./stream_count.ts";

/** What the operations work on. */
export interface DatabaseOperationsOptions {
  readonly live: LiveConfig;
  readonly clients: ClientRegistry;
  readonly pools: PoolRegistry<ServerPool>;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly isShuttingDown: () => boolean;
  /** Whether the pooler ends, and serves its clients until they leave. */
  readonly isWaitingForClients: () => boolean;
  /** In which much is done to many. */
  readonly turns: InTurns;
  /** Does what may close many servers. */
  readonly closeMany: (close: () => void) => void;
  /** Whether some of them are still connected. */
  readonly isHangingUp: () => boolean;
  /** Puts a configuration in force that differs from the present one in a setting. */
  readonly apply: (config: Config) => void;
}

/** What a command waits for. */
interface Goal {
  readonly isOver: () => boolean;
  /** Whether it cannot be reached any more, since somebody has undone what led there. */
  readonly isLost: () => boolean;
  /** Undoes what led there. */
  readonly giveUp: () => void;
}

/** A goal, and who waits for it. */
interface Wait {
  readonly goal: Goal;
  readonly over: Deferred<void>;
}

/** Carries them out. */
export class DatabaseOperations implements Operations {
  readonly #options: DatabaseOperationsOptions;
  readonly #paused = new Set<string>();
  /** Of those, the ones that a KILL of all has paused and a RESUME of all takes back. */
  readonly #killed = new Set<string>();
  readonly #disabled = new Set<string>();
  readonly #waits = new Set<Wait>();
  #mode: Operations["mode"] = "active";
  /** When the connections that are still busy are closed; there while SUSPEND waits for them. */
  #suspendLimitMs = 0;
  #isClosingRestless = false;

  constructor(options: DatabaseOperationsOptions) {
    this.#options = options;
  }

  get mode(): Operations["mode"] {
    return this.#mode;
  }

  isPaused(database: string): boolean {
    return this.#paused.has(database);
  }

  isDisabled(database: string): boolean {
    return this.#disabled.has(database);
  }

  heldBack(): ReadonlySet<string> {
    return this.#paused.union(this.#disabled);
  }

  pause(database: string | undefined, signal: AbortSignal): Promise<void> {
    this.#refuseInShutdown();
    this.#refuseUnlessActive();
    this.#log("PAUSE", database);
    if (database === undefined) {
      this.#mode = "paused";
    } else {
      this.#requireDatabase(database, "pause");
      this.#paused.add(database);
    }
    this.#pausePools(database);
    return this.#wait({
      isOver: () => !this.#hasServers(database) && !this.#options.isHangingUp(),
      isLost: () => database === undefined ? this.#mode !== "paused" : !this.isPaused(database),
      giveUp: () => this.#undoPause(database),
    }, signal);
  }

  resume(database: string | undefined): void {
    // Who is waited for must not wait for ever for what nobody could undo.
    const isNeeded = this.#options.isWaitingForClients() && this.#isHeldBack(database);
    if (!isNeeded) this.#refuseInShutdown();
    if (database !== undefined) {
      this.#log("RESUME", database);
      this.#requireDatabase(database, "resume");
      if (!this.#paused.has(database)) throw wrongState(`database ${database} is not paused`);
      return this.#undoPause(database);
    }
    this.#log("RESUME");
    if (!this.#isHeldBack(undefined)) throw wrongState("pooler is not paused/suspended");
    this.#undoPause(undefined);
  }

  disable(database: string): void {
    this.#log("DISABLE", database);
    this.#requireDatabase(database, "disable");
    this.#disabled.add(database);
  }

  enable(database: string): void {
    this.#log("ENABLE", database);
    this.#requireDatabase(database, "enable");
    this.#disabled.delete(database);
  }

  reconnect(database: string | undefined): void {
    this.#log("RECONNECT", database);
    if (database !== undefined) this.#requireDatabase(database, "reconnect");
    this.#options.closeMany(() => {
      for (const pool of this.#poolsOf(database)) pool.doomServers("obsolete connection");
    });
  }

  /** Each database is paused by itself, so that each can be resumed by itself. */
  kill(database: string | undefined): Promise<void> {
    this.#refuseInShutdown();
    if (database === undefined) this.#refuseUnlessActive();
    this.#log("KILL", database);
    if (database === undefined) this.#pauseEach();
    else {
      this.#requireDatabase(database, "kill");
      this.#paused.add(database);
    }
    this.#pausePools(database);
    return new Promise((resolve) => this.#dropAll(database, resolve));
  }

  #pauseEach(): void {
    const { live, pools } = this.#options;
    const names = new Set(live.config.databases.keys());
    for (const { database } of pools.all()) names.add(database);
    names.delete("*");
    for (const name of names.difference(this.#paused)) {
      this.#paused.add(name);
      this.#killed.add(name);
    }
  }

  #pausePools(database: string | undefined): void {
    this.#options.closeMany(() => {
      for (const pool of this.#poolsOf(database)) pool.pause();
    });
  }

  #dropAll(database: string | undefined, onDone: () => void): void {
    const { clients, turns } = this.#options;
    const dropped = [...clients.all()].filter(({ pool }) =>
      pool !== undefined && (database === undefined || pool.database === database)
    );
    turns.each(
      dropped,
      (client) => {
        if (client.isOpen) this.#dropClient(client);
      },
      () => {
        this.#dropServers(database);
        onDone();
      },
    );
  }

  #dropServers(database: string | undefined): void {
    this.#options.closeMany(() => {
      for (const pool of this.#poolsOf(database)) {
        // What was resumed meanwhile is others' again.
        if (!pool.isPaused) continue;
        for (const server of [...pool.servers.all()]) server.discard(forced().message);
      }
    });
  }

  killClient(id: number): void {
    this.#log("KILL_CLIENT", String(id));
    for (const client of this.#options.clients.all()) {
      if (client.id === id && client.isOpen) return this.#dropClient(client);
    }
    throw new PgError(SQLSTATE.undefinedObject, "client not found", { severity: "ERROR" });
  }

  suspend(signal: AbortSignal): Promise<void> {
    this.#refuseInShutdown();
    if (this.#mode === "active" && this.#paused.size > 0) {
      throw wrongState(
        "cannot suspend with paused databases",
        "SHOW DATABASES WHERE paused = '1' has them.",
      );
    }
    this.#refuseUnlessActive();
    this.#log("SUSPEND");
    this.#mode = "suspended";
    const { live, nowMs } = this.#options;
    this.#suspendLimitMs = nowMs() + live.settings.suspendTimeoutMs;
    for (const pool of this.#options.pools.all()) pool.hold();
    for (const client of this.#options.clients.all()) client.relay?.freeze();
    return this.#wait({
      isOver: () => this.#isFrozen(),
      isLost: () => this.#mode !== "suspended",
      giveUp: () => this.#undoPause(undefined),
    }, signal);
  }

  waitClose(database: string | undefined, signal: AbortSignal): Promise<void> {
    this.#log("WAIT_CLOSE", database);
    if (database === CONSOLE_DATABASE) {
      throw wrongState(`cannot wait in admin db: ${CONSOLE_DATABASE}`);
    }
    if (database !== undefined) this.#requireDatabase(database, "wait");
    return this.#wait({
      isOver: () => !this.#hasDoomedServers(database),
      isLost: () => false,
      giveUp: () => {},
    }, signal);
  }

  set(key: string, value: string): void {
    const { apply, live, log } = this.#options;
    try {
      apply(withSetting(live.config, key, value));
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      // Of the setting itself, or of what it means: a log file, for one, that cannot be opened.
      throw new PgError(SQLSTATE.syntaxError, "SET failed", {
        severity: "ERROR",
        detail: errorText(error),
      });
    }
    log.log(`SET ${key} = ${value} command issued`);
  }

  /** Why nobody may log in to the database now, if so. */
  refusal(database: string): PgError | undefined {
    if (!this.#disabled.has(database)) return undefined;
    return new PgError(SQLSTATE.cannotConnectNow, `database "${database}" is disabled`);
  }

  /** Brings a new pool to the state that its database is in. */
  adoptPool(pool: ServerPool): void {
    if (this.#mode === "paused" || this.#paused.has(pool.database)) pool.pause();
    else if (this.#mode === "suspended") pool.hold();
  }

  /** Brings a client that has just logged in to the state that all are in. */
  adoptClient({ relay }: ClientSession): void {
    if (this.#mode === "suspended") relay?.freeze();
  }

  /** Tells those whose wait is over, and closes what did not come to rest in time. */
  check(): void {
    // Each server that goes with a client that is closed here asks again: once at the end will do.
    if (this.#waits.size === 0 || this.#isClosingRestless) return;
    if (this.#mode === "suspended") this.#closeRestless();
    for (const wait of this.#waits) {
      const isLost = wait.goal.isLost();
      if (!isLost && !wait.goal.isOver()) continue;
      this.#waits.delete(wait);
      if (isLost) wait.over.reject(wrongState("resumed before it was done"));
      else wait.over.resolve();
    }
  }

  /** What was said of databases that are no longer there is forgotten. */
  forgetRemoved(): void {
    for (const names of [this.#paused, this.#killed, this.#disabled]) {
      for (const name of names) {
        if (this.#options.live.databaseConfig(name) === undefined) names.delete(name);
      }
    }
  }

  /** The pooler ends: nothing is held back any more. */
  beginShutdown(): void {
    if (this.#mode === "suspended") this.#undoPause(undefined);
  }

  #refuseUnlessActive(): void {
    if (this.#mode !== "active") throw wrongState("already suspended/paused");
  }

  /** Serves again what nothing else holds back. */
  #undoPause(database: string | undefined): void {
    // First of all: what goes on below may ask for it.
    if (database === undefined) {
      this.#mode = "active";
      for (const name of this.#killed) this.#paused.delete(name);
      this.#killed.clear();
    } else {
      this.#paused.delete(database);
      this.#killed.delete(database);
    }
    if (this.#mode === "active") {
      this.#thawAll();
      for (const pool of this.#poolsOf(database)) {
        if (pool.isPaused && !this.#paused.has(pool.database)) pool.resume();
      }
    }
    this.check();
  }

  /** In turns, but for those that a new SUSPEND holds by then. */
  #thawAll(): void {
    const { clients, turns } = this.#options;
    const frozen = [...clients.all()].filter(({ relay }) => relay?.isInFreeze === true);
    turns.each(frozen, ({ relay }) => {
      if (this.#mode !== "suspended") relay!.thaw();
    });
  }

  #isFrozen(): boolean {
    for (const client of this.#options.clients.all()) if (isRestless(client)) return false;
    return true;
  }

  /** SUSPEND waits for so long and no longer. */
  #closeRestless(): void {
    const { clients, nowMs, turns } = this.#options;
    if (nowMs() < this.#suspendLimitMs) return;
    const error = new PgError(SQLSTATE.adminShutdown, "suspend_timeout");
    const restless = [...clients.all()].filter(isRestless);
    if (restless.length === 0) return;
    this.#isClosingRestless = true;
    turns.each(
      restless,
      (client) => {
        if (isRestless(client)) client.end(error.message, error);
      },
      () => {
        this.#isClosingRestless = false;
        this.check();
      },
    );
  }

  /** The client and its server, which is closed as soon as it is not needed for cancelling. */
  #dropClient(client: ClientSession): void {
    const error = forced();
    client.relay?.server?.doom(error.message);
    client.end(error.message, error);
  }

  #hasServers(database: string | undefined): boolean {
    return this.#poolsOf(database).some((pool) => pool.servers.count > streamCount(pool));
  }

  #hasDoomedServers(database: string | undefined): boolean {
    return this.#poolsOf(database).some(({ servers }) => {
      for (const { isDoomed } of servers.all()) if (isDoomed) return true;
      return false;
    });
  }

  #poolsOf(database: string | undefined): ServerPool[] {
    const { pools } = this.#options;
    return database === undefined ? [...pools.all()] : pools.ofDatabase(database);
  }

  /** Resolves when the goal is reached; rejects when it is lost, or `signal` comes first. */
  async #wait(goal: Goal, signal: AbortSignal): Promise<void> {
    if (goal.isOver()) return;
    const wait: Wait = { goal, over: new Deferred<void>() };
    const onAbort = () => {
      if (!this.#waits.delete(wait)) return;
      goal.giveUp();
      wait.over.reject(signal.reason);
    };
    this.#waits.add(wait);
    signal.addEventListener("abort", onAbort);
    try {
      await wait.over.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #isHeldBack(database: string | undefined): boolean {
    if (database !== undefined) return this.isPaused(database);
    return this.#mode !== "active" || this.#killed.size > 0;
  }

  #refuseInShutdown(): void {
    if (this.#options.isShuttingDown()) throw wrongState("pooler is shutting down");
  }

  /** @throws {PgError} If there is no such database, or it is the console. */
  #requireDatabase(database: string, verb: string): void {
    if (database === CONSOLE_DATABASE) throw wrongState(`cannot ${verb} admin db: ${database}`);
    if (database !== "*" && this.#options.live.databaseConfig(database) !== undefined) return;
    throw new PgError(SQLSTATE.invalidCatalogName, `no such database: ${database}`, {
      severity: "ERROR",
    });
  }

  #log(command: string, of?: string): void {
    this.#options.log.log(
      of === undefined ? `${command} command issued` : `${command} '${of}' command issued`,
    );
  }
}

/** Whether SUSPEND still waits for the client. */
function isRestless({ isOpen, relay }: ClientSession): boolean {
  return isOpen && relay?.isFrozen === false;
}

/** What the dropped are told. */
function forced(): PgError {
  return new PgError(SQLSTATE.adminShutdown, "admin forced disconnect");
}

function wrongState(message: string, detail?: string): PgError {
  return new PgError(SQLSTATE.objectNotInPrerequisiteState, message, {
    severity: "ERROR",
    ...(detail === undefined ? {} : { detail }),
  });
}
