/**
 * What is known of one user: the stored secret, its kind, and keys that were made from it or shown
 * by the user. Lives as long as the secret is configured; shared by the logins of that user.
 *
 * Invariants: learned keys are accepted only if they fit the stored verifier, so nobody's keys can
 * take another's place; caches are bounded.
 */

import { assert } from "../base/assert.ts";
import type { Secret } from "../base/secret.ts";
import { KEY_BYTES, type KeyDerivation } from "./key_derivation.ts";
import { isMd5Secret, md5Secret } from "./md5.ts";
import { preparePassword } from "./saslprep.ts";
import {
  decodeBase64,
  equalBytes,
  parseScramVerifier,
  type ScramKeys,
  scramKeys,
  type ScramVerifier,
} from "./scram.ts";

export type { ScramKeys, ScramVerifier } from "./scram.ts";

/**
 * How a secret is stored. "none": there is no secret, or an empty one, which no password matches.
 */
export type CredentialKind = "none" | "plain" | "md5" | "scram";

/** One salt for our own clients, and as many for clusters behind us that know the user. */
const MAX_CACHED_KEYS = 8;

/** A user's name and secret. */
export class UserCredential {
  /** The name the user logs in with; part of an MD5 hash. */
  readonly userName: string;
  /** How the secret is stored. */
  readonly kind: CredentialKind;
  readonly #verifier: ScramVerifier | undefined;
  readonly #secret: Secret | undefined;
  /** By rounds and salt; promises, so that logins at the same time derive once. Oldest first. */
  readonly #derivedKeys = new Map<string, Promise<ScramKeys>>();
  #learnedKeys: ScramKeys | undefined;

  /** `secret` is a plain text, an MD5 hash or a SCRAM verifier, told apart as PostgreSQL does. */
  constructor(userName: string, secret: Secret | undefined) {
    const text = secret?.reveal() ?? "";
    this.userName = userName;
    this.#verifier = parseScramVerifier(text);
    this.kind = kindOf(text, this.#verifier);
    this.#secret = secret;
  }

  /** Whether this is the credential of `secret`: then what was learned may be kept. */
  hasSecret(secret: Secret): boolean {
    return secret.equals(this.#secret);
  }

  /** Whether another credential is of the same user and secret. */
  isSameAs(other: UserCredential): boolean {
    const secret = other.#secret;
    if (other.userName !== this.userName) return false;
    return secret === undefined ? this.#secret === undefined : this.hasSecret(secret);
  }

  /** The stored verifier of kind "scram", else undefined. */
  get verifier(): ScramVerifier | undefined {
    return this.#verifier;
  }

  /** The password itself, of kind "plain"; else undefined. Not for messages. */
  get plainPassword(): string | undefined {
    return this.kind === "plain" ? this.#secret?.reveal() : undefined;
  }

  /** Returns the MD5 form of the secret: kept, or made from a plain one; else undefined. */
  md5Secret(): string | undefined {
    if (this.kind === "md5") return this.#secret?.reveal();
    const password = this.plainPassword;
    return password === undefined ? undefined : md5Secret(password, this.userName);
  }

  /** The keys that a client's own login has shown; undefined until then. */
  get scramKeys(): ScramKeys | undefined {
    return this.#learnedKeys;
  }

  /** Keeps keys for logins to servers. They must be those of this credential's own verifier. */
  learnScramKeys(keys: ScramKeys): void {
    const verifier = this.#verifier;
    assert(verifier !== undefined, "Only a stored verifier has keys to be learned");
    assert(
      keys.salt === verifier.salt && keys.iterations === verifier.iterations &&
        keys.clientKey.length === KEY_BYTES && equalBytes(keys.storedKey, verifier.storedKey),
      "Learned keys must be those of the stored verifier",
    );
    this.#learnedKeys ??= keys;
  }

  /**
   * Makes the keys of a plain password for `salt` (base64) and `iterations`, or takes them from the
   * cache. Awaits key derivation.
   */
  deriveScramKeys(
    derivation: KeyDerivation,
    options: { readonly salt: string; readonly iterations: number },
  ): Promise<ScramKeys> {
    const password = this.plainPassword;
    assert(password !== undefined, "Keys can be derived from a plain password only");
    const name = `${options.iterations}:${options.salt}`;
    const cached = this.#derivedKeys.get(name);
    const keys = cached ?? this.#derive(name, () => derivedKeys(password, derivation, options));
    // Put last: the least recently used is dropped first.
    this.#derivedKeys.delete(name);
    this.#derivedKeys.set(name, keys);
    this.#dropOldest();
    return keys;
  }

  /** What failed must not be remembered; the one who asked is told. */
  async #derive(name: string, make: () => Promise<ScramKeys>): Promise<ScramKeys> {
    try {
      return await make();
    } catch (error) {
      this.#derivedKeys.delete(name);
      throw error;
    }
  }

  #dropOldest(): void {
    if (this.#derivedKeys.size <= MAX_CACHED_KEYS) return;
    const oldest = this.#derivedKeys.keys().next().value;
    if (oldest !== undefined) this.#derivedKeys.delete(oldest);
  }
}

async function derivedKeys(
  password: string,
  derivation: KeyDerivation,
  options: { readonly salt: string; readonly iterations: number },
): Promise<ScramKeys> {
  const salt = decodeBase64(options.salt);
  assert(salt !== undefined, "A salt must be canonical base64");
  const iterations = options.iterations;
  const saltedPassword = await derivation.derive(preparePassword(password), { salt, iterations });
  return scramKeys(saltedPassword, options);
}

function kindOf(text: string, verifier: ScramVerifier | undefined): CredentialKind {
  if (text === "") return "none";
  if (verifier !== undefined) return "scram";
  return isMd5Secret(text) ? "md5" : "plain";
}
