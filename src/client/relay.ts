/**
 * Client and server while they are linked, and the client's wait for a server: what may be sent to
 * whom, and when the link ends. One relay serves one client for the length of its session.
 *
 * HOT PATH. Budget per chunk: one write; per message nothing; per transaction the two states.
 * Invariants: a server is released only when it is idle, nothing is outstanding and both
 * directions stand between two messages; what a link leaves in doubt is closed; a server is never
 * released before its last reply was handed to the client's stream. A server whose client is lost
 * is recovered where it is known what is outstanding.
 */

import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { PoolMode } from "../config/settings.ts";
import type { ParameterCache } from "../link/parameter_cache.ts";
import type { StatementRewriter } from "../link/statement_rewriter.ts";
import { type ByteStream, HOLD, type SinkAnswer } from "../net/byte_stream.ts";
import { CROWDED, type Pool, type ServerRequest, StandingFailure } from "../pool/pool.ts";
import { WaitingPlace } from "../pool/waiting_queue.ts";
import { type OwnQueryResult, unaskedWords } from "../server/own_query.ts";
import { NOT_READY } from "../server/recovery.ts";
import type { ServerSession } from "../server/server_session.ts";
import { DATABASE_CHANGED, SERVER_CRASHED, type ServerEnd } from "../server/server_end.ts";
import type { ServerTaker } from "../server/server_taker.ts";
import { ClientIntake } from "./client_intake.ts";
import type { FeatureWatch } from "./feature_watch.ts";
import { type HeldRequest, LinkFreeze } from "./link_freeze.ts";
import { RelayStatements } from "./relay_statements.ts";
import { ReplyIntake } from "./reply_intake.ts";
import { RequestClock } from "./request_clock.ts";
import { setParameters } from "./set_parameters.ts";
import { tooManyWait, turnedAwayError } from "./turned_away.ts";
import { parameterStatus, readyForQuery, TransactionStatus } from "../wire/backend_messages.ts";
import type { MessageCursor } from "../wire/message_cursor.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** An answer that is due follows the one before within a moment. */
const DOUBT_MS = 1_000;

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
  /** The client is told of an error that does not end it. */
  noteError(error: PgError): void;
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
  /** Whether the simple query protocol is refused (`disable_pqexec`). */
  readonly refusesQueries: boolean;
  /** How the next link is shared; may change with a reload. */
  readonly poolMode: () => PoolMode;
  /** Where prepared statements are shared; undefined if they are not (`max_prepared_statements`). */
  readonly rewriter: StatementRewriter | undefined;
  /** Watches what the client uses that its servers do not keep; undefined if nobody asks. */
  readonly features: FeatureWatch | undefined;
  /** Whether a session ends with its transaction once its server is to be closed. */
  readonly closesFast: () => boolean;
  /** Whether a server is recovered whose client was lost (`on_client_loss`); else it is closed. */
  readonly recovers: () => boolean;
  /** Told of a server that was running something when the client was lost. */
  readonly onAbandoned: (server: ServerSession) => void;
}

