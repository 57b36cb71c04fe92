/**
 * SHOW SOCKETS and ACTIVE_SOCKETS: every connection, in states with the side before them, and what
 * is on its way through it.
 *
 * Nothing is kept in buffers of our own between two events but what a peer was slow to take, so the
 * positions that PgBouncer shows of its buffers are 0 here.
 */

import type { ClientSession } from "../client/client_session.ts";
import type { ConsoleContext } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table } from "./result_set.ts";
import { clientRow } from "./show_clients.ts";
import { serverRows } from "./show_servers.ts";
import { SOCKET_COLUMNS, type SocketRow } from "./socket_columns.ts";

const COLUMNS: readonly ShowColumn<SocketRow>[] = [
  ...SOCKET_COLUMNS,
  ...["recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail"]
    .map((name) => int4<SocketRow>(name, () => 0)),
];

/** Answers SHOW SOCKETS. */
export function showSockets(context: ConsoleContext): ShownTable {
  return table(COLUMNS, rows(context));
}

/** Answers SHOW ACTIVE_SOCKETS: those that stand in the middle of a message. */
export function showActiveSockets(context: ConsoleContext): ShownTable {
  const active = [...context.clients.all()].filter(isMidMessage);
  return table(COLUMNS, active.map((client) => clientSocket(client, context)));
}

function isMidMessage({ isOpen, relay }: ClientSession): boolean {
  return isOpen && relay !== undefined && (relay.isMidRequest || relay.isMidReply);
}

function* rows(context: ConsoleContext): Generator<SocketRow, void, void> {
  for (const client of [...context.clients.all()]) {
    if (client.isOpen) yield clientSocket(client, context);
  }
  for (const row of serverRows(context)) {
    // SHOW SERVERS has a word of its own for those that log in.
    yield { ...row, state: row.state === "new" ? "sv_login" : `sv_${row.state}` };
  }
}

function clientSocket(client: ClientSession, context: ConsoleContext): SocketRow {
  return clientRow(client, { state: stateOf(client), context });
}

function stateOf({ pool, state: { kind } }: ClientSession): string {
  switch (kind) {
    case "startup":
      return "cl_login";
    case "login":
      return pool === undefined ? "cl_login" : "cl_waiting";
    case "waiting":
      return "cl_waiting";
    default:
      return "cl_active";
  }
}
