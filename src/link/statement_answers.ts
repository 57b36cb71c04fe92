/**
 * The way back of what `StatementRewriter` changed: which of a server's answers a client is to see,
 * and what is known from them of the statements on the server. Pure.
 *
 * HOT PATH: `onAnswer()`. Budget: no allocation where nothing was changed.
 */

import { commandComplete, parseComplete, readCommandTag } from "../wire/backend_messages.ts";
import { errorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, type MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { PgError } from "../wire/pg_error.ts";
import type { RangeWriter } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { PlannedAnswer } from "./answer_plan.ts";
import type { ClientStatements } from "./client_statements.ts";
import { mayDeallocate } from "./deallocation.ts";
import type { ServerStatement, ServerStatements } from "./server_statements.ts";

/** Tags of commands that close all prepared statements. */
const CLOSES_ALL: readonly string[] = ["DEALLOCATE ALL", "DISCARD ALL"];

/** What the server says of a statement that it has not, or whose result has changed. */
const OUTDATED_ROUTINE = "RevalidateCachedQuery";

/**
 * What the server says of a statement that is used, if types were changed since it was prepared: a
 * statement keeps those of its parameters, where they are not what it would be prepared with now.
 */
const MISFITS: readonly string[] = [
  SQLSTATE.cannotCoerce,
  SQLSTATE.datatypeMismatch,
  SQLSTATE.undefinedFunction, // Which includes operators.
];

/** The same where a type is not there any more; never translated, since it is an internal error. */
const TYPE_IS_GONE = "cache lookup failed for type ";

/** Both sides of a link, and where the server's answer stands. */
export interface AnsweredLink {
  readonly client: ClientStatements;
  readonly server: ServerStatements;
  /** What the client is going to get; an answer changed goes there. */
  readonly toClient: RangeWriter;
}

/** Deals with the answer at a place. Returns whether the client is not to see it as it came. */
export function onAnswer(
  link: AnsweredLink,
  { index, segment }: { readonly segment: number; readonly index: number },
  cursor: MessageCursor,
): boolean {
  const planned = link.client.plan.take(segment, index);
  return planned !== undefined && carryOut(planned, link, cursor);
}

function carryOut(planned: PlannedAnswer, link: AnsweredLink, { type }: MessageCursor): boolean {
  const { client, server, toClient } = link;
  switch (planned.kind) {
    case "parsed":
      if (isStill(planned, "pending")) onParsed(planned.one, server);
      return planned.registration === undefined;
    case "parsed_before":
      if (type === Backend.ParseComplete) return false;
      say(toClient, parseComplete());
      return true;
    case "cleared":
    case "unnamed":
      return true;
    case "evicted":
      if (isStill(planned, "closing")) server.remove(planned.one);
      return true;
    case "closed":
      client.close(planned.registration, planned);
      return false;
    case "deallocated":
      client.close(planned.registration, planned);
      if (type !== Backend.CommandComplete) return false;
      say(toClient, commandComplete("DEALLOCATE"));
      return true;
    case "all_deallocated":
      for (const one of planned.registrations) client.release(one);
      return false;
    case "refused":
      // Not refused, though it had to be: the client sees what the server says.
      return false;
  }
}

/** What was read by other parameters than was thought when it was sent is not what it is held for. */
function onParsed(one: ServerStatement, { reading }: ServerStatements): void {
  one.presence = one.statement.reading === reading ? "present" : "doubtful";
}

/**
 * Deals with an error: what was planned for the rest of its segment will not come. Returns whether
 * the client is told something else.
 */
export function onError(
  { client, server, toClient }: AnsweredLink,
  { index, segment }: { readonly segment: number; readonly index: number },
  error: PgError,
): boolean {
  client.loseUnnamedFrom(segment, index);
  const planned = client.plan.takeSegment(segment);
  const { sqlstate } = error;
  const [first] = planned;
  const isRefused = first?.kind === "refused" && first.segment === segment &&
    first.index === index && first.sqlstate === sqlstate;
  // The server has what it was believed not to have.
  const isTaken = !isRefused && sqlstate === SQLSTATE.duplicatePreparedStatement;
  undo(planned, { client, server }, isTaken ? "unknown" : "skipped");
  if (isRefused) say(toClient, errorResponse(first.error));
  // Whatever took that one may have taken others. That a result has changed says nothing of others:
  // if they were prepared anew for it, nobody would notice what has become of theirs.
  else if (sqlstate === SQLSTATE.invalidSqlStatementName) server.doubtAll();
  if (isResultChanged(error) || isMisfit(error)) {
    const used = client.uses.at(segment, index);
    if (used !== undefined) server.changes.note(used.statement);
  }
  return isRefused;
}

/**
 * The server has come to the end of a segment, having given so many answers in it. What was sent
 * behind an error had none, and was not known to have none when that was told.
 */
export function onSegmentEnd(
  link: Pick<AnsweredLink, "client" | "server">,
  { index, segment }: { readonly segment: number; readonly index: number },
): void {
  const { client } = link;
  client.loseUnnamedFrom(segment, index);
  undo(client.plan.takeSegment(segment), link, "unknown");
}

/** The link is over, whatever was still to come. HOT. */
export function onLinkEnd(link: Pick<AnsweredLink, "client" | "server">): void {
  undo(link.client.plan.takeSegment(Infinity), link, "unknown");
  link.client.uses.endSegment(Infinity);
  link.client.leaveServer();
}

/** Whether a CommandComplete says that all statements were closed. HOT. */
export function closesAll({ buffer, end, isWhole, start }: MessageCursor): boolean {
  const tag = start + HEADER_BYTES;
  if (!isWhole || !mayDeallocate(buffer, tag, end)) return false;
  return CLOSES_ALL.includes(readCommandTag(buffer, tag, end));
}

/**
 * Takes back, last first, what was done in the expectation of answers that will not come: because
 * the server skips the messages, or for a reason that says nothing of what the server did.
 */
function undo(
  planned: readonly PlannedAnswer[],
  { client, server }: Pick<AnsweredLink, "client" | "server">,
  fate: "skipped" | "unknown",
): void {
  for (let place = planned.length - 1; place >= 0; place--) {
    const one = planned[place]!;
    switch (one.kind) {
      case "parsed":
        if (one.registration !== undefined) client.withdraw(one.registration);
        if (!isStill(one, "pending")) continue;
        if (one.wasAbsent && fate === "skipped") server.remove(one.one);
        else server.doubt(one.one);
        continue;
      case "parsed_before":
        client.withdraw(one.registration);
        continue;
      case "evicted":
        if (isStill(one, "closing")) server.doubt(one.one);
        continue;
      case "closed":
      case "deallocated":
        client.restore(one.registration);
        continue;
      case "all_deallocated":
        for (const each of one.registrations) client.restore(each);
    }
  }
}

/** Whether what was sent at a place is still the last that was sent of a statement. */
function isStill(
  { one, sending }: { readonly one: ServerStatement; readonly sending: number },
  expected: "pending" | "closing",
): boolean {
  return one.presence === expected && one.sending === sending;
}

/** Whether an error says that a statement has to be prepared anew. */
export function isOutdated(error: PgError): boolean {
  return error.sqlstate === SQLSTATE.invalidSqlStatementName || isResultChanged(error);
}

/** Whether an error says that the result of a statement is not like the one that was described. */
export function isResultChanged({ routine, sqlstate }: PgError): boolean {
  return sqlstate === SQLSTATE.featureNotSupported && routine === OUTDATED_ROUTINE;
}

/**
 * Whether an error says that a statement was prepared with types that do not fit any more. One of a
 * function that is called with its values, which PostgreSQL may do as it plans, has no position in
 * the statement, and any extension may have an internal error.
 */
function isMisfit({ message, position, sqlstate }: PgError): boolean {
  if (sqlstate === SQLSTATE.internalError) return message.startsWith(TYPE_IS_GONE);
  return position !== undefined && MISFITS.includes(sqlstate);
}

/** What a client is told in place of a result that is not like the one it was told of. */
export function resultChanged(): PgError {
  return new PgError(
    SQLSTATE.featureNotSupported,
    "cached plan must not change result type",
    { severity: "ERROR", routine: OUTDATED_ROUTINE },
  );
}

function say(toClient: RangeWriter, message: Uint8Array): void {
  toClient.append(message, 0, message.length);
}
