/** Which setting it is for which TLS cannot be set up: an engine knows options, and no settings. */

import { type TlsContextOptions, type TlsEngine, TlsSetupError } from "../net/tls.ts";
import type { FileKind, NamedFile } from "./tls_files.ts";

/** A setting, and options that do without it. */
interface Suspect {
  readonly setting: string;
  readonly without: TlsContextOptions;
}

/**
 * The setting, with its value or its file, of options that the engine refuses: the one without
 * which it would take them; else, certificate and key.
 */
export function culpritOf(
  engine: TlsEngine,
  options: TlsContextOptions,
  named: readonly NamedFile[],
): string {
  const found = suspectsOf(options, named).find(({ without }) => isTaken(engine, without));
  if (found !== undefined) return found.setting;
  const own = [fileText(named, "certificate"), fileText(named, "key")].filter((text) =>
    text !== ""
  );
  return own.length > 0 ? own.join(", ") : `${options.peer}_tls_sslmode`;
}

function isTaken(engine: TlsEngine, options: TlsContextOptions): boolean {
  try {
    engine.makeContext(options)[Symbol.dispose]();
    return true;
  } catch (error) {
    if (error instanceof TlsSetupError) return false;
    throw error;
  }
}

function suspectsOf(options: TlsContextOptions, named: readonly NamedFile[]): Suspect[] {
  const { authorities, cipherSuites, ciphers, revocations } = options;
  const side = `${options.peer}_tls`;
  const suspects: Suspect[] = [];
  const suspect = (setting: string, without: TlsContextOptions) =>
    suspects.push({ setting, without });
  if (ciphers !== undefined) {
    suspect(`${side}_ciphers ${ciphers}`, { ...options, ciphers: undefined });
  }
  if (cipherSuites !== undefined) {
    suspect(`${side}13_ciphers ${cipherSuites}`, { ...options, cipherSuites: undefined });
  }
  if (options.peer === "client") {
    const { curves, dhGroup } = options;
    if (curves !== undefined) {
      suspect(`${side}_ecdhcurve ${curves}`, { ...options, curves: undefined });
    }
    if (dhGroup !== "auto") {
      suspect(`${side}_dheparams ${dhGroup}`, { ...options, dhGroup: "auto" });
    }
  }
  const without = { ...options, versions: ["TLSv1.2", "TLSv1.3"] } as const;
  suspect(`${side}_protocols`, without);
  if (revocations !== undefined) {
    suspect(fileText(named, "revocations"), { ...options, revocations: undefined });
  }
  if (authorities !== undefined) {
    const none = { authorities: undefined, revocations: undefined, verification: "none" } as const;
    suspect(fileText(named, "authorities"), { ...options, ...none });
  }
  return suspects;
}

function fileText(named: readonly NamedFile[], kind: FileKind): string {
  const file = named.find((each) => each.kind === kind);
  return file === undefined ? "" : `${file.setting} ${file.path}`;
}
