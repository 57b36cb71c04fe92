/**
 * The states of a connected application and which may follow which. Only `ClientSession.enter()`
 * changes a state. SHOW CLIENTS prints active, idle and waiting; the others it leaves out.
 */

/** Where a client stands. `sinceMs` is the moment it entered the state. */
export type ClientState =
  /** Before its StartupMessage. */
  | { readonly kind: "startup"; readonly sinceMs: number }
  /** Proving who it is, or waiting for the first server's parameters. */
  | { readonly kind: "login"; readonly sinceMs: number }
  /** Logged in, with no server and nothing asked. */
  | { readonly kind: "idle"; readonly sinceMs: number }
  /** In the queue for a server. */
  | { readonly kind: "waiting"; readonly sinceMs: number }
  /** Linked to a server. */
  | { readonly kind: "active"; readonly sinceMs: number }
  /** Told why it ends; nothing is served any more, its last bytes may still be under way. */
  | { readonly kind: "closing"; readonly sinceMs: number; readonly reason: string }
  | { readonly kind: "closed"; readonly sinceMs: number; readonly reason: string };

/** The name of a state. */
export type ClientStateKind = ClientState["kind"];

/** Which states may follow which. */
export const NEXT_CLIENT_STATES: Readonly<Record<ClientStateKind, readonly ClientStateKind[]>> = {
  startup: ["login", "closing", "closed"],
  login: ["idle", "closing", "closed"],
  idle: ["active", "waiting", "closing", "closed"],
  waiting: ["active", "idle", "closing", "closed"],
  active: ["idle", "closing", "closed"],
  closing: ["closed"],
  closed: [],
};
