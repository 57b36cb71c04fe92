/**
 * The prepared statements of one client as its relay deals with them, where they are shared with
 * other clients. What they have in common is in `link/`; here is only when each of it is asked.
 *
 * HOT PATH. Budget: for an answer a count; nothing for a client that never prepares.
 */

import type { ClientStatements } from "../link/client_statements.ts";
import {
  type AnsweredLink,
  onAnswer,
  onCommandComplete,
  onError,
  onLinkEnd,
  onSegmentEnd,
} from "../link/statement_answers.ts";
import type { StatementRewriter } from "../link/statement_rewriter.ts";
import type { ServerSession } from "../server/server_session.ts";
import type { PoolStats } from "../stats/pool_stats.ts";
import type { MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import type { PgError } from "../wire/pg_error.ts";
import type { RangeTarget, RangeWriter } from "../wire/range_writer.ts";
import type { ClientIntake } from "./client_intake.ts";

/** What the statements of a client are made of. */
export interface RelayStatementsOptions {
  readonly rewriter: StatementRewriter;
  readonly intake: ClientIntake;
  readonly toClient: RangeWriter;
  readonly stats: PoolStats;
}

/** The statements of one client. */
export class RelayStatements {
  readonly #options: RelayStatementsOptions;
  /** There once the client has used the extended protocol. */
  #client: ClientStatements | undefined;

  constructor(options: RelayStatementsOptions) {
    this.#options = options;
  }

  /** How many names the client has given. */
  get count(): number {
    return this.#client?.count ?? 0;
  }

  /** Where what was gathered is to be written: to the server, or changed on the way. */
  targetFor(server: ServerSession): RangeTarget {
    const { intake, rewriter, stats } = this.#options;
    const isInside = this.#client?.parseInParts !== undefined ||
      this.#client?.deallocatingPortal !== undefined;
    if (!intake.hasStatements && !isInside) return server;
    this.#client ??= rewriter.newClient();
    const { place } = intake;
    place.answeringSegment = intake.requests.answeringSegment;
    return rewriter.for(this.#client, { place, server, stats });
  }

  /** The server completed an answer. Returns whether the client is not to see it. */
  onAnswer(server: ServerSession, cursor: MessageCursor): boolean {
    const { requests } = this.#options.intake;
    const index = requests.answeredInSegment;
    requests.onAnswer();
    const client = this.#client;
    if (client === undefined) return false;
    const segment = requests.answeringSegment;
    if (cursor.type === Backend.CommandComplete) {
      onCommandComplete({ client, server: server.statements }, segment, cursor);
    }
    if (client.plan.isEmpty) return false;
    return onAnswer(this.#link(client, server), { segment, index }, cursor);
  }

  /** The server reported an error. Returns whether the client is told something else. */
  onError(server: ServerSession, error: PgError): boolean {
    const client = this.#client;
    if (client === undefined) return false;
    const { answeredInSegment: index, answeringSegment: segment } = this.#options.intake.requests;
    return onError(this.#link(client, server), { segment, index }, error);
  }

  /** ReadyForQuery has come, to be noted by the requests after this. */
  onReady(server: ServerSession): void {
    const client = this.#client;
    if (client === undefined || client.plan.isEmpty) return;
    const segment = this.#options.intake.requests.answeringSegment;
    onSegmentEnd({ client, server: server.statements }, segment);
  }

  /** The link is over. */
  onLinkEnd(server: ServerSession): void {
    const client = this.#client;
    if (client !== undefined) onLinkEnd({ client, server: server.statements });
  }

  /** The client is gone. */
  end(): void {
    this.#client?.end();
    this.#client = undefined;
  }

  #link(client: ClientStatements, { statements }: ServerSession): AnsweredLink {
    return { client, server: statements, toClient: this.#options.toClient };
  }
}
