/**
 * The files of TLS: read for all who need them at one moment, and made into what a context is set up
 * with. The bytes of keys are wiped as soon as that has been done.
 */

import { createHash } from "node:crypto";
import { certificateFacts, firstCertificate, pemBlocks } from "../auth/certificate.ts";
import { tlsServerEndPoint } from "../auth/channel_binding.ts";
import { CertificateError } from "../auth/der_reader.ts";
import { isSameBytes } from "../base/bytes.ts";
import { errorText } from "../base/error_text.ts";
import type { ServerTlsSettings, Settings } from "../config/settings.ts";
import { isVerifying } from "../config/tls_needs.ts";
import { tlsCiphersOf, tlsCurvesOf, tlsVersionsOf } from "../config/tls_words.ts";
import { type ClientTlsOptions, type ServerTlsOptions, TlsSetupError } from "../net/tls.ts";

/** Where files come from. Rejects if one cannot be read. */
export type ReadTlsFile = (path: string) => Promise<Uint8Array<ArrayBuffer>>;

/** What of the settings is about TLS with clients. */
export type ClientTlsSettings = Pick<
  Settings,
  Extract<keyof Settings, `clientTls${string}`>
>;

/** The kinds of files. */
export type FileKind = "certificate" | "key" | "authorities" | "revocations";

/** A file, and the setting that names it. */
export interface NamedFile {
  readonly setting: string;
  readonly kind: FileKind;
  readonly path: string;
}

/** Certificate that we show, as far as others than TLS want to know. */
export interface OwnCertificate {
  readonly file: NamedFile;
  /** What a login is bound to (RFC 5929); undefined if there is no such thing for its signature. */
  readonly endPoint: Uint8Array<ArrayBuffer> | undefined;
  /** Wall clock, in ms. */
  readonly notAfterMs: number;
}

/** The files that TLS with clients is made of: none if there is no TLS. */
export function clientTlsFiles(settings: ClientTlsSettings): NamedFile[] {
  if (settings.clientTlsSslmode === "disable") return [];
  return named("client", {
    certificate: settings.clientTlsCertFile,
    key: settings.clientTlsKeyFile,
    authorities: settings.clientTlsCaFile,
    revocations: settings.clientTlsCrlFile,
  });
}

/** The files that TLS with servers is made of: none if there is no TLS. */
export function serverTlsFiles(settings: ServerTlsSettings): NamedFile[] {
  if (settings.serverTlsSslmode === "disable") return [];
  return named("server", {
    certificate: settings.serverTlsCertFile,
    key: settings.serverTlsKeyFile,
    authorities: settings.serverTlsCaFile,
    revocations: settings.serverTlsCrlFile,
  });
}

/** Ends of the names of settings. */
const SETTING_OF: Readonly<Record<FileKind, string>> = {
  certificate: "cert_file",
  key: "key_file",
  authorities: "ca_file",
  revocations: "crl_file",
};

function named(side: "client" | "server", paths: Readonly<Record<FileKind, string>>): NamedFile[] {
  return Object.entries(paths)
    .filter(([, path]) => path !== "")
    .map(([kind, path]) => {
      const each = kind as FileKind;
      return { setting: `${side}_tls_${SETTING_OF[each]}`, kind: each, path };
    });
}

/** What was read; to be disposed of when the contexts are made. */
export class TlsFiles implements Disposable {
  readonly #contents: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  readonly #digests: ReadonlyMap<string, string>;
  readonly #keyPaths: ReadonlySet<string>;

  private constructor(
    contents: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
    files: readonly NamedFile[],
  ) {
    this.#contents = contents;
    this.#digests = new Map([...contents].map(([path, bytes]) => [path, digestOf(bytes)]));
    this.#keyPaths = new Set(files.filter(({ kind }) => kind === "key").map(({ path }) => path));
  }

  /**
   * Reads each file once.
   * @throws {TlsSetupError} If any cannot be read or is not of its kind, with a line for each.
   */
  static async read(files: readonly NamedFile[], read: ReadTlsFile): Promise<TlsFiles> {
    const contents = new Map<string, Uint8Array<ArrayBuffer>>();
    const problems: string[] = [];
    for (const file of files) {
      try {
        const bytes = contents.get(file.path) ?? await read(file.path);
        contents.set(file.path, bytes);
        checkKind(file, bytes);
      } catch (error) {
        problems.push(`TLS setup failed: ${file.setting} ${file.path}: ${errorText(error)}`);
      }
    }
    const all = new TlsFiles(contents, files);
    if (problems.length === 0) return all;
    all[Symbol.dispose]();
    throw new TlsSetupError([...new Set(problems)].join("\n"));
  }

