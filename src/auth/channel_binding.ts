/**
 * What ties a SCRAM login to the TLS connection that it runs over, so that nobody in the middle can
 * pass it on: `tls-server-end-point`, the hash of the server's certificate. Pure.
 *
 * The hash is that of the certificate's own signature. Signatures without a hash of their own, such
 * as Ed25519's, have no binding: the RFC leaves it open, and PostgreSQL cannot bind to one either
 * ("could not find digest for NID UNDEF", as 15 says with OpenSSL 3.0).
 * Source: RFC 5929 section 4.1; RFC 5280 section 4.1; RFC 4055 section 3.1 for RSASSA-PSS.
 */

import { createHash } from "node:crypto";

/** The one type of binding that PostgreSQL knows, as it is called in a SCRAM message. */
export const CHANNEL_BINDING_TYPE = "tls-server-end-point";

/** Whether a login to a server is bound to TLS: as libpq's `channel_binding`. */
export type ChannelBindingMode = "disable" | "prefer" | "require";

/** What is known of the TLS connection to a server. */
export interface ServerTlsFacts {
  /** What `tlsServerEndPoint()` makes of the certificate that the server has shown. */
  readonly endPoint: Uint8Array | undefined;
}

/** The bytes are no certificate in DER. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

const RSASSA_PSS = "1.2.840.113549.1.1.10";

/** Hash of a signature, by the algorithm's OID. */
const SIGNATURE_HASHES: ReadonlyMap<string, string> = new Map([
  ["1.2.840.113549.1.1.4", "md5"],
  ["1.2.840.113549.1.1.5", "sha1"],
  ["1.2.840.113549.1.1.11", "sha256"],
  ["1.2.840.113549.1.1.12", "sha384"],
  ["1.2.840.113549.1.1.13", "sha512"],
  ["1.2.840.113549.1.1.14", "sha224"],
  ["1.2.840.113549.1.1.15", "sha512-224"],
  ["1.2.840.113549.1.1.16", "sha512-256"],
  ["1.2.840.10045.4.1", "sha1"],
  ["1.2.840.10045.4.3.1", "sha224"],
  ["1.2.840.10045.4.3.2", "sha256"],
  ["1.2.840.10045.4.3.3", "sha384"],
  ["1.2.840.10045.4.3.4", "sha512"],
]);

/** Hashes by their own OID, as the parameters of RSASSA-PSS name them. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ["1.2.840.113549.2.5", "md5"],
  ["1.3.14.3.2.26", "sha1"],
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
  ["2.16.840.1.101.3.4.2.4", "sha224"],
]);

/** What RSASSA-PSS means where it names no hash. */
const PSS_DEFAULT_HASH = "sha1";

/**
 * Returns what a login over TLS is bound to, of the certificate in DER that the server shows;
 * undefined where that is not defined for the certificate's signature.
 *
 * @throws {CertificateError} If the bytes are no certificate.
 */
export function tlsServerEndPoint(certificate: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const name = signatureHash(certificate);
  if (name === undefined) return undefined;
  // The RFC: too weak by themselves.
  const hash = name === "md5" || name === "sha1" ? "sha256" : name;
  return new Uint8Array(createHash(hash).update(certificate).digest());
}

/**
 * Returns the hash of a certificate's signature by the name that node:crypto has for it; undefined
 * if it has none, or one that is not known here.
 *
 * @throws {CertificateError} If the bytes are no certificate.
 */
export function signatureHash(certificate: Uint8Array): string | undefined {
  const file = new DerReader(certificate);
  const parts = file.take(Tag.sequence);
  file.expectEnd();
  parts.take(Tag.sequence);
  const algorithm = parts.take(Tag.sequence);
  parts.take(Tag.bitString);
  parts.expectEnd();
  const name = algorithm.takeOid();
  return name === RSASSA_PSS ? pssHash(algorithm) : SIGNATURE_HASHES.get(name);
}

/** Reads the parameters, of which the hash comes first. */
function pssHash(algorithm: DerReader): string | undefined {
  if (!algorithm.has(Tag.sequence)) return PSS_DEFAULT_HASH;
  const parameters = algorithm.take(Tag.sequence);
  if (!parameters.has(Tag.first)) return PSS_DEFAULT_HASH;
  return HASHES.get(parameters.take(Tag.first).take(Tag.sequence).takeOid());
}

const Tag = { bitString: 0x03, oid: 0x06, sequence: 0x30, first: 0xa0 } as const;

/** A length of more bytes than this is of no certificate. */
const MAX_LENGTH_BYTES = 4;

/** Walks the elements of one level of DER. */
class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether an element of this kind is next. */
  has(tag: number): boolean {
    return this.#bytes[this.#at] === tag;
  }

  /** Goes past the next element, which must be of this kind, and answers what is in it. */
  take(tag: number): DerReader {
    return new DerReader(this.#content(tag));
  }

  /** The next element, which must be an object identifier: `1.2.840…`. */
  takeOid(): string {
    return oidText(this.#content(Tag.oid));
  }

  expectEnd(): void {
    if (this.#at !== this.#bytes.length) throw broken("bytes too many");
  }

  #content(tag: number): Uint8Array {
    if (!this.has(tag)) throw broken(`expected an element of type ${tag}`);
    this.#at += 1;
    const length = this.#length();
    const start = this.#at;
    if (length > this.#bytes.length - start) throw broken("cut short");
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** Short form, or the number of bytes and then those. */
  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first - 0x80;
    if (count === 0 || count > MAX_LENGTH_BYTES) throw broken("a length that is not DER");
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#byte();
    return length;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw broken("cut short");
    this.#at += 1;
    return byte;
  }
}

/** Seven bits a byte, the last byte of a number without the eighth; the first number is two. */
function oidText(bytes: Uint8Array): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of bytes) {
    number = number * 128 + (byte & 0x7f);
    if (number > Number.MAX_SAFE_INTEGER / 128) throw broken("an identifier that is too long");
    if (byte >= 0x80) continue;
    numbers.push(number);
    number = 0;
  }
  const [first, ...rest] = numbers;
  if (first === undefined || bytes.at(-1)! >= 0x80) throw broken("an identifier that is cut short");
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join(".");
}

function broken(what: string): CertificateError {
  return new CertificateError(`not a certificate in DER: ${what}`);
}
