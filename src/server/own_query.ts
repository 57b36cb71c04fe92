/**
 * A query that Sluice itself runs on a server (reset, check, connect_query, SET): gathers what the
 * answer says, and nothing of it reaches a client. Pure.
 */

import {
  readCommandTag,
  type TransactionStatus,
  transactionStatusOf,
} from "../wire/backend_messages.ts";
import { BodyReader } from "../wire/body_reader.ts";
import { readErrorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, type MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** How an own query ended. */
export interface OwnQueryResult {
  /** The first error the server reported. */
  readonly error: PgError | undefined;
  /** Transaction status of the ReadyForQuery. */
  readonly status: TransactionStatus;
}

/** One query of ours that is under way. */
export class OwnQuery {
  /** Of the last statement that succeeded, where that is of interest. */
  tag: string | undefined;
  readonly #keepsTag: boolean;
  #error: PgError | undefined;
  /** Whether a statement has succeeded: without that or an error there is no ReadyForQuery. */
  #hasResult = false;

  constructor({ keepsTag = false } = {}) {
    this.#keepsTag = keepsTag;
  }

  /** What the server has said of its end, in place of an answer. */
  get fatal(): PgError | undefined {
    const severity = this.#error?.severity;
    return severity === "FATAL" || severity === "PANIC" ? this.#error : undefined;
  }

  /**
   * Takes a message of the answer. Returns the result when it was the last one.
   * @throws {ProtocolError} If it does not belong in the answer to a query.
   */
  receive(cursor: MessageCursor): OwnQueryResult | undefined {
    if (cursor.isContinuation) return undefined;
    switch (cursor.type) {
      case Backend.RowDescription:
      case Backend.DataRow:
      case Backend.NoticeResponse:
      case Backend.NotificationResponse:
        return undefined;
      case Backend.CommandComplete:
        if (this.#keepsTag) this.tag = tagOf(cursor);
        this.#hasResult = true;
        return undefined;
      case Backend.EmptyQueryResponse:
        this.#hasResult = true;
        return undefined;
      case Backend.ErrorResponse:
        this.#error ??= errorOf(cursor);
        return undefined;
      case Backend.ReadyForQuery:
        if (this.#hasResult || this.#error !== undefined) {
          return { error: this.#error, status: transactionStatusOf(cursor) };
        }
        throw new ProtocolError("unknown pkt from server: ReadyForQuery without an answer");
      default:
        throw new ProtocolError("unknown pkt from server");
    }
  }
}

function tagOf(cursor: MessageCursor): string | undefined {
  if (!cursor.isWhole) return undefined;
  return readCommandTag(cursor.buffer, cursor.start + HEADER_BYTES, cursor.end);
}

/** The error of an ErrorResponse; one too long to be held is still an error. */
export function errorOf(cursor: MessageCursor): PgError {
  if (!cursor.isWhole) {
    return new PgError(SQLSTATE.internalError, "error too long to be read", { severity: "ERROR" });
  }
  const start = cursor.start + HEADER_BYTES;
  return readErrorResponse(new BodyReader(cursor.buffer, start, cursor.end));
}

/**
 * What a server said that spoke unasked, to stand behind a reason; nothing if that was no report.
 * PostgreSQL warns of its immediate shutdown, and of a crash of another of its processes, by a notice.
 */
export function unaskedWords(cursor: MessageCursor): string {
  const { isContinuation, isWhole, type } = cursor;
  const isReport = type === Backend.ErrorResponse || type === Backend.NoticeResponse && isWhole;
  return isReport && !isContinuation ? `: ${errorOf(cursor).message}` : "";
}
