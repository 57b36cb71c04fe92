/**
 * What a server says to the client it is linked to, walked message by message: noted for the link,
 * and gathered to be sent on. The other half of `ClientIntake`: it has no stream; whoever has the
 * client's takes what is gathered.
 *
 * HOT PATH. Budget: no allocation per message.
 */

import type { PoolMode } from "../config/settings.ts";
import type { ParameterCache } from "../link/parameter_cache.ts";
import type { RequestQueue } from "../link/request_queue.ts";
import { errorOf } from "../server/own_query.ts";
import type { ServerSession } from "../server/server_session.ts";
import { TransactionStatus, transactionStatusOf } from "../wire/backend_messages.ts";
import type { MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { RangeWriter } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { READ_ONLY } from "../server/server_role.ts";
import type { FeatureWatch } from "./feature_watch.ts";
import type { RelayStatements } from "./relay_statements.ts";
import type { RequestClock } from "./request_clock.ts";

/** What a chunk came to; after anything but "taken" it has not been walked to its end. */
export type ReplyVerdict =
  | "taken"
  /** The server speaks on after its last answer. */
  | "dirty"
  /** The present message breaks the rules, see `violation`. */
  | "violated";

/** What an intake is made of. */
export interface ReplyIntakeOptions {
  /** What the client expects of its session. */
  readonly parameters: ParameterCache;
  readonly features: FeatureWatch | undefined;
}

/** The replies to one client. */
export class ReplyIntake {
  /** What is to be sent to the client. */
  readonly outgoing = new RangeWriter();
  readonly #options: ReplyIntakeOptions;
  readonly #requests: RequestQueue;
  readonly #clock: RequestClock;
  #server!: ServerSession;
  #mode: PoolMode = "session";
  #shared: RelayStatements | undefined;
  #violation: PgError | undefined;
  #hasSaidFatal = false;
  #hasUnaskedReady = false;
  #hasAskedSince = false;
  #isMidMessage = false;
  /** Whether the client is not to see the present message. */
  #isWithheld = false;
  /** Nothing is outstanding: what the server says now it says to nobody. */
  #isOver = false;

  constructor(options: ReplyIntakeOptions, requests: RequestQueue, clock: RequestClock) {
    this.#options = options;
    this.#requests = requests;
    this.#clock = clock;
  }

  /** Why both sides have to be closed. */
  get violation(): PgError | undefined {
    return this.#violation;
  }

  /** Whether the server said itself why it ends. */
  get hasSaidFatal(): boolean {
    return this.#hasSaidFatal;
  }

  /** Whether the server has said that it is ready without having been asked anything. */
  get hasUnaskedReady(): boolean {
    return this.#hasUnaskedReady;
  }

  /** Whether the client has asked for something since the last ReadyForQuery. */
  get hasAskedSince(): boolean {
    return this.#hasAskedSince;
  }

  /** Whether the client has got a message in part: nothing of ours may be put behind it. */
  get isMidMessage(): boolean {
    return this.#isMidMessage;
  }

  /**
   * A link begins.
   * @param shared There where prepared statements are shared.
   */
  begin(server: ServerSession, mode: PoolMode, shared: RelayStatements | undefined): void {
    this.#server = server;
    this.#mode = mode;
    this.#shared = shared;
    this.#hasSaidFatal = false;
    this.#hasUnaskedReady = false;
    this.#isOver = false;
  }

  /** The client has asked for something. */
  noteAsked(): void {
    this.#isOver = false;
    this.#hasAskedSince = true;
  }

  /** Walks a chunk. @throws {ProtocolError} If it is not what a server may say. */
  take(cursor: MessageCursor): ReplyVerdict {
    while (cursor.next()) {
      if (this.#isOver && isUnasked(cursor)) return "dirty";
      if (!cursor.isContinuation) this.#note(cursor);
      if (this.#violation !== undefined) return "violated";
      if (!this.#isWithheld) this.outgoing.add(cursor.buffer, cursor.start, cursor.end);
    }
    this.#isMidMessage = cursor.isMidMessage && !this.#isWithheld;
    return "taken";
  }

  /** Takes of a chunk only what belongs to the message that the client has in part. */
  takeRest(cursor: MessageCursor): void {
    if (!this.#isMidMessage || !cursor.next()) return;
    this.outgoing.add(cursor.buffer, cursor.start, cursor.end);
    this.#isMidMessage = cursor.isMidMessage;
  }

  /** The link has come to its end before the chunk: a message in part stays one. */
  dropRest(): void {
    this.#isMidMessage = false;
  }

  /** Takes note of a message. */
  #note(cursor: MessageCursor): void {
    this.#isWithheld = false;
    switch (cursor.type) {
      case Backend.ParseComplete:
      case Backend.BindComplete:
      case Backend.CloseComplete:
      case Backend.RowDescription:
      case Backend.NoData:
      case Backend.CommandComplete:
      case Backend.EmptyQueryResponse:
      case Backend.PortalSuspended:
        if (this.#shared === undefined) return;
        this.#isWithheld = this.#shared.onAnswer(this.#server, cursor);
        return;
      case Backend.ReadyForQuery:
        return this.#noteReady(cursor);
      case Backend.ParameterStatus: {
        const parameter = this.#server.takeParameterStatus(cursor);
        if (parameter !== undefined) {
          this.#noteParameter(parameter);
        }
        return;
      }
      case Backend.CopyInResponse:
        return this.#requests.onCopyIn();
      case Backend.CopyBothResponse:
        this.#server.isStreaming = true;
        return;
      case Backend.ErrorResponse:
        return this.#noteError(errorOf(cursor));
    }
  }

  #noteParameter({ name, value }: { name: string; value: string }): void {
    const { parameters } = this.#options;
    parameters.set(name, value);
    if (name === READ_ONLY && value === "on") this.#server.noteReadOnly(parameters);
  }

  #noteError(error: PgError): void {
    this.#requests.onError();
    // It may have been made read-only since it was asked; or the transaction alone is.
    if (error.sqlstate === SQLSTATE.readOnlySqlTransaction) this.#server.doubtWrites();
    if (this.#shared !== undefined) {
      this.#isWithheld = this.#shared.onError(this.#server, error);
    }
    if (error.severity !== "FATAL" && error.severity !== "PANIC") return;
    this.#hasSaidFatal = true;
    this.#server.noteFatal(error);
  }

  #noteReady(cursor: MessageCursor): void {
    const status = transactionStatusOf(cursor);
    if (this.#shared?.isRepeating === true) {
      if (status !== TransactionStatus.Idle) throw new ProtocolError("bad ReadyForQuery");
      this.#isWithheld = true;
      return this.#shared.repeat(this.#server);
    }
    if (this.#server.isStreaming) this.#endStream();
    const requests = this.#requests;
    this.#options.features?.tell(this.outgoing);
    this.#shared?.onReady(this.#server);
    const isIdle = status === TransactionStatus.Idle;
    const wasDue = requests.onReadyForQuery(isIdle);
    if (!wasDue) this.#hasUnaskedReady = true;
    this.#server.transactionStatus = status;
    this.#hasAskedSince = false;
    this.#isOver = this.#mode !== "session" && isIdle && requests.isEmpty;
    this.#clock.ready(isIdle, !requests.isEmpty);
    if (this.#mode === "statement" && !isIdle) {
      this.#violation = new PgError(
        SQLSTATE.featureNotSupported,
        "transaction blocks not allowed in statement pooling mode",
      );
    }
  }

  /** A stream is no query: its hours would drown the averages. */
  #endStream(): void {
    this.#server.isStreaming = false;
    this.#clock.forget();
  }
}

/** Whether a message may not come from a server that was asked nothing. */
function isUnasked({ isContinuation, type }: MessageCursor): boolean {
  return !isContinuation && type !== Backend.ParameterStatus && type !== Backend.NoticeResponse &&
    type !== Backend.NotificationResponse;
}
