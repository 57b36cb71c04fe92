/** How tests set connections up where it does not matter. */

import type { TcpOptions } from "../../src/net/network.ts";

/** All is left to the system, and every connection is accepted at once. */
export const SYSTEM_TCP: TcpOptions = {
  keepAlive: false,
  keepAliveIdleMs: 0,
  keepAliveIntervalMs: 0,
  keepAliveCount: 0,
  userTimeoutMs: 0,
  socketBufferBytes: 0,
  deferAcceptSeconds: 0,
};
