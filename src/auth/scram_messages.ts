/**
 * The four messages of a SCRAM exchange: built and read, every attribute in its place. Pure.
 *
 * A message is handled as a string of one character a byte, so that what is signed is byte for byte
 * what was sent, whatever the encoding of the names in it. Nothing is looked at twice or leniently:
 * both sides sign these texts, and a text read in two ways is a way in.
 * Source: RFC 5802 sections 5.1 and 7.
 */

import { Buffer } from "node:buffer";
import { ProtocolError } from "../wire/pg_error.ts";
import { KEY_BYTES } from "./key_derivation.ts";
import { decodeBase64, encodeBase64 } from "./scram.ts";

/** As PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH; libpq's messages have some 100 bytes. */
const MAX_MESSAGE_BYTES = 65_535;

/** How a client begins. */
export interface ClientFirst {
  /** The flag and two commas. */
  readonly gs2Header: string;
  /**
   * `n` of a client that does not bind to a channel, `y` of one that would but believes that the
   * server does not, `p=` and the type of binding of one that does.
   */
  readonly flag: string;
  /** The message without that header; it is signed. */
  readonly bare: string;
  /** The client's half. */
  readonly nonce: string;
}

/** A server's answer to it. */
export interface ServerFirst {
  /** The client's half and the server's. */
  readonly nonce: string;
  /** Canonical base64. */
  readonly salt: string;
  /** Rounds of PBKDF2, as the server demands them. */
  readonly iterations: number;
}

/** A client's proof. */
export interface ClientFinal {
  /** base64, as it came. */
  readonly channelBinding: string;
  /** Both halves, as the client repeats them. */
  readonly nonce: string;
  /** The message up to the proof; it is signed. */
  readonly withoutProof: string;
  /** The client key, hidden under the client's signature. */
  readonly proof: Uint8Array<ArrayBuffer>;
}

/** A server's proof, or its word for what went wrong. */
export type ServerFinal =
  | { readonly kind: "signature"; readonly signature: Uint8Array<ArrayBuffer> }
  | { readonly kind: "error"; readonly text: string };

/**
 * Reads client-first-message. The user name in it is not looked at: PostgreSQL goes by the one of
 * the startup packet. Unknown optional attributes after the nonce are skipped, as the RFC demands;
 * the mandatory extensions, which come before the name, are refused with everything else there.
 * Whether the flag is one that may be used is for the caller to say.
 *
 * @throws {ProtocolError} If it is malformed, or demands what is not supported.
 */
export function parseClientFirst(data: Uint8Array): ClientFirst {
  const text = textOf(data);
  const header = /^([^,]*),([^,]*),/.exec(text);
  if (header === null) throw malformed("the header is incomplete");
  const [gs2Header, flag, authorizationName] = header;
  if (flag === undefined || !/^(?:n|y|p=[A-Za-z0-9.-]+)$/.test(flag)) {
    throw malformed("unexpected channel binding flag");
  }
  if (authorizationName !== "") throw malformed("authorization identities are not supported");
  const bare = text.slice(gs2Header.length);
  const attributes = new Attributes(bare);
  attributes.take("n");
  const nonce = checkedNonce(attributes.take("r"));
  attributes.skipOptional();
  return { gs2Header, flag, bare, nonce };
}

/** Builds server-first-message. */
export function buildServerFirst(message: ServerFirst): string {
  return `r=${message.nonce},s=${message.salt},i=${message.iterations}`;
}

/**
 * Reads client-final-message. Whether nonce and channel binding are the right ones is for the
 * caller to say.
 *
 * @throws {ProtocolError} If it is malformed.
 */
export function parseClientFinal(data: Uint8Array): ClientFinal {
  const text = textOf(data);
  const attributes = new Attributes(text);
  const channelBinding = attributes.take("c");
  const nonce = checkedNonce(attributes.take("r"));
  attributes.skipOptional("p");
  const proof = checkedKey(attributes.take("p"), "proof");
  attributes.expectEnd();
  return { channelBinding, nonce, withoutProof: text.slice(0, text.lastIndexOf(",p=")), proof };
}

/** Builds server-final-message. */
export function buildServerFinal(signature: Uint8Array): string {
  return `v=${encodeBase64(signature)}`;
}

/**
 * Builds client-first-message without its header. The user name is left empty, as PostgreSQL's own
 * client leaves it: the startup packet has said it.
 */
