/**
 * One run of `auth_query` on a server: the user's name goes out as the only bound value, a row of
 * name and secret comes back. It is a server's taker for as long as that takes.
 *
 * Invariants: the name is data, whatever is in it; what is answered of another name than the one
 * asked for is nobody's secret; a server that does not answer as it should is closed.
 */

import { Secret } from "../base/secret.ts";
import { TransactionStatus, transactionStatusOf } from "../wire/backend_messages.ts";
import { BodyReader, decodeText } from "../wire/body_reader.ts";
import { boundQuery } from "../wire/frontend_messages.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { type PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { errorOf } from "./own_query.ts";
import type { ServerEnd } from "./server_end.ts";
import type { ServerSession } from "./server_session.ts";
import type { ServerTaker } from "./server_taker.ts";

/** A second row shows that the query does not do what it is for; more of them show nothing else. */
const MAX_ROWS = 2;

/** Name and secret. */
const COLUMN_COUNT = 2;

/** As in `auth_file`: what fits into the largest password message. */
const MAX_SECRET_BYTES = 65_530;

/** Longest message of an answer, in bytes. */
const MAX_MESSAGE_BYTES = 131_072;

/** A name that has no place in the encoding of the database is nobody's. */
const UNKNOWN_CHARACTER: readonly string[] = [
  SQLSTATE.characterNotInRepertoire,
  SQLSTATE.untranslatableCharacter,
];

/** What came of it. `reason` is for the log, and holds nothing of what was answered. */
export type AuthAnswer =
  /** There is such a user; without a secret it can never be matched. */
  | { readonly kind: "found"; readonly secret: Secret | undefined }
  /** There is none; with a `reason`, the answer was not what one would expect of that. */
  | { readonly kind: "unknown"; readonly reason?: string }
  /** The query does not do what it is for. */
  | { readonly kind: "failed"; readonly reason: string }
  /** The server has gone. */
  | { readonly kind: "lost"; readonly reason: string };

/** What is asked. */
export interface AuthQuestion {
  readonly sql: string;
  readonly userName: string;
}

/** A query under way. */
export class AuthQuery implements ServerTaker {
  readonly startedAtMs: number;
  readonly #server: ServerSession;
  readonly #userName: string;
  readonly #onDone: (answer: AuthAnswer) => void;
  /** Gathers messages, which come in pieces. */
  readonly #messages = MessageCursor.ofWhole(MAX_MESSAGE_BYTES);
  #rowCount = 0;
  #answer: AuthAnswer = { kind: "unknown" };
  #status: TransactionStatus | undefined;
  #isDone = false;

  private constructor(
    server: ServerSession,
    { nowMs, onDone, userName }: {
      nowMs: number;
      onDone: (answer: AuthAnswer) => void;
      userName: string;
    },
  ) {
    this.#server = server;
    this.startedAtMs = nowMs;
    this.#userName = userName;
    this.#onDone = onDone;
  }

  /** Asks a server, which must be idle. `onDone` is called once, when it is free or gone again. */
  static run(
    server: ServerSession,
    { nowMs, onDone, sql, userName }: AuthQuestion & {
      nowMs: number;
      onDone: (answer: AuthAnswer) => void;
    },
  ): AuthQuery {
    const query = new AuthQuery(server, { nowMs, onDone, userName });
    server.link(query);
    server.requestedAtMs = nowMs;
    const message = boundQuery(sql, userName, MAX_ROWS);
    // Held by nobody: the answer is awaited, and a lost server shows as the end of its stream.
    void server.write(message, 0, message.length);
    return query;
  }

