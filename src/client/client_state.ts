/**
 * The states of a connected application and which may follow which. Only `ClientSession.enter()`
 * changes a state. SHOW CLIENTS prints active, idle and waiting; the others it leaves out.
 */

import { unreachable } from "../base/assert.ts";

/** Where a client stands. */
export type ClientState =
  /** Before its StartupMessage. */
  | { readonly kind: "startup" }
  /** Proving who it is, or waiting for the first server's parameters. */
  | { readonly kind: "login" }
  /** Logged in, with no server and nothing asked. */
  | { readonly kind: "idle" }
  /** In the queue for a server. */
  | { readonly kind: "waiting" }
  /** Linked to a server. */
  | { readonly kind: "active" }
  /** Told why it ends; nothing is served any more, its last bytes may still be under way. */
  | { readonly kind: "closing"; readonly reason: string }
  | { readonly kind: "closed"; readonly reason: string };

/** The name of a state. */
export type ClientStateKind = ClientState["kind"];

/** Those that each transaction enters: the same object for all clients, so that it costs nothing. */
export const CLIENT_STATES = {
  idle: { kind: "idle" },
  waiting: { kind: "waiting" },
  active: { kind: "active" },
} as const satisfies Record<string, ClientState>;

/**
 * Which states may follow which.
 *
 * HOT PATH, a few times in each transaction. Budget: comparisons; a name that is looked up in a table
 * of names costs twenty times as much.
 */
export function mayClientGo(from: ClientStateKind, to: ClientStateKind): boolean {
  switch (from) {
    case "startup":
      return to === "login" || isEnd(to);
    case "login":
      return to === "idle" || isEnd(to);
    case "idle":
      return to === "active" || to === "waiting" || isEnd(to);
    case "waiting":
      return to === "active" || to === "idle" || isEnd(to);
    case "active":
      return to === "idle" || isEnd(to);
    case "closing":
      return to === "closed";
    case "closed":
      return false;
    default:
      return unreachable(from);
  }
}

function isEnd(kind: ClientStateKind): boolean {
  return kind === "closing" || kind === "closed";
}
