/** The connections of clients, as rows. */

import type { ClientSession } from "../client/client_session.ts";
import type { ConsoleContext } from "./console_context.ts";
import { clientWaitMs } from "./shown_client.ts";
import { shownMoment, shownWallTime } from "./shown_time.ts";
import type { SocketRow } from "./socket_columns.ts";

/** The state to show of a client; undefined for one that is left out. */
export type ClientStateText = (client: ClientSession) => string | undefined;

/**
 * A row for each client there is now. Rows are made while they are read: of those that have ended
 * meanwhile the ones are left out that have no state to show any more.
 */
export function clientSockets(
  context: ConsoleContext,
  stateOf: ClientStateText,
): Iterable<SocketRow> {
  return rows([...context.clients.all()], { stateOf, context });
}

function* rows(
  clients: readonly ClientSession[],
  { context, stateOf }: { stateOf: ClientStateText; context: ConsoleContext },
): Generator<SocketRow, void, void> {
  for (const client of clients) {
    const state = stateOf(client);
    if (state !== undefined) yield clientRow(client, { state, context });
  }
}

function clientRow(
  client: ClientSession,
  { state, context }: { state: string; context: ConsoleContext },
): SocketRow {
  const { cancels, clock } = context;
  // Who asks to cancel says no name; the request is listed under its pool.
  const canceled = cancels.pendingOf(client);
  return {
    type: "C",
    user: client.user ?? canceled?.user ?? "",
    database: client.database ?? canceled?.database ?? "",
    replication: client.replication,
    state,
    remote: client.remote,
    local: client.stream.local,
    connectTime: shownWallTime(client.connectedWallMs),
    requestTime: shownMoment(lastRequestMs(client), clock),
    waitMs: clientWaitMs(client, clock.nowMs()),
    isCloseNeeded: false,
    id: client.id,
    linkedId: client.relay?.server?.id,
    // The kernel tells who is behind a unix socket by user, not by process.
    remotePid: 0,
    tls: client.stream.tls,
    applicationName: client.parameters?.get("application_name") ?? "",
    heldBytes: client.relay?.heldBytes ?? 0,
    statementCount: client.relay?.statementCount ?? 0,
  };
}

/** When its running query set out; of one that asks nothing, when its last answer was complete. */
function lastRequestMs({ connectedAtMs, relay }: ClientSession): number {
  return relay === undefined ? connectedAtMs : relay.queryStartMs ?? relay.lastReadyMs;
}
