/** Where a configuration says to listen. Pure. */

import type { Settings } from "../config/settings.ts";
import { type ListenAddress, unixSocketPath } from "../net/network.ts";

/** Takes IPv4 and IPv6 alike. */
const ANY_ADDRESS = "::";

/** The addresses in the order of `listen_addr`, the unix socket last. */
export function listenAddresses(settings: Settings): ListenAddress[] {
  const { listenBacklog: backlog, listenPort: port, soReuseport: isShared } = settings;
  const hosts = new Set(settings.listenAddr.map((host) => host === "*" ? ANY_ADDRESS : host));
  // Beside it, no other address is free, unless they are shared.
  const open = hosts.has(ANY_ADDRESS) && !isShared ? [ANY_ADDRESS] : [...hosts];
  const addresses: ListenAddress[] = open.map((host) => ({
    kind: "tcp",
    host,
    port,
    backlog,
    isShared,
  }));
  if (settings.unixSocketDir !== "") {
    addresses.push({
      kind: "unix",
      path: unixSocketPath(settings.unixSocketDir, port),
      port,
      mode: settings.unixSocketMode,
      group: settings.unixSocketGroup === "" ? undefined : settings.unixSocketGroup,
      isShared,
    });
  }
  return addresses;
}
