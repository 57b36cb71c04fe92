/**
 * The secrets that were looked up of late, so that a storm of logins is not a storm of queries.
 *
 * Bounded: of users, the one not asked for longest is forgotten first. Only what was found is kept:
 * names that nobody has would push out those of users. Pure.
 */

import type { Secret } from "../base/secret.ts";
import { UserCredential } from "./credential.ts";
import { LooksTally, type UserLooks } from "./mock_challenge.ts";

/** Users that are kept unless told otherwise. */
const DEFAULT_MAX_COUNT = 10_000;

/** Longest secret that is kept; all that PostgreSQL makes are shorter. */
const MAX_KEPT_LENGTH = 1_024;

interface Entry {
  readonly credential: UserCredential;
  foundAtMs: number;
}

/** Looked-up secrets, by a key that says which user of which database. */
export class SecretCache {
  readonly #maxCount: number;
  /** The one used least of late comes first. */
  readonly #entries = new Map<string, Entry>();
  /** Of all that were found, kept or not. */
  #tally = new LooksTally();
  readonly #byCredential = new WeakMap<UserCredential, Entry>();

  constructor(maxCount = DEFAULT_MAX_COUNT) {
    this.#maxCount = maxCount;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** How those look who were found. */
  looks(scramIterations: number): UserLooks {
    return this.#tally.looks(scramIterations);
  }

  /** What was found less than `ttlMs` ago, if anything. */
  get(key: string, { nowMs, ttlMs }: { nowMs: number; ttlMs: number }): UserCredential | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || nowMs - entry.foundAtMs >= ttlMs) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.credential;
  }

  /**
   * Takes in what was found now. Returns the credential to use: the one of before if the secret is
   * still the same, with all that was learned of it.
   */
  put(
    key: string,
    { secret, userName }: { userName: string; secret: Secret | undefined },
    nowMs: number,
  ): UserCredential {
    const before = this.#entries.get(key)?.credential;
    this.#entries.delete(key);
    const isSame = before !== undefined && secret !== undefined && before.hasSecret(secret);
    const credential = isSame ? before : new UserCredential(userName, secret);
    if (!isSame) this.#tally.add(credential);
    if ((secret?.reveal().length ?? 0) > MAX_KEPT_LENGTH) return credential;
    const entry: Entry = { credential, foundAtMs: nowMs };
    this.#entries.set(key, entry);
    this.#byCredential.set(credential, entry);
    if (this.#entries.size > this.#maxCount) this.#dropOldest();
    return credential;
  }

  /** There is no such user any more. */
  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** Somebody's secret was not this one, which may be out of date: the next login looks it up. */
  expire(credential: UserCredential): void {
    const entry = this.#byCredential.get(credential);
    if (entry !== undefined) entry.foundAtMs = -Infinity;
  }

  clear(): void {
    this.#tally = new LooksTally();
    this.#entries.clear();
  }

  #dropOldest(): void {
    const oldest = this.#entries.keys().next().value;
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}
