/** A certificate for the poolers to show, and its key, made by OpenSSL's program. */

import { join } from "node:path";
import { GuardedDir } from "../guarded_process.ts";
import { giveTo, unprivilegedIds } from "../unprivileged.ts";
import type { TlsFiles } from "./pooler.ts";

/** Files that are there until disposed. */
export interface MadeCertificate extends AsyncDisposable {
  readonly files: TlsFiles;
}

/** Makes a certificate (ECDSA P-256, of `localhost`, signed by itself), which all poolers may read. */
export async function makeCertificate(): Promise<MadeCertificate> {
  const ids = unprivilegedIds();
  const dir = await GuardedDir.make("certificate-", ids);
  const files = { certificate: join(dir.path, "cert.pem"), key: join(dir.path, "key.pem") };
  const { stderr, success } = await new Deno.Command("openssl", {
    args: [
      ...["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
      ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
      ...[
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
      ],
      ...["-keyout", files.key, "-out", files.certificate],
    ],
  }).output();
  if (!success) throw new Error(`openssl failed:\n${new TextDecoder().decode(stderr)}`);
  for (const path of [files.certificate, files.key]) await giveTo(ids, path);
  return { files, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}
