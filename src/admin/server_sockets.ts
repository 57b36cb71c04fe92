/** The connections to PostgreSQL, as rows. */

import type { ClientRegistry } from "../client/client_registry.ts";
import type { ServerSession } from "../server/server_session.ts";
import type { ServerStateKind } from "../server/server_state.ts";
import type { ConsoleContext } from "./console_context.ts";
import { poolsInOrder } from "./pools_in_order.ts";
import { shownMoment, shownWallTime } from "./shown_time.ts";
import type { ShownEndpoint, SocketRow } from "./socket_columns.ts";

/** The word for a state. */
export type ServerStateText = (kind: ServerStateKind) => string;

/**
 * A row for each server there is now. Rows are made while they are read: servers that have been
 * closed meanwhile are left out.
 */
export function serverSockets(
  context: ConsoleContext,
  stateText: ServerStateText,
): Iterable<SocketRow> {
  const clientIds = clientIdsByServer(context.clients);
  const servers = poolsInOrder(context.pools).flatMap((pool) => [...pool.servers.all()]);
  return rows(servers, { stateText, clientIds, context });
}

function* rows(
  servers: readonly ServerSession[],
  { clientIds, context, stateText }: {
    stateText: ServerStateText;
    clientIds: ReadonlyMap<ServerSession, number>;
    context: ConsoleContext;
  },
): Generator<SocketRow, void, void> {
  for (const server of servers) {
    const { kind } = server.state;
    if (kind === "closed") continue;
    yield serverRow(server, {
      state: stateText(kind),
      linkedId: clientIds.get(server),
      context,
    });
  }
}

/** A server knows its taker only as such; the clients know their servers. */
function clientIdsByServer(clients: ClientRegistry): Map<ServerSession, number> {
  const ids = new Map<ServerSession, number>();
  for (const { id, relay } of clients.all()) {
    if (relay?.server !== undefined) ids.set(relay.server, id);
  }
  return ids;
}

function serverRow(
  server: ServerSession,
  { context, linkedId, state }: {
    state: string;
    linkedId: number | undefined;
    context: ConsoleContext;
  },
): SocketRow {
  return {
    type: "S",
    user: server.user,
    database: server.database,
    replication: server.replication,
    state,
    remote: server.stream?.remote ?? target(server),
    local: server.stream?.local ?? { host: "", port: 0 },
    connectTime: shownWallTime(server.createdWallMs),
    requestTime: shownMoment(server.requestedAtMs, context.clock),
    waitMs: 0,
    isCloseNeeded: server.isDoomed,
    id: server.id,
    linkedId,
    remotePid: processId(server.cancelKey),
    tls: server.stream?.tls,
    applicationName: server.parameters.get("application_name") ?? "",
    // What a server says is handed to the client's connection at once.
    heldBytes: 0,
    statementCount: server.statements.count,
  };
}

/** Where a server that is not connected yet is looked for. */
function target({ address }: ServerSession): ShownEndpoint {
  return { host: address.kind === "unix" ? "unix" : address.host, port: address.port };
}

/** The backend's process ID: the first word of its cancel key. */
function processId(cancelKey: Uint8Array<ArrayBuffer> | undefined): number {
  return cancelKey === undefined ? 0 : new DataView(cancelKey.buffer).getInt32(0);
}