  /** Of what a file held, what tells it from another; it outlives the contents. */
  digest(path: string): string {
    return this.#digests.get(path) ?? "";
  }

  contents(path: string): Uint8Array<ArrayBuffer> | undefined {
    return path === "" ? undefined : this.#contents.get(path);
  }

  /** Wipes keys. */
  [Symbol.dispose](): void {
    for (const path of this.#keyPaths) this.#contents.get(path)?.fill(0);
  }
}

/** Who reads the log should not have to guess which of four files is meant. */
function checkKind({ kind }: NamedFile, bytes: Uint8Array): void {
  switch (kind) {
    case "certificate":
      certificateFacts(firstCertificate(textOf(bytes)));
      return;
    case "authorities":
      firstCertificate(textOf(bytes));
      return;
    case "revocations":
      if (pemBlocks(textOf(bytes), "revocations").length > 0) return;
      throw new CertificateError("there is no revocation list in it (PEM)");
    case "key":
      checkKey(bytes);
  }
}

/** Not as a text, which nobody could wipe. */
function checkKey(bytes: Uint8Array): void {
  if (!hasText(bytes, "PRIVATE KEY-----")) {
    throw new CertificateError("there is no private key in it (PEM)");
  }
  if (hasText(bytes, "-----BEGIN ENCRYPTED ") || hasText(bytes, "Proc-Type: 4,ENCRYPTED")) {
    throw new CertificateError("the key is encrypted, and there is nobody to ask for the password");
  }
}

function hasText(bytes: Uint8Array, text: string): boolean {
  const wanted = new TextEncoder().encode(text);
  return bytes.some((_, at) => isSameBytes(wanted, bytes, at, at + wanted.length));
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** How we are to clients, by settings and the files they name; undefined: without TLS. */
export function clientTlsOptions(
  settings: ClientTlsSettings,
  files: TlsFiles,
): ClientTlsOptions | undefined {
  const { clientTlsCaFile, clientTlsSslmode: mode } = settings;
  if (mode === "disable") return undefined;
  // As in PostgreSQL: who can be verified is asked for a certificate, and need not have one.
  const lesser = clientTlsCaFile === "" ? "none" : "optional";
  return {
    peer: "client",
    certificateChain: files.contents(settings.clientTlsCertFile),
    key: files.contents(settings.clientTlsKeyFile),
    authorities: files.contents(clientTlsCaFile),
    revocations: files.contents(settings.clientTlsCrlFile),
    versions: tlsVersionsOf(settings.clientTlsProtocols),
    ciphers: tlsCiphersOf(settings.clientTlsCiphers),
    cipherSuites: settings.clientTls13Ciphers,
    verification: isVerifying(mode) ? "required" : lesser,
    curves: tlsCurvesOf(settings.clientTlsEcdhcurve),
    dhGroup: settings.clientTlsDheparams,
  };
}

/** How we are to servers, by settings and the files they name; undefined: without TLS. */
export function serverTlsOptions(
  settings: ServerTlsSettings,
  files: TlsFiles,
): ServerTlsOptions | undefined {
  const { serverTlsSslmode: mode } = settings;
  if (mode === "disable") return undefined;
  return {
    peer: "server",
    certificateChain: files.contents(settings.serverTlsCertFile),
    key: files.contents(settings.serverTlsKeyFile),
    authorities: files.contents(settings.serverTlsCaFile),
    revocations: files.contents(settings.serverTlsCrlFile),
    versions: tlsVersionsOf(settings.serverTlsProtocols),
    ciphers: tlsCiphersOf(settings.serverTlsCiphers),
    cipherSuites: settings.serverTls13Ciphers,
    verification: mode === "verify-full" ? "name" : mode === "verify-ca" ? "authority" : "none",
  };
}

/** What there is to know of our own certificate; undefined if there is none. */
export function ownCertificate(
  settingFiles: readonly NamedFile[],
  files: TlsFiles,
): OwnCertificate | undefined {
  const file = settingFiles.find(({ kind }) => kind === "certificate");
  const bytes = files.contents(file?.path ?? "");
  if (file === undefined || bytes === undefined) return undefined;
  const der = firstCertificate(textOf(bytes));
  const { notAfterMs } = certificateFacts(der);
  return { file, endPoint: tlsServerEndPoint(der), notAfterMs };
}
