/** TLS with one client: what it is offered, and what of it the login wants to know. */

import { certificateFacts } from "../auth/certificate.ts";
import type { ClientCertificate } from "../auth/certificate_identity.ts";
import { CertificateError } from "../auth/der_reader.ts";
import type { TlsContext, TlsHandshake } from "../net/tls.ts";

/** What TLS with clients is spoken with. */
export interface ClientTls {
  readonly context: TlsContext;
  /** What a login is bound to: of the certificate that this context shows; undefined: to nothing. */
  readonly endPoint: Uint8Array | undefined;
}

/** What is offered to a connection at one moment. */
export interface TlsOffer {
  /** Undefined: there is no TLS. */
  readonly tls: ClientTls | undefined;
  /** Whether nobody logs in without. */
  readonly isRequired: boolean;
}

/** What a login wants to know of the handshake before it; forgotten when that is done. */
export interface TlsLogin {
  readonly endPoint: Uint8Array | undefined;
  readonly certificate: ClientCertificate | undefined;
}

/** Reads of a handshake what a login wants to know. */
export function tlsLogin({ endPoint }: ClientTls, handshake: TlsHandshake): TlsLogin {
  const { isPeerVerified: isVerified, peerCertificate } = handshake;
  if (peerCertificate === undefined) return { endPoint, certificate: undefined };
  return { endPoint, certificate: { isVerified, commonNames: namesOf(peerCertificate) } };
}

/** Whose names cannot be read has none: it is nobody's. */
function namesOf(certificate: Uint8Array): readonly string[] {
  try {
    return certificateFacts(certificate).commonNames;
  } catch (error) {
    if (error instanceof CertificateError) return [];
    throw error;
  }
}
