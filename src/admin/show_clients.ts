/**
 * SHOW CLIENTS: every client that has logged in or waits to, those of the console included, and the
 * cancel requests under way.
 */

import type { ClientSession } from "../client/client_session.ts";
import { clientSockets } from "./client_sockets.ts";
import type { ConsoleContext } from "./console_context.ts";
import { type ShownTable, table } from "./result_set.ts";
import { shownCancelState, shownClientState } from "./shown_client.ts";
import { SOCKET_COLUMNS } from "./socket_columns.ts";

/** Answers SHOW CLIENTS. */
export function showClients(context: ConsoleContext): ShownTable {
  const { cancels } = context;
  const stateOf = (client: ClientSession) =>
    shownCancelState(cancels.pendingOf(client)) ?? shownClientState(client);
  return table(SOCKET_COLUMNS, clientSockets(context, stateOf));
}
