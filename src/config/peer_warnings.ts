/**
 * What an operator is warned of who has peers. Pure.
 *
 * A process's own entry in `[peers]` is one for the others, as in PgBouncer: it may be there, so that
 * all can have the same list, and need not be. With `so_reuseport` it also says where this process
 * goes on listening while it waits for its last clients.
 */

import type { PeerConfig } from "./config.ts";
import { isSocketDirectory } from "./effective_settings.ts";
import type { Settings } from "./settings.ts";

/** A line for what is missing, wrong or of no use. */
export function peerWarnings(
  peers: ReadonlyMap<number, PeerConfig>,
  settings: Settings,
): string[] {
  const { peerId } = settings;
  if (peers.size === 0) return [];
  if (peerId === 0) return ['[peers] has no effect as long as "peer_id" is 0'];
  const own = peers.get(peerId);
  const problem = own === undefined
    ? missingProblem(settings)
    : isSocketDirectory(own.host)
    ? socketProblem(own, settings)
    : addressProblem(own, settings);
  return problem === undefined ? [] : [problem];
}

const UNREACHED = "with so_reuseport, peers may not reach it while it waits for its last clients";

function missingProblem({ peerId, soReuseport }: Settings): string | undefined {
  if (!soReuseport) return undefined;
  return `[peers] has no entry for ${peerId}, the "peer_id" of this process: ${UNREACHED}`;
}

function socketProblem(
  { host, id, port }: PeerConfig,
  { listenPort, unixSocketDir }: Settings,
): string | undefined {
  const isOwn = withoutSlash(host) === withoutSlash(unixSocketDir) && port === listenPort;
  if (isOwn) return undefined;
  return `Peer "${id}" is this process, but ${host} with port ${port} is not its ` +
    `"unix_socket_dir" with "listen_port": peers do not reach it there`;
}

/** Without `so_reuseport` it may be a name, or another address of the machine's. */
function addressProblem(
  { host, id, port }: PeerConfig,
  { listenAddr, listenPort, soReuseport }: Settings,
): string | undefined {
  if (!soReuseport || listenAddr.includes(host) && port === listenPort) return undefined;
  return `Peer "${id}" is this process, but ${host} with port ${port} is none of its ` +
    `"listen_addr" with "listen_port": ${UNREACHED}`;
}

function withoutSlash(directory: string): string {
  return directory.replace(/\/+$/, "");
}
