/**
 * The states of a connection to PostgreSQL, named as SHOW POOLS names them, and which may follow
 * which. Only `ServerSession.#enter()` changes a state. PgBouncer has no word for `recovering`: the
 * console counts it among the tested.
 */

import { unreachable } from "../base/assert.ts";
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

/**
 * Which states may follow which.
 *
 * HOT PATH, twice in each transaction. Budget: comparisons; a name that is looked up in a table of
 * names costs twenty times as much.
 */
export function mayServerGo(from: ServerStateKind, to: ServerStateKind): boolean {
  switch (from) {
    case "login":
      return to === "idle" || to === "closed";
    case "idle":
      return to === "active" || to === "used" || to === "tested" || to === "closed";
    case "used":
      return to === "idle" || to === "tested" || to === "closed";
    case "tested":
      return to === "idle" || to === "used" || to === "closed";
    case "active":
      return to === "idle" || to === "used" || to === "tested" || to === "being_canceled" ||
        to === "recovering" || to === "closed";
    case "being_canceled":
    case "recovering":
      return to === "idle" || to === "used" || to === "tested" || to === "closed";
    case "closed":
      return false;
    default:
      return unreachable(from);
  }
}
