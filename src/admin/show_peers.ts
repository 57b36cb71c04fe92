/** SHOW PEERS: the other processes of the configuration; SHOW PEER_POOLS: none is connected to. */

import type { PeerConfig } from "../config/config.ts";
import type { ConsoleContext } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

const nothing = (): undefined => undefined;

/** Answers SHOW PEERS. */
export function showPeers(context: ConsoleContext): ShownTable {
  const { peers, settings } = context.config();
  const columns: readonly ShowColumn<PeerConfig>[] = [
    int4("peer_id", ({ id }) => id),
    text("host", ({ host }) => host),
    int4("port", ({ port }) => port),
    int4("pool_size", ({ poolSize }) => poolSize ?? settings.defaultPoolSize),
  ];
  return table(columns, [...peers.values()].sort((a, b) => a.id - b.id));
}

/** Answers SHOW PEER_POOLS: cancel requests are not passed on, so there are no rows. */
export function showPeerPools(_context: ConsoleContext): ShownTable {
  const names = ["cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_login"];
  return table(["peer_id", ...names].map((name) => int4(name, nothing)), []);
}
