/**
 * Finds the secrets of users that the configuration does not know, by `auth_query`.
 *
 * Each (database, auth_user) has a pool for that alone, which no client is ever linked to: so no
 * client can leave anything there that a look-up would meet (a search_path, say), and a look-up
 * waits for look-ups only, never for a client that may be waiting for it. At most one query is
 * under way for a user; who asks meanwhile waits for the same answer.
 *
 * Invariants: a name goes out as a bound value; nothing of what a client has set, or sent with its
 * name, reaches these servers; what was asked before a change of these settings is not kept after it.
 */

import type { UserCredential } from "../auth/credential.ts";
import type { UserLooks } from "../auth/mock_challenge.ts";
import { SecretCache } from "../auth/secret_cache.ts";
import { isTooLongName } from "../auth/user_list.ts";
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { InTurns } from "../base/in_turns.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import { CredentialWait } from "../client/credential_wait.ts";
import type { ServerPool } from "../client/relay.ts";
import type { Logger } from "../log/logger.ts";
import { CROWDED, type ServerRequest, StandingFailure } from "../pool/pool.ts";
import { WaitingPlace } from "../pool/waiting_queue.ts";
import { type AuthAnswer, AuthQuery } from "../server/auth_query.ts";
import type { ServerSession } from "../server/server_session.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";
import type { ServerPools } from "./server_pools.ts";

/** What the look-up works with. */
export interface AuthLookUpOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly live: LiveConfig;
  readonly pools: ServerPools;
  /** In which many are told what was found. */
  readonly turns: InTurns;
  readonly isDisabled: (database: string) => boolean;
}

/** Where and how a secret is looked up. */
interface Source {
  /** Who asks. */
  readonly authUser: string;
  /** Where, as clients would name it. */
  readonly database: string;
  readonly sql: string;
}

/** Looks secrets up. */
export class AuthLookUp {
  readonly #options: AuthLookUpOptions;
  readonly #cache = new SecretCache();
  /** Those that newcomers may join, by user and source. */
  readonly #flights = new Map<string, Flight>();
  readonly #running = new Set<AuthQuery>();
  /** The settings as of the last look, for telling whether they have changed. */
  #sources: readonly unknown[];

  constructor(options: AuthLookUpOptions) {
    this.#options = options;
    this.#sources = this.#sourcesNow();
  }

  /**
   * The secret of a user who wants to use a database. Undefined: nothing is known of that name.
   * @throws {PgError} If it cannot be looked up now.
   */
  credentialOf(user: string, database: string): UserCredential | CredentialWait | undefined {
    const found = this.#find(user, database);
    if (!(found instanceof Flight)) return found;
    const wait = new CredentialWait(user, database);
    found.add(wait);
    return wait;
  }

