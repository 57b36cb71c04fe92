/** Which clients have had their time, and what they are told. Pure. */

import { unreachable } from "../base/assert.ts";
import type { ClientSession } from "../client/client_session.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** How long a client that was told to go may take to do so, before it is hung up on. */
const LINGER_MS = 1_000;

/** The limits of one client; 0 means none, as in the settings. */
export interface ClientTimeouts {
  readonly loginMs: number;
  readonly idleMs: number;
  readonly queryMs: number;
  readonly queryWaitMs: number;
  readonly queryWaitNotifyMs: number;
  readonly idleTransactionMs: number;
  readonly transactionMs: number;
}

/** What is to be done with a client. */
export type ClientVerdict =
  | { readonly kind: "keep" }
  | { readonly kind: "hang_up" }
  /** Tell it that it has to wait. */
  | { readonly kind: "notify" }
  | { readonly kind: "end"; readonly error: PgError };

const KEEP: ClientVerdict = { kind: "keep" };

/** Judges one client. */
export function judgeClient(
  client: ClientSession,
  timeouts: ClientTimeouts,
  nowMs: number,
): ClientVerdict {
  const { state } = client;
  switch (state.kind) {
    case "startup":
    case "login":
      return judgeLogin(client, timeouts, nowMs);
    case "waiting":
      return judgeWaiting(client, timeouts, nowMs);
    case "active":
      return judgeActive(client, timeouts, nowMs);
    case "idle":
      return isOver(client.enteredAtMs, timeouts.idleMs, nowMs) ? idleTimeout() : KEEP;
    case "closing":
      return isOver(client.enteredAtMs, LINGER_MS, nowMs) ? { kind: "hang_up" } : KEEP;
    case "closed":
      return KEEP;
    default:
      return unreachable(state);
  }
}

function judgeLogin(
  client: ClientSession,
  timeouts: ClientTimeouts,
  nowMs: number,
): ClientVerdict {
  // A cancel request has limits of its own, whoever waits for its end.
  if (client.isCanceling) return KEEP;
  if (!isOver(client.connectedAtMs, timeouts.loginMs, nowMs)) return KEEP;
  const failure = client.pool?.failure;
  if (failure === undefined) return end(SQLSTATE.queryCanceled, "client_login_timeout");
  return end(
    SQLSTATE.connectionFailure,
    "client_login_timeout (server down)",
    failure.error.message,
  );
}

function judgeWaiting(
  client: ClientSession,
  timeouts: ClientTimeouts,
  nowMs: number,
): ClientVerdict {
  const sinceMs = client.relay?.waitingSinceMs ?? client.enteredAtMs;
  if (isOver(sinceMs, timeouts.queryMs, nowMs)) {
    return end(SQLSTATE.queryCanceled, "query_timeout");
  }
  if (isOver(sinceMs, timeouts.queryWaitMs, nowMs)) {
    const reason = client.pool?.failure?.error.message;
    return end(SQLSTATE.tooManyConnections, "query_wait_timeout", reason);
  }
  const isDueForNotice = isOver(sinceMs, timeouts.queryWaitNotifyMs, nowMs);
  return isDueForNotice && !client.hasWaitNotice ? { kind: "notify" } : KEEP;
}

function judgeActive(
  { enteredAtMs, relay, replication }: ClientSession,
  timeouts: ClientTimeouts,
  nowMs: number,
): ClientVerdict {
  // A stream is a query without end, and what a slot shows is gone when its session ends.
  if (relay === undefined || replication !== "none") return KEEP;
  const { lastReadyMs, queryStartMs, transactionStartMs } = relay;
  if (transactionStartMs === undefined) {
    // Linked for a session, with nothing going on.
    const idleSinceMs = Math.max(lastReadyMs, enteredAtMs);
    return isOver(idleSinceMs, timeouts.idleMs, nowMs) ? idleTimeout() : KEEP;
  }
  if (queryStartMs !== undefined) {
    if (isOver(queryStartMs, timeouts.queryMs, nowMs)) {
      return end(SQLSTATE.queryCanceled, "query timeout");
    }
  } else if (isOver(lastReadyMs, timeouts.idleTransactionMs, nowMs)) {
    return end(SQLSTATE.idleInTransactionSessionTimeout, "idle transaction timeout");
  }
  if (isOver(transactionStartMs, timeouts.transactionMs, nowMs)) {
    return end(SQLSTATE.transactionTimeout, "transaction timeout");
  }
  return KEEP;
}

function idleTimeout(): ClientVerdict {
  return end(SQLSTATE.idleSessionTimeout, "client_idle_timeout");
}

function end(sqlstate: string, message: string, detail?: string): ClientVerdict {
  const error = new PgError(sqlstate, message, detail === undefined ? {} : { detail });
  return { kind: "end", error };
}

function isOver(sinceMs: number, limitMs: number, nowMs: number): boolean {
  return limitMs > 0 && nowMs - sinceMs > limitMs;
}
