/** How connections are set up, as the settings say. */

import type { Settings } from "../config/settings.ts";
import type { StreamOptions } from "../net/network.ts";

/** For connections whose receive buffer has ordinarily `receiveBytes`. */
export function streamOptionsOf(settings: Settings, receiveBytes: number): StreamOptions {
  return {
    receiveBytes,
    maxBusyReads: settings.sbufLoopcnt,
    tcp: {
      keepAlive: settings.tcpKeepalive,
      keepAliveIdleMs: settings.tcpKeepidleMs,
      keepAliveIntervalMs: settings.tcpKeepintvlMs,
      keepAliveCount: settings.tcpKeepcnt,
      userTimeoutMs: settings.tcpUserTimeoutMs,
      socketBufferBytes: settings.tcpSocketBufferBytes,
      deferAcceptSeconds: settings.tcpDeferAccept,
    },
  };
}

/** Settings that are in force only on the native engine, and are not as they are by default. */
export function nativeOnlySettings(settings: Settings): string[] {
  const given = {
    tcp_keepcnt: settings.tcpKeepcnt,
    tcp_keepidle: settings.tcpKeepidleMs,
    tcp_keepintvl: settings.tcpKeepintvlMs,
    tcp_socket_buffer: settings.tcpSocketBufferBytes,
    tcp_user_timeout: settings.tcpUserTimeoutMs,
  };
  return Object.entries(given).filter(([, value]) => value > 0).map(([name]) => name);
}