  /** How users look who can be looked up for a database; undefined if nobody can be. */
  looksFor(database: string): UserLooks | undefined {
    if (this.#authUserFor(database) === undefined) return undefined;
    return this.#cache.looks(this.#options.live.settings.scramIterations);
  }

  /** The secret did not fit what a client knew. It may have changed: the next one looks it up. */
  noteMismatch(credential: UserCredential): void {
    this.#cache.expire(credential);
  }

  /**
   * A configuration was taken over. Where it changes how secrets are looked up, nothing of before
   * counts any more: who is still waiting to ask asks anew, and servers are closed.
   */
  onTakenOver(): void {
    const before = this.#sources;
    this.#sources = this.#sourcesNow();
    const isSame = before.length === this.#sources.length &&
      before.every((each, at) => each === this.#sources[at]);
    if (isSame) return;
    this.#cache.clear();
    const flights = [...this.#flights.values()];
    this.#flights.clear();
    for (const pool of this.#options.pools.lookUpPools()) pool.doomServers("auth settings changed");
    for (const flight of flights) this.#askAnew(flight);
  }

  /** Ends queries that take longer than any login may. */
  expire(nowMs: number): void {
    const limitMs = this.#options.live.settings.clientLoginTimeoutMs;
    if (limitMs === 0) return;
    for (const query of [...this.#running]) {
      if (nowMs - query.startedAtMs > limitMs) query.expire();
    }
  }

  /** What is known of a user, or who is about to find out. @throws {PgError} As `credentialOf()`. */
  #find(user: string, database: string): UserCredential | Flight | undefined {
    const source = this.#sourceFor(user, database);
    if (source === undefined) return undefined;
    const { clock, live } = this.#options;
    const key = JSON.stringify([user, source.authUser, source.database, source.sql]);
    const ttlMs = live.settings.authCacheTtlMs;
    return this.#cache.get(key, { nowMs: clock.nowMs(), ttlMs }) ??
      this.#flights.get(key) ?? this.#begin(key, user, source);
  }

  /** Who looks up the users of a database; undefined if nobody does. */
  #authUserFor(database: string): string | undefined {
    const { live } = this.#options;
    if (database === CONSOLE_DATABASE || live.settings.authType === "any") return undefined;
    return live.databaseConfig(database)?.authUser ?? live.settings.authUser;
  }

  /** @throws {PgError} If the settings name a place where nothing can be looked up. */
  #sourceFor(user: string, database: string): Source | undefined {
    const { isDisabled, live, log } = this.#options;
    const { settings } = live;
    const config = live.databaseConfig(database);
    const authUser = this.#authUserFor(database);
    if (authUser === undefined || isTooLongName(user)) return undefined;
    const named = config?.authDbname ?? settings.authDbname;
    // Whether there is such a database is told to nobody yet.
    if (named === undefined && config === undefined) return undefined;
    const source = named ?? database;
    if (source === CONSOLE_DATABASE || live.databaseConfig(source) === undefined) {
      log.error(`auth_query: there is no database ${JSON.stringify(source)} to look users up in`);
      throw configError();
    }
    if (source !== database && isDisabled(source)) {
      const text = `authentication database "${source}" is disabled`;
      throw new PgError(SQLSTATE.cannotConnectNow, text);
    }
    return { authUser, database: source, sql: config?.authQuery ?? settings.authQuery };
  }

  /** @throws {PgError} If no server is to be had. */
  #begin(key: string, user: string, source: Source): Flight {
    const pool = this.#options.pools.lookUpPool(source.authUser, source.database);
    const flight = new Flight(user, pool, {
      turns: this.#options.turns,
      ask: (server) => this.#ask(key, { flight, server, sql: source.sql }),
      fail: (reason) => this.#fail(key, { flight, reason }),
      onDeserted: () => this.#drop(key, flight),
    });
    this.#flights.set(key, flight);
    const got = pool.acquire(flight.place);
    assert(got !== CROWDED, "How many may log in is limited elsewhere");
    if (got instanceof StandingFailure) {
      this.#drop(key, flight);
      this.#logFailure(flight, got.error.message);
      throw unavailable();
    }
    if (got !== undefined) flight.place.owner.serve(got);
    return flight;
  }

  #ask(
    key: string,
    { flight, server, sql }: { flight: Flight; server: ServerSession; sql: string },
  ): void {
    const { clock } = this.#options;
    const onDone = (answer: AuthAnswer) => {
      this.#running.delete(query);
      this.#answer(key, { flight, answer });
    };
    const nowMs = clock.nowMs();
    const query = AuthQuery.run(server, { sql, userName: flight.user, nowMs, onDone });
    this.#running.add(query);
  }

  #answer(key: string, { answer, flight }: { flight: Flight; answer: AuthAnswer }): void {
    switch (answer.kind) {
      case "lost":
        return this.#fail(key, { flight, reason: answer.reason });
      case "failed":
        this.#logFailure(flight, answer.reason);
        this.#drop(key, flight);
        return flight.refuse(configError());
      case "unknown":
        if (answer.reason !== undefined) this.#logFailure(flight, answer.reason);
        if (this.#isCurrent(key, flight)) this.#cache.forget(key);
        this.#drop(key, flight);
        return flight.settle(undefined);
      case "found": {
        // Begun before a change of settings, it is good for those who asked before it, and no more.
        const cache = this.#isCurrent(key, flight) ? this.#cache : new SecretCache();
        const found = { userName: flight.user, secret: answer.secret };
        const credential = cache.put(key, found, this.#options.clock.nowMs());
        this.#drop(key, flight);
        return flight.settle(credential);
      }
    }
  }

  #fail(key: string, { flight, reason }: { flight: Flight; reason: string }): void {
    this.#logFailure(flight, reason);
    this.#drop(key, flight);
    flight.refuse(unavailable());
  }

