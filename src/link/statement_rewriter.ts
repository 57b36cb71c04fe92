/**
 * The way of a client's bytes to its server where prepared statements are shared: the client's
 * names are replaced by the common ones, what the server lacks is prepared before it is used, and
 * what would be known to one server only becomes a message without effect that has the same answer.
 * So every message of the client has its answer from the server, at its place, and what an error
 * makes the server skip needs no thought. `StatementAnswers` is the way back. Pure.
 *
 * HOT PATH. Budget: no allocation per message in the steady state, when the server has what is
 * used; chunks without a message of interest do not come here.
 * Source: PostgreSQL, "Extended Query"; Close of what does not exist is no error.
 */

import { isSameBytes } from "../base/bytes.ts";
import type { PoolStats } from "../stats/pool_stats.ts";
import { TransactionStatus } from "../wire/backend_messages.ts";
import { decodeText } from "../wire/body_reader.ts";
import { closeStatement, parse, query } from "../wire/frontend_messages.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Frontend, Target } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import type { RangeTarget } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { ClientStatements, MAX_NAME_BYTES } from "./client_statements.ts";
import { ALL, deallocated, mayDeallocate } from "./deallocation.ts";
import { isDescribedBind } from "./described_bind.ts";
import { PlannedOutput } from "./planned_output.ts";
import type { ResultChanges } from "./result_changes.ts";
import { ServerStatements } from "./server_statements.ts";
import { resultChanged } from "./statement_answers.ts";
import type { Registration, Statement, StatementBook } from "./statement_book.ts";
import { StatementSupply } from "./statement_supply.ts";

/** As much of a message as is looked at: names and short texts. */
export const MAX_LOOKED_AT_BYTES = 4_096;

/** Longest named Parse, in bytes: it is held whole. */
const MAX_PARSE_BYTES = 16_777_216;

/**
 * A name that nothing has, with its zero byte. It is closed before anything relies on that: SQL of a
 * client's may have prepared it.
 */
const NO_STATEMENT = new TextEncoder().encode("PGBOUNCER_0\0");

/** Has no effect, is allowed wherever DEALLOCATE is, and says in the server's log what it is for. */
const INSTEAD_OF_DEALLOCATE = 'UNLISTEN "deallocated by the pooler"';

/**
 * Is refused when it is prepared, but in a failed transaction only as everything is, since it has no
 * mistake that shows before it is looked at what it means; and says in the server's log whose it is.
 */
const NO_COLUMN = 'select "refused by the pooler"';

/** The name of the unnamed statement. */
const NO_NAME = new Uint8Array(1);

const NOTHING_INSPECTED = new Uint8Array(256);

/** Where in a conversation a chunk stands; filled in before each `write()`. */
export interface ChunkPlace {
  /** Bytes at the start of the chunk that belong to a message begun before. */
  continuedBytes: number;
  /** The segment of the first message. */
  segment: number;
  /** Messages of the client before it in that segment. */
  askedInSegment: number;
  /** The segment of which the server's next answer will be. */
  answeringSegment: number;
}

/** A client as the rewriter needs it; made once, not for each chunk. */
export interface StatementClient {
  readonly statements: ClientStatements;
  readonly place: ChunkPlace;
  readonly stats: PoolStats;
}

/** A server as the rewriter needs it. */
export interface StatementServer extends RangeTarget {
  /** As of the last ReadyForQuery. */
  readonly transactionStatus: number;
  readonly statements: ServerStatements;
  readonly parameters: { readonly reading: string };
}

/** What a rewriter is made of. */
export interface StatementRewriterOptions {
  readonly book: StatementBook;
  /** The most that is kept on one server (`max_prepared_statements`). */
  readonly limit: () => number;
}

