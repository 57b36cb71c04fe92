/**
 * The prepared statements of one client as its relay deals with them, where they are shared with
 * other clients. What they have in common is in `link/`; here is only when each of it is asked.
 *
 * HOT PATH. Budget: for an answer a count; nothing for a client that never prepares.
 */

import type { ClientStatements } from "../link/client_statements.ts";
import { isDescribedBind } from "../link/described_bind.ts";
import {
  type AnsweredLink,
  closesAll,
  isOutdated,
  isResultChanged,
  onAnswer,
  onError,
  onLinkEnd,
  onSegmentEnd,
} from "../link/statement_answers.ts";
import type { StatementClient, StatementRewriter } from "../link/statement_rewriter.ts";
import type { ServerSession } from "../server/server_session.ts";
import type { PoolStats } from "../stats/pool_stats.ts";
import { TransactionStatus } from "../wire/backend_messages.ts";
import { HEADER_BYTES, type MessageCursor } from "../wire/message_cursor.ts";
import { Backend, Frontend } from "../wire/message_type.ts";
import type { PgError } from "../wire/pg_error.ts";
import type { RangeWriter } from "../wire/range_writer.ts";
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
  /** The same for the rewriter. */
  #rewritten: StatementClient | undefined;
  /** What the server may be sent again if it refuses a statement in it; 0 if it cannot be. */
  #repeatableBytes = 0;
  /** Where in that it begins what is sent again. */
  #repeatFrom = 0;
  #isRepeating = false;

  constructor(options: RelayStatementsOptions) {
    this.#options = options;
  }

  /** How many names the client has given. */
  get count(): number {
    return this.#client?.count ?? 0;
  }

  /** Sends on what was gathered, changed on the way where it has to be. */
  send(server: ServerSession): void | Promise<void> {
    const { intake } = this.#options;
    server.statements.reading ??= server.parameters.reading;
    this.#repeatableBytes = 0;
    const isInside = this.#client?.parseInParts !== undefined ||
      this.#client?.deallocatingPortal !== undefined || this.#client?.isUnnamedInParts === true;
    if (!intake.hasStatements && !isInside) {
      // A Query takes the unnamed statement away.
      if (intake.hasQuery) this.#client?.dropUnnamed();
      return intake.outgoing.flushTo(server);
    }
    const client = this.#client ??= this.#newClient();
    const sending = intake.outgoing.flushTo(this.#rewriterFor(server));
    if (this.#isSegment(client, server)) {
      this.#repeatableBytes = server.statements.outgoing.sentCount;
    }
    return sending;
  }

  #newClient(): ClientStatements {
    const { intake, rewriter, stats } = this.#options;
    const statements = rewriter.newClient();
    this.#rewritten = { statements, place: intake.place, stats };
    return statements;
  }

  #rewriterFor(server: ServerSession): StatementRewriter {
    const { intake, rewriter } = this.#options;
    intake.place.answeringSegment = intake.requests.answeringSegment;
    return rewriter.for(this.#rewritten!, server);
  }

  /**
   * Whether what was sent is all that is under way, of one segment, without any effect as yet, and
   * nothing of ours among it but Closes in the place of Parses: then it can be sent again if the
   * server refuses its first message, or the first behind those.
   */
  #isSegment({ plan }: ClientStatements, server: ServerSession): boolean {
    const { isMidMessage, place, requests } = this.#options.intake;
    return plan.isOfKnownOnly && server.transactionStatus === TransactionStatus.Idle &&
      place.continuedBytes === 0 && place.askedInSegment === 0 && !isMidMessage &&
      requests.dueCount === 1 && !requests.isUnsynced && !requests.isNextSkippable;
  }

  /** The server completed an answer. Returns whether the client is not to see it. */
  onAnswer(server: ServerSession, cursor: MessageCursor): boolean {
    const { requests } = this.#options.intake;
    const index = requests.answeredInSegment;
    requests.onAnswer();
    const client = this.#client;
    const segment = requests.answeringSegment;
    if (cursor.type === Backend.CommandComplete && closesAll(cursor)) {
      server.statements.removePrepared();
      client?.forgetAll({ segment, index });
    }
    if (client === undefined) return false;
    client.uses.endAt(segment, index);
    if (client.plan.isEmpty) return false;
    return onAnswer(this.#link(client, server), { segment, index }, cursor);
  }

  /**
   * The server reported an error. Returns whether the client is told something else, or is not to
   * know at all: then what was refused is sent again at the next ReadyForQuery, and nothing may be
   * sent before.
   */
  onError(server: ServerSession, error: PgError): boolean {
    const client = this.#client;
    if (client === undefined) return false;
    const { answeredInSegment: index, answeringSegment: segment } = this.#options.intake.requests;
    // What was sent in the place of something else, and comes later, would need its plan again.
    const isAsAsked = client.plan.isEmpty;
    const isChanged = onError(this.#link(client, server), { segment, index }, error);
    if (isChanged || this.#repeatableBytes === 0 || !isOutdated(error)) return isChanged;
    if (!isAsAsked) return false;
    const bytes = server.statements.outgoing.copyOfSent();
    const from = afterCloses(bytes, index);
    // A Query may have failed at a name of its own SQL, behind a COMMIT inside it.
    if (from === undefined || !isOfStatement(bytes[from])) return false;
    if (isResultChanged(error)) {
      // Without a Describe the client would take what it gets for what it was told before. That of
      // a statement has been answered by half: what the parameters are comes before the error.
      if (bytes[from] !== Frontend.Bind) return false;
      if (!isDescribedBind(bytes, from, bytes.length)) return false;
    }
    this.#repeatFrom = from;
    this.#isRepeating = true;
    return true;
  }

  /** Whether what was refused is to be sent again at the next ReadyForQuery. */
  get isRepeating(): boolean {
    return this.#isRepeating;
  }

  /** Sends again what was refused. The client does not notice. */
  repeat(server: ServerSession): void {
    this.#isRepeating = false;
    const bytes = server.statements.outgoing.copyOfSent().subarray(this.#repeatFrom);
    this.#repeatableBytes = 0;
    const { requests } = this.#options.intake;
    requests.restartSegment();
    this.#rewriterFor(server).repeat(bytes);
  }

  /** ReadyForQuery has come, to be noted by the requests after this. */
  onReady(server: ServerSession): void {
    this.#noteReading(server);
    const client = this.#client;
    if (client === undefined) return;
    const { answeredInSegment: index, answeringSegment: segment } = this.#options.intake.requests;
    const isUnnamedLost = client.isUnnamedFrom(segment, index);
    client.uses.endSegment(segment);
    if (client.plan.isEmpty && !isUnnamedLost) return;
    onSegmentEnd({ client, server: server.statements }, { segment, index });
  }

  /**
   * Whether the client has changed by what texts are read only shows at the end of a segment: what
   * was prepared in it may have been read in another way than was thought.
   */
  #noteReading({ parameters, statements }: ServerSession): void {
    if (statements.reading === parameters.reading) return;
    statements.reading = parameters.reading;
    statements.doubtOf(this.#options.intake.requests.answeringSegment);
  }

  /** The link is over. */
  onLinkEnd(server: ServerSession): void {
    const client = this.#client;
    server.statements.reading = undefined;
    this.#repeatableBytes = 0;
    this.#isRepeating = false;
    if (client !== undefined) onLinkEnd({ client, server: server.statements });
  }

  /** The client is gone. */
  end(): void {
    this.#client?.end();
    this.#client = undefined;
    this.#rewritten = undefined;
  }

  #link(client: ClientStatements, { statements }: ServerSession): AnsweredLink {
    return { client, server: statements, toClient: this.#options.toClient };
  }
}

/** Whether a message that is refused for its statement has had no effect. */
function isOfStatement(type: number | undefined): boolean {
  return type === Frontend.Bind || type === Frontend.Describe;
}

/** Where the message at a place begins if all before it are Closes, which are not undone; else undefined. */
function afterCloses(bytes: Uint8Array, index: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  for (let i = 0; i < index; i++) {
    if (at + HEADER_BYTES > bytes.length || bytes[at] !== Frontend.Close) return undefined;
    at += 1 + view.getUint32(at + 1);
  }
  return at;
}
