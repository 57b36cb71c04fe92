/**
 * PBKDF2-HMAC-SHA-256, off the event loop, and only a few at a time: it is the one costly step of a
 * login, and a storm of logins must not starve the sessions that are being served.
 */

import { assert } from "../base/assert.ts";

/**
 * One pooler's derivations run on the runtime's threads; four keep two to four cores busy, and more
 * only take the cores away from the event loop.
 */
const DEFAULT_MAX_RUNNING = 4;

/** Bytes of SHA-256, and so of every key of SCRAM-SHA-256. */
export const KEY_BYTES = 32;

/** Runs key derivations, the oldest request first, at most `maxRunning` at a time. */
export class KeyDerivation {
  readonly #maxRunning: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** `maxRunning` is 4 unless given. */
  constructor(options: { readonly maxRunning?: number } = {}) {
    this.#maxRunning = options.maxRunning ?? DEFAULT_MAX_RUNNING;
    assert(this.#maxRunning > 0, "At least one derivation must be allowed to run");
  }

  /** Derivations running now. */
  get runningCount(): number {
    return this.#running;
  }

  /** Derivations waiting for their turn; bounded by the logins, of which each asks for one. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /**
   * Derives `KEY_BYTES` bytes: the SaltedPassword of RFC 5802. Awaits its turn, then Web Crypto.
   * The arguments are borrowed until it resolves.
   */
  async derive(
    password: Uint8Array,
    options: { readonly salt: Uint8Array; readonly iterations: number },
  ): Promise<Uint8Array<ArrayBuffer>> {
    await this.#enter();
    try {
      return await pbkdf2(password, options.salt, options.iterations);
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#maxRunning) {
      this.#running++;
    } else {
      // The one who leaves hands over its place, so #running stays as it is.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}

async function pbkdf2(
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = "PBKDF2";
  const key = await crypto.subtle.importKey("raw", new Uint8Array(password), algorithm, false, [
    "deriveBits",
  ]);
  const parameters = { name: algorithm, hash: "SHA-256", salt: new Uint8Array(salt), iterations };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, KEY_BYTES * 8));
}
