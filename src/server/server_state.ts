/**
 * The states of a connection to PostgreSQL, named as SHOW POOLS names them, and which may follow
 * which. Only `ServerSession.#enter()` changes a state. PgBouncer has no word for `recovering`: the
 * console counts it among the tested.
 */

import type { Recovery } from "./recovery.ts";
import type { ServerEnd } from "./server_end.ts";
import type { ServerTaker } from "./server_taker.ts";

/** Where a server stands. */
export type ServerState =
  /** Connecting or logging in. */
  | { readonly kind: "login" }
  /** Free for the next client. */
  | { readonly kind: "idle" }
  /** Free, but idle for so long that it is checked before use, as it always is if that is wanted. */
  | { readonly kind: "used" }
  /** Running the reset query or the check query. */
  | { readonly kind: "tested" }
  /** Linked to a client. */
  | { readonly kind: "active"; readonly taker: ServerTaker }
  /** Released, but a cancel request is still on its way to it. */
  | { readonly kind: "being_canceled" }
  /** Its client was lost amid something, of which nothing may be left for the next one. */
  | { readonly kind: "recovering"; readonly recovery: Recovery }
  | { readonly kind: "closed"; readonly end: ServerEnd };

/** The name of a state. */
export type ServerStateKind = ServerState["kind"];

/** The state that each transaction enters by its end: the same object for all, so that it costs nothing. */
export const SERVER_IDLE: ServerState = { kind: "idle" };

/** The same of a server that is always checked. */
export const SERVER_USED: ServerState = { kind: "used" };

/** Which states may follow which. */
export const NEXT_SERVER_STATES: Readonly<Record<ServerStateKind, readonly ServerStateKind[]>> = {
  login: ["idle", "closed"],
  idle: ["active", "used", "tested", "closed"],
  used: ["idle", "tested", "closed"],
  tested: ["idle", "used", "closed"],
  active: ["idle", "used", "tested", "being_canceled", "recovering", "closed"],
  being_canceled: ["idle", "used", "tested", "closed"],
  recovering: ["idle", "used", "tested", "closed"],
  closed: [],
};
