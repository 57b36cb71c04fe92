/** What the settings say of sockets and is not so, on this engine or in this kernel. Pure. */

import type { Settings } from "../config/settings.ts";

/** The queue of a unix socket, which the runtime opens: no setting changes it. */
const UNIX_BACKLOG = 1024;

/** What a unix socket's file has if nothing is said. */
const DEFAULT_MODE = 0o777;

/** Where the settings are to hold. */
export interface SocketSurroundings {
  /** The I/O engine in use. */
  readonly engine: "native" | "portable";
  /** Longest queue that the kernel allows (net.core.somaxconn); undefined if it cannot be told. */
  readonly maxBacklog: number | undefined;
}

/** A line for each setting that is given and does nothing, or less than it says. */
export function socketWarnings(
  settings: Settings,
  { engine, maxBacklog }: SocketSurroundings,
): string[] {
  const nativeOnly = engine === "native" ? [] : nativeOnlySettings(settings);
  return [
    ...nativeOnly.map((name) => `${name} has no effect: only the native I/O engine can set it`),
    ...backlogWarnings(settings, maxBacklog),
    ...abstractWarnings(settings),
  ];
}

/** Those that only the native engine can set, and that are not as they are by default. */
function nativeOnlySettings(settings: Settings): string[] {
  const given = {
    // 0 and the default make no difference that matters: the engine accepts at once.
    tcp_defer_accept: settings.tcpDeferAccept > 1,
    tcp_keepcnt: settings.tcpKeepcnt > 0,
    tcp_keepidle: settings.tcpKeepidleMs > 0,
    tcp_keepintvl: settings.tcpKeepintvlMs > 0,
    tcp_socket_buffer: settings.tcpSocketBufferBytes > 0,
    tcp_user_timeout: settings.tcpUserTimeoutMs > 0,
  };
  return namesOf(given);
}

/** Those that are given. */
function namesOf(given: Readonly<Record<string, boolean>>): string[] {
  return Object.keys(given).filter((name) => given[name]);
}

function backlogWarnings(
  { listenAddr, listenBacklog, unixSocketDir }: Settings,
  maxBacklog = Infinity,
): string[] {
  const warnings: string[] = [];
  const text = `listen_backlog = ${listenBacklog} has less effect than it says: `;
  if (listenAddr.length > 0 && listenBacklog > maxBacklog) {
    warnings.push(`${text}the kernel queues ${maxBacklog} at most (net.core.somaxconn)`);
  }
  if (unixSocketDir !== "" && listenBacklog > UNIX_BACKLOG) {
    warnings.push(`${text}the unix socket queues ${UNIX_BACKLOG}`);
  }
  return warnings;
}

/** An abstract socket is no file that could have an owner. */
function abstractWarnings({ unixSocketDir, unixSocketGroup, unixSocketMode }: Settings): string[] {
  if (!unixSocketDir.startsWith("@")) return [];
  const given = {
    unix_socket_group: unixSocketGroup !== "",
    unix_socket_mode: unixSocketMode !== DEFAULT_MODE,
  };
  return namesOf(given)
    .map((name) => `${name} has no effect: an abstract socket is open to everybody`);
}
