/**
 * Client and server while they are linked, and the client's wait for a server: what may be sent to
 * whom, and when the link ends. One relay serves one client for the length of its session.
 *
 * HOT PATH. Budget per chunk: one write; per message nothing; per transaction the two states.
 * Invariants: a server is released only when it is idle, nothing is outstanding and both
 * directions stand between two messages; what a link leaves in doubt is closed; a server is never
 * released before its last reply was handed to the client's stream.
 */

import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { PoolMode } from "../config/settings.ts";
import type { ParameterCache } from "../link/parameter_cache.ts";
import { RequestQueue } from "../link/request_queue.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { type Pool, type ServerRequest, StandingFailure } from "../pool/pool.ts";
import { WaitingPlace } from "../pool/waiting_queue.ts";
import { errorOf, type OwnQueryResult } from "../server/own_query.ts";
import type { ServerSession } from "../server/server_session.ts";
import type { ServerEnd } from "../server/server_end.ts";
import type { ServerTaker } from "../server/server_taker.ts";
import { turnedAwayError } from "./turned_away.ts";
import {
  isTransactionStatus,
  parameterStatus,
  readyForQuery,
  TransactionStatus,
} from "../wire/backend_messages.ts";
import { errorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend, Frontend, typeTable } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { RangeWriter } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** Of the client's messages none has to be looked into. */
const NOTHING_INSPECTED = typeTable([]);

/** The pool of servers as a client uses it. */
export type ServerPool = Pool<ServerSession, PgError>;

/** The client to whom a relay belongs. */
export interface RelayHost {
  /** The client waits for a server. */
  enterWaiting(): void;
  /** The client is linked to a server. */
  enterActive(): void;
  /** The client is free. */
  enterIdle(): void;
  /** Ends the client; `error` is sent to it first, if given. */
  end(reason: string, error?: PgError): void;
}

/** What a relay is made of. */
export interface RelayOptions {
  readonly host: RelayHost;
  readonly stream: ByteStream;
  readonly pool: ServerPool;
  /** What the client expects of its session. */
  readonly parameters: ParameterCache;
  readonly clock: Clock;
  /** Longest message let through (`max_packet_size`). */
  readonly maxMessageBytes: number;
  /** How the next link is shared; may change with a reload. */
  readonly poolMode: () => PoolMode;
}

