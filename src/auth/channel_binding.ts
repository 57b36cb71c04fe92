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
import { DerReader, Tag } from "./der_reader.ts";

/** The one type of binding that PostgreSQL knows, as it is called in a SCRAM message. */
export const CHANNEL_BINDING_TYPE = "tls-server-end-point";

/** Whether a login to a server is bound to TLS: as libpq's `channel_binding`. */
export type ChannelBindingMode = "disable" | "prefer" | "require";

/** What is known of the TLS connection to a server. */
export interface ServerTlsFacts {
  /** What `tlsServerEndPoint()` makes of the certificate that the server has shown. */
  readonly endPoint: Uint8Array | undefined;
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
