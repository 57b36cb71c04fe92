/**
 * What a user without a verifier is asked in a SCRAM exchange, so that who asks does not learn which
 * users there are: a salt that looks random and stays the same, and a number of rounds as known users
 * have it. Pure.
 *
 * A salt can only stay the same over restarts if it comes from something that does. Secrets of users
 * will not do: a salt is shown to everybody, so a guess at the password could be tried on it offline.
 * It is keyed by what the machine alone has; where there is no such thing, by random bytes.
 */

import { decodeBase64, encodeBase64, type ScramVerifier } from "./scram.ts";
import { hmac } from "./sha256.ts";

/** Bytes of the key. */
export const MOCK_SECRET_BYTES = 32;

/** As PostgreSQL's SCRAM_DEFAULT_SALT_LEN, so that ours look like those it stores. */
export const SALT_BYTES: number = 16;

/** More kinds of verifiers than this are not told apart. */
const MAX_SHAPES = 8;

/** What a verifier shows of itself to everybody who begins a login. */
export interface VerifierShape {
  readonly iterations: number;
  /** Length of the salt. */
  readonly saltBytes: number;
}

/** Makes the key from what only this machine has, such as `/etc/machine-id`. */
export function mockSecretOf(hostSecret: string): Uint8Array<ArrayBuffer> {
  return hmac(new TextEncoder().encode(hostSecret), "Sluice: salts of users who have none");
}

/** The shape of a verifier made of a plain secret: `iterations` is setting `scram_iterations`. */
export function plainShape(iterations: number): VerifierShape {
  return { iterations, saltBytes: SALT_BYTES };
}

/** How users with a secret look to whoever begins a login: those without are asked likewise. */
export interface UserLooks {
  /** How many of them have a SCRAM verifier, from 0 to 1. */
  readonly verifierShare: number;
  /** What they are asked in a SCRAM login, each shape once. */
  readonly shapes: readonly VerifierShape[];
  /** The same of those who have a verifier; by md5 nobody else is asked for SCRAM. */
  readonly verifierShapes: readonly VerifierShape[];
}

/** Gathers how users look, one after the other. */
export class LooksTally {
  #count = 0;
  #verifierCount = 0;
  /** Of too many, those that came first; undefined is that of a plain secret. */
  readonly #shapes = new Map<string, VerifierShape | undefined>();

  /** One more user is known. */
  add({ kind, verifier }: {
    readonly kind: string;
    readonly verifier: ScramVerifier | undefined;
  }): void {
    if (kind === "none") return;
    this.#count += 1;
    if (verifier !== undefined) this.#verifierCount += 1;
    if (verifier === undefined && kind !== "plain") return;
    const shape = verifier === undefined ? undefined : shapeOf(verifier);
    const name = shape === undefined ? "plain" : nameOf(shape);
    if (this.#shapes.size < MAX_SHAPES) this.#shapes.set(name, shape);
  }

  /** The looks so far. Of nobody: as PostgreSQL keeps its users, with verifiers. */
  looks(scramIterations: number): UserLooks {
    const shapes = new Map<string, VerifierShape>();
    for (const shape of this.#shapes.values()) {
      const shown = shape ?? plainShape(scramIterations);
      shapes.set(nameOf(shown), shown);
    }
    const verifierShare = this.#count === 0 ? 1 : this.#verifierCount / this.#count;
    const verifierShapes = [...this.#shapes.values()].filter((shape) => shape !== undefined);
    return { verifierShare, shapes: [...shapes.values()], verifierShapes };
  }
}

/**
 * What a user is asked who is not known: one of `shapes`, always the same for the name while it is
 * among them. Without any, as one with a plain secret.
 */
export function mockChallenge(
  userName: string,
  options: {
    readonly secret: Uint8Array;
    readonly shapes: readonly VerifierShape[];
    readonly scramIterations: number;
  },
): Pick<ScramVerifier, "salt" | "iterations"> {
  const { scramIterations, secret, shapes } = options;
  const shape = shapes.length > 1
    ? choose(userName, { secret, shapes })
    : shapes[0] ?? plainShape(scramIterations);
  return { salt: mockSalt(userName, { ...shape, secret }), iterations: shape.iterations };
}

/** A salt for a name, in base64: the same for the same key. */
export function mockSalt(
  userName: string,
  { saltBytes = SALT_BYTES, secret }: {
    readonly secret: Uint8Array;
    readonly saltBytes?: number;
  },
): string {
  const first = signed(secret, userName);
  if (saltBytes <= first.length) return encodeBase64(first.subarray(0, saltBytes));
  const salt = new Uint8Array(saltBytes);
  salt.set(first);
  // What follows the name keeps a long salt from repeating itself; no name has a zero byte.
  for (let at = first.length; at < saltBytes; at += first.length) {
    salt.set(signed(secret, `${userName}\0${at}`).subarray(0, saltBytes - at), at);
  }
  return encodeBase64(salt);
}

/** Each shape bids for the name; so a shape more or less changes few names. */
function choose(
  userName: string,
  { secret, shapes }: { readonly secret: Uint8Array; readonly shapes: readonly VerifierShape[] },
): VerifierShape {
  const bids = shapes.map((shape) => {
    const bid = encodeBase64(signed(secret, `${userName}\0${nameOf(shape)}`));
    return { bid, shape };
  });
  return bids.reduce((best, next) => next.bid > best.bid ? next : best).shape;
}

/** Signs a text in UTF-8; of ASCII, as nearly every name is, its characters are the bytes. */
function signed(secret: Uint8Array, text: string): Uint8Array {
  // deno-lint-ignore no-control-regex -- they are ASCII, too
  return hmac(secret, /^[\x00-\x7f]*$/.test(text) ? text : new TextEncoder().encode(text));
}

function shapeOf({ iterations, salt }: ScramVerifier): VerifierShape {
  return { iterations, saltBytes: decodeBase64(salt)?.length ?? SALT_BYTES };
}

function nameOf({ iterations, saltBytes }: VerifierShape): string {
  return `${iterations}:${saltBytes}`;
}
