/**
 * Who has failed to log in lately, by address and by user name, and how long answers are held back
 * for it. Pure: it is told the time.
 *
 * What came from an address holds back every answer to that address, right or wrong, so that nobody
 * there learns early that a guess was wrong. What was tried for a user from anywhere holds back
 * refusals only: the user gets in at once from an address that did nothing. Names count whether they
 * exist or not.
 */

/** Longest time an answer is held back. */
const MAX_DELAY_MS = 10_000;

/** Without a failure for so long, those before are forgotten. */
const FORGET_MS = 600_000;

/** Most addresses, and most names, that are remembered; whose last failure is the oldest goes. */
const MAX_REMEMBERED = 10_000;

/** Who tries. */
export interface LoginAttempt {
  /** Undefined where it tells nothing about who it is, as on a unix socket. */
  readonly address: string | undefined;
  readonly user: string;
}

interface Failures {
  readonly count: number;
  readonly lastAtMs: number;
}

/** Remembers failures. */
export class FailedLogins {
  readonly #baseMs: () => number;
  readonly #byAddress = new FailureTable();
  readonly #byUser = new FailureTable();

  /** `baseMs`: how long the first refusal is held back; each further one twice as long. 0 = off. */
  constructor(baseMs: () => number) {
    this.#baseMs = baseMs;
  }

  /** Addresses and names that are remembered. */
  get rememberedCount(): number {
    return this.#byAddress.size + this.#byUser.size;
  }

  /** Notes a failure. Returns for how many ms the refusal is to be held back. */
  refused({ address, user }: LoginAttempt, nowMs: number): number {
    // Nothing is remembered for a later change of the setting.
    if (this.#baseMs() === 0) return 0;
    const ofUser = this.#byUser.add(user, nowMs);
    const ofAddress = address === undefined ? 0 : this.#byAddress.add(address, nowMs);
    return this.#delayMs(Math.max(ofUser, ofAddress));
  }

  /** For how many ms the answer to a right password is to be held back. */
  accepted({ address }: LoginAttempt, nowMs: number): number {
    return address === undefined ? 0 : this.#delayMs(this.#byAddress.count(address, nowMs));
  }

  #delayMs(count: number): number {
    return count === 0 ? 0 : Math.min(this.#baseMs() * 2 ** (count - 1), MAX_DELAY_MS);
  }
}

/** Failures by a key; the key whose last failure is the oldest comes first. */
class FailureTable {
  readonly #entries = new Map<string, Failures>();

  get size(): number {
    return this.#entries.size;
  }

  count(key: string, nowMs: number): number {
    const entry = this.#entries.get(key);
    return entry === undefined || nowMs - entry.lastAtMs > FORGET_MS ? 0 : entry.count;
  }

  add(key: string, nowMs: number): number {
    const count = this.count(key, nowMs) + 1;
    this.#entries.delete(key);
    this.#entries.set(key, { count, lastAtMs: nowMs });
    for (const [oldest, { lastAtMs }] of this.#entries) {
      if (this.#entries.size <= MAX_REMEMBERED && nowMs - lastAtMs <= FORGET_MS) break;
      this.#entries.delete(oldest);
    }
    return count;
  }
}
