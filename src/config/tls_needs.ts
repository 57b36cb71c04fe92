/** What a mode of TLS needs besides, by the settings alone. Pure. */

import type { Settings } from "./settings.ts";

/** What is missing for TLS with clients; one sentence each. */
export function clientTlsProblems(settings: Settings): string[] {
  const { clientTlsCaFile, clientTlsCertFile, clientTlsKeyFile, clientTlsSslmode } = settings;
  if (clientTlsSslmode === "disable") return [];
  const needed = [
    ["client_tls_cert_file", clientTlsCertFile],
    ["client_tls_key_file", clientTlsKeyFile],
    ...(isVerifying(clientTlsSslmode) ? [["client_tls_ca_file", clientTlsCaFile]] : []),
  ];
  return needed
    .filter(([, path]) => path === "")
    .map(([name]) => `"client_tls_sslmode" is "${clientTlsSslmode}", and "${name}" is not set`);
}

/** Whether client certificates can be looked at, though they need not be demanded. */
export function hasClientCertificates(settings: Settings): boolean {
  return settings.clientTlsSslmode !== "disable" && settings.clientTlsCaFile !== "";
}

/** Whether a mode demands a certificate that can be verified. */
export function isVerifying(mode: Settings["clientTlsSslmode"]): boolean {
  return mode === "verify-ca" || mode === "verify-full";
}
