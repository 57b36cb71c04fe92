/** SHOW PEERS: the processes of the configuration; SHOW PEER_POOLS: what is passed on to the others. */

import type { PeerConfig } from "../config/config.ts";
import type { ConsoleContext } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

/** Answers SHOW PEERS. */
export function showPeers(context: ConsoleContext): ShownTable {
  const { settings } = context.config();
  const columns: readonly ShowColumn<PeerConfig>[] = [
    int4("peer_id", ({ id }) => id),
    text("host", ({ host }) => host),
    int4("port", ({ port }) => port),
    int4("pool_size", ({ poolSize }) => poolSize ?? settings.defaultPoolSize),
  ];
  return table(columns, peersInOrder(context));
}

/** Answers SHOW PEER_POOLS. */
export function showPeerPools(context: ConsoleContext): ShownTable {
  const rows = peersOfOthers(context).map(({ id }) => ({ id, ...context.peers.countsOf(id) }));
  const columns: readonly ShowColumn<typeof rows[number]>[] = [
    int4("peer_id", ({ id }) => id),
    int4("cl_active_cancel_req", ({ sentCount }) => sentCount),
    int4("cl_waiting_cancel_req", ({ waitingCount }) => waitingCount),
    int4("sv_active_cancel", ({ sentCount }) => sentCount),
    int4("sv_login", ({ connectingCount }) => connectingCount),
  ];
  return table(columns, rows);
}

/** Those that requests may be passed on to: none where this process has no number itself. */
export function peersOfOthers(context: ConsoleContext): PeerConfig[] {
  const { peerId } = context.config().settings;
  return peerId === 0 ? [] : peersInOrder(context).filter(({ id }) => id !== peerId);
}

function peersInOrder(context: ConsoleContext): PeerConfig[] {
  return [...context.config().peers.values()].sort((a, b) => a.id - b.id);
}
