/**
 * The states of a connection to PostgreSQL, named as SHOW POOLS names them, and which may follow
 * which. Only `ServerSession.#enter()` changes a state. PgBouncer has no word for `recovering`: the
 * console counts it among the tested.
 */

import type { Recovery } from "./recovery.ts";
import type { ServerEnd } from "./server_end.ts";
import type { ServerTaker } from "./server_taker.ts";

/** Where a server stands. `sinceMs` is the moment it entered the state. */
export type ServerState =
  /** Connecting or logging in. */
  | { readonly kind: "login"; readonly sinceMs: number }
  /** Free for the next client. */
  | { readonly kind: "idle"; readonly sinceMs: number }
  /** Free, but idle for so long that it is checked before use. */
  | { readonly kind: "used"; readonly sinceMs: number }
  /** Running the reset query or the check query. */
  | { readonly kind: "tested"; readonly sinceMs: number }
  /** Linked to a client. */
  | { readonly kind: "active"; readonly sinceMs: number; readonly taker: ServerTaker }
  /** Released, but a cancel request is still on its way to it. */
  | { readonly kind: "being_canceled"; readonly sinceMs: number }
  /** Its client was lost amid something, of which nothing may be left for the next one. */
  | { readonly kind: "recovering"; readonly sinceMs: number; readonly recovery: Recovery }
  | { readonly kind: "closed"; readonly sinceMs: number; readonly end: ServerEnd };

/** The name of a state. */
export type ServerStateKind = ServerState["kind"];

/** Which states may follow which. */
export const NEXT_SERVER_STATES: Readonly<Record<ServerStateKind, readonly ServerStateKind[]>> = {
  login: ["idle", "closed"],
  idle: ["active", "used", "tested", "closed"],
  used: ["idle", "tested", "closed"],
  tested: ["idle", "closed"],
  active: ["idle", "tested", "being_canceled", "recovering", "closed"],
  being_canceled: ["idle", "tested", "closed"],
  recovering: ["idle", "tested", "closed"],
  closed: [],
};
