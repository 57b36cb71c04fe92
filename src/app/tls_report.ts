/** What `sluice check` says of TLS. */

import type { Config } from "../config/config.ts";
import { allServerTls } from "../config/effective_settings.ts";
import type { TlsEngine } from "../net/tls.ts";
import { expiryText } from "./certificate_expiry.ts";
import { TlsContexts } from "./tls_contexts.ts";
import type { ReadTlsFile } from "./tls_files.ts";

/** What is looked at, and when. */
export interface TlsReportOptions {
  readonly engine: TlsEngine;
  readonly read: ReadTlsFile;
  readonly nowWallMs: number;
}

/**
 * Sets TLS up as a configuration says, and gives it up again. Lines for the operator.
 * @throws {TlsSetupError} If that is not possible.
 */
export async function tlsReport(
  config: Config,
  { engine, nowWallMs, read }: TlsReportOptions,
): Promise<string[]> {
  using contexts = new TlsContexts({ engine, read, serverSettingsOf: allServerTls });
  using prepared = await contexts.prepare(config);
  prepared.putInForce();
  const { clientTlsSslmode } = config.settings;
  const serverModes = new Set(allServerTls(config).map(({ serverTlsSslmode }) => serverTlsSslmode));
  return [
    `TLS with clients: ${clientTlsSslmode}; spoken by ${engine.name}`,
    `TLS with servers: ${[...serverModes].join(", ") || "none"}`,
    ...contexts.certificates.map((certificate) => expiryText(certificate, nowWallMs)),
  ];
}