export function buildClientFirstBare(nonce: string): string {
  return `n=,r=${nonce}`;
}

/**
 * Reads server-first-message. PostgreSQL sends no extensions, and none is accepted.
 *
 * @throws {ProtocolError} If it is malformed, or its nonce does not continue `clientNonce`.
 */
export function parseServerFirst(data: Uint8Array, clientNonce: string): ServerFirst {
  const attributes = new Attributes(textOf(data));
  const nonce = checkedNonce(attributes.take("r"));
  if (!nonce.startsWith(clientNonce) || nonce.length === clientNonce.length) {
    throw malformed("the nonce is not a continuation of ours");
  }
  const salt = attributes.take("s");
  if (salt === "" || decodeBase64(salt) === undefined) throw malformed("the salt is not base64");
  const iterations = attributes.take("i");
  if (!/^[1-9][0-9]{0,9}$/.test(iterations)) throw malformed("the iteration count is no number");
  attributes.expectEnd();
  return { nonce, salt, iterations: Number(iterations) };
}

/** Builds client-final-message up to the proof; `channelBinding` as `channelBindingOf()` makes it. */
export function buildClientFinalWithoutProof(nonce: string, channelBinding: string): string {
  return `c=${channelBinding},r=${nonce}`;
}

/** Builds client-final-message. */
export function buildClientFinal(withoutProof: string, proof: Uint8Array): string {
  return `${withoutProof},p=${encodeBase64(proof)}`;
}

/**
 * Reads server-final-message.
 *
 * @throws {ProtocolError} If it is malformed.
 */
export function parseServerFinal(data: Uint8Array): ServerFinal {
  const attributes = new Attributes(textOf(data));
  if (attributes.has("e")) return { kind: "error", text: attributes.take("e") };
  const signature = checkedKey(attributes.take("v"), "signature");
  attributes.expectEnd();
  return { kind: "signature", signature };
}

/**
 * Returns what `c=` must say of a client that began with `gs2Header`; `data` is what it binds to, if
 * its flag is `p=`.
 */
export function channelBindingOf(gs2Header: string, data?: Uint8Array): string {
  const header = Buffer.from(gs2Header, "latin1");
  return (data === undefined ? header : Buffer.concat([header, data])).toString("base64");
}

/** Takes a message apart from left to right: `x=value` and a comma between two. */
class Attributes {
  readonly #parts: readonly string[];
  #next = 0;

  constructor(text: string) {
    this.#parts = text.split(",");
  }

  /** Whether the next attribute has this name. */
  has(name: string): boolean {
    return this.#parts[this.#next]?.startsWith(`${name}=`) ?? false;
  }

  /** The value of the next attribute, which must have this name. */
  take(name: string): string {
    if (!this.has(name)) throw malformed(`expected attribute "${name}"`);
    return this.#parts[this.#next++]!.slice(2);
  }

  /** Skips attributes up to one of name `before`, or to the end. */
  skipOptional(before?: string): void {
    while (this.#next < this.#parts.length) {
      if (before !== undefined && this.has(before)) return;
      if (!/^[A-Za-z]=./.test(this.#parts[this.#next] ?? "")) throw malformed("broken attribute");
      this.#next++;
    }
  }

  expectEnd(): void {
    if (this.#next < this.#parts.length) throw malformed("unexpected data at the end");
  }
}

function textOf(data: Uint8Array): string {
  if (data.length > MAX_MESSAGE_BYTES) throw malformed("the message is too long");
  if (data.includes(0)) throw malformed("the message holds a zero byte");
  return Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1");
}

/** Printable ASCII; the split has taken the commas away. */
function checkedNonce(nonce: string): string {
  if (!/^[\x21-\x7e]+$/.test(nonce)) throw malformed("the nonce is empty or not printable");
  return nonce;
}

function checkedKey(text: string, what: string): Uint8Array<ArrayBuffer> {
  const bytes = decodeBase64(text);
  if (bytes?.length !== KEY_BYTES) {
    throw malformed(`the ${what} is not base64 of ${KEY_BYTES} bytes`);
  }
  return bytes;
}

/** What is thrown for a message that is not as it must be. */
export function malformed(what: string): ProtocolError {
  return new ProtocolError(`malformed SCRAM message: ${what}`);
}
