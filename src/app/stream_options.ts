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
