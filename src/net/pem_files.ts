/** What is in the files that TLS is set up with, for those whose library says too little of it. */

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { type TlsContextOptions, TlsSetupError } from "./tls.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Certificates of ours and of those whom we believe, ours first. */
export interface CertificateFiles {
  readonly chain: readonly X509Certificate[];
  readonly authorities: readonly X509Certificate[];
}

/**
 * Reads the certificates of a context, and sees to it that the key is theirs.
 * @throws {TlsSetupError} If one of them is no good.
 */
export function readCertificateFiles(options: TlsContextOptions): CertificateFiles {
  const chain = certificatesIn(options.certificateChain, "the certificate file");
  const authorities = certificatesIn(options.authorities, "the file of authorities");
  checkKey(options, chain[0]);
  return { chain, authorities };
}

function certificatesIn(pem: Uint8Array | undefined, where: string): X509Certificate[] {
  if (pem === undefined) return [];
  const parts = Buffer.from(pem).toString("latin1").match(CERTIFICATE);
  if (parts === null) throw new TlsSetupError(`There is no certificate in ${where}`);
  try {
    return parts.map((part) => new X509Certificate(part));
  } catch {
    throw new TlsSetupError(`A certificate in ${where} cannot be read`);
  }
}

function checkKey({ key, peer }: TlsContextOptions, leaf: X509Certificate | undefined): void {
  if (key === undefined && leaf === undefined && peer === "server") return;
  if (key === undefined) throw new TlsSetupError("The key of the certificate is missing");
  if (leaf === undefined) throw new TlsSetupError("The certificate of the key is missing");
  if (!isKeyOf(key, leaf)) throw new TlsSetupError("The key is not that of the certificate");
}

function isKeyOf(key: Uint8Array<ArrayBuffer>, leaf: X509Certificate): boolean {
  // Over the caller's own bytes, which are wiped afterwards.
  const pem = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  if (pem.includes("ENCRYPTED")) throw new TlsSetupError("The key is encrypted");
  try {
    return leaf.checkPrivateKey(createPrivateKey(pem));
  } catch {
    throw new TlsSetupError("The key cannot be read");
  }
}
