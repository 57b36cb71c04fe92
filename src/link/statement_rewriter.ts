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

import type { PoolStats } from "../stats/pool_stats.ts";
import { TransactionStatus } from "../wire/backend_messages.ts";
import { decodeText } from "../wire/body_reader.ts";
import { closeStatement, parse, query } from "../wire/frontend_messages.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Frontend, Target } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import type { RangeTarget, RangeWriter } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { PlannedAnswer } from "./answer_plan.ts";
import { ClientStatements, MAX_NAME_BYTES } from "./client_statements.ts";
import { ALL, deallocated, mayDeallocate } from "./deallocation.ts";
import { type ServerStatement, ServerStatements } from "./server_statements.ts";
import type { Registration, Statement, StatementBook } from "./statement_book.ts";

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
  readonly #deallocationQuery = query(INSTEAD_OF_DEALLOCATE);
  /** Query text and no parameter types. */
  readonly #deallocationContent = new TextEncoder().encode(`${INSTEAD_OF_DEALLOCATE}\0\0\0`);
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #cursor = new MessageCursor({
    inspected: NOTHING_INSPECTED,
    maxInspectedBytes: 0,
    maxMessageBytes: Infinity,
  });
  #place!: ChunkPlace;
  #client!: ClientStatements;
  #server!: StatementServer;
  #statements!: ServerStatements;
  #stats!: PoolStats;
  /** By what the server reads a text. */
  #reading = "";
  #out!: RangeWriter;
  /** Where the next message to the server will stand. */
  #segment = 0;
  #index = 0;

  constructor(options: StatementRewriterOptions) {
    this.#options = options;
  }

  /** The statements of a client that has none yet. */
  newClient(): ClientStatements {
    return new ClientStatements(this.#options.book);
  }

  /** The statements of a server that has none yet. */
  newServer(): ServerStatements {
    return new ServerStatements(this.#options.book);
  }

  /** Says whose bytes `write()` gets next, and where they go. */
  for({ place, statements, stats }: StatementClient, server: StatementServer): this {
    this.#client = statements;
    this.#place = place;
    this.#server = server;
    this.#statements = server.statements;
    this.#stats = stats;
    this.#reading = server.parameters.reading;
    this.#out = server.statements.outgoing;
    return this;
  }

  /**
   * Rewrites what a client sends, and sends it on with one write.
   * @throws {ProtocolError} If it is no message, or needs more than a client may have.
   */
  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    const { askedInSegment, continuedBytes, segment } = this.#place;
    this.#segment = segment;
    this.#index = askedInSegment + this.#client.addedIn(segment);
    // It was asked, but has not been sent.
    if (this.#client.parseInParts !== undefined) this.#index -= 1;
    const cursor = this.#cursor;
    try {
      cursor.feedWalked(continuedBytes, buffer, start, end);
      while (cursor.next()) {
        if (cursor.isContinuation) this.#continue(cursor);
        else this.#rewrite(cursor);
      }
    } catch (error) {
      cursor.abandonChunk();
      this.#out.clear();
      throw error;
    }
    return this.#out.length === 0 ? undefined : this.#out.flushTo(this.#server);
  }

  /**
   * Sends once more what the server refused because it had to be prepared anew. `bytes` are what it
   * was sent: whole messages under the server's names, to the end of a segment.
   */
  repeat(bytes: Uint8Array): void {
    this.#segment = this.#place.answeringSegment;
    this.#index = 0;
    const cursor = this.#cursor;
    cursor.feedWalked(0, bytes, 0, bytes.length);
    while (cursor.next()) this.#repeatOne(cursor);
    // Held by nobody: the answer is awaited, and a lost server shows as the end of its stream.
    void this.#out.flushTo(this.#server);
  }

  #repeatOne(cursor: MessageCursor): void {
    const { buffer, end, start, type } = cursor;
    const text = start + HEADER_BYTES;
    if (type === Frontend.Bind) {
      const name = this.#afterText(buffer, text, end);
      this.#ensureNamed(buffer, name, this.#afterText(buffer, name, end));
    } else if (type === Frontend.Describe && buffer[text] === Target.Statement) {
      this.#ensureNamed(buffer, text + 1, this.#afterText(buffer, text + 1, end));
    }
    this.#passExtended(cursor);
  }

  /** The same as `#ensure()`, for a statement that is known by its name on the server. */
  #ensureNamed(buffer: Uint8Array, start: number, end: number): void {
    for (const { statement } of this.#statements.all()) {
      if (isSame(statement.nameBytes, buffer, start, end)) return this.#ensure(statement);
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
        this.#pass(cursor);
        return this.#nextSegment();
      default:
        return this.#pass(cursor);
    }
  }

  #pass({ buffer, end, start }: MessageCursor): void {
    this.#out.add(buffer, start, end);
  }

  /** Passes on a message of the extended protocol: it has one answer. */
  #passExtended(cursor: MessageCursor): void {
    this.#pass(cursor);
    this.#index += 1;
  }

  #nextSegment(): void {
    this.#segment += 1;
    this.#index = 0;
  }

  #continue({ buffer, end, isMidMessage, start }: MessageCursor): void {
    const client = this.#client;
    const parse = client.parseInParts;
    if (parse === undefined) {
      if (client.isUnnamedInParts) client.keepMoreOfUnnamed(buffer, start, end);
      return this.#out.add(buffer, start, end);
    }
    this.#gather(parse, buffer, start, end);
    if (isMidMessage) return;
    client.parseInParts = undefined;
    this.#parseNamed(parse.bytes, HEADER_BYTES, parse.count);
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
    const parse = { bytes: new Uint8Array(Math.max(end - start, MAX_LOOKED_AT_BYTES)), count: 0 };
    this.#gather(parse, buffer, start, end);
    this.#client.parseInParts = parse;
  }

  /** Doubling: what was only announced takes no memory. */
  #gather(
    parse: { bytes: Uint8Array; count: number },
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void {
    const count = parse.count + end - start;
    if (count > parse.bytes.length) {
      const grown = new Uint8Array(Math.max(count, parse.bytes.length * 2));
      grown.set(parse.bytes.subarray(0, parse.count));
      parse.bytes = grown;
    }
    parse.bytes.set(buffer.subarray(start, end), parse.count);
    parse.count = count;
  }

  #parseUnnamed(cursor: MessageCursor, content: number): void {
    const { buffer, end, isWhole } = cursor;
    const client = this.#client;
    client.unnamedDeallocates = undefined;
    client.unnamedSegment = this.#segment;
    client.unnamedIndex = this.#index;
    client.isUnnamedRepeated = false;
    if (isWhole && mayDeallocate(buffer, content, end)) {
      const deallocates = this.#knownDeallocation(buffer, content, end);
      client.unnamedDeallocates = deallocates;
      if (deallocates !== undefined && deallocates !== ALL) {
        const message = parse(NO_NAME, this.#deallocationContent);
        client.keepUnnamed(message, { start: 0, end: message.length, restBytes: 0 });
        this.#out.append(message, 0, message.length);
        this.#index += 1;
        this.#stats.serverParseCount += 1;
        return;
      }
    }
    client.keepUnnamed(buffer, cursor);
    this.#stats.serverParseCount += 1;
    this.#passExtended(cursor);
  }

  /** `name` is where the name begins; the message ends at `end`. */
  #parseNamed(buffer: Uint8Array, name: number, end: number): void {
    const content = this.#afterText(buffer, name, end);
    const known = this.#client.find(buffer, name, content - 1);
    if (known !== undefined) return this.#parseAgain(known, { buffer, name, content, end });
    const registration = this.#register(buffer, name, content, end);
    const { statement } = registration;
    if (!this.#isReady(this.#statements.find(statement))) {
      return this.#prepare(statement, registration);
    }
    if (this.#isTransactionFailed()) return this.#parseInVain(registration);
    this.#plan({ ...this.#here(), kind: "parsed_before", registration });
    this.#sendCloseOfNothing();
  }

  /** Whether the server is known to be in a failed transaction, so that it refuses a Parse. */
  #isTransactionFailed(): boolean {
    return this.#server.transactionStatus === TransactionStatus.Failed &&
      this.#segment === this.#place.answeringSegment;
  }

  /** Has the server refuse a Parse of what it has; if it does not, nothing is left of it. */
  #parseInVain(registration: Registration): void {
    this.#sendOurs({ ...this.#here(), kind: "cleared" }, this.#closeOfNothing);
    this.#plan({ ...this.#here(), kind: "parsed_before", registration });
    const message = parse(NO_STATEMENT, registration.statement.content);
    this.#out.append(message, 0, message.length);
    this.#index += 1;
    this.#sendOurs({ ...this.#here(), kind: "cleared" }, this.#closeOfNothing);
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
    return this.#client.register({
      ...{ ...this.#here(), statement, deallocates, link: this.#client.link, isHolding: true },
      name: buffer.slice(name, Math.min(content - 1, name + MAX_NAME_BYTES)),
    });
  }

  /**
   * The server refuses a second Parse of the name that the first statement has there. That one is
   * prepared for it: if the server had lost it, the second would take its place for everybody.
   */
  #parseAgain(
    known: Registration,
    { buffer, content, end, name }: {
      buffer: Uint8Array;
      name: number;
      content: number;
      end: number;
    },
  ): void {
    const statement = this.#statementOf(known);
    const one = this.#statements.find(statement);
    if (one?.presence !== "pending" || !this.#isReady(one)) this.#prepare(statement, undefined);
    const error = new PgError(
      SQLSTATE.duplicatePreparedStatement,
      `prepared statement "${decodeText(buffer, name, content - 1)}" already exists`,
      { severity: "ERROR" },
    );
    this.#plan({ ...this.#here(), kind: "refused", error });
    const { nameBytes } = statement;
    const bytes = HEADER_BYTES + nameBytes.length + end - content;
    this.#out.append(this.#headerOf(Frontend.Parse, bytes), 0, HEADER_BYTES);
    this.#out.append(nameBytes, 0, nameBytes.length);
    this.#out.append(buffer, content, end);
    this.#index += 1;
  }

  // --- Bind, Describe, Execute, Close ---

  #bind(cursor: MessageCursor): void {
    const { buffer, end, start } = cursor;
    const portal = start + HEADER_BYTES;
    const name = this.#afterText(buffer, portal, end);
    const rest = this.#afterText(buffer, name, end);
    this.#client.deallocatingPortal = undefined;
    if (rest === name + 1) {
      this.#noteDeallocation(this.#client.unnamedDeallocates, buffer, portal, name - 1);
      if (!this.#ensureUnnamed()) return this.#refuseUnnamed(cursor, name, rest);
      return this.#passExtended(cursor);
    }
    const known = this.#client.find(buffer, name, rest - 1);
    if (known === undefined) return this.#refuseUnknown(cursor, name, rest);
    this.#noteDeallocation(known.deallocates, buffer, portal, name - 1);
    const statement = this.#statementOf(known);
    this.#ensure(statement);
    this.#rename(cursor, name, rest, statement.nameBytes);
  }

  #describe(cursor: MessageCursor): void {
    const { buffer, end, start } = cursor;
    const name = start + HEADER_BYTES + 1;
    if (buffer[name - 1] !== Target.Statement) return this.#passExtended(cursor);
    const rest = this.#afterText(buffer, name, end);
    if (rest === name + 1) {
      if (!this.#ensureUnnamed()) return this.#refuseUnnamed(cursor, name, rest);
      return this.#passExtended(cursor);
    }
    const known = this.#client.find(buffer, name, rest - 1);
    if (known === undefined) return this.#refuseUnknown(cursor, name, rest);
    const statement = this.#statementOf(known);
    this.#ensure(statement);
    this.#rename(cursor, name, rest, statement.nameBytes);
  }

  #execute(cursor: MessageCursor): void {
    const deallocating = this.#client.deallocatingPortal;
    if (deallocating !== undefined) {
      const { buffer, end, start } = cursor;
      const portal = start + HEADER_BYTES;
      const rest = this.#afterText(buffer, portal, end);
      const isIt = isSame(deallocating.portal, buffer, portal, rest - 1);
      if (isIt) this.#deallocate(deallocating.what);
    }
    this.#passExtended(cursor);
  }

  #close(cursor: MessageCursor): void {
    const { buffer, end, start } = cursor;
    const name = start + HEADER_BYTES + 1;
    if (buffer[name - 1] !== Target.Statement) return this.#passExtended(cursor);
    const rest = this.#afterText(buffer, name, end);
    if (rest === name + 1) {
      this.#client.dropUnnamed();
      return this.#passExtended(cursor);
    }
    const registration = this.#client.find(buffer, name, rest - 1);
    if (registration !== undefined) {
      this.#client.unregister(registration);
      this.#plan({ ...this.#here(), kind: "closed", registration });
    }
    this.#sendCloseOfNothing();
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
        this.#out.append(this.#deallocationQuery, 0, this.#deallocationQuery.length);
        return this.#nextSegment();
      }
    }
    this.#pass(cursor);
    this.#nextSegment();
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

  #noteDeallocation(
    what: Uint8Array | typeof ALL | undefined,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (what === undefined) return;
    this.#client.deallocatingPortal = { portal: buffer.slice(start, end), what };
  }

  #deallocate(what: Uint8Array | typeof ALL): void {
    const client = this.#client;
    if (what === ALL) {
      const registrations = client.unregisterAll();
      this.#statements.doubtAllSent();
      return this.#plan({ ...this.#here(), kind: "all_deallocated", registrations });
    }
    const registration = client.find(what, 0, what.length);
    if (registration === undefined) return;
    client.unregister(registration);
    this.#plan({ ...this.#here(), kind: "deallocated", registration });
  }

  // --- what the server has ---

  /** What a name means, as the server reads it now. HOT. */
  #statementOf(registration: Registration): Statement {
    const { statement } = registration;
    if (statement.reading === this.#reading) return statement;
    const { book } = this.#options;
    registration.statement = book.hold(statement.content, this.#reading);
    book.release(statement);
    return registration.statement;
  }

  /** Sees to it that the server has a statement when the next message comes. HOT. */
  #ensure(statement: Statement): void {
    const statements = this.#statements;
    const one = statements.find(statement);
    if (this.#isReady(one)) return statements.touch(one);
    this.#prepare(statement, undefined);
  }

  /**
   * Whether the server is going to have it: what was sent in an earlier segment and not answered
   * yet may have been skipped, what was sent in this one is skipped only with what follows.
   */
  #isReady(one: ServerStatement | undefined): one is ServerStatement {
    if (one === undefined) return false;
    if (one.presence === "present") return true;
    return one.presence === "pending" && one.segment === this.#segment;
  }

  /** Sends the Parse of a statement; for the client, if it has just given the statement a name. */
  #prepare(statement: Statement, registration: Registration | undefined): void {
    const statements = this.#statements;
    const before = statements.find(statement);
    if (before === undefined) this.#makeRoom();
    else this.#sendOurs({ ...this.#here(), kind: "cleared" }, statement.close);
    const one = statements.prepare(statement, this.#segment);
    const answer: PlannedAnswer = {
      ...this.#here(),
      kind: "parsed",
      one,
      sending: one.sending,
      wasAbsent: before === undefined,
      registration,
    };
    this.#stats.serverParseCount += 1;
    if (registration === undefined) return this.#sendOurs(answer, statement.parse);
    this.#plan(answer);
    this.#out.append(statement.parse, 0, statement.parse.length);
    this.#index += 1;
  }

  #makeRoom(): void {
    const statements = this.#statements;
    const limit = Math.max(1, this.#options.limit());
    while (statements.count >= limit) {
      const one = statements.oldest!;
      statements.close(one, this.#segment);
      const { sending, statement } = one;
      this.#sendOurs({ ...this.#here(), kind: "evicted", one, sending }, statement.close);
    }
  }

  /** Sees to it that the server has the client's unnamed statement, and nobody else's. */
  #ensureUnnamed(): boolean {
    const client = this.#client;
    const { unnamedSegment } = client;
    const isSent = unnamedSegment === this.#segment ||
      unnamedSegment >= 0 && unnamedSegment < this.#place.answeringSegment;
    if (isSent) return true;
    const parse = client.unnamedParse;
    if (parse.length === 0) return false;
    client.unnamedSegment = this.#segment;
    client.unnamedIndex = this.#index;
    client.isUnnamedRepeated = true;
    this.#stats.serverParseCount += 1;
    this.#sendOurs({ ...this.#here(), kind: "unnamed" }, parse);
    return true;
  }

  // --- what is sent ---

  #here(): { readonly segment: number; readonly index: number } {
    return { segment: this.#segment, index: this.#index };
  }

  #plan(answer: PlannedAnswer): void {
    this.#client.plan.add(answer);
  }

  /** Sends a message of ours, whose answer the client is not to see. */
  #sendOurs(answer: PlannedAnswer, message: Uint8Array): void {
    this.#plan(answer);
    this.#out.append(message, 0, message.length);
    this.#client.noteAdded(this.#segment);
    this.#index += 1;
  }

  #sendCloseOfNothing(): void {
    this.#out.append(this.#closeOfNothing, 0, this.#closeOfNothing.length);
    this.#index += 1;
  }

  #refuseUnknown(cursor: MessageCursor, name: number, rest: number): void {
    const text = decodeText(cursor.buffer, name, rest - 1);
    this.#refuse(cursor, name, rest, `prepared statement "${text}" does not exist`);
  }

  #refuseUnnamed(cursor: MessageCursor, name: number, rest: number): void {
    this.#refuse(cursor, name, rest, "unnamed prepared statement does not exist");
  }

  /** Has the server refuse a message, so that it skips what follows, and tells the client why. */
  #refuse(cursor: MessageCursor, name: number, rest: number, message: string): void {
    const error = new PgError(SQLSTATE.invalidSqlStatementName, message, { severity: "ERROR" });
    this.#sendOurs({ ...this.#here(), kind: "cleared" }, this.#closeOfNothing);
    this.#plan({ ...this.#here(), kind: "refused", error });
    this.#rename(cursor, name, rest, NO_STATEMENT);
  }

  /** Passes on a message with the name from `start` to `end`, zero byte included, replaced. */
  #rename(cursor: MessageCursor, start: number, end: number, name: Uint8Array): void {
    const out = this.#out;
    const { buffer } = cursor;
    const bytes = cursor.end - cursor.start + cursor.restBytes + name.length - (end - start);
    out.append(this.#headerOf(cursor.type, bytes), 0, HEADER_BYTES);
    out.append(buffer, cursor.start + HEADER_BYTES, start);
    out.append(name, 0, name.length);
    out.add(buffer, end, cursor.end);
    this.#index += 1;
  }

  /** The header of a message of so many bytes, valid until the next one is asked for. */
  #headerOf(type: number, messageBytes: number): Uint8Array {
    const header = this.#header;
    const length = messageBytes - 1;
    header[0] = type;
    header[1] = length >>> 24;
    header[2] = length >>> 16;
    header[3] = length >>> 8;
    header[4] = length;
    return header;
  }

  /** Where the text that begins at `start` has ended. @throws {ProtocolError} If it has not. */
  #afterText(buffer: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && buffer[at] !== 0) at += 1;
    if (at >= end) throw new ProtocolError("a name is too long, or does not end");
    return at + 1;
  }
}

function isSame(bytes: Uint8Array, buffer: Uint8Array, start: number, end: number): boolean {
  if (bytes.length !== end - start) return false;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buffer[start + i]) return false;
  return true;
}
