/**
 * SCRAM-SHA-256: keys, verifiers, proofs and signatures, for both sides. Pure and synchronous; the
 * costly derivation of the salted password is in `key_derivation.ts`, the messages are in
 * `scram_messages.ts`.
 *
 * Invariant: secrets are compared in constant time. Salts are kept as base64 in its one canonical
 * form, so that equal salts are equal texts.
 * Source: RFC 5802 section 3, RFC 7677; the stored form as PostgreSQL's, pg_authid.rolpassword.
 */

import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { KEY_BYTES } from "./key_derivation.ts";
import { hmac, sha256 } from "./sha256.ts";

/** The mechanism that is always there. */
export const SCRAM_MECHANISM = "SCRAM-SHA-256";

/** The same, bound to the TLS connection. */
export const SCRAM_PLUS_MECHANISM = "SCRAM-SHA-256-PLUS";

/**
 * More rounds than this are not derived: sixteen times the 600,000 that OWASP advises, and some two
 * seconds of one core. A server names the number, and must not be able to keep a core for hours.
 */
export const MAX_SCRAM_ITERATIONS = 10_000_000;

/** PostgreSQL keeps the number of rounds in a C int. */
const MAX_STORED_ITERATIONS = 2 ** 31 - 1;

/** What a server stores of a password: enough to check a proof, not enough to make one. */
export interface ScramVerifier {
  /** Rounds of PBKDF2. */
  readonly iterations: number;
  /** Canonical base64. */
  readonly salt: string;
  /** The hash of the client key: checks a client's proof. */
  readonly storedKey: Uint8Array;
  /** Signs what the server says. */
  readonly serverKey: Uint8Array;
}

/** What a client needs in order to prove itself without the password. As secret as the password. */
export interface ScramKeys extends ScramVerifier {
  /** Makes a client's proof. */
  readonly clientKey: Uint8Array;
}

/**
 * Reads `SCRAM-SHA-256$<rounds>:<salt>$<StoredKey>:<ServerKey>`; undefined for anything else, which
 * PostgreSQL and PgBouncer take for a plain-text password.
 */
export function parseScramVerifier(text: string): ScramVerifier | undefined {
  const match = /^SCRAM-SHA-256\$(\d{1,10}):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text);
  if (match === null) return undefined;
  const iterations = Number(match[1]);
  const salt = match[2] ?? "";
  const storedKey = decodeBase64(match[3] ?? "");
  const serverKey = decodeBase64(match[4] ?? "");
  if (iterations < 1 || iterations > MAX_STORED_ITERATIONS) return undefined;
  if (decodeBase64(salt) === undefined) return undefined;
  if (storedKey?.length !== KEY_BYTES || serverKey?.length !== KEY_BYTES) return undefined;
  return { iterations, salt, storedKey, serverKey };
}

/** Makes all keys from the salted password, which `salt` (base64) and `iterations` led to. */
export function scramKeys(
  saltedPassword: Uint8Array,
  options: { readonly salt: string; readonly iterations: number },
): ScramKeys {
  const clientKey = hmac(saltedPassword, "Client Key");
  return {
    salt: options.salt,
    iterations: options.iterations,
    clientKey,
    storedKey: sha256(clientKey),
    serverKey: hmac(saltedPassword, "Server Key"),
  };
}

/** Returns a client's proof for `authMessage` (one character a byte). */
export function clientProof(keys: ScramKeys, authMessage: string): Uint8Array<ArrayBuffer> {
  return exclusiveOr(keys.clientKey, hmac(keys.storedKey, authMessage));
}

/**
 * Returns the client key that `proof` carries, and whether it is the one that `storedKey` was made
 * of. Takes the same steps either way.
 */
export function recoverClientKey(
  storedKey: Uint8Array,
  options: { readonly authMessage: string; readonly proof: Uint8Array },
): { readonly clientKey: Uint8Array<ArrayBuffer>; readonly isRight: boolean } {
  const clientKey = exclusiveOr(options.proof, hmac(storedKey, options.authMessage));
  return { clientKey, isRight: equalBytes(sha256(clientKey), storedKey) };
}

/** Returns a server's signature for `authMessage` (one character a byte). */
export function serverSignature(
  keys: Pick<ScramVerifier, "serverKey">,
  authMessage: string,
): Uint8Array<ArrayBuffer> {
  return hmac(keys.serverKey, authMessage);
}

/**
 * Compares in a time that tells nothing about where, or in what length, they differ: the digests
 * are compared.
 */
export function equalSecrets(left: Uint8Array, right: Uint8Array): boolean {
  return timingSafeEqual(sha256(left), sha256(right));
}

/** Compares in constant time two values whose length is no secret. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

/** Encodes as canonical base64. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

/** Decodes canonical base64: alphabet, padding and unused bits as they must be; else undefined. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? new Uint8Array(bytes) : undefined;
}

/** A loop, since `Uint8Array.from()` takes as long as a hash does. */
function exclusiveOr(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(left);
  for (let at = 0; at < result.length; at++) result[at]! ^= right[at] ?? 0;
  return result;
}
