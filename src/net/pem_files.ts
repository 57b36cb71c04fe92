/** What is in the files that TLS is set up with, for those whose library says too little of it. */

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { type TlsContextOptions, TlsSetupError } from "./tls.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** PKCS #8, or an older form; other things may be around it. */
const KEY = /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[^-]*-----END \1-----/;

/** Certificates of ours and of those whom we believe, ours first. */
export interface CertificateFiles {
  readonly chain: readonly X509Certificate[];
  readonly authorities: readonly X509Certificate[];
  /** The key alone, in PEM. */
  readonly key: string | undefined;
}

/**
 * Reads the certificates of a context, and sees to it that the key is theirs.
 * @throws {TlsSetupError} If one of them is no good.
 */
export function readCertificateFiles(options: TlsContextOptions): CertificateFiles {
  const chain = certificatesIn(options.certificateChain, "the certificate file");
  const authorities = certificatesIn(options.authorities, "the file of authorities");
  return { chain, authorities, key: keyOf(options, chain[0]) };
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

function keyOf(
  { key, peer }: TlsContextOptions,
  leaf: X509Certificate | undefined,
): string | undefined {
  if (key === undefined && leaf === undefined && peer === "server") return undefined;
  if (key === undefined) throw new TlsSetupError("The key of the certificate is missing");
  if (leaf === undefined) throw new TlsSetupError("The certificate of the key is missing");
  const file = Buffer.from(key).toString("latin1");
  if (file.includes("ENCRYPTED")) throw new TlsSetupError("The key is encrypted");
  const pem = KEY.exec(file)?.[0];
  if (pem === undefined) throw new TlsSetupError("There is no key in the key file");
  if (!isKeyOf(pem, leaf)) throw new TlsSetupError("The key is not that of the certificate");
  return pem;
}

function isKeyOf(pem: string, leaf: X509Certificate): boolean {
  try {
    return leaf.checkPrivateKey(createPrivateKey(pem));
  } catch {
    throw new TlsSetupError("The key cannot be read");
  }
}