/** One for all clients of a pooler: between two chunks it holds nothing. */
export class StatementRewriter implements RangeTarget {
  readonly #options: StatementRewriterOptions;
  readonly #closeOfNothing = closeStatement(NO_STATEMENT);
  readonly #parseOfNoColumn = parse(NO_STATEMENT, new TextEncoder().encode(`${NO_COLUMN}\0\0\0`));
  readonly #deallocationQuery = query(INSTEAD_OF_DEALLOCATE);
  /** Query text and no parameter types. */
  readonly #deallocationContent = new TextEncoder().encode(`${INSTEAD_OF_DEALLOCATE}\0\0\0`);
  readonly #output = new PlannedOutput();
  readonly #supply: StatementSupply;
  readonly #cursor = new MessageCursor({
    inspected: NOTHING_INSPECTED,
    maxInspectedBytes: 0,
    maxMessageBytes: Infinity,
  });
  #place!: ChunkPlace;
  #client!: ClientStatements;
  #server!: StatementServer;
  #statements!: ServerStatements;
  /** By what the server reads a text. */
  #reading = "";
  /** Where the chunk ends. */
  #end = 0;

  constructor(options: StatementRewriterOptions) {
    this.#options = options;
    this.#supply = new StatementSupply({ output: this.#output, limit: options.limit });
  }

  /** The statements of a client that has none yet. */
  newClient(): ClientStatements {
    return new ClientStatements(this.#options.book);
  }

  /** The statements of a server that has none yet; `changes` are those of its pool. */
  newServer(changes: ResultChanges): ServerStatements {
    return new ServerStatements(this.#options.book, changes);
  }

  /** Says whose bytes `write()` gets next, and where they go. */
  for({ place, statements, stats }: StatementClient, server: StatementServer): this {
    this.#client = statements;
    this.#place = place;
    this.#server = server;
    this.#statements = server.statements;
    this.#reading = server.parameters.reading;
    this.#output.between(statements, server.statements.outgoing);
    this.#supply.between(statements, server.statements, stats);
    return this;
  }

  /**
   * Rewrites what a client sends, and sends it on with one write.
   * @throws {ProtocolError} If it is no message, or needs more than a client may have.
   */
  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    const { askedInSegment, continuedBytes, segment } = this.#place;
    // A Parse that comes in parts was asked, but has not been sent.
    const unsent = this.#client.parseInParts === undefined ? 0 : 1;
    this.#output.beginAt(segment, askedInSegment + this.#client.addedIn(segment) - unsent);
    const cursor = this.#cursor;
    this.#end = end;
    try {
      cursor.feedWalked(continuedBytes, buffer, start, end);
      while (cursor.next()) {
        if (cursor.isContinuation) this.#continue(cursor);
        else this.#rewrite(cursor);
      }
    } catch (error) {
      cursor.abandonChunk();
      this.#output.clear();
      throw error;
    }
    return this.#output.flushTo(this.#server);
  }

  /**
   * Sends once more what the server refused because it had to be prepared anew. `bytes` are what it
   * was sent: whole messages under the server's names, to the end of a segment.
   */
  repeat(bytes: Uint8Array): void {
    this.#output.beginAt(this.#place.answeringSegment, 0);
    const used = this.#client.uses.takeAll().values();
    const cursor = this.#cursor;
    this.#end = bytes.length;
    cursor.feedWalked(0, bytes, 0, bytes.length);
    while (cursor.next()) {
      if (this.#usesName(cursor)) {
        this.#useAgain(cursor, used.next().value!);
        continue;
      }
      this.#noteUnnamedAgain(cursor);
      if (isAnswered(cursor.type)) this.#output.passExtended(cursor);
      else this.#output.pass(cursor);
    }
    // Held by nobody: the answer is awaited, and a lost server shows as the end of its stream.
    void this.#output.flushTo(this.#server);
  }

  /** Whether a message to the server uses a statement that has a name. */
  #usesName({ buffer, end, start, type }: MessageCursor): boolean {
    const text = start + HEADER_BYTES;
    if (type === Frontend.Bind) return buffer[this.#afterText(buffer, text, end)] !== 0;
    return type === Frontend.Describe && buffer[text] === Target.Statement &&
      buffer[text + 1] !== 0;
  }

  #useAgain(cursor: MessageCursor, registration: Registration): void {
    const { buffer, end, start, type } = cursor;
    const isDescribe = type === Frontend.Describe;
    const isDescribed = isDescribe || isDescribedBind(buffer, start, this.#end);
    // What was refused may be what this one uses, too, under another name.
    if (!isDescribed && this.#isToldOtherwise(registration)) {
      const name = this.#afterText(buffer, start + HEADER_BYTES, end);
      return this.#refuseChanged(cursor, name, this.#afterText(buffer, name, end));
    }
    this.#supply.ensure(registration.statement);
    this.#client.uses.note(this.#output, registration);
    if (isDescribed) this.#tellWith(isDescribe ? 0 : 1);
    this.#output.passExtended(cursor);
  }

  /** What was noted of the unnamed statement was taken back when the server skipped it. */
  #noteUnnamedAgain(cursor: MessageCursor): void {
    const { buffer, start, type } = cursor;
    const text = start + HEADER_BYTES;
    const client = this.#client;
    if (type === Frontend.Parse && buffer[text] === 0) {
      client.noteUnnamed(this.#output, false);
      client.keepUnnamed(buffer, cursor);
    } else if (
      type === Frontend.Close && buffer[text] === Target.Statement && buffer[text + 1] === 0
    ) {
      client.dropUnnamed();
    }
  }

  #rewrite(cursor: MessageCursor): void {
    switch (cursor.type) {
      case Frontend.Parse:
        return this.#parse(cursor);
      case Frontend.Bind:
        return this.#bind(cursor);
      case Frontend.Describe:
        return this.#describe(cursor);
      case Frontend.Execute:
        return this.#execute(cursor);
      case Frontend.Close:
        return this.#close(cursor);
      case Frontend.Query:
        return this.#query(cursor);
      case Frontend.Sync:
      case Frontend.FunctionCall:
        this.#output.pass(cursor);
        return this.#output.nextSegment();
      default:
        return this.#output.pass(cursor);
    }
  }

  #continue(cursor: MessageCursor): void {
    const { buffer, end, isMidMessage, start } = cursor;
    const client = this.#client;
    const parse = client.parseInParts;
    if (parse === undefined) {
      if (client.isUnnamedInParts) client.keepMoreOfUnnamed(buffer, start, end);
      return this.#output.pass(cursor);
    }
    parse.range(buffer, start, end);
    if (isMidMessage) return;
    client.parseInParts = undefined;
    const message = parse.take();
    this.#parseNamed(message, HEADER_BYTES, message.length);
  }

  // --- Parse ---

  #parse(cursor: MessageCursor): void {
    const { buffer, end, isWhole, start } = cursor;
    const name = start + HEADER_BYTES;
    const content = this.#afterText(buffer, name, end);
    if (content === name + 1) return this.#parseUnnamed(cursor, content);
    if (isWhole) return this.#parseNamed(buffer, name, end);
    const total = end - start + cursor.restBytes;
    if (total > MAX_PARSE_BYTES) {
      const most = `${MAX_PARSE_BYTES} bytes`;
      throw new PgError(SQLSTATE.programLimitExceeded, `a named statement may have ${most}`);
    }
    // It grows with what comes: what was only announced takes no memory.
    this.#client.parseInParts = new MessageWriter().range(buffer, start, end);
  }

  #parseUnnamed(cursor: MessageCursor, content: number): void {
    const { buffer, end, isWhole } = cursor;
    const client = this.#client;
    client.unnamedDeallocates = undefined;
    client.noteUnnamed(this.#output, false);
    this.#supply.notePrepared();
    if (isWhole && mayDeallocate(buffer, content, end)) {
      const deallocates = this.#knownDeallocation(buffer, content, end);
      client.unnamedDeallocates = deallocates;
      if (deallocates !== undefined && deallocates !== ALL) {
        const message = parse(NO_NAME, this.#deallocationContent);
        client.keepUnnamed(message, { start: 0, end: message.length, restBytes: 0 });
        return this.#output.sendInstead(message);
      }
    }
    client.keepUnnamed(buffer, cursor);
    this.#output.passExtended(cursor);
  }

  /** `name` is where the name begins; the message ends at `end`. */
  #parseNamed(buffer: Uint8Array, name: number, end: number): void {
    const content = this.#afterText(buffer, name, end);
    const known = this.#client.find(buffer, name, content - 1);
    if (known !== undefined) return this.#parseAgain(buffer, name, content, end);
    const registration = this.#register(buffer, name, content, end);
    const { statement } = registration;
    if (!this.#supply.has(statement)) return this.#supply.prepare(statement, registration);
    if (this.#isTransactionFailed()) return this.#parseInVain(registration);
    this.#output.plan({ kind: "parsed_before", registration });
    this.#output.sendInstead(this.#closeOfNothing);
  }

  /** Whether the server is known to be in a failed transaction, so that it refuses a Parse. */
  #isTransactionFailed(): boolean {
    return this.#server.transactionStatus === TransactionStatus.Failed &&
      this.#output.segment === this.#place.answeringSegment;
  }

  /** Has the server refuse a Parse of what it has; if it does not, nothing is left of it. */
  #parseInVain(registration: Registration): void {
    const output = this.#output;
    output.sendOurs({ kind: "cleared" }, this.#closeOfNothing);
    output.plan({ kind: "parsed_before", registration });
    output.sendInstead(parse(NO_STATEMENT, registration.statement.content));
    output.sendOurs({ kind: "cleared" }, this.#closeOfNothing);
  }

  #register(buffer: Uint8Array, name: number, content: number, end: number): Registration {
    const { book } = this.#options;
    this.#client.checkRoom();
    let deallocates: Uint8Array | typeof ALL | undefined;
    if (mayDeallocate(buffer, content, end)) {
      deallocates = this.#knownDeallocation(buffer, content, end);
    }
    const instead = this.#deallocationContent;
    const statement = deallocates === undefined || deallocates === ALL
      ? book.hold(buffer.subarray(content, end), this.#reading)
      : book.hold(instead, this.#reading);
    const { index, segment } = this.#output;
    return this.#client.register({
      ...{ segment, index, statement, deallocates, link: this.#client.link, isHolding: true },
      toldAt: this.#statements.changes.count,
      name: buffer.slice(name, Math.min(content - 1, name + MAX_NAME_BYTES)),
    });
  }

  /**
   * The server refuses a second Parse of a name, unless it refuses the text. Not by the one that the
   * first statement has there: if the server had lost that, the second would take its place for
   * everybody, and to prepare it for this would hide from others what has become of its result.
   */
  #parseAgain(buffer: Uint8Array, name: number, content: number, end: number): void {
    const output = this.#output;
    output.sendOurs({ kind: "cleared" }, this.#closeOfNothing);
    output.sendOurs({ kind: "cleared" }, parse(NO_STATEMENT, buffer.subarray(content, end)));
    output.sendOurs({ kind: "cleared" }, this.#closeOfNothing);
    const error = new PgError(
      SQLSTATE.duplicatePreparedStatement,
      `prepared statement "${decodeText(buffer, name, content - 1)}" already exists`,
      { severity: "ERROR" },
    );
    output.plan({ kind: "refused", sqlstate: SQLSTATE.undefinedColumn, error });
    output.sendInstead(this.#parseOfNoColumn);
  }

  // --- Bind, Describe, Execute, Close ---

  #bind(cursor: MessageCursor): void {
    const { buffer, end, start } = cursor;
    const client = this.#client;
    const portal = start + HEADER_BYTES;
    const name = this.#afterText(buffer, portal, end);
    const rest = this.#afterText(buffer, name, end);
    const known = this.#known(buffer, name, rest);
    const what = rest === name + 1 ? client.unnamedDeallocates : known?.deallocates;
    client.deallocatingPortal = what === undefined
      ? undefined
      : { portal: buffer.slice(portal, name - 1), what };
    if (known === undefined || !this.#isToldOtherwise(known)) {
      return this.#use(cursor, name, rest, known);
    }
    if (!cursor.isWhole || !isDescribedBind(buffer, start, this.#end)) {
      return this.#refuseChanged(cursor, name, rest);
    }
    this.#use(cursor, name, rest, known);
    this.#tellWith(1);
  }

  #describe(cursor: MessageCursor): void {
    const { buffer, end, start } = cursor;
    const name = start + HEADER_BYTES + 1;
    if (buffer[name - 1] !== Target.Statement) return this.#output.passExtended(cursor);
    const rest = this.#afterText(buffer, name, end);
    const known = this.#known(buffer, name, rest);
    this.#use(cursor, name, rest, known);
    if (known !== undefined) this.#tellWith(0);
  }

  /** Whether what a client was told of the result of a statement is not what it is like now. HOT. */
  #isToldOtherwise(known: Registration): boolean {
    const { changes } = this.#statements;
    const { statement } = known;
    if (!changes.hasChanged(statement, known.toldAt)) return false;
    const toldAt = this.#client.uses.toldAtIn(this.#output.segment, known);
    return changes.hasChanged(statement, toldAt);
  }

  /** The statement that was used last is described, by that message or by the next. */
  #tellWith(answersBehind: 0 | 1): void {
    this.#client.uses.tellWith(answersBehind, this.#statements.changes.count);
  }

  /** What the name from `name` to `rest`, zero byte included, means; the unnamed has none. HOT. */
  #known(buffer: Uint8Array, name: number, rest: number): Registration | undefined {
    return rest === name + 1 ? undefined : this.#client.find(buffer, name, rest - 1);
  }

  /** Passes on a message that uses the statement whose name stands from `name` to `rest`. HOT. */
  #use(cursor: MessageCursor, name: number, rest: number, known: Registration | undefined): void {
    if (rest === name + 1) {
      const isThere = this.#supply.ensureUnnamed(this.#place.answeringSegment);
      if (isThere) return this.#output.passExtended(cursor);
      return this.#refuse(cursor, name, rest, doesNotExist("unnamed prepared statement"));
    }
    if (known === undefined) {
      const text = decodeText(cursor.buffer, name, rest - 1);
      return this.#refuse(cursor, name, rest, doesNotExist(`prepared statement "${text}"`));
    }
    const statement = this.#statementOf(known);
    this.#supply.ensure(statement);
    this.#client.uses.note(this.#output, known);
    this.#output.rename(cursor, name, rest, statement.nameBytes);
  }

  #execute(cursor: MessageCursor): void {
    const deallocating = this.#client.deallocatingPortal;
    if (deallocating !== undefined) {
      const { buffer, end, start } = cursor;
      const portal = start + HEADER_BYTES;
      const rest = this.#afterText(buffer, portal, end);
      const isIt = isSameBytes(deallocating.portal, buffer, portal, rest - 1);
      if (isIt) this.#deallocate(deallocating.what);
    }
    this.#output.passExtended(cursor);
  }

  #close(cursor: MessageCursor): void {
    const { buffer, end, start } = cursor;
    const name = start + HEADER_BYTES + 1;
    if (buffer[name - 1] !== Target.Statement) return this.#output.passExtended(cursor);
    const rest = this.#afterText(buffer, name, end);
    if (rest === name + 1) {
      this.#client.dropUnnamed();
      return this.#output.passExtended(cursor);
    }
    const client = this.#client;
    const known = client.find(buffer, name, rest - 1);
    if (known !== undefined) client.unregister(known);
    const registration = known ?? client.findTakenAway(buffer, name, rest - 1);
    if (registration !== undefined) this.#output.plan({ kind: "closed", registration });
    this.#output.sendInstead(this.#closeOfNothing);
  }

  // --- Query ---

  #query(cursor: MessageCursor): void {
    const { buffer, end, isWhole, start } = cursor;
    const text = start + HEADER_BYTES;
    // A Query takes the unnamed statement away.
    this.#client.dropUnnamed();
    if (mayDeallocate(buffer, text, end)) {
      const what = isWhole ? this.#knownDeallocation(buffer, text, end) : undefined;
      if (what !== undefined) this.#deallocate(what);
      // Perhaps all of them: what was sent before its answer is known must not rely on any.
      else this.#statements.doubtAll();
      if (what !== undefined && what !== ALL) {
        return this.#output.sendQueryInstead(this.#deallocationQuery);
      }
    }
    this.#output.pass(cursor);
    this.#output.nextSegment();
  }

  /** The name that SQL deallocates, if that is all it does and the client has it; or all. */
  #knownDeallocation(
    buffer: Uint8Array,
    start: number,
    end: number,
  ): Uint8Array | typeof ALL | undefined {
    const zero = this.#afterText(buffer, start, end) - 1;
    const what = deallocated(buffer, start, zero);
    if (what === undefined || what === ALL) return what;
    return this.#client.find(what, 0, what.length) === undefined ? undefined : what;
  }

  #deallocate(what: Uint8Array | typeof ALL): void {
    const client = this.#client;
    if (what === ALL) {
      const registrations = client.unregisterAll();
      this.#statements.doubtAllSent();
      return this.#output.plan({ kind: "all_deallocated", registrations });
    }
    const registration = client.find(what, 0, what.length);
    if (registration === undefined) return;
    client.unregister(registration);
    this.#output.plan({ kind: "deallocated", registration });
  }

  /** What a name means, as the server reads it now. HOT. */
  #statementOf(registration: Registration): Statement {
    const { statement } = registration;
    if (statement.reading === this.#reading) return statement;
    const { book } = this.#options;
    registration.statement = book.hold(statement.content, this.#reading);
    book.release(statement);
    return registration.statement;
  }

  /** Has the server refuse a message, so that it skips what follows, and tells the client why. */
  #refuse(cursor: MessageCursor, name: number, rest: number, error: PgError): void {
    const sqlstate = SQLSTATE.invalidSqlStatementName;
    this.#output.sendOurs({ kind: "cleared" }, this.#closeOfNothing);
    this.#output.plan({ kind: "refused", sqlstate, error });
    this.#output.rename(cursor, name, rest, NO_STATEMENT);
  }

  /** Has the server refuse a Bind whose result has changed, unless the transaction has failed anyway. */
  #refuseChanged(cursor: MessageCursor, name: number, rest: number): void {
    const { undefinedColumn: sqlstate } = SQLSTATE;
    const fate = { kind: "refused", sqlstate, error: resultChanged() } as const;
    this.#output.sendOurs(fate, this.#parseOfNoColumn);
    // Which it skips.
    this.#output.rename(cursor, name, rest, NO_STATEMENT);
  }

  /** Where the text that begins at `start` has ended. @throws {ProtocolError} If it has not. */
  #afterText(buffer: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && buffer[at] !== 0) at += 1;
    if (at >= end) throw new ProtocolError("a name is too long, or does not end");
    return at + 1;
  }
}

/** Whether a message of the extended protocol has an answer at a place of its own. */
function isAnswered(type: number): boolean {
  switch (type) {
    case Frontend.Parse:
    case Frontend.Bind:
    case Frontend.Describe:
    case Frontend.Execute:
    case Frontend.Close:
      return true;
    default:
      return false;
  }
}

function doesNotExist(what: string): PgError {
  const { invalidSqlStatementName } = SQLSTATE;
  return new PgError(invalidSqlStatementName, `${what} does not exist`, { severity: "ERROR" });
}
