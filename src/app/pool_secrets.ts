/**
 * What the servers of a pool log in by: what is stored of their user, or what a client of the pool
 * has proved who it is by. The latter is remembered for as long as there is the pool.
 */

import { UserCredential } from "../auth/credential.ts";
import type { ServerPool } from "../client/relay.ts";
import type { DatabaseConfig } from "../config/config.ts";
import type { LiveConfig } from "./live_config.ts";

/** What a client has proved who it is by, for the servers that are opened in its name. */
export interface ServerSecrets {
  /** What it was shown to know, if that was looked up. */
  readonly lookedUp?: UserCredential | undefined;
  /** A password that somebody else has taken from it; it goes before all that is stored. */
  readonly typed?: UserCredential | undefined;
}

/** A password that was typed. */
interface TypedSecret {
  readonly credential: UserCredential;
  /** What was stored for the user at that time: anything newer goes before it. */
  readonly stored: UserCredential | undefined;
}

/** The secrets of all pools of clients. */
export class PoolSecrets {
  readonly #live: LiveConfig;
  /** What was looked up of a pool's user. */
  readonly #lookedUp = new WeakMap<ServerPool, UserCredential>();
  /** The last one that was right. */
  readonly #typed = new WeakMap<ServerPool, TypedSecret>();

  constructor(live: LiveConfig) {
    this.#live = live;
  }

  /**
   * Remembers what a client of the pool has proved who it is by. A forced user's servers log in by
   * what the configuration says of that user, and nothing else.
   */
  note(pool: ServerPool, { lookedUp, typed }: ServerSecrets): void {
    if (this.#live.databaseConfig(pool.database)?.user !== undefined) return;
    if (lookedUp !== undefined) this.#noteLookedUp(pool, lookedUp);
    if (typed !== undefined) this.#noteTyped(pool, typed);
  }

  /** What the pool's next server logs in by; `config` says whether the user is forced. */
  credentialFor(
    pool: ServerPool,
    config: DatabaseConfig | undefined,
  ): UserCredential | undefined {
    const stored = this.#live.credentials.get(pool.user);
    if (config?.user === undefined) {
      const typed = this.#typed.get(pool);
      if (typed !== undefined && typed.stored === stored) return typed.credential;
      return stored ?? this.#lookedUp.get(pool);
    }
    // A reload may have forced the very user whose clients were looked up: that does not count.
    return config.password === undefined ? stored : new UserCredential(pool.user, config.password);
  }

  #noteLookedUp(pool: ServerPool, credential: UserCredential): void {
    const before = this.#lookedUp.get(pool);
    // By trust or peer nobody shows keys: those that another login of the user has shown still count.
    if (before?.scramKeys !== undefined && before.isSameAs(credential)) return;
    this.#lookedUp.set(pool, credential);
  }

  #noteTyped(pool: ServerPool, typed: UserCredential): void {
    const before = this.#typed.get(pool)?.credential;
    // It has keys that were derived for servers.
    const credential = before?.isSameAs(typed) === true ? before : typed;
    this.#typed.set(pool, { credential, stored: this.#live.credentials.get(pool.user) });
  }
}