  /** Whether nothing has changed since the flight began. */
  #isCurrent(key: string, flight: Flight): boolean {
    return this.#flights.get(key) === flight;
  }

  #drop(key: string, flight: Flight): void {
    if (this.#isCurrent(key, flight)) this.#flights.delete(key);
  }

  /** Has those wait for another answer whose question has not been sent yet. */
  #askAnew(flight: Flight): void {
    for (const wait of flight.takeBack()) {
      try {
        const found = this.#find(wait.user, wait.database);
        if (found instanceof Flight) found.add(wait);
        else wait.settle(found);
      } catch (error) {
        if (!(error instanceof PgError)) throw error;
        wait.refuse(error);
      }
    }
  }

  #logFailure({ pool, user }: Flight, reason: string): void {
    const where = `${pool.database}/${pool.user}`;
    this.#options.log.error(`${where} auth_query for user ${JSON.stringify(user)}: ${reason}`);
  }

  /** All that says how secrets are looked up, credentials of those who ask included. */
  #sourcesNow(): unknown[] {
    const { config, credentials, settings } = this.#options.live;
    const sources: unknown[] = [settings.authUser, settings.authQuery, settings.authDbname];
    const authUsers = [settings.authUser];
    for (const { authDbname, authQuery, authUser, name } of config.databases.values()) {
      sources.push(name, authUser, authQuery, authDbname);
      authUsers.push(authUser);
    }
    for (const user of authUsers) {
      sources.push(user === undefined ? undefined : credentials.get(user));
    }
    return sources;
  }
}

/** One look-up: first in the queue for a server, then at one. */
class Flight {
  readonly user: string;
  readonly pool: ServerPool;
  readonly place: WaitingPlace<ServerRequest<ServerSession, PgError>>;
  readonly #turns: InTurns;
  readonly #onDeserted: () => void;
  readonly #waits = new Set<CredentialWait>();

  constructor(user: string, pool: ServerPool, { ask, fail, onDeserted, turns }: {
    turns: InTurns;
    /** Sends the question. */
    ask: (server: ServerSession) => void;
    /** No server is to be had. */
    fail: (reason: string) => void;
    /** Nobody waits any more, and the question was not sent. */
    onDeserted: () => void;
  }) {
    this.user = user;
    this.pool = pool;
    this.place = new WaitingPlace<ServerRequest<ServerSession, PgError>>({
      serve: ask,
      refuse: (error) => fail(error.message),
      turnAway: ({ error }) => fail(error.message),
    });
    this.#turns = turns;
    this.#onDeserted = onDeserted;
  }

  /** One more waits for the answer. */
  add(wait: CredentialWait): void {
    wait.onLeave = (leaving) => this.#leave(leaving);
    this.#waits.add(wait);
  }

  settle(credential: UserCredential | undefined): void {
    this.#turns.each(this.#takeAll(), (wait) => wait.settle(credential));
  }

  refuse(error: PgError): void {
    this.#turns.each(this.#takeAll(), (wait) => wait.refuse(error));
  }

  /** Those who wait, if the question has not been sent yet; it will not be. */
  takeBack(): CredentialWait[] {
    return this.pool.cancel(this.place) ? this.#takeAll() : [];
  }

  /** A question that has been sent is left to its end: its answer is of use to the next one. */
  #leave(wait: CredentialWait): void {
    this.#waits.delete(wait);
    if (this.#waits.size === 0 && this.pool.cancel(this.place)) this.#onDeserted();
  }

  #takeAll(): CredentialWait[] {
    const waits = [...this.#waits];
    this.#waits.clear();
    return waits;
  }
}

/** What a client is told where the configuration is at fault; the log says how. */
function configError(): PgError {
  return new PgError(SQLSTATE.internalError, "bouncer config error");
}

/** What a client is told where nobody can be asked; the log says who and why. */
function unavailable(): PgError {
  return new PgError(SQLSTATE.connectionFailure, "authentication is not available now");
}
