/** SHOW CLIENTS: every client that has logged in or waits to, those of the console included. */

import type { ClientSession } from "../client/client_session.ts";
import type { ConsoleContext } from "./console_context.ts";
import { type ShownTable, table } from "./result_set.ts";
import { clientWaitMs, shownClientState } from "./shown_client.ts";
import { shownMoment, shownWallTime } from "./shown_time.ts";
import { SOCKET_COLUMNS, type SocketRow } from "./socket_columns.ts";

/** Answers SHOW CLIENTS. */
export function showClients(context: ConsoleContext): ShownTable {
  return table(SOCKET_COLUMNS, rows(context));
}

function* rows(context: ConsoleContext): Generator<SocketRow, void, void> {
  // Those that are there now; whoever has left by the time it is shown is left out.
  for (const client of [...context.clients.all()]) {
    const state = shownClientState(client);
    if (state !== undefined) yield clientRow(client, { state, context });
  }
}

/** One client as a row, in a state that the caller names. */
export function clientRow(
  client: ClientSession,
  { state, context }: { state: string; context: ConsoleContext },
): SocketRow {
  const { clock } = context;
  return {
    type: "C",
    user: client.user ?? "",
    database: client.database ?? "",
    state,
    remote: client.stream.remote,
    local: client.stream.local,
    connectTime: shownWallTime(client.connectedWallMs),
    requestTime: shownMoment(lastRequestMs(client), clock),
    waitMs: clientWaitMs(client, clock.nowMs()),
    isCloseNeeded: false,
    id: client.id,
    linkedId: client.relay?.server?.id,
    // The kernel tells who is behind a unix socket by user, not by process.
    remotePid: 0,
    applicationName: client.parameters?.get("application_name") ?? "",
  };
}

/** When its running query set out; of one that asks nothing, when its last answer was complete. */
function lastRequestMs({ connectedAtMs, relay }: ClientSession): number {
  return relay === undefined ? connectedAtMs : relay.queryStartMs ?? relay.lastReadyMs;
}
