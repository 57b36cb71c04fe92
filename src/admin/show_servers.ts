/** SHOW SERVERS: every connection to PostgreSQL, those still logging in included. */

import type { ServerStateKind } from "../server/server_state.ts";
import type { ConsoleContext } from "./console_context.ts";
import { type ShownTable, table } from "./result_set.ts";
import { serverSockets } from "./server_sockets.ts";
import { SOCKET_COLUMNS } from "./socket_columns.ts";

/** Answers SHOW SERVERS. */
export function showServers(context: ConsoleContext): ShownTable {
  return table(SOCKET_COLUMNS, serverSockets(context, stateText));
}

/** PgBouncer's word for a state. */
function stateText(kind: ServerStateKind): string {
  if (kind === "login") return "new";
  return kind === "recovering" ? "tested" : kind;
}
