/**
 * TLS as the rest of Sluice sees it: what it is set up with, and what came of a handshake. How it is
 * spoken is each engine's own matter (`Network.tls`).
 *
 * A _peer_ is who is on the other side: a client, to whom we show our certificate, or a server, whose
 * certificate we look at.
 */

/** Versions, oldest first, as OpenSSL spells them. */
export const TLS_VERSIONS = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;
export type TlsVersion = typeof TLS_VERSIONS[number];

/** The one application protocol there is here (ALPN), registered for PostgreSQL. */
export const TLS_PROTOCOL = "postgresql";

/** What both kinds of context are made of. Files are given as what is in them: PEM. */
export interface TlsContextBase {
  /** Our certificate, and those that lead to its authority; with `key`, or neither. */
  readonly certificateChain: Uint8Array<ArrayBuffer> | undefined;
  readonly key: Uint8Array<ArrayBuffer> | undefined;
  /** Whom to believe about the peer; undefined = nobody. */
  readonly authorities: Uint8Array<ArrayBuffer> | undefined;
  /** Certificates that are valid no longer (CRL). */
  readonly revocations: Uint8Array<ArrayBuffer> | undefined;
  /** Allowed versions, at least one. */
  readonly versions: readonly TlsVersion[];
  /** OpenSSL's list for versions below 1.3; undefined = the library's own. */
  readonly ciphers: string | undefined;
  /** OpenSSL's list for version 1.3; undefined = the library's own. */
  readonly cipherSuites: string | undefined;
}

/** How we are to clients. */
export interface ClientTlsOptions extends TlsContextBase {
  readonly peer: "client";
  /**
   * Whether a client is asked for a certificate: `optional` lets in who shows none, or one that cannot
   * be verified, and tells; `required` refuses both.
   */
  readonly verification: "none" | "optional" | "required";
  /** Curves, in OpenSSL's words; undefined = the library's own. */
  readonly curves: string | undefined;
  /** Diffie-Hellman groups below 1.3: by the strength of the key, one of 1024 bits, or no such thing. */
  readonly dhGroup: "auto" | "legacy" | "none";
}

/** How we are to servers. */
export interface ServerTlsOptions extends TlsContextBase {
  readonly peer: "server";
  /** Whether the server's certificate has to be of an authority, and of the name it is asked for. */
  readonly verification: "none" | "authority" | "name";
}

export type TlsContextOptions = ClientTlsOptions | ServerTlsOptions;

/**
 * What connections of one kind have in common, ready for use. Connections go on with theirs after it
 * was disposed of; new ones cannot begin.
 */
export interface TlsContext extends Disposable {
  readonly peer: "client" | "server";
}

/** What speaks TLS here. */
export interface TlsEngine {
  /** `OpenSSL 3.0.17`, or the runtime's name: for the log and SHOW CONFIG. */
  readonly name: string;
  /**
   * Makes a context. The bytes of `key` may be wiped by the caller afterwards.
   * @throws {TlsSetupError} If something in it is no good, or cannot be honoured here.
   */
  makeContext(options: TlsContextOptions): TlsContext;
}

/** How one connection goes over to TLS. */
export interface TlsStart {
  readonly context: TlsContext;
  /** What was received already and belongs to the handshake; borrowed until `startTls()` returns. */
  readonly received?: Uint8Array;
  /**
   * What a server is called: a host name, or an address. Sent to it (a name only), and compared with
   * its certificate where the context says so.
   */
  readonly serverName?: string;
}

/** What a connection is protected by, as SHOW CLIENTS tells. Shared by all that have the same. */
export interface TlsInUse {
  /** As OpenSSL spells it: `TLSv1.3`. */
  readonly version: string;
  /** As OpenSSL spells it: `TLS_AES_256_GCM_SHA384`. */
  readonly cipher: string;
}

/** `TLSv1.3/TLS_AES_256_GCM_SHA384`, as PgBouncer writes it. */
export function tlsText({ cipher, version }: TlsInUse): string {
  return `${version}/${cipher}`;
}

/** What came of a handshake. */
export interface TlsHandshake extends TlsInUse {
  /** Whether the peer asked for `TLS_PROTOCOL`, and got it. */
  readonly hasProtocol: boolean;
  /** The peer's certificate in DER, if it has shown one. */
  readonly peerCertificate: Uint8Array<ArrayBuffer> | undefined;
  /** Whether that leads to an authority, is in its time and not revoked; the name is not meant. */
  readonly isPeerVerified: boolean;
}

/** TLS cannot be set up like this; nothing has changed. */
export class TlsSetupError extends Error {
  override readonly name = "TlsSetupError";
}

/** No TLS came about on a connection, which is good for nothing any more. The message says why. */
export class TlsHandshakeError extends Error {
  override readonly name = "TlsHandshakeError";
}