  /** Gives up waiting: nobody knows what the server is doing. */
  expire(): void {
    if (!this.#isDone) this.#server.discard("auth_query timed out");
  }

  onServerChunk(cursor: MessageCursor): void {
    while (cursor.next()) {
      if (cursor.type === Backend.ParameterStatus) {
        if (!cursor.isContinuation) this.#server.takeParameterStatus(cursor);
        continue;
      }
      const piece = cursor.buffer.subarray(cursor.start, cursor.end);
      this.#messages.feed(piece, piece.length);
      while (this.#messages.next()) this.#receive(this.#messages);
    }
    // In the middle of a message it is not free yet.
    if (this.#status !== undefined && cursor.isAtBoundary) this.#handBack(this.#status);
  }

  onServerClosed({ reason }: ServerEnd): void {
    this.#finish({ kind: "lost", reason });
  }

  /** @throws {ProtocolError} If it does not belong in the answer. */
  #receive(message: MessageCursor): void {
    const { buffer, end, start, type } = message;
    const reader = new BodyReader(buffer, start + HEADER_BYTES, end);
    if (type === Backend.NotificationResponse) return;
    if (this.#status !== undefined) throw new ProtocolError("unknown pkt from server");
    switch (type) {
      case Backend.ParseComplete:
      case Backend.BindComplete:
      case Backend.NoticeResponse:
      case Backend.CommandComplete:
      case Backend.PortalSuspended:
        return;
      case Backend.RowDescription:
        return this.#checkColumns(reader.int16());
      case Backend.NoData:
      case Backend.EmptyQueryResponse:
        return this.#checkColumns(0);
      case Backend.DataRow:
        return this.#takeRow(reader);
      case Backend.ErrorResponse:
        return this.#takeError(errorOf(message));
      case Backend.ReadyForQuery:
        this.#status = transactionStatusOf(message);
        return;
      default:
        throw new ProtocolError("unknown pkt from server");
    }
  }

  #checkColumns(count: number): void {
    if (count !== COLUMN_COUNT) this.#fail(`expected ${COLUMN_COUNT} columns, not ${count}`);
  }

  #takeRow(reader: BodyReader): void {
    this.#rowCount += 1;
    if (this.#answer.kind === "failed") return;
    if (this.#rowCount > 1) return this.#fail("expected one row, not several");
    if (reader.int16() !== COLUMN_COUNT) throw new ProtocolError("failed to parse packet");
    const name = readValue(reader);
    const secret = readValue(reader);
    this.#answer = name === undefined
      // As from a function that finds nobody and answers a row all the same.
      ? { kind: "unknown", reason: "null user name" }
      : decodeText(name, 0, name.length) === this.#userName
      ? foundWith(secret)
      : { kind: "unknown", reason: "another user's name was answered" };
  }

  #takeError(error: PgError): void {
    if (error.severity === "FATAL" || error.severity === "PANIC") this.#server.noteFatal(error);
    if (UNKNOWN_CHARACTER.includes(error.sqlstate)) this.#answer = { kind: "unknown" };
    // Neither detail nor hint, which may show what is stored.
    else this.#answer = { kind: "failed", reason: `${error.message} (${error.sqlstate})` };
  }

  /** The first fault counts. */
  #fail(reason: string): void {
    if (this.#answer.kind !== "failed") this.#answer = { kind: "failed", reason };
  }

  #handBack(status: TransactionStatus): void {
    const server = this.#server;
    server.transactionStatus = status;
    const answer = this.#answer;
    // First: the next one in the queue may get the server before this returns.
    this.#finish(answer);
    if (status === TransactionStatus.Idle) server.release(false);
    else server.discard("auth_query left a transaction open");
  }

  #finish(answer: AuthAnswer): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#onDone(answer);
  }
}

function foundWith(secret: Uint8Array | undefined): AuthAnswer {
  if (secret === undefined) return { kind: "found", secret: undefined };
  if (secret.length > MAX_SECRET_BYTES) return { kind: "failed", reason: "the secret is too long" };
  return { kind: "found", secret: new Secret(decodeText(secret, 0, secret.length)) };
}

/** Undefined for NULL. */
function readValue(reader: BodyReader): Uint8Array | undefined {
  const length = reader.int32();
  return length < 0 ? undefined : reader.bytes(length);
}
