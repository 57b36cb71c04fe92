/**
 * TLS of the portable engine: the runtime's own (`node:tls`, which is rustls underneath). It knows
 * versions 1.2 and 1.3, chooses ciphers and curves itself and looks at no lists of revocations; it
 * takes options for all of these and ignores them. So they are refused here.
 */

import type { X509Certificate } from "node:crypto";
import type { SecureContextOptions } from "node:tls";
import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { readCertificateFiles } from "../pem_files.ts";
import {
  type TlsContext,
  type TlsContextOptions,
  type TlsEngine,
  type TlsInUse,
  TlsSetupError,
  type TlsVersion,
} from "../tls.ts";
import { TrustedCertificates } from "./trusted_certificates.ts";

/** Versions that the runtime speaks. */
type SpokenVersion = Extract<TlsVersion, "TLSv1.2" | "TLSv1.3">;

/** Shorter keys the runtime refuses. */
const MIN_RSA_BITS = 2_048;

/** Of keys; by OpenSSL's names. */
const CURVES: readonly string[] = ["prime256v1", "secp384r1", "secp521r1"];

/** The runtime's TLS. */
export class PortableTls implements TlsEngine {
  readonly name = `Deno ${Deno.version.deno}`;
  /** What is in use by connections, by its text: there are few kinds. */
  readonly #inUse = new Map<string, TlsInUse>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  makeContext(options: TlsContextOptions): PortableTlsContext {
    refuseIgnored(options);
    const { versions } = options;
    const minVersion = spoken(versions, "TLSv1.2") ?? "TLSv1.3";
    const maxVersion = spoken(versions, "TLSv1.3") ?? "TLSv1.2";
    const { authorities, chain, key } = readCertificateFiles(options);
    refuseNobody(options);
    if (chain[0] !== undefined) refuseKind(chain[0]);
    const runtime: SecureContextOptions = {
      ...(key === undefined ? {} : { key, cert: pemOf(chain) }),
      ...(authorities.length === 0 ? {} : { ca: pemOf(authorities) }),
      minVersion,
      maxVersion,
    };
    const { peer, verification } = options;
    const trusted = new TrustedCertificates(this.#clock);
    return new PortableTlsContext(runtime, { peer, verification, trusted, inUse: this.#inUse });
  }
}

/** A context of the runtime's TLS. */
export class PortableTlsContext implements TlsContext {
  readonly peer: "client" | "server";
  readonly verification: TlsContextOptions["verification"];
  /** Whether anybody is believed. */
  readonly hasAuthorities: boolean;
  /** Client certificates that were verified. */
  readonly trusted: TrustedCertificates;
  #runtime: SecureContextOptions | undefined;
  readonly #inUse: Map<string, TlsInUse>;

  constructor(
    runtime: SecureContextOptions,
    { inUse, peer, trusted, verification }: {
      peer: "client" | "server";
      verification: TlsContextOptions["verification"];
      trusted: TrustedCertificates;
      inUse: Map<string, TlsInUse>;
    },
  ) {
    this.#runtime = runtime;
    this.hasAuthorities = runtime.ca !== undefined;
    this.peer = peer;
    this.verification = verification;
    this.trusted = trusted;
    this.#inUse = inUse;
  }

  /** For a connection that begins. The runtime reads the key again each time. */
  get runtime(): SecureContextOptions {
    assert(this.#runtime !== undefined, "The context was disposed of");
    return this.#runtime;
  }

  /** The same object for the same. */
  inUse({ cipher, version }: TlsInUse): TlsInUse {
    const name = `${version} ${cipher}`;
    const known = this.#inUse.get(name) ?? { version, cipher };
    this.#inUse.set(name, known);
    return known;
  }

  [Symbol.dispose](): void {
    this.#runtime = undefined;
  }
}

function refuseIgnored(options: TlsContextOptions): void {
  const refuse = (what: string) => {
    throw new TlsSetupError(`${what} cannot be chosen with the portable I/O engine`);
  };
  if (options.ciphers !== undefined) refuse("Ciphers");
  if (options.cipherSuites !== undefined) refuse("Cipher suites");
  if (options.peer === "client") {
    if (options.curves !== undefined) refuse("Curves");
    if (options.dhGroup !== "auto") refuse("Diffie-Hellman groups");
  }
  if (options.revocations !== undefined) {
    throw new TlsSetupError("The portable I/O engine cannot look at revoked certificates (CRL)");
  }
  for (const version of options.versions) {
    if (version === "TLSv1.2" || version === "TLSv1.3") continue;
    throw new TlsSetupError(`The portable I/O engine cannot speak ${version}`);
  }
}

/** Whom nobody can pass the runtime would compare with authorities of its own. */
function refuseNobody({ authorities, verification }: TlsContextOptions): void {
  const isMeant = verification !== "none" && verification !== "optional";
  if (!isMeant || authorities !== undefined) return;
  throw new TlsSetupError("Authorities are missing, by which to verify certificates");
}

function spoken(
  versions: readonly TlsVersion[],
  version: SpokenVersion,
): SpokenVersion | undefined {
  return versions.includes(version) ? version : undefined;
}

/** The runtime would find out at the first handshake. */
function refuseKind({ publicKey }: X509Certificate): void {
  const { asymmetricKeyDetails: details, asymmetricKeyType: type } = publicKey;
  if (type === "rsa" && (details?.modulusLength ?? 0) < MIN_RSA_BITS) {
    throw new TlsSetupError(`A key of RSA has to have ${MIN_RSA_BITS} bits here`);
  }
  if (type === "rsa" || type === "ed25519") return;
  if (type === "ec" && CURVES.includes(details?.namedCurve ?? "")) return;
  throw new TlsSetupError("The portable I/O engine cannot use a key of this kind");
}

function pemOf(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join("");
}
