/** SHOW SERVERS: every connection to PostgreSQL, those still logging in included. */

import { unreachable } from "../base/assert.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ServerSession } from "../server/server_session.ts";
import type { ServerStateKind } from "../server/server_state.ts";
import type { ConsoleContext } from "./console_context.ts";
import { poolsInOrder } from "./pools_in_order.ts";
import { type ShownTable, table } from "./result_set.ts";
import { shownMoment, shownWallTime } from "./shown_time.ts";
import { type ShownEndpoint, SOCKET_COLUMNS, type SocketRow } from "./socket_columns.ts";

/** Answers SHOW SERVERS. */
export function showServers(context: ConsoleContext): ShownTable {
  return table(SOCKET_COLUMNS, serverRows(context));
}

/** Every server as a row; those that are there now, read one by one. */
export function* serverRows(context: ConsoleContext): Generator<SocketRow, void, void> {
  const clientIds = clientIdsByServer(context.clients);
  const servers = poolsInOrder(context.pools).flatMap((pool) => [...pool.servers.all()]);
  for (const server of servers) {
    // What has gone by now is left out.
    if (server.state.kind === "closed") continue;
    yield serverRow(server, { linkedId: clientIds.get(server), context });
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
  { linkedId, context }: { linkedId: number | undefined; context: ConsoleContext },
): SocketRow {
  return {
    type: "S",
    user: server.user,
    database: server.database,
    state: shownState(server.state.kind),
    remote: server.stream?.remote ?? target(server),
    local: server.stream?.local ?? { host: "", port: 0 },
    connectTime: shownWallTime(server.createdWallMs),
    requestTime: shownMoment(server.requestedAtMs, context.clock),
    waitMs: 0,
    isCloseNeeded: server.isDoomed,
    id: server.id,
    linkedId,
    remotePid: processId(server.cancelKey),
    applicationName: server.parameters.get("application_name") ?? "",
  };
}

/** PgBouncer's word for a state. */
function shownState(kind: ServerStateKind): string {
  switch (kind) {
    case "login":
      return "new";
    case "idle":
    case "used":
    case "tested":
    case "active":
    case "being_canceled":
    case "closed":
      return kind;
    default:
      unreachable(kind);
  }
}

/** Where a server that is not connected yet is looked for. */
function target({ address }: ServerSession): ShownEndpoint {
  return { host: address.kind === "unix" ? "unix" : address.host, port: address.port };
}

/** The backend's process ID: the first word of its cancel key. */
function processId(cancelKey: Uint8Array<ArrayBuffer> | undefined): number {
  return cancelKey === undefined ? 0 : new DataView(cancelKey.buffer).getInt32(0);
}
