/**
 * What a client sends, walked message by message: noted for its answers, and gathered to be sent
 * on. It has no server and no stream; whoever has them takes what is gathered.
 *
 * HOT PATH. Budget: no allocation per message.
 */

import { mayDeallocate } from "../link/deallocation.ts";
import { RequestQueue } from "../link/request_queue.ts";
import { type ChunkPlace, MAX_LOOKED_AT_BYTES } from "../link/statement_rewriter.ts";
import type { PoolStats } from "../stats/pool_stats.ts";
import { readyForQuery, TransactionStatus } from "../wire/backend_messages.ts";
import { errorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Frontend, typeTable } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { RangeWriter } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { FeatureWatch } from "./feature_watch.ts";

/** Where statements are not shared, no message of a client has to be looked into. */
const NOTHING_INSPECTED = typeTable([]);

/** Those with names of statements and portals, or with SQL that may deallocate. */
const STATEMENTS_INSPECTED = typeTable([
  Frontend.Parse,
  Frontend.Bind,
  Frontend.Describe,
  Frontend.Execute,
  Frontend.Close,
  Frontend.Query,
]);

/** Those with SQL. */
const SQL_INSPECTED = typeTable([Frontend.Parse, Frontend.Query]);

/** What an intake is made of. */
export interface ClientIntakeOptions {
  /** Longest message let through (`max_packet_size`). */
  readonly maxMessageBytes: number;
  /** Whether the simple query protocol is refused (`disable_pqexec`). */
  readonly refusesQueries: boolean;
  readonly stats: PoolStats;
  /** Whether prepared statements may have to be shared with other clients. */
  readonly looksForStatements: boolean;
  /** Shown all SQL, where somebody wants to see it. */
  readonly features: FeatureWatch | undefined;
  /** Called for a Sync that no server will see: it is answered with ReadyForQuery at once. */
  readonly answerSync: () => void;
}

/** The requests of one client. */
export class ClientIntake {
  /** What has been asked and not yet answered. */
  readonly requests = new RequestQueue();
  /** What is to be sent to a server. */
  readonly outgoing = new RangeWriter();
  /** Where that stands in the conversation. */
  readonly place: ChunkPlace = {
    continuedBytes: 0,
    segment: 0,
    askedInSegment: 0,
    answeringSegment: 0,
  };
  /** Whether it has a message that concerns prepared statements. */
  hasStatements = false;
  /** Whether it has a Query; asked for where it has nothing else of interest. */
  hasQuery = false;
  readonly #options: ClientIntakeOptions;
  readonly #cursor: MessageCursor;
  /** Whether the pieces to come of a message in parts are sent on. */
  #isForwarding = false;
  /** After what was asked was taken back: everything up to the client's Sync is dropped. */
  #isSkippingToSync = false;
  #isTerminating = false;

