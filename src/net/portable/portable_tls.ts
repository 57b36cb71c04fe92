/**
 * TLS of the portable engine: the runtime's own (`node:tls`, which is rustls underneath). It knows
 * versions 1.2 and 1.3, chooses ciphers and curves itself and looks at no lists of revocations; it
 * takes options for all of these and ignores them. So they are refused here.
 */

import { Buffer } from "node:buffer";
import type { SecureContextOptions } from "node:tls";
import { assert } from "../../base/assert.ts";
import { readCertificateFiles } from "../pem_files.ts";
import {
  type TlsContext,
  type TlsContextOptions,
  type TlsEngine,
  type TlsInUse,
  TlsSetupError,
  type TlsVersion,
} from "../tls.ts";

/** Versions that the runtime speaks. */
type SpokenVersion = Extract<TlsVersion, "TLSv1.2" | "TLSv1.3">;

/** The runtime's TLS. */
export class PortableTls implements TlsEngine {
  readonly name = `Deno ${Deno.version.deno}`;
  /** What is in use by connections, by its text: there are few kinds. */
  readonly #inUse = new Map<string, TlsInUse>();

  makeContext(options: TlsContextOptions): PortableTlsContext {
    refuseIgnored(options);
    const { versions } = options;
    const minVersion = spoken(versions, "TLSv1.2") ?? "TLSv1.3";
    const maxVersion = spoken(versions, "TLSv1.3") ?? "TLSv1.2";
    readCertificateFiles(options);
    refuseNobody(options);
    const runtime = {
      ...copyAs("cert", options.certificateChain),
      ...copyAs("key", options.key),
      ...copyAs("ca", options.authorities),
      minVersion,
      maxVersion,
    };
    const { peer, verification } = options;
    return new PortableTlsContext(runtime, { peer, verification, inUse: this.#inUse });
  }
}

/** A context of the runtime's TLS. */
export class PortableTlsContext implements TlsContext {
  readonly peer: "client" | "server";
  readonly verification: TlsContextOptions["verification"];
  /** Whether anybody is believed. */
  readonly hasAuthorities: boolean;
  #runtime: SecureContextOptions | undefined;
  readonly #inUse: Map<string, TlsInUse>;

  constructor(
    runtime: SecureContextOptions,
    { inUse, peer, verification }: {
      peer: "client" | "server";
      verification: TlsContextOptions["verification"];
      inUse: Map<string, TlsInUse>;
    },
  ) {
    this.#runtime = runtime;
    this.hasAuthorities = runtime.ca !== undefined;
    this.peer = peer;
    this.verification = verification;
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

function copyAs<Name extends string>(
  name: Name,
  bytes: Uint8Array | undefined,
): { [_ in Name]?: Buffer } {
  return bytes === undefined ? {} : { [name]: Buffer.from(bytes) } as { [_ in Name]: Buffer };
}
