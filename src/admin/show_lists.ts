/** SHOW LISTS: how many there are of everything. */

import type { ConsoleContext } from "./console_context.ts";
import { poolsByName } from "./pools_in_order.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { shownDatabaseNames } from "./show_databases.ts";
import { peersOfOthers } from "./show_peers.ts";
import { shownUserNames } from "./show_users.ts";
import { shownClientState } from "./shown_client.ts";

const COLUMNS: readonly ShowColumn<readonly [string, number]>[] = [
  text("list", ([list]) => list),
  int4("items", ([_, count]) => count),
];

/** Answers SHOW LISTS. */
export function showLists(context: ConsoleContext): ShownTable {
  const { cancels, clients, names, pools } = context;
  let serverCount = 0;
  for (const { servers } of pools.all()) serverCount += servers.count;
  let [usedCount, loginCount] = [0, 0];
  for (const client of clients.all()) {
    if (shownClientState(client) !== undefined) usedCount += 1;
    // Who asks to cancel never logs in.
    else if (client.isOpen && cancels.pendingOf(client) === undefined) loginCount += 1;
  }
  return table(COLUMNS, [
    ["databases", shownDatabaseNames(context).size + 1],
    ["users", shownUserNames(context).size],
    ["peers", context.config().peers.size],
    // The console's own counts, as it does in SHOW POOLS.
    ["pools", poolsByName(pools).length + 1],
    ["peer_pools", peersOfOthers(context).length],
    // What is not in use is not kept: there are no lists of free clients and servers.
    ["free_clients", 0],
    ["used_clients", usedCount],
    ["login_clients", loginCount],
    ["free_servers", 0],
    ["used_servers", serverCount],
    ["dns_names", names.names.length],
    ["dns_zones", names.zones.length],
    // As in PgBouncer, which counts those that it waits for here, and in the next row by its library.
    ["dns_queries", names.pendingCount],
    ["dns_pending", names.pendingCount],
  ]);
}