  constructor(options: ClientIntakeOptions) {
    this.#options = options;
    this.#cursor = new MessageCursor({
      inspected: inspectedBy(options),
      maxInspectedBytes: MAX_LOOKED_AT_BYTES,
      maxMessageBytes: options.maxMessageBytes,
      limitName: "max_packet_size",
    });
  }

  /** Whether the client has said that it leaves. */
  get isTerminating(): boolean {
    return this.#isTerminating;
  }

  /** Whether a message was sent on of which the client still owes a part. */
  get isMidMessage(): boolean {
    return this.#isForwarding && this.#cursor.isMidMessage;
  }

  /**
   * Walks a chunk. Data that comes after its COPY has failed is dropped, by a server as well as
   * here: it must not make a client without a server wait for one.
   * @throws {ProtocolError} If it is not what a client may send.
   * @throws {PgError} If it is what this pooler refuses; then nothing of the chunk is to be sent on.
   */
  take(buffer: Uint8Array, length: number, hasServer: boolean): void {
    this.#options.stats.bytesReceived += length;
    this.#notePlace();
    this.#cursor.feed(buffer, length);
    this.#walk(hasServer);
  }

  /** Takes of a chunk only what belongs to the message that is under way; the rest by `takeOn()`. */
  takeRest(buffer: Uint8Array, length: number): void {
    this.#options.stats.bytesReceived += length;
    this.#notePlace();
    const cursor = this.#cursor;
    cursor.feed(buffer, length);
    if (cursor.next()) this.outgoing.add(cursor.buffer, cursor.start, cursor.end);
  }

  /** Walks on from where a chunk was left. Throws as `take()` does. */
  takeOn(hasServer: boolean): void {
    this.#notePlace();
    this.#walk(hasServer);
  }

  #notePlace(): void {
    const { place, requests } = this;
    // The rest of what is dropped does not come into it.
    place.continuedBytes = this.#isForwarding ? this.#cursor.restBytes : 0;
    place.segment = requests.askingSegment;
    place.askedInSegment = requests.askedInSegment;
    this.hasStatements = false;
    this.hasQuery = false;
  }

  #walk(hasServer: boolean): void {
    const cursor = this.#cursor;
    while (cursor.next()) {
      if (!cursor.isContinuation) this.#isForwarding = this.#note(cursor.type, hasServer);
      if (this.#isForwarding) this.outgoing.add(cursor.buffer, cursor.start, cursor.end);
      if (this.#isTerminating) return cursor.abandonChunk();
    }
  }

  /** The server is gone: what is still to come of a message for it is dropped. */
  dropRest(): void {
    this.#isForwarding = false;
  }

  /** Takes back all that was asked. Returns the answer: the error and a ReadyForQuery for each. */
  cancel(error: PgError): Uint8Array {
    const { dueCount, isSkipping } = this.requests.ifAllFails();
    const answer = new MessageWriter();
    const message = errorResponse(error);
    const ready = readyForQuery(TransactionStatus.Idle);
    for (let i = 0; i < dueCount; i++) answer.bytes(message).bytes(ready);
    if (isSkipping) answer.bytes(message);
    this.#isSkippingToSync = isSkipping;
    this.dropRest();
    this.outgoing.clear();
    this.requests.clear();
    return answer.take();
  }

  /** Takes note of a message. Returns whether it is sent on. */
  #note(type: number, hasServer: boolean): boolean {
    if (this.#isSkippingToSync) return this.#skipToSync(type);
    const { requests } = this;
    const { stats } = this.#options;
    switch (type) {
      case Frontend.Query:
        if (this.#options.refusesQueries) {
          throw new PgError(SQLSTATE.featureNotSupported, "PQexec disallowed");
        }
        requests.noteQuery();
        this.#lookAtQuery();
        return true;
      case Frontend.Parse:
        stats.clientParseCount += 1;
        if (this.#options.features !== undefined) this.#lookAtParse(this.#options.features);
        return this.#noteExtended();
      case Frontend.Bind:
        stats.bindCount += 1;
        return this.#noteExtended();
      case Frontend.Describe:
        return this.#noteExtended();
      case Frontend.Close:
        requests.noteClose();
        this.hasStatements = this.#options.looksForStatements;
        return true;
      case Frontend.Execute:
        requests.noteExtended();
        return true;
      case Frontend.Sync:
        requests.noteSync();
        return true;
      case Frontend.Flush:
        // Without messages before it there is nothing to flush, and no answer would ever come.
        return requests.isUnsynced;
      case Frontend.FunctionCall:
        requests.noteFunctionCall();
        return true;
      case Frontend.CopyData:
        return hasServer || !requests.isEmpty;
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        if (!hasServer && requests.isEmpty) return false;
        requests.noteCopyEnd();
        return true;
      case Frontend.Terminate:
        this.#isTerminating = true;
        return false;
      default:
        throw new ProtocolError(`unknown pkt: '${String.fromCharCode(type)}'`);
    }
  }

  #noteExtended(): boolean {
    this.requests.noteExtended();
    this.hasStatements = this.#options.looksForStatements;
    return true;
  }

  #lookAtQuery(): void {
    const { features, looksForStatements } = this.#options;
    const { buffer, end, start } = this.#cursor;
    features?.look(buffer, start + HEADER_BYTES, end);
    if (!looksForStatements) return;
    this.hasQuery = true;
    if (mayDeallocate(buffer, start + HEADER_BYTES, end)) this.hasStatements = true;
  }

  #lookAtParse(features: FeatureWatch): void {
    const { buffer, end, start } = this.#cursor;
    let text = start + HEADER_BYTES;
    while (text < end && buffer[text] !== 0) text += 1;
    features.look(buffer, text + 1, end);
  }

  #skipToSync(type: number): boolean {
    if (type === Frontend.Terminate) this.#isTerminating = true;
    if (type === Frontend.Sync) {
      this.#isSkippingToSync = false;
      this.#options.answerSync();
    }
    return false;
  }
}

/** Held, so that names and first words are there when a message is looked at. */
function inspectedBy({ features, looksForStatements }: ClientIntakeOptions): Uint8Array {
  if (looksForStatements) return STATEMENTS_INSPECTED;
  return features === undefined ? NOTHING_INSPECTED : SQL_INSPECTED;
}
