/** The servers that nobody waits for, since what they do is never done. */

import type { ServerPool } from "../client/relay.ts";

/** How many servers of a pool stream: replication goes on until somebody ends it. */
export function streamCount({ isPrivate, servers }: ServerPool): number {
  if (!isPrivate) return 0;
  let count = 0;
  for (const server of servers.active) if (server.isStreaming) count += 1;
  return count;
}
