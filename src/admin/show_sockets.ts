/**
 * SHOW SOCKETS and SHOW ACTIVE_SOCKETS: the connections of both sides, those that log in included,
 * and where each stands in what it has received.
 *
 * There is no buffer for a connection; the columns show as its buffer the request that is held while
 * its client waits for a server. What the kernel was handed and has not sent is not counted.
 */

import { unreachable } from "../base/assert.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { ServerStateKind } from "../server/server_state.ts";
import { clientSockets } from "./client_sockets.ts";
import type { ConsoleContext } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table } from "./result_set.ts";
import { serverSockets } from "./server_sockets.ts";
import { shownCancelState } from "./shown_client.ts";
import { SOCKET_COLUMNS, type SocketRow } from "./socket_columns.ts";

const COLUMNS: readonly ShowColumn<SocketRow>[] = [
  ...SOCKET_COLUMNS,
  // All that is held has been walked, and nothing of it sent.
  int4("recv_pos", ({ heldBytes }) => heldBytes),
  int4("pkt_pos", ({ heldBytes }) => heldBytes),
  int4("pkt_remain", () => 0),
  int4("send_pos", () => 0),
  int4("send_remain", () => 0),
  int4("pkt_avail", () => 0),
  int4("send_avail", ({ heldBytes }) => heldBytes),
];

/** Answers SHOW SOCKETS: clients, then servers. */
export function showSockets(context: ConsoleContext): ShownTable {
  // Who is there is settled by this call, before a row is read.
  const sides = [
    clientSockets(context, (client) => socketState(client, context)),
    serverSockets(context, serverStateText),
  ];
  return table(COLUMNS, rows(sides));
}

/** Answers SHOW ACTIVE_SOCKETS: those of which something is held, which are clients'. */
export function showActiveSockets(context: ConsoleContext): ShownTable {
  const stateOf = (client: ClientSession) =>
    isHeld(client) ? socketState(client, context) : undefined;
  return table(COLUMNS, clientSockets(context, stateOf));
}

function isHeld({ relay }: ClientSession): boolean {
  return relay !== undefined && relay.heldBytes > 0;
}

function* rows(sides: readonly Iterable<SocketRow>[]): Generator<SocketRow, void, void> {
  for (const side of sides) yield* side;
}

function socketState(client: ClientSession, { cancels }: ConsoleContext): string | undefined {
  const cancelState = shownCancelState(cancels.pendingOf(client));
  return cancelState === undefined ? clientStateText(client) : `cl_${cancelState}`;
}

/** PgBouncer's lists: a client without a server that asks nothing stands in that of active ones. */
function clientStateText({ pool, state: { kind } }: ClientSession): string | undefined {
  switch (kind) {
    case "active":
    case "idle":
      return "cl_active";
    case "waiting":
      return "cl_waiting";
    case "login":
      return pool === undefined ? "cl_login" : "cl_waiting";
    case "startup":
      return "cl_login";
    case "closing":
    case "closed":
      return undefined;
    default:
      unreachable(kind);
  }
}

function serverStateText(kind: ServerStateKind): string {
  return kind === "recovering" ? "sv_tested" : `sv_${kind}`;
}
