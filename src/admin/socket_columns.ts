/** The 21 columns that SHOW CLIENTS and SHOW SERVERS have in common. */

import { type TlsInUse, tlsText } from "../net/tls.ts";
import type { Replication } from "../wire/replication.ts";
import { int4, type ShowColumn, text } from "./result_set.ts";
import { restMicroseconds, wholeSeconds } from "./shown_time.ts";

/** One connection, of either side. */
export interface SocketRow {
  readonly type: "C" | "S";
  readonly user: string;
  readonly database: string;
  readonly replication: Replication;
  readonly state: string;
  readonly remote: ShownEndpoint;
  readonly local: ShownEndpoint;
  readonly connectTime: string;
  readonly requestTime: string;
  readonly waitMs: number;
  readonly isCloseNeeded: boolean;
  readonly id: number;
  /** Id of the other side of the link, if there is one. */
  readonly linkedId: number | undefined;
  readonly remotePid: number;
  /** Undefined for plain text. */
  readonly tls: TlsInUse | undefined;
  readonly applicationName: string;
  /** Received and walked, and not sent on yet. */
  readonly heldBytes: number;
  /** Names that a client has given to statements, statements that are on a server. */
  readonly statementCount: number;
}

/** One end of a connection; of one that is not there yet nothing is known. */
export interface ShownEndpoint {
  readonly host: string;
  readonly port: number;
}

/** The columns, in order. */
export const SOCKET_COLUMNS: readonly ShowColumn<SocketRow>[] = [
  text("type", ({ type }) => type),
  text("user", ({ user }) => user),
  text("database", ({ database }) => database),
  text("replication", ({ replication }) => replication),
  text("state", ({ state }) => state),
  text("addr", ({ remote }) => remote.host),
  int4("port", ({ remote }) => remote.port),
  text("local_addr", ({ local }) => local.host),
  int4("local_port", ({ local }) => local.port),
  text("connect_time", ({ connectTime }) => connectTime),
  text("request_time", ({ requestTime }) => requestTime),
  int4("wait", ({ waitMs }) => wholeSeconds(waitMs)),
  int4("wait_us", ({ waitMs }) => restMicroseconds(waitMs)),
  int4("close_needed", ({ isCloseNeeded }) => isCloseNeeded ? 1 : 0),
  text("ptr", ({ id }) => pointer(id)),
  text("link", ({ linkedId }) => linkedId === undefined ? "" : pointer(linkedId)),
  int4("remote_pid", ({ remotePid }) => remotePid),
  text("tls", ({ tls }) => tls === undefined ? "" : tlsText(tls)),
  text("application_name", ({ applicationName }) => applicationName),
  int4("prepared_statements", ({ statementCount }) => statementCount),
  int4("id", ({ id }) => id),
];

/** The number by which the log names a connection, after `C-` or `S-`. */
function pointer(id: number): string {
  return `0x${id.toString(16).padStart(12, "0")}`;
}
