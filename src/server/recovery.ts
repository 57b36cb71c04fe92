/**
 * The way back of a server whose client was lost amid something: what is still due is read to its
 * end and dropped, an open transaction is rolled back, and a query with a random mark proves that
 * answers and requests are in step. Pure: fed with the server's messages, it says what to send.
 *
 * The count of what is due comes from what the client had sent. The mark does not rest on it: a
 * server answers in order, so behind the row with the mark nothing of the client's can follow, and no
 * client can have made such a row. A cancel request ends before the ROLLBACK is sent, but its signal
 * may be late where something stands in between: the one query that it then hits is sent again.
 */

import type { RequestQueue } from "../link/request_queue.ts";
import { TransactionStatus, transactionStatusOf } from "../wire/backend_messages.ts";
import { abortToSync, copyFail, query } from "../wire/frontend_messages.ts";
import type { MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { OwnQuery, type OwnQueryResult } from "./own_query.ts";

/**
 * Most that is read and dropped. A server that streams goes on until the cancel request reaches it,
 * and what both kernels hold is read in any case.
 */
export const MAX_DROPPED_BYTES = 67_108_864;

/** Why a server is closed whose client was lost; PgBouncer's words. */
export const NOT_READY = "client disconnect while server was not ready";

/** Told to a server that waits for COPY data. */
const COPY_ABORTED = "client disconnected";

/** What is to be done next. */
export type RecoveryStep =
  | { readonly kind: "send"; readonly message: Uint8Array }
  /** Nothing is left of the client. */
  | { readonly kind: "done" }
  /** The server has to be closed. */
  | { readonly kind: "failed"; readonly reason: string };

/** What a recovery begins with. */
export interface RecoveryOptions {
  /** What the client had asked; the recovery's own from here on. */
  readonly requests: RequestQueue;
  /** Transaction status of the last ReadyForQuery. */
  readonly status: number;
  /** Letters and digits that nobody can guess. */
  readonly mark: string;
}

/** One recovery of one server. */
export class Recovery {
  readonly #requests: RequestQueue;
  readonly #mark: string;
  /** The DataRow with the mark. */
  readonly #markRow: Uint8Array;
  #status: number;
  #phase: "draining" | "drained" | "rolling_back" | "checking" | "over" = "draining";
  #droppedCount = 0;
  #ownQuery: OwnQuery | undefined;
  /** Bytes of the row with the mark that have come; -1 once others have. */
  #markedCount = 0;
  #isRepeated = false;

  constructor({ mark, requests, status }: RecoveryOptions) {
    this.#requests = requests;
    this.#status = status;
    this.#mark = mark;
    this.#markRow = rowOf(mark);
  }

  /** Whether answers to the client are still due: only then may a cancel request be sent. */
  get isDraining(): boolean {
    return this.#phase === "draining";
  }

  /** Whether `goOn()` is to be called, once no cancel request is on its way. */
  get isDrained(): boolean {
    return this.#phase === "drained";
  }

  /** Transaction status of the last ReadyForQuery. */
  get status(): number {
    return this.#status;
  }

  /** Ends what the client had only begun to send. */
  begin(): RecoveryStep | undefined {
    const requests = this.#requests;
    if (this.#isUncertain()) return this.#fail("answers out of step with requests");
    const message = new MessageWriter();
    if (requests.isCopyingIn) this.#endCopy(message);
    if (requests.isUnsynced) {
      // A Sync alone would commit what was executed.
      message.bytes(abortToSync());
      requests.noteExtended();
      requests.noteSync();
    }
    if (requests.isEmpty) this.#phase = "drained";
    const bytes = message.take();
    return bytes.length === 0 ? undefined : { kind: "send", message: bytes };
  }

  /**
   * Takes a message of the server's, or a piece of one.
   * @throws {ProtocolError} If it is none that may come.
   */
  receive(cursor: MessageCursor): RecoveryStep | undefined {
    this.#droppedCount += cursor.end - cursor.start;
    if (this.#droppedCount > MAX_DROPPED_BYTES) return this.#fail("too much was still to come");
    if (this.#ownQuery !== undefined) return this.#receiveAnswer(cursor, this.#ownQuery);
    if (cursor.isContinuation) return undefined;
    return this.#phase === "draining" ? this.#drain(cursor) : this.#receiveUnasked(cursor);
  }

  /** Goes on behind the last answer to the client. */
  goOn(): RecoveryStep {
    return this.#status === TransactionStatus.Idle ? this.#check() : this.#rollBack();
  }

  #drain(cursor: MessageCursor): RecoveryStep | undefined {
    const requests = this.#requests;
    switch (cursor.type) {
      case Backend.ReadyForQuery:
        return this.#onReadyForQuery(cursor);
      case Backend.ErrorResponse:
        requests.onError();
        break;
      case Backend.CopyInResponse:
        requests.onCopyIn();
        break;
      case Backend.CopyBothResponse:
        return this.#fail("it replicates");
    }
    if (this.#isUncertain()) return this.#fail("answers out of step with requests");
    if (!requests.isCopyingIn) return undefined;
    const message = new MessageWriter();
    this.#endCopy(message);
    return { kind: "send", message: message.take() };
  }

  #onReadyForQuery(cursor: MessageCursor): RecoveryStep | undefined {
    this.#status = transactionStatusOf(cursor);
    const wasDue = this.#requests.onReadyForQuery(this.#status === TransactionStatus.Idle);
    if (!wasDue || this.#isUncertain()) return this.#fail("answers out of step with requests");
    if (this.#requests.isEmpty) this.#phase = "drained";
    return undefined;
  }

  #receiveUnasked({ type }: MessageCursor): RecoveryStep | undefined {
    const isHarmless = type === Backend.ParameterStatus || type === Backend.NoticeResponse ||
      type === Backend.NotificationResponse;
    return isHarmless ? undefined : this.#fail("idle server got dirty");
  }

  /** Whether a COPY makes it unsure how many answers will come. */
  #isUncertain(): boolean {
    const requests = this.#requests;
    return requests.isDoubtful || requests.isCopyingIn && requests.hasIgnored;
  }

  #endCopy(message: MessageWriter): void {
    message.bytes(copyFail(COPY_ABORTED));
    this.#requests.noteCopyEnd();
  }

  #rollBack(): RecoveryStep {
    this.#phase = "rolling_back";
    return this.#ask("ROLLBACK");
  }

  #check(): RecoveryStep {
    this.#phase = "checking";
    this.#markedCount = 0;
    return this.#ask(`SELECT '${this.#mark}'`);
  }

  #ask(sql: string): RecoveryStep {
    this.#ownQuery = new OwnQuery();
    return { kind: "send", message: query(sql) };
  }

  #receiveAnswer(cursor: MessageCursor, ownQuery: OwnQuery): RecoveryStep | undefined {
    // What may come at any time. The parameters are noted by whoever has them.
    if (cursor.type === Backend.ParameterStatus) return undefined;
    if (cursor.type === Backend.DataRow) this.#noteRow(cursor);
    const result = ownQuery.receive(cursor);
    if (result === undefined) return undefined;
    this.#ownQuery = undefined;
    return this.#afterAnswer(result);
  }

  /** Compares piece by piece: even a short row may come in two. */
  #noteRow({ buffer, end, start }: MessageCursor): void {
    const wanted = this.#markRow;
    for (let at = start; at < end && this.#markedCount >= 0; at++) {
      this.#markedCount = buffer[at] === wanted[this.#markedCount] ? this.#markedCount + 1 : -1;
    }
  }

  #afterAnswer({ error, status }: OwnQueryResult): RecoveryStep {
    this.#status = status;
    const isRollback = this.#phase === "rolling_back";
    if (error === undefined && status === TransactionStatus.Idle) {
      if (isRollback) return this.#check();
      if (this.#markedCount === this.#markRow.length) return this.#finish();
      return this.#fail("answers out of step with requests");
    }
    const isLateCancel = error?.sqlstate === SQLSTATE.queryCanceled;
    if (!isLateCancel || this.#isRepeated) {
      return this.#fail(error?.message ?? "it is still in a transaction");
    }
    this.#isRepeated = true;
    return this.goOn();
  }

  #finish(): RecoveryStep {
    this.#phase = "over";
    return { kind: "done" };
  }

  #fail(reason: string): RecoveryStep {
    return { kind: "failed", reason };
  }
}

/** A DataRow with one column, as a server writes it. */
function rowOf(text: string): Uint8Array {
  return new MessageWriter().begin(Backend.DataRow).int16(1).int32(text.length).text(text).end()
    .take();
}