/** Joins one client with whatever server it has. */
export class Relay implements ServerTaker, ServerRequest<ServerSession, PgError> {
  readonly #options: RelayOptions;
  readonly #place: WaitingPlace<ServerRequest<ServerSession, PgError>>;
  readonly #fromClient: MessageCursor;
  readonly #requests = new RequestQueue();
  readonly #toServer = new RangeWriter();
  readonly #toClient = new RangeWriter();
  #server: ServerSession | undefined;
  #mode: PoolMode = "session";
  /** Whether the pieces to come of a message in parts are passed on. */
  #isForwarding = false;
  /** After a cancelled wait: everything up to the client's Sync is dropped. */
  #isSkippingToSync = false;
  #isTerminating = false;
  #isSettingParameters = false;
  /** Lets the client's receive loop go on, once the chunk it is held with has been passed on. */
  #letGo: (() => void) | undefined;
  /** Why both sides have to be closed. */
  #violation: PgError | undefined;
  /** The server said itself why it ends. */
  #hasServerSaidFatal = false;
  #hasUnaskedReady = false;
  #isMidReply = false;
  /** Nothing is outstanding: what the server says now it says to nobody. */
  #isLinkOver = false;
  /** When the client's oldest unanswered request set out; 0 while nothing is asked. */
  #queryStartMs = 0;
  #transactionStartMs = 0;
  #lastReadyMs = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#place = new WaitingPlace<ServerRequest<ServerSession, PgError>>(this);
    this.#fromClient = new MessageCursor({
      inspected: NOTHING_INSPECTED,
      maxInspectedBytes: 0,
      maxMessageBytes: options.maxMessageBytes,
    });
    this.#lastReadyMs = options.clock.nowMs();
  }

  /** The server the client is linked to. */
  get server(): ServerSession | undefined {
    return this.#server;
  }

  /**
   * Whether a cancel request would hit something of the client's: it has a server, which is not
   * just running a SET of ours.
   */
  get isCancelable(): boolean {
    return this.#server !== undefined && !this.#isSettingParameters;
  }

  /** Whether the client has got a message in part: nothing of ours may be put behind it. */
  get isMidReply(): boolean {
    return this.#isMidReply;
  }

  /** When the running query set out, or undefined. */
  get queryStartMs(): number | undefined {
    return this.#queryStartMs === 0 ? undefined : this.#queryStartMs;
  }

  /** When the open transaction began, or undefined. */
  get transactionStartMs(): number | undefined {
    return this.#transactionStartMs === 0 ? undefined : this.#transactionStartMs;
  }

  /** When the last answer was complete. */
  get lastReadyMs(): number {
    return this.#lastReadyMs;
  }

  /** When the wait for a server began, or undefined. */
  get waitingSinceMs(): number | undefined {
    return this.#place.queue === undefined ? undefined : this.#place.sinceMs;
  }

  /**
   * Takes what the client sent: the sink of its receive loop.
   * @throws {ProtocolError} If it is not what a client may send.
   */
  onClientChunk(buffer: Uint8Array, length: number): void | Promise<void> {
    this.#options.pool.stats.bytesReceived += length;
    this.#fromClient.feed(buffer, length);
    this.#walkClientChunk();
    if (this.#toServer.length === 0) return this.#afterForwarding();
    this.#isLinkOver = false;
    // What only ends a COPY that has failed already asks for nothing.
    if (this.#queryStartMs === 0 && !this.#requests.isEmpty) this.#noteStart();
    if (this.#server !== undefined) return this.#forward(this.#server);
    return this.#acquire();
  }

  /** The pool has a server: the wait is over. */
  serve(server: ServerSession): void {
    this.#noteWait();
    this.#take(server);
    if (server.parameters.isFitFor(this.#options.parameters)) this.#forwardHeld();
    else this.#setParameters(server);
  }

  /** The pool has none to give. */
  refuse(error: PgError): void {
    this.#options.host.end(error.message, new PgError(error.sqlstate, error.message));
  }

  /** Takes what the server sent. */
  onServerChunk(cursor: MessageCursor): void | Promise<void> {
    const toClient = this.#toClient;
    while (cursor.next()) {
      if (this.#isLinkOver && isUnasked(cursor)) {
        this.#dropDirty(cursor);
        this.#isMidReply = false;
        return this.#flushToClient();
      }
      if (!cursor.isContinuation) this.#observe(cursor);
      if (this.#violation !== undefined) return this.#endBoth(cursor, this.#violation);
      toClient.add(cursor.buffer, cursor.start, cursor.end);
    }
    this.#isMidReply = cursor.isMidMessage;
    const sending = this.#flushToClient();
    if (sending !== undefined) return sending.then(this.#settle);
    this.#settle();
  }

  #flushToClient(): void | Promise<void> {
    this.#options.pool.stats.bytesSent += this.#toClient.length;
    return this.#toClient.flushTo(this.#options.stream);
  }

  /** The server is gone; what it was doing for the client is lost. */
  onServerClosed(end: ServerEnd): void {
    if (this.#server === undefined) return;
    this.#unlink();
    const { host } = this.#options;
    if (this.#hasServerSaidFatal) host.end(end.reason);
    else host.end(end.reason, new PgError(end.error.sqlstate, end.error.message));
  }

  /** The client is gone: gives back what is clean, closes what is not. */
  detach(): void {
    this.#options.pool.cancel(this.#place);
    this.#letGoOfClient();
    const server = this.#server;
    if (server === undefined) return;
    const isClean = this.#isAtRest(server) && !this.#isInDoubt;
    this.#unlink();
    if (isClean) server.release(this.#mode === "session");
    else server.discard("client disconnect while server was not ready");
  }

  /**
   * Takes a waiting client out of the queue, at its own request. What it had asked fails with an
   * error; the client goes on. Returns whether it was waiting.
   */
  cancelWait(): boolean {
    const { host, pool, stream } = this.#options;
    if (!pool.cancel(this.#place)) return false;
    host.enterIdle();
    this.#toServer.clear();
    const answer = this.#canceledAnswer();
    this.#isSkippingToSync = this.#requests.isUnsynced;
    this.#isForwarding = false;
    this.#forgetRequests();
    const sending = stream.write(answer, 0, answer.length);
    if (sending === undefined) this.#letGoOfClient();
    else void sending.then(() => this.#letGoOfClient());
    return true;
  }

  #walkClientChunk(): void {
    const cursor = this.#fromClient;
    while (cursor.next()) {
      if (!cursor.isContinuation) this.#isForwarding = this.#note(cursor.type);
      if (this.#isForwarding) this.#toServer.add(cursor.buffer, cursor.start, cursor.end);
      if (this.#isTerminating) return cursor.abandonChunk();
    }
  }

  /** Takes note of a client's message. Returns whether it is passed on. */
  #note(type: number): boolean {
    if (this.#isSkippingToSync) return this.#skipToSync(type);
    switch (type) {
      case Frontend.Query:
        this.#requests.noteQuery();
        return true;
      case Frontend.Parse:
        this.#options.pool.stats.clientParseCount += 1;
        this.#requests.noteExtended();
        return true;
      case Frontend.Bind:
        this.#options.pool.stats.bindCount += 1;
        this.#requests.noteExtended();
        return true;
      case Frontend.Describe:
      case Frontend.Execute:
      case Frontend.Close:
        this.#requests.noteExtended();
        return true;
      case Frontend.Sync:
        this.#requests.noteSync();
        return true;
      case Frontend.Flush:
        // Without messages before it there is nothing to flush, and no answer would ever come.
        return this.#requests.isUnsynced;
      case Frontend.FunctionCall:
        this.#requests.noteFunctionCall();
        return true;
      case Frontend.CopyData:
        return this.#isCopyWelcome();
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        if (!this.#isCopyWelcome()) return false;
        this.#requests.noteCopyEnd();
        return true;
      case Frontend.Terminate:
        this.#isTerminating = true;
        return false;
      default:
        throw new ProtocolError(`unknown pkt: '${String.fromCharCode(type)}'`);
    }
  }

  /**
   * Data that comes after its COPY has failed is dropped, by a server as well as here: it must not
   * make a client without a server wait for one.
   */
  #isCopyWelcome(): boolean {
    return this.#server !== undefined || !this.#requests.isEmpty;
  }

  #skipToSync(type: number): boolean {
    if (type === Frontend.Terminate) this.#isTerminating = true;
    if (type === Frontend.Sync) {
      this.#isSkippingToSync = false;
      const ready = readyForQuery(TransactionStatus.Idle);
      // Held by nobody: the client's stream keeps the order of its writes.
      void this.#options.stream.write(ready, 0, ready.length);
    }
    return false;
  }

  #noteStart(): void {
    this.#queryStartMs = this.#options.clock.nowMs();
    if (this.#transactionStartMs === 0) this.#transactionStartMs = this.#queryStartMs;
  }

  #acquire(): void | Promise<void> {
    const { host, parameters, pool } = this.#options;
    const got = pool.acquire(this.#place);
    if (got === undefined) {
      host.enterWaiting();
      return this.#hold();
    }
    if (got instanceof StandingFailure) return this.refuse(turnedAwayError(got));
    this.#take(got);
    if (got.parameters.isFitFor(parameters)) return this.#forward(got);
    this.#setParameters(got);
    return this.#hold();
  }

  /** Holds the client's receive loop until its chunk is with a server. */
  #hold(): Promise<void> {
    return new Promise((resolve) => this.#letGo = resolve);
  }

  #letGoOfClient(): void {
    const letGo = this.#letGo;
    this.#letGo = undefined;
    letGo?.();
  }

  #take(server: ServerSession): void {
    assert(this.#server === undefined, "A client has one server");
    this.#server = server;
    this.#mode = this.#options.poolMode();
    this.#hasServerSaidFatal = false;
    this.#hasUnaskedReady = false;
    this.#isLinkOver = false;
    server.link(this);
    this.#options.pool.stats.serverAssignmentCount += 1;
    this.#options.host.enterActive();
  }

  /** Brings the server's session parameters to what this client expects; the client waits. */
  #setParameters(server: ServerSession): void {
    this.#isSettingParameters = true;
    const sql = server.parameters.statementsFor(this.#options.parameters);
    server.runOwnQuery(sql, (result) => this.#onParametersSet(server, result));
  }

  #onParametersSet(server: ServerSession, { error, status }: OwnQueryResult): void {
    this.#isSettingParameters = false;
    if (error !== undefined || status !== TransactionStatus.Idle) {
      this.#unlink();
      server.discard("invalid server parameter");
      const detail = error?.message;
      this.#options.host.end(
        "invalid server parameter",
        new PgError(
          SQLSTATE.invalidParameterValue,
          "invalid server parameter",
          detail === undefined ? {} : { detail },
        ),
      );
      return;
    }
    for (const [name, value] of server.parameters.settleWith(this.#options.parameters)) {
      const message = parameterStatus(name, value);
      void this.#options.stream.write(message, 0, message.length);
    }
    this.#forwardHeld();
  }

  /** Sends on the chunk with which the client's loop is held, and lets the loop go. */
  #forwardHeld(): void {
    const forwarding = this.#forward(this.#server!);
    if (forwarding === undefined) this.#letGoOfClient();
    else void forwarding.then(() => this.#letGoOfClient());
  }

  #forward(server: ServerSession): void | Promise<void> {
    server.requestedAtMs = this.#queryStartMs;
    const sending = this.#toServer.flushTo(server);
    if (sending === undefined) return this.#afterForwarding();
    // An ordinary request is followed up when its answer comes.
    const isOrdinary = !this.#isTerminating && !this.#requests.isEmpty;
    return isOrdinary ? sending : sending.then(() => this.#afterForwarding());
  }

  #afterForwarding(): void {
    if (this.#isTerminating) this.#options.host.end("client close request");
    // The end of a message in parts may be all that the release was waiting for.
    else if (this.#server !== undefined) this.#settle();
  }

  /** Takes note of a server's message. */
  #observe(cursor: MessageCursor): void {
    switch (cursor.type) {
      case Backend.ReadyForQuery:
        return this.#onReadyForQuery(cursor);
      case Backend.ParameterStatus: {
        const parameter = this.#server!.takeParameterStatus(cursor);
        if (parameter !== undefined) {
          this.#options.parameters.set(parameter.name, parameter.value);
        }
        return;
      }
      case Backend.CopyInResponse:
        return this.#requests.onCopyIn();
      case Backend.ErrorResponse: {
        this.#requests.onError();
        const error = errorOf(cursor);
        if (error.severity !== "FATAL" && error.severity !== "PANIC") return;
        this.#hasServerSaidFatal = true;
        this.#server!.noteFatal(error);
        return;
      }
    }
  }

  #onReadyForQuery(cursor: MessageCursor): void {
    const status = cursor.buffer[cursor.start + HEADER_BYTES]!;
    if (cursor.end - cursor.start !== HEADER_BYTES + 1 || !isTransactionStatus(status)) {
      throw new ProtocolError("bad ReadyForQuery");
    }
    const wasDue = this.#requests.onReadyForQuery();
    if (!wasDue) this.#hasUnaskedReady = true;
    this.#server!.transactionStatus = status;
    this.#isLinkOver = this.#mode !== "session" && status === TransactionStatus.Idle &&
      this.#requests.isEmpty;
    this.#noteReady(status === TransactionStatus.Idle);
    if (this.#mode === "statement" && status !== TransactionStatus.Idle) {
      this.#violation = new PgError(
        SQLSTATE.featureNotSupported,
        "transaction blocks not allowed in statement pooling mode",
      );
    }
  }

  #noteReady(isTransactionOver: boolean): void {
    const { clock, pool } = this.#options;
    const nowMs = clock.nowMs();
    const { stats } = pool;
    this.#lastReadyMs = nowMs;
    stats.queryCount += 1;
    stats.queryTimeUs += microseconds(nowMs - this.#queryStartMs);
    this.#queryStartMs = this.#requests.isEmpty ? 0 : nowMs;
    if (!isTransactionOver) return;
    stats.xactCount += 1;
    stats.xactTimeUs += microseconds(nowMs - this.#transactionStartMs);
    this.#transactionStartMs = this.#queryStartMs;
  }

  #noteWait(): void {
    const { clock, pool } = this.#options;
    pool.stats.waitTimeUs += microseconds(clock.nowMs() - this.#place.sinceMs);
  }

  /** Ends the link if it may end. Called whenever one of its conditions may have come true. */
  readonly #settle = (): void => {
    const server = this.#server;
    if (server === undefined) return;
    if (this.#mode === "session") return;
    if (!this.#isAtRest(server)) return;
    const isInDoubt = this.#isInDoubt;
    this.#unlink();
    this.#options.host.enterIdle();
    if (isInDoubt) server.discard("answers out of step with requests");
    else server.release(false);
  };

  /** A server that speaks on after its last answer would be closed if it were idle already. */
  #dropDirty(cursor: MessageCursor): void {
    const said = cursor.type === Backend.ErrorResponse ? `: ${errorOf(cursor).message}` : "";
    cursor.abandonChunk();
    const server = this.#server!;
    this.#unlink();
    // What is left of late CopyData has no server to go to.
    this.#isForwarding = false;
    this.#options.host.enterIdle();
    server.discard(`idle server got dirty${said}`);
  }

  /** What broke the rules is not shown to the client: an error takes its place. */
  #endBoth(cursor: MessageCursor, violation: PgError): void | Promise<void> {
    cursor.abandonChunk();
    // What came before it may be the rest of a message that the client has in part.
    const sending = this.#flushToClient();
    this.#isMidReply = false;
    const server = this.#server!;
    this.#unlink();
    server.discard(violation.message);
    this.#options.host.end(violation.message, violation);
    return sending;
  }

  /** Whether nothing is under way in either direction, as far as can be told. */
  #isAtRest(server: ServerSession): boolean {
    return server.transactionStatus === TransactionStatus.Idle && this.#requests.isEmpty &&
      !this.#isSettingParameters && server.isBetweenMessages && !this.#isMidMessage();
  }

  /** Whether requests and answers may be out of step, so that nobody else may have the server. */
  get #isInDoubt(): boolean {
    return this.#hasUnaskedReady || this.#requests.isDoubtful;
  }

  #isMidMessage(): boolean {
    return this.#isForwarding && this.#fromClient.isMidMessage;
  }

  #unlink(): void {
    this.#server = undefined;
    this.#isSettingParameters = false;
    this.#forgetRequests();
  }

  #forgetRequests(): void {
    this.#requests.clear();
    this.#queryStartMs = 0;
    this.#transactionStartMs = 0;
  }

  /** An error for all that was asked, each with the ReadyForQuery that is due. */
  #canceledAnswer(): Uint8Array {
    const error = errorResponse(
      new PgError(SQLSTATE.queryCanceled, "canceling statement due to user request", {
        severity: "ERROR",
      }),
    );
    const ready = readyForQuery(TransactionStatus.Idle);
    const answer = new MessageWriter();
    for (let i = 0; i < this.#requests.dueCount; i++) answer.bytes(error).bytes(ready);
    if (this.#requests.isUnsynced) answer.bytes(error);
    return answer.take();
  }
}

/** Whether a message may not come from a server that was asked nothing. */
function isUnasked({ isContinuation, type }: MessageCursor): boolean {
  return !isContinuation && type !== Backend.ParameterStatus && type !== Backend.NoticeResponse &&
    type !== Backend.NotificationResponse;
}

function microseconds(ms: number): number {
  return Math.round(ms * 1000);
}