/** Joins one client with whatever server it has. */
export class Relay implements ServerTaker, ServerRequest<ServerSession, PgError> {
  readonly #options: RelayOptions;
  readonly #place: WaitingPlace<ServerRequest<ServerSession, PgError>>;
  readonly #intake: ClientIntake;
  readonly #clock: RequestClock;
  readonly #replies: ReplyIntake;
  readonly #statements: RelayStatements | undefined;
  /** The same while it matters: in a session names go to the server as they are. */
  #shared: RelayStatements | undefined;
  #server: ServerSession | undefined;
  #mode: PoolMode = "session";
  #linkCount = 0;
  #isSettingParameters = false;
  /** Whether a server is still being sent the chunk with which the client's loop is held. */
  #isForwardingHeld = false;
  /** Whether the client has not taken yet what was handed to its stream. */
  #isReplyUnsent = false;
  /** Whether the server has said something that nobody has looked at, since all is frozen. */
  #isReplyHeld = false;
  /** There while all connections are frozen. */
  #freeze: LinkFreeze | undefined;
  /** What the client is told when its transaction has ended. */
  #farewell: PgError | undefined;
  /** Takes the chunk with which the client's loop is held, until a request has been repeated. */
  #afterRepeat: (() => SinkAnswer) | undefined;
  #isDetached = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#place = new WaitingPlace<ServerRequest<ServerSession, PgError>>(this);
    const { histograms, stats } = options.pool;
    this.#clock = new RequestClock(options.clock, { stats, histograms });
    this.#intake = new ClientIntake({
      maxMessageBytes: options.maxMessageBytes,
      refusesQueries: options.refusesQueries,
      stats,
      looksForStatements: options.rewriter !== undefined,
      features: options.features,
      answerSync: () => this.#tellClient(readyForQuery(TransactionStatus.Idle)),
    });
    this.#replies = new ReplyIntake(options, this.#intake.requests, this.#clock);
    const { rewriter } = options;
    if (rewriter === undefined) return;
    const { outgoing: toClient } = this.#replies;
    this.#statements = new RelayStatements({ rewriter, intake: this.#intake, toClient, stats });
  }

  /** The server the client is linked to. */
  get server(): ServerSession | undefined {
    return this.#server;
  }

  /** Counts the links, so that one can be told from a later one with the same server. */
  get linkCount(): number {
    return this.#linkCount;
  }

  /**
   * Whether a cancel request would hit something of the client's: it has a server, which is not
   * just running a SET of ours.
   */
  get isCancelable(): boolean {
    return this.#server !== undefined && !this.#isSettingParameters;
  }

  /** Whether the client has said that it leaves, and is still to be served with what it asked. */
  get isTerminating(): boolean {
    return this.#intake.isTerminating;
  }

  /** Whether the client still owes a part of what it asks. */
  get isMidRequest(): boolean {
    return this.#intake.isMidMessage;
  }

  /** Bytes of a request that wait for a server. */
  get heldBytes(): number {
    return this.#intake.outgoing.length;
  }

  /** Whether the client has got a message in part: nothing of ours may be put behind it. */
  get isMidReply(): boolean {
    return this.#replies.isMidMessage;
  }

  /** How many prepared statements the client has, where they are shared. */
  get statementCount(): number {
    return this.#statements?.count ?? 0;
  }

  /** How often the client used what its servers do not keep for it. */
  get featureUses(): ReadonlyMap<string, number> {
    return this.#options.features?.uses ?? new Map<string, number>();
  }

  /** When the running query set out, or undefined. */
  get queryStartMs(): number | undefined {
    return this.#clock.queryStartMs;
  }

  /** When the open transaction began, or undefined. */
  get transactionStartMs(): number | undefined {
    return this.#clock.transactionStartMs;
  }

  /** When the last answer was complete. */
  get lastReadyMs(): number {
    return this.#clock.lastReadyMs;
  }

  /** When the wait for a server began, or undefined. */
  get waitingSinceMs(): number | undefined {
    return this.#place.queue === undefined ? undefined : this.#place.sinceMs;
  }

  /**
   * Takes what the client sent: the sink of its receive loop.
   * @throws {ProtocolError} If it is not what a client may send.
   * @throws {PgError} If it is what this pooler refuses.
   */
  onClientChunk(buffer: Uint8Array, length: number): SinkAnswer {
    if (this.#freeze !== undefined) return this.#receiveFrozenRequest(buffer, length);
    if (this.#shared?.isRepeating === true) return this.#holdForRepeat(buffer, length);
    this.#intake.take(buffer, length, this.#server !== undefined);
    return this.#afterTaking();
  }

  touchAll(): number {
    return (this.touch() + (this.#options.stream.touch?.() ?? 0)) | 0;
  }

  touchNext(): number {
    return this.#options.pool.touchNext();
  }

  touch(): number {
    const { heldBytes, isMidReply, isMidRequest } = this;
    const { isRunning } = this.#clock;
    const { isEmpty } = this.#intake.requests;
    return heldBytes + Number(isMidReply) + Number(isMidRequest) + Number(isRunning) +
      Number(isEmpty) + Number(this.#place.queue !== undefined);
  }

  /** Goes on with what the intake has gathered. */
  #afterTaking(): SinkAnswer {
    const intake = this.#intake;
    if (intake.outgoing.length === 0) return this.#afterForwarding();
    this.#replies.noteAsked();
    // What only ends a COPY that has failed already asks for nothing.
    if (!intake.requests.isEmpty) this.#clock.start();
    if (this.#server !== undefined) return this.#forward(this.#server);
    return this.#acquire();
  }

  /**
   * Links the client to its own server, which is there, before it has asked for anything: else
   * nobody would look after the server until it does.
   */
  takeOwnServer(): void {
    const server = this.#options.pool.servers.nextIdle(false);
    if (server === undefined) return this.refuse(SERVER_CRASHED);
    this.#take(server);
  }

  /** The pool has a server: the wait is over. */
  serve(server: ServerSession): void {
    this.#clock.waited(this.#place);
    this.#take(server);
    if (server.parameters.isFitFor(this.#options.parameters)) this.#forwardHeld();
    else this.#setParameters(server);
  }

  /** The pool has none to give. */
  refuse(error: PgError): void {
    this.#options.host.end(error.message, new PgError(error.sqlstate, error.message));
  }

  /** Logins to the server go on failing. */
  turnAway(failure: StandingFailure<PgError>): void {
    this.refuse(turnedAwayError(failure));
  }

  /** Takes what the server sent. */
  onServerChunk(cursor: MessageCursor): void | Promise<void> {
    if (this.#freeze !== undefined) return this.#receiveFrozenReply(cursor, this.#freeze);
    const verdict = this.#replies.take(cursor);
    if (verdict === "dirty") return this.#dropDirty(cursor);
    if (verdict === "violated") return this.#endBoth(cursor, this.#replies.violation!);
    const sending = this.#flushToClient();
    if (this.#afterRepeat !== undefined) this.#goOnAfterRepeat(this.#afterRepeat);
    if (sending === undefined) return this.#settle();
    this.#isReplyUnsent = true;
    return sending.then(this.#settleSent);
  }

  readonly #settleSent = (): void => {
    this.#isReplyUnsent = false;
    this.#settle();
  };

  /**
   * Whether nobody has got a message in part, in both directions, and it stays so. What was not sent
   * on is owed to nobody: it is kept, and gone on with after the thaw.
   */
  get isFrozen(): boolean {
    // Of a client that waits, nothing has been sent on; nor is the rest read before it is served.
    const isMidRequest = this.#server !== undefined && this.#intake.isMidMessage;
    const isUnderWay = this.isMidReply || this.#isReplyUnsent || this.#isForwardingHeld ||
      this.#isSettingParameters || isMidRequest;
    return this.#freeze !== undefined && !isUnderWay;
  }

  /** Whether it is held back, or will be at the end of what is under way. */
  get isInFreeze(): boolean {
    return this.#freeze !== undefined;
  }

  /** Holds both directions between two messages, from the end of what is under way on. */
  freeze(): void {
    this.#freeze ??= new LinkFreeze();
  }

  /** Goes on with what was held. */
  thaw(): void {
    const freeze = this.#freeze;
    this.#freeze = undefined;
    freeze?.thaw();
  }

  /**
   * Ends the client as `leave()` does because its servers are no longer those of the configuration;
   * a session goes on to its end unless `server_fast_close` says otherwise.
   */
  leaveObsoletePool(): void {
    this.renounceObsoletePool();
    this.#leaveIfFree();
  }

  /** Gets no other server of its pool from now on; `leaveObsoletePool()` follows. */
  renounceObsoletePool(): void {
    const isInSession = this.#server !== undefined && this.#mode === "session";
    if (!isInSession || this.#options.closesFast()) this.#farewell = DATABASE_CHANGED;
  }

  /** Ends the client as soon as it has no transaction open: at once, or when that has ended. */
  leave(farewell: PgError): void {
    this.#farewell = farewell;
    this.#leaveIfFree();
  }

  #leaveIfFree(): void {
    const farewell = this.#farewell;
    if (farewell === undefined || !this.#isFree()) return;
    this.#options.host.end(farewell.message, farewell);
  }

  /** Whether the client has nothing under way, nor will have before it asks for more. */
  #isFree(): boolean {
    const server = this.#server;
    if (server !== undefined) return this.#mode === "session" && this.#isAtRest(server);
    // Who waits is served before it leaves, if anybody is.
    return this.#place.queue === undefined || this.#options.pool.isPaused;
  }

  #receiveFrozenRequest(buffer: Uint8Array, length: number): SinkAnswer {
    const intake = this.#intake;
    if (!intake.isMidMessage) {
      return this.#holdRequest(undefined, () => this.onClientChunk(buffer, length));
    }
    intake.takeRest(buffer, length);
    const sending = this.#forward(this.#server!);
    if (intake.isMidMessage) return sending;
    return this.#holdRequest(sending, () => {
      intake.takeOn(this.#server !== undefined);
      return this.#afterTaking();
    });
  }

  /** Holds the client's loop until what was sent on has been taken, and until the thaw. */
  #holdRequest(sending: void | Promise<void>, goOn: () => SinkAnswer): SinkAnswer {
    const { stream } = this.#options;
    const request = { goOn: () => this.#goOnHeld(goOn), letGo: () => stream.resume() };
    if (sending === undefined) this.#holdOn(request);
    else this.#afterSending(sending, () => this.#holdOn(request));
    return HOLD;
  }

  /** What the freeze was for may have changed while bytes were sent: it may be over, or a new one. */
  #holdOn(request: HeldRequest): void {
    if (this.#isDetached) request.letGo();
    else if (this.#freeze === undefined) request.goOn();
    else this.#freeze.holdRequest(request);
  }

  /** By itself: a function that makes another one costs an object each time it is called. */
  #holdForRepeat(buffer: Uint8Array, length: number): typeof HOLD {
    this.#afterRepeat = () => this.onClientChunk(buffer, length);
    return HOLD;
  }

  #goOnAfterRepeat(goOn: () => SinkAnswer): void {
    if (this.#shared?.isRepeating === true) return;
    this.#afterRepeat = undefined;
    this.#goOnHeld(goOn);
  }

  #goOnHeld(goOn: () => SinkAnswer): void {
    const { stream } = this.#options;
    try {
      const answer = goOn();
      if (answer === undefined) stream.resume();
      else if (answer !== HOLD) this.#afterSending(answer, () => stream.resume());
    } catch (error) {
      this.#endFor(error);
    }
  }

  async #receiveFrozenReply(cursor: MessageCursor, freeze: LinkFreeze): Promise<void> {
    const server = this.#server;
    this.#isReplyHeld = true;
    if (this.isMidReply) {
      this.#replies.takeRest(cursor);
      this.#isReplyUnsent = true;
      await this.#flushToClient();
      this.#isReplyUnsent = false;
      // The chunk was not enough: it is used up.
      if (this.isMidReply) {
        this.#isReplyHeld = false;
        return;
      }
    }
    await freeze.thawed;
    this.#isReplyHeld = false;
    if (this.#server !== server) cursor.abandonChunk();
    else await this.onServerChunk(cursor);
  }

  #flushToClient(): void | Promise<void> {
    const { outgoing } = this.#replies;
    if (outgoing.length === 0) return;
    this.#options.pool.stats.bytesSent += outgoing.length;
    return outgoing.flushTo(this.#options.stream);
  }

  /** The server is gone; what it was doing for the client is lost. */
  onServerClosed(end: ServerEnd): void {
    if (this.#server === undefined) return;
    this.#unlink();
    const { host } = this.#options;
    if (this.#replies.hasSaidFatal) host.end(end.reason);
    else host.end(end.reason, new PgError(end.error.sqlstate, end.error.message));
  }

  /**
   * The client is gone: gives back what is clean; what is not is recovered or closed.
   * @param endedBecause Why it was ended here, and its server with it; undefined: it has left or vanished.
   */
  detach(endedBecause: string | undefined): void {
    this.#isDetached = true;
    this.#options.pool.cancel(this.#place);
    this.#freeze?.drop();
    this.#freeze = undefined;
    // A chunk that is still being sent is borrowed until the server has it or is closed.
    if (!this.#isForwardingHeld) this.#options.stream.resume();
    const server = this.#server;
    if (server === undefined) return this.#statements?.end();
    const wasSession = this.#mode === "session";
    const isClean = server.isPrivate
      ? !this.#intake.isMidMessage
      : this.#isAtRest(server) && !this.#isInDoubt();
    // Who says goodbye may have left a query to be run to its end; who vanishes has not.
    const isAbandoned = this.#clock.isRunning && !this.#intake.isTerminating;
    const recovers = endedBecause === undefined && !server.isPrivate && this.#options.recovers();
    const obstacle = recovers ? this.#obstacleToRecovery() : "";
    const requests = this.#intake.requests.moveOut();
    this.#unlink();
    this.#statements?.end();
    if (isClean) {
      server.release(wasSession);
    } else if (obstacle === undefined) {
      // What was on its way may have taken away any.
      server.statements.doubtAll();
      server.recover(requests, wasSession);
    } else {
      server.discard(endedBecause ?? (obstacle === "" ? NOT_READY : `${NOT_READY}: ${obstacle}`));
    }
    if (isAbandoned) this.#options.onAbandoned(server);
  }

  /** Why the server cannot be recovered, if there is a reason. */
  #obstacleToRecovery(): string | undefined {
    if (this.#intake.isMidMessage) return "a request was sent in part";
    if (this.#isInDoubt()) return "answers out of step with requests";
    // What the client asked was noted, but is not sent yet.
    if (this.#isSettingParameters) return "its session parameters were being set";
    // The chunk will not be looked at by anybody.
    return this.#isReplyHeld ? "its reply was held back" : undefined;
  }

  /**
   * Takes a waiting client out of the queue, at its own request. What it had asked fails with an
   * error; the client goes on. Returns whether it was waiting.
   */
  cancelWait(): boolean {
    const { host, pool, stream } = this.#options;
    if (!pool.cancel(this.#place)) return false;
    host.enterIdle();
    const sending = this.#takeBack(
      new PgError(SQLSTATE.queryCanceled, "canceling statement due to user request", {
        severity: "ERROR",
      }),
    );
    if (sending === undefined) stream.resume();
    else void sending.then(() => stream.resume());
    this.#leaveIfFree();
    return true;
  }

  /** What the client asks for without a server fails with an error; the client goes on. */
  #takeBack(error: PgError): void | Promise<void> {
    const answer = this.#intake.cancel(error);
    this.#clock.forget();
    return this.#options.stream.write(answer, 0, answer.length);
  }

  /** Too many wait already: better an error at once than one after a long wait. */
  #turnBack(): void | Promise<void> {
    const { host } = this.#options;
    const error = tooManyWait();
    host.noteError(error);
    const sending = this.#takeBack(error);
    if (this.#intake.isTerminating) host.end("client close request");
    else this.#leaveIfFree();
    return sending;
  }

  /** Says something of our own to the client; its stream keeps the order of its writes. */
  #tellClient(message: Uint8Array): void {
    void this.#options.stream.write(message, 0, message.length);
  }

  /** Holds the client's receive loop until its chunk is with a server. */
  #acquire(): SinkAnswer {
    const { host, parameters, pool } = this.#options;
    // It has only not been told yet.
    if (this.#farewell !== undefined) return this.refuse(this.#farewell);
    const got = pool.acquire(this.#place);
    if (got === undefined) {
      host.enterWaiting();
      return HOLD;
    }
    if (got === CROWDED) return this.#turnBack();
    if (got instanceof StandingFailure) return this.turnAway(got);
    this.#clock.waitedNot();
    this.#take(got);
    if (got.parameters.isFitFor(parameters)) return this.#forward(got);
    this.#setParameters(got);
    return HOLD;
  }

  #take(server: ServerSession): void {
    assert(this.#server === undefined, "A client has one server");
    this.#server = server;
    this.#linkCount += 1;
    this.#mode = this.#options.poolMode();
    this.#shared = this.#mode === "session" ? undefined : this.#statements;
    this.#replies.begin(server, this.#mode, this.#shared);
    server.link(this);
    this.#options.pool.stats.serverAssignmentCount += 1;
    this.#options.host.enterActive();
  }

  /** Brings the server's session parameters to what this client expects; the client waits. */
  #setParameters(server: ServerSession): void {
    this.#isSettingParameters = true;
    setParameters(
      server,
      this.#options.parameters,
      (result) => this.#onParametersSet(server, result),
    );
  }

  #onParametersSet(server: ServerSession, { error, status }: OwnQueryResult): void {
    this.#isSettingParameters = false;
    if (error !== undefined || status !== TransactionStatus.Idle) {
      this.#unlink();
      // What failed was undone as a whole: the server is as it was.
      if (status === TransactionStatus.Idle) server.release(this.#mode === "session");
      else server.discard("invalid server parameter");
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
      this.#tellClient(parameterStatus(name, value));
    }
    server.onParametersSet();
    this.#forwardHeld();
  }

  /** Sends on the chunk with which the client's loop is held, and lets the loop go. */
  #forwardHeld(): void {
    const forwarding = this.#forward(this.#server!);
    if (forwarding === undefined) return this.#options.stream.resume();
    this.#afterSending(forwarding, () => this.#options.stream.resume());
  }

  /** Goes on once a server has taken the chunk with which the client's loop is held. */
  #afterSending(sending: Promise<void>, goOn: () => void): void {
    this.#isForwardingHeld = true;
    void sending.then(() => {
      this.#isForwardingHeld = false;
      goOn();
    });
  }

  #forward(server: ServerSession): void | Promise<void> {
    this.#clock.stamp(server);
    const sending = this.#send(server);
    if (sending === undefined) return this.#afterForwarding();
    // An ordinary request is followed up when its answer comes.
    const isOrdinary = !this.#intake.isTerminating && !this.#intake.requests.isEmpty;
    return isOrdinary ? sending : sending.then(() => this.#afterForwarding());
  }

  #send(server: ServerSession): void | Promise<void> {
    const { outgoing } = this.#intake;
    if (this.#shared === undefined) return outgoing.flushTo(server);
    try {
      return this.#shared.send(server);
    } catch (error) {
      // Not thrown on: it may be the pool that called, in the middle of giving out its servers.
      this.#endFor(error);
    }
  }

  /** Ends the client for what it has sent; what is not its fault is thrown on. */
  #endFor(error: unknown): void {
    const { host } = this.#options;
    if (error instanceof PgError) return host.end(error.message, error);
    if (!(error instanceof ProtocolError)) throw error;
    host.end(error.message, new PgError(SQLSTATE.protocolViolation, error.message));
  }

  #afterForwarding(): void {
    if (this.#intake.isTerminating) this.#options.host.end("client close request");
    // The end of a message in parts may be all that the release was waiting for.
    else if (this.#server !== undefined) this.#settle();
  }

  /** Ends the link if it may end. Called whenever one of its conditions may have come true. */
  readonly #settle = (): void => {
    const server = this.#server;
    if (server === undefined) return;
    if (this.#mode === "session") {
      this.endObsoleteLink();
      return this.#leaveIfFree();
    }
    if (!this.#isAtRest(server)) return;
    const isInDoubt = this.#isInDoubt();
    this.#unlink();
    this.#options.host.enterIdle();
    if (isInDoubt) server.discard("answers out of step with requests");
    else server.release(false);
    this.#leaveIfFree();
  };

  /**
   * Ends a link whose answers may be out of step with its requests, once nothing more has come for
   * a while: an answer that is still due would have. The janitor asks.
   */
  endDoubtfulLink(nowMs: number): void {
    const server = this.#server;
    if (server === undefined || this.#mode === "session" || !this.#isInDoubt()) return;
    const isQuiet = server.transactionStatus === TransactionStatus.Idle &&
      !this.#replies.hasAskedSince &&
      server.isBetweenMessages && !this.#intake.isMidMessage &&
      nowMs - this.#clock.lastReadyMs > DOUBT_MS && !this.#intake.requests.isUnsynced;
    if (!isQuiet) return;
    this.#unlink();
    this.#options.host.enterIdle();
    server.discard("answers out of step with requests");
  }

  /**
   * With `server_fast_close`, ends a session whose server is to be closed, once it has no
   * transaction open. The janitor asks too: to an idle session nothing else happens.
   */
  endObsoleteLink(): void {
    const server = this.#server;
    const isObsolete = server?.isObsolete === true && this.#mode === "session";
    if (!isObsolete || !this.#options.closesFast() || !this.#isAtRest(server)) return;
    this.#options.host.end(DATABASE_CHANGED.message, DATABASE_CHANGED);
  }

  /** A server that speaks on after its last answer would be closed if it were idle already. */
  #dropDirty(cursor: MessageCursor): void | Promise<void> {
    const said = unaskedWords(cursor);
    cursor.abandonChunk();
    const server = this.#server!;
    this.#unlink();
    // What is left of late CopyData has no server to go to.
    this.#intake.dropRest();
    this.#options.host.enterIdle();
    server.discard(`idle server got dirty${said}`);
    this.#replies.dropRest();
    return this.#flushToClient();
  }

  /** What broke the rules is not shown to the client: an error takes its place. */
  #endBoth(cursor: MessageCursor, violation: PgError): void | Promise<void> {
    cursor.abandonChunk();
    // What came before it may be the rest of a message that the client has in part.
    const sending = this.#flushToClient();
    this.#replies.dropRest();
    const server = this.#server!;
    this.#unlink();
    server.discard(violation.message);
    this.#options.host.end(violation.message, violation);
    return sending;
  }

  /** Whether nothing is under way in either direction, as far as can be told. */
  #isAtRest(server: ServerSession): boolean {
    return server.transactionStatus === TransactionStatus.Idle && this.#intake.requests.isEmpty &&
      !this.#isSettingParameters && !this.#isReplyHeld && server.isBetweenMessages &&
      !this.#intake.isMidMessage;
  }

  /** Whether requests and answers may be out of step, so that nobody else may have the server. */
  #isInDoubt(): boolean {
    return this.#replies.hasUnaskedReady || this.#intake.requests.isDoubtful;
  }

  #unlink(): void {
    const server = this.#server!;
    // Names may have been given on the server itself, and any may have been taken away.
    if (this.#shared === undefined) server.statements.doubtAll();
    this.#shared?.onLinkEnd(server);
    this.#server = undefined;
    this.#afterRepeat = undefined;
    this.#isSettingParameters = false;
    this.#intake.requests.clear();
    this.#clock.forget();
  }
}
