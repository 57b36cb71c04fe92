/**
 * What simulated TLS is set up with. The certificates are real ones (`certificates.ts`) and are
 * really verified; only the encryption is not there.
 */

import { Buffer } from "node:buffer";
import type { X509Certificate } from "node:crypto";
import { checkServerIdentity } from "node:tls";
import { readCertificateFiles } from "../../src/net/pem_files.ts";
import {
  TLS_PROTOCOL,
  type TlsContext,
  type TlsContextOptions,
  type TlsEngine,
  type TlsInUse,
  TlsSetupError,
} from "../../src/net/tls.ts";
import { integer } from "./der.ts";

/** The day of every simulation. */
const TODAY = new Date("2030-01-01T00:00:00Z");

/** Links from a certificate to its authority, at most. */
const MAX_CHAIN = 8;

/** Lists of ciphers and curves with this in them are refused, as a library does that knows none. */
const UNKNOWN_NAME = "nonsense";

/** How the engine differs from one that speaks to PostgreSQL. */
export interface SimTlsManner {
  /** Application protocols (ALPN) that are asked for, or had. */
  readonly protocols: readonly string[];
}

/** Simulated TLS. Contexts of one engine are good for the streams of any simulated network. */
export class SimTls implements TlsEngine {
  readonly name = "simulated TLS";
  readonly #manner: SimTlsManner;

  constructor(manner: SimTlsManner = { protocols: [TLS_PROTOCOL] }) {
    this.#manner = manner;
  }

  makeContext(options: TlsContextOptions): SimTlsContext {
    return new SimTlsContext(options, this.#manner);
  }
}

/** A context of simulated TLS. */
export class SimTlsContext implements TlsContext {
  readonly options: TlsContextOptions;
  readonly protocols: readonly string[];
  readonly chain: readonly X509Certificate[];
  readonly #authorities: readonly X509Certificate[];
  readonly #inUse = new Map<string, TlsInUse>();
  #isDisposed = false;

  constructor(options: TlsContextOptions, manner: SimTlsManner) {
    // The key may be wiped by the caller, and is needed for nothing more.
    this.options = { ...options, key: undefined };
    this.protocols = manner.protocols;
    const { authorities, chain } = readCertificateFiles(options);
    this.chain = chain;
    this.#authorities = authorities;
    checkLists(options);
  }

  get peer(): "client" | "server" {
    return this.options.peer;
  }

  /** The same object for the same. */
  inUse({ cipher, version }: TlsInUse): TlsInUse {
    const name = `${version}/${cipher}`;
    const known = this.#inUse.get(name) ?? { version, cipher };
    this.#inUse.set(name, known);
    return known;
  }

  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
  }

  /** Why a chain does not lead to an authority; undefined if it does. */
  faultOf([leaf, ...rest]: readonly X509Certificate[]): string | undefined {
    let current = leaf;
    for (let depth = 0; current !== undefined && depth < MAX_CHAIN; depth++) {
      const link = current;
      if (new Date(link.validTo) < TODAY) return "certificate has expired";
      if (this.#isRevoked(link)) return "certificate revoked";
      if (this.#authorities.some((authority) => isIssuedBy(link, authority))) return undefined;
      current = rest.find((authority) => authority !== link && isIssuedBy(link, authority));
    }
    return "unknown certificate authority";
  }

  #isRevoked(certificate: X509Certificate): boolean {
    const { revocations } = this.options;
    if (revocations === undefined) return false;
    const base64 = Buffer.from(revocations).toString().replace(/-----.*-----/g, "");
    // In the list, the time of its end follows.
    const entry = Buffer.concat([integer(Number(`0x${certificate.serialNumber}`)), UTC_TIME]);
    return Buffer.from(base64, "base64").includes(entry);
  }
}

/** What a time of 13 digits begins with in DER. */
const UTC_TIME = Uint8Array.of(0x17, 0x0d);

/** Why a server's certificate is not that of its name; undefined if it is. */
export function nameFault(leaf: X509Certificate, name: string): string | undefined {
  return checkServerIdentity(name, leaf.toLegacyObject())?.message;
}

function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return authority.ca && certificate.checkIssued(authority) &&
    certificate.verify(authority.publicKey);
}

function checkLists(options: TlsContextOptions): void {
  const curves = options.peer === "client" ? options.curves : undefined;
  for (const list of [options.ciphers, options.cipherSuites, curves]) {
    if (list?.includes(UNKNOWN_NAME)) throw new TlsSetupError(`Nothing is known in "${list}"`);
  }
}
