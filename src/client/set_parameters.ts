/**
 * Brings a server's session parameters to what a client expects, with the client held: by one query,
 * or piece by piece where the server refuses some of it.
 */

import type { ParameterCache, ParameterChange } from "../link/parameter_cache.ts";
import type { OwnQueryResult } from "../server/own_query.ts";
import type { ServerSession } from "../server/server_session.ts";
import { TransactionStatus } from "../wire/backend_messages.ts";

/** Told how it went. */
export type OnDone = (result: OwnQueryResult) => void;

/**
 * Sets what differs. What the client never asked for, and no other client has changed, it can do
 * without: a parameter that this server lets nobody set (another version's, or one of an extension)
 * must not shut the client out.
 * @param onDone Told of the error of what the client cannot do without. Not called when the server
 *   is lost.
 */
export function setParameters(
  server: ServerSession,
  client: ParameterCache,
  onDone: OnDone,
): void {
  const changes = server.parameters.changesFor(client);
  const [first, ...others] = changes;
  if (first === undefined || !mustGoAhead(first, others)) return setAll(server, changes, onDone);
  server.runOwnQuery(first.sql, (result) => {
    setAll(server, isDone(result) ? others : changes, onDone);
  });
}

/**
 * Whether a change needs a query of its own. A server reports in an order of its own, all in the
 * encoding of the end: what is not ASCII can only be read once the encoding is known.
 */
function mustGoAhead({ name }: ParameterChange, others: readonly ParameterChange[]): boolean {
  return name === "client_encoding" && others.some(({ isAscii }) => !isAscii);
}

function setAll(
  server: ServerSession,
  changes: readonly ParameterChange[],
  onDone: OnDone,
): void {
  server.runOwnQuery(sqlOf(changes), (result) => {
    if (isDone(result)) return onDone(result);
    const needed = changes.filter(({ cause }) => cause !== "adopted");
    const adopted = changes.filter(({ cause }) => cause === "adopted");
    const onNeeded = (result: OwnQueryResult) => {
      if (isDone(result)) return setEach(server, adopted, onDone);
      // Nobody may be given what another client has left.
      const isForeign = needed.some(({ cause }) => cause === "foreign");
      if (isForeign) server.doom("parameters of another client could not be taken back");
      onDone(result);
    };
    if (result.status !== TransactionStatus.Idle || adopted.length === 0) onNeeded(result);
    else if (needed.length === 0) setEach(server, adopted, onDone);
    else server.runOwnQuery(sqlOf(needed), onNeeded);
  });
}

/** Sets what may be refused, each alone. */
function setEach(
  server: ServerSession,
  [change, ...others]: readonly ParameterChange[],
  onDone: OnDone,
): void {
  if (change === undefined) return onDone({ error: undefined, status: TransactionStatus.Idle });
  server.runOwnQuery(change.sql, (result) => {
    if (result.status !== TransactionStatus.Idle) return onDone(result);
    if (result.error !== undefined) server.parameters.noteRefusal(change);
    setEach(server, others, onDone);
  });
}

function isDone({ error, status }: OwnQueryResult): boolean {
  return error === undefined && status === TransactionStatus.Idle;
}

function sqlOf(changes: readonly ParameterChange[]): string {
  return changes.map(({ sql }) => sql).join(";");
}
