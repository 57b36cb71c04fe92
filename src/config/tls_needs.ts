/** What a mode of TLS needs besides, by the settings alone. Pure. */

import type { ServerTlsSettings, Settings } from "./settings.ts";

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

/** What is missing for TLS with servers; one sentence each. */
export function serverTlsProblems(
  settings: ServerTlsSettings & Pick<Settings, "serverChannelBinding">,
): string[] {
  const { serverTlsCaFile, serverTlsCertFile, serverTlsKeyFile, serverTlsSslmode } = settings;
  const mode = JSON.stringify(serverTlsSslmode);
  const isBinding = settings.serverChannelBinding === "require";
  if (serverTlsSslmode === "disable") {
    return isBinding
      ? [
        `"server_channel_binding" is "require", which "server_tls_sslmode" ${mode} makes impossible`,
      ]
      : [];
  }
  const problems: string[] = [];
  if (isVerifying(serverTlsSslmode) && serverTlsCaFile === "") {
    problems.push(`"server_tls_sslmode" is ${mode}, and "server_tls_ca_file" is not set`);
  }
  if ((serverTlsCertFile === "") !== (serverTlsKeyFile === "")) {
    problems.push('"server_tls_cert_file" and "server_tls_key_file" go together: one is not set');
  }
  const isWeak = serverTlsSslmode === "allow" || serverTlsSslmode === "prefer";
  if (settings.serverTlsNegotiation === "direct" && isWeak) {
    problems.push(
      `"server_tls_negotiation" is "direct", which needs "server_tls_sslmode" to be require, verify-ca or verify-full, not ${mode}`,
    );
  }
  return problems;
}

/** Whether a mode lets nobody in without TLS. */
export function isDemanding(mode: Settings["clientTlsSslmode"]): boolean {
  return mode === "require" || isVerifying(mode);
}

/** Whether a mode demands a certificate that can be verified. */
export function isVerifying(mode: Settings["clientTlsSslmode"]): boolean {
  return mode === "verify-ca" || mode === "verify-full";
}
