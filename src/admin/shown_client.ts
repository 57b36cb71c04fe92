/** Which clients the console counts, and in which of PgBouncer's states. */

import { unreachable } from "../base/assert.ts";
import type { PendingCancel } from "../client/cancel_request.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ClientSession } from "../client/client_session.ts";

/** A state of SHOW CLIENTS; idle is a client without a server that has asked nothing. */
export type ShownClientState = "active" | "idle" | "waiting";

/**
 * The state to show of a client; undefined for one that is not shown: it has not proved who it is,
 * or is about to go. Logging in with a pool means to wait for what its first server reports.
 */
export function shownClientState(client: ClientSession): ShownClientState | undefined {
  const { kind } = client.state;
  switch (kind) {
    case "active":
    case "idle":
    case "waiting":
      return kind;
    case "login":
      return client.pool === undefined ? undefined : "waiting";
    case "startup":
    case "closing":
    case "closed":
      return undefined;
    default:
      unreachable(kind);
  }
}

/** The state of a connection that asks to cancel, from when the request has found its pool. */
export function shownCancelState(pending: PendingCancel | undefined): string | undefined {
  if (pending === undefined) return undefined;
  return pending.isWaiting ? "waiting_cancel_req" : "active_cancel_req";
}

/** How many are logged in to the console. */
export function consoleClientCount(clients: Iterable<ClientSession>): number {
  let count = 0;
  for (const client of clients) {
    if (client.database === CONSOLE_DATABASE && shownClientState(client) !== undefined) count += 1;
  }
  return count;
}

/** How long a client has waited for a server, in ms; 0 if it does not wait. */
export function clientWaitMs(client: ClientSession, nowMs: number): number {
  const waitingSinceMs = client.relay?.waitingSinceMs;
  if (waitingSinceMs !== undefined) return nowMs - waitingSinceMs;
  const oldestLogin = client.pool?.loggingIn.oldest;
  if (client.state.kind !== "login" || oldestLogin === undefined) return 0;
  // The login began before the wait, which cannot be longer than that of the first in the queue.
  return nowMs - Math.max(client.enteredAtMs, oldestLogin.sinceMs);
}
