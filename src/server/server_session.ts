/**
 * One connection to PostgreSQL, all its life: dial, login, serve whoever is linked, reset, close.
 * It does not know pools or clients: a pool is its `ServerOwner`, a client's relay its `ServerTaker`.
 *
 * HOT PATH: `#sink` for a linked server. Budget: nothing but handing the chunk on.
 * Invariants: it is read all the time, so a dying server is noticed before it is handed out;
 * whatever comes from it unasked closes it; a server in doubt is closed, never handed on.
 */

import { assert, AssertionError } from "../base/assert.ts";
import { errorText } from "../base/error_text.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { ParameterCache, TrackedParameters } from "../link/parameter_cache.ts";
import type { RequestQueue } from "../link/request_queue.ts";
import type { ServerStatements } from "../link/server_statements.ts";
import type { ByteStream, Touchable } from "../net/byte_stream.ts";
import { DialError, type ServerAddress } from "../net/network.ts";
import type { TlsInUse } from "../net/tls.ts";
import { readParameterStatus, TransactionStatus } from "../wire/backend_messages.ts";
import { BodyReader } from "../wire/body_reader.ts";
import { query, terminate } from "../wire/frontend_messages.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend, typeTable } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { versionText } from "../wire/protocol_version.ts";
import type { Replication } from "../wire/replication.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { OwnQuery, type OwnQueryResult, unaskedWords } from "./own_query.ts";
import { NOT_READY, Recovery, type RecoveryStep } from "./recovery.ts";
import { connectToServer, type ServerConnectOptions } from "./server_connect.ts";
import { DATABASE_CHANGED, SERVER_CRASHED, type ServerEnd } from "./server_end.ts";
import { addressKeyOf } from "./server_hosts.ts";
import { ServerLog, type ServerLogOptions } from "./server_log.ts";
import { type RoleDemand, RoleWatch } from "./role_watch.ts";
import { ServerRefusal } from "./server_login.ts";
import { ServerReports } from "./server_reports.ts";
import { ROLE_QUERY } from "./server_role.ts";
import {
  mayServerGo,
  SERVER_IDLE,
  SERVER_USED,
  type ServerState,
  type ServerStateKind,
} from "./server_state.ts";
import type { ServerTaker } from "./server_taker.ts";
import { type ServerTls, ServerTlsError } from "./server_tls.ts";

/** The messages whose body steers us. */
const INSPECTED = typeTable([
  Backend.ReadyForQuery,
  Backend.ParameterStatus,
  Backend.ErrorResponse,
  Backend.CommandComplete,
  // May come at any time: held, so that no link begins in the middle of one.
  Backend.NotificationResponse,
]);

/** A mark that nobody guesses, in bytes. */
const MARK_BYTES = 16;

/** Parameters and errors of ordinary length are held; a longer error is passed on in pieces. */
const MAX_INSPECTED_BYTES = 65_536;

/** Why a server is closed whose user or parameters are not its own any more. */
const NOT_PUT_BACK = "session of another client could not be taken back";

/** Told of every change of state; keeps the lists and hands out what comes free. */
export interface ServerOwner {
  /** The server left `before`; its new state is `server.state`. */
  onServerState(server: ServerSession, before: ServerState): void;
}

/** How a server is prepared for the next client; read at every release, so that it may change. */
export interface ServerUpkeep {
  /** Query to run after a link for a session, before another client may have the server, if any. */
  readonly resetQuery: string | undefined;
  /** Whether it is run after every link. */
  readonly resetsAlways: boolean;
  /** Query that shows whether a server is alive; undefined where none is wanted. */
  readonly checkQuery: string | undefined;
  /** Whether that is asked after every link, before another client may have the server. */
  readonly checksAlways: boolean;
  /** Whether a server is too old for another client; any is, when servers are used once. */
  readonly isLifetimeOver: boolean;
}

/** What a server session is made of. */
export interface ServerSessionOptions extends ServerConnectOptions, ServerLogOptions {
  /** Unique within the pooler. */
  readonly id: number;
  readonly owner: ServerOwner;
  /** For the log: database and user as clients name them. */
  readonly database: string;
  readonly user: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly maxMessageBytes: number;
  readonly tracked: TrackedParameters;
  /** What is prepared on it: nothing yet. */
  readonly statements: ServerStatements;
  /** As the startup parameters ask for. With replication it is one client's own, and never used again. */
  readonly replication: Replication;
  readonly connectQuery: string | undefined;
  readonly upkeep: (createdAtMs: number) => ServerUpkeep;
  /** Whether its host has failed before, so that nobody is to wait for the login. */
  readonly isTrial: boolean;
  /** Which role it must have; undefined where any will do. */
  readonly role: RoleDemand | undefined;
  /** Hangs up on a server that is closed: at once, or in the turns of many that are. */
  readonly hangUp: (hangUp: () => void) => void;
  /** Told when the host is of no use now, and why; returns how that ends the server. */
  readonly onUnreachable: (address: ServerAddress, error: PgError) => Omit<ServerEnd, "reason">;
  /** Told when a login succeeded. */
  readonly onReached: (address: ServerAddress) => void;
  /** Told when the server took 3.0 after it had refused what was asked for. */
  readonly onOldProtocol: (address: ServerAddress) => void;
  /** Told that it has been promoted, or the like; not of one that is to go for it. */
  readonly onHotStandby: (isStandby: string) => void;
}

/** A query of ours that is under way, and who waits for what comes of it. */
interface PendingQuery {
  readonly answer: OwnQuery;
  readonly onDone: (result: OwnQueryResult) => void;
  /** As what counts what is reported meanwhile; undefined: as what the state says. */
  readonly reportsAs?: ServerStateKind;
}

/** A server, as pool, relay and console see it. */
export class ServerSession implements Touchable {
  readonly id: number;
  readonly address: ServerAddress;
  readonly createdAtMs: number;
  readonly isTrial: boolean;
  readonly addressKey: string;
  /** Wall clock, for SHOW SERVERS. */
  readonly createdWallMs: number;
  readonly parameters: ParameterCache;
  /** The statements that clients share. */
  readonly statements: ServerStatements;
  /** All that the server reported at login, `connect_query` included. */
  readonly reported: ReadonlyMap<string, string>;
  /** As of the last ReadyForQuery. */
  transactionStatus: number = TransactionStatus.Idle;
  /** Whether COPY runs in both directions, which goes on until somebody ends it. */
  isStreaming = false;
  /** When a client last asked it something. */
  requestedAtMs = 0;
  /** Where it stands in a list of its pool's; the pool's own note. */
  place = 0;

  readonly #options: ServerSessionOptions;
  readonly #log: ServerLog;
  readonly #cursor: MessageCursor;
  readonly #reports: ServerReports;
  /** Ends a dial that nobody waits for any more. */
  readonly #ended = new AbortController();
  readonly #role: RoleWatch | undefined;
  #stream: ByteStream | undefined;
  #tls: ServerTls | undefined;
  #state: ServerState;
  #enteredAtMs = 0;
  #ownQuery: PendingQuery | undefined;
  #cancelKey: Uint8Array<ArrayBuffer> | undefined;
  /** Why it must not be handed on, if there is a reason. */
  #doubt: string | undefined;
  #isObsolete = false;
  /** What the server, or TLS, said of its end, in parentheses; empty as long as it was nothing. */
  #lastWords = "";
  #cancelsInFlight = 0;
  /** Whether the last link was for a session. */
  #wasSession = false;
  /** Whether it has to show that it is alive before anybody gets it. */
  #isToBeChecked = false;

  constructor(options: ServerSessionOptions) {
    this.#options = options;
    this.id = options.id;
    this.address = options.address;
    this.#log = new ServerLog(this, options);
    this.isTrial = options.isTrial;
    this.addressKey = addressKeyOf(options.address);
    this.createdAtMs = options.clock.nowMs();
    this.createdWallMs = options.clock.wallMs();
    this.requestedAtMs = this.createdAtMs;
    this.#role = options.role && new RoleWatch(options.role);
    this.#reports = new ServerReports(options.tracked);
    this.parameters = this.#reports.parameters;
    this.reported = this.#reports.atLogin;
    this.statements = options.statements;
    this.#state = { kind: "login" };
    this.#enteredAtMs = this.createdAtMs;
    this.#cursor = new MessageCursor({
      inspected: INSPECTED,
      maxInspectedBytes: MAX_INSPECTED_BYTES,
      maxMessageBytes: options.maxMessageBytes,
      limitName: "max_packet_size",
    });
  }

  get state(): ServerState {
    return this.#state;
  }

  /** When it entered that; when it came to be idle, if it is used. */
  get enteredAtMs(): number {
    return this.#enteredAtMs;
  }

  get stream(): ByteStream | undefined {
    return this.#stream;
  }

  get database(): string {
    return this.#options.database;
  }

  get user(): string {
    return this.#options.user;
  }

  get replication(): Replication {
    return this.#options.replication;
  }

  /** Whether no other client gets it, whatever becomes of the one it has. */
  get isPrivate(): boolean {
    return this.#options.replication !== "none";
  }

  /** How its connection went over to TLS; undefined while it is in plain text. */
  get tls(): ServerTls | undefined {
    return this.#tls;
  }

  /** Process ID and secret of the backend. */
  get cancelKey(): Uint8Array<ArrayBuffer> | undefined {
    return this.#cancelKey;
  }

  /** What brings it back after the loss of its client, while that goes on. */
  get recovery(): Recovery | undefined {
    return this.#state.kind === "recovering" ? this.#state.recovery : undefined;
  }

  /** Whether the last byte received was the end of a message. */
  get isBetweenMessages(): boolean {
    return this.#cursor.isAtBoundary;
  }

  /** Whether it will be closed as soon as it is released. */
  get isDoomed(): boolean {
    return this.#doubt !== undefined;
  }

  /** Whether it was told to close once it is free, rather than being in doubt by itself. */
  get isObsolete(): boolean {
    return this.#isObsolete;
  }

  #ask(sql: string, pending: PendingQuery): void {
    assert(this.#ownQuery === undefined, "One own query at a time");
    this.#ownQuery = pending;
    this.#send(query(sql));
  }

  /** Runs the session to its end. Never rejects for what the server or the network did. */
  async run(): Promise<void> {
    try {
      const stream = await this.#connect();
      if (stream === undefined) return;
      await stream.pump(this.#sink, undefined, this);
      if (stream.tlsFailure !== undefined) this.#lastWords ||= ` (TLS: ${stream.tlsFailure})`;
      this.#lose(`server conn crashed?${this.#lastWords}`, this.#ownQuery?.answer.fatal);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#stream?.close();
    }
  }

  // Servers are few and seldom idle: what is their own is near.
  touchRest(): number {
    return this.#state.kind === "active" ? this.#state.taker.touchNext?.() ?? 0 : 0;
  }

  /** Links the server to a client; it must be idle. */
  link(taker: ServerTaker): void {
    this.#enter({ kind: "active", taker });
  }

  /** Sends a client's bytes on. The server must be linked. */
  write(buffer: Uint8Array, start: number, end: number): void | Promise<void> {
    return this.#stream!.write(buffer, start, end);
  }

  /**
   * Runs SQL of ours while linked, with the client held; nothing of the answer is forwarded.
   * @param onDone Not called when the server is lost: its taker hears of that.
   */
  runOwnQuery(sql: string, onDone: (result: OwnQueryResult) => void): void {
    this.#ask(sql, { answer: new OwnQuery(), onDone });
  }

  /**
   * The client is done with the server, which is clean: on to the next one. A private one ends; of
   * that it is only asked that it stands between two messages from the client.
   * @param wasSession Whether the link was for a session: what counts is the mode it was made in.
   */
  release(wasSession: boolean): void {
    assert(this.#state.kind === "active", "Only a linked server can be released");
    if (this.isPrivate) {
      this.#sayGoodbye();
      return this.discard("replication client was closed");
    }
    this.#wasSession = wasSession;
    this.#handBack();
  }

  /**
   * The client was lost without having finished: what it left is brought to its end, and then the
   * server is on to the next one, or is closed.
   * @param requests What is outstanding; the server's own from here on.
   * @param wasSession As for `release()`.
   */
  recover(requests: RequestQueue, wasSession: boolean): void {
    assert(this.#state.kind === "active", "Only a linked server can be recovered");
    if (this.#doubt !== undefined) return this.discard(this.#doubt);
    this.#wasSession = wasSession;
    const mark = this.#options.random.bytes(MARK_BYTES).toHex();
    const recovery = new Recovery({ requests, status: this.transactionStatus, mark });
    this.#enter({ kind: "recovering", recovery });
    this.#advance(recovery, recovery.begin());
  }

  /** Closes the server, whatever it is doing. A linked client hears of it. */
  discard(reason: string, error: PgError = SERVER_CRASHED): void {
    this.#end({ reason, error, kind: "served" });
  }

  /**
   * The session parameters have been set for a client. What a server does not report can only be
   * taken back to the server's default, not to what `connect_query` had set: then it is closed.
   */
  onParametersSet(): void {
    const isFinal = this.#options.connectQuery !== undefined && this.parameters.hasUnreported;
    if (isFinal) this.doom("connect_query would be undone");
  }

  /** Gives up a login that takes too long. */
  expireLogin(): void {
    const error = new PgError(SQLSTATE.sqlclientUnableToEstablishSqlconnection, "connect timeout");
    this.#endUnreached("connect timeout", error);
  }

  /** Closes the server once it is free: at once, or when it is released. */
  doom(reason: string): void {
    // Nobody comes after its client, whom the doubt could concern.
    if (this.isPrivate && this.#state.kind === "active") return;
    this.#doubt ??= reason;
    if (this.#state.kind === "idle" || this.#state.kind === "used") this.discard(reason);
  }

  /**
   * Closes the server once it is free, since its time is over, not since it is in doubt; a private
   * one at once, since a stream is never over.
   */
  tag(reason: string): void {
    if (this.isPrivate) return this.discard(reason, DATABASE_CHANGED);
    this.#isObsolete = true;
    this.doom(reason);
  }

  /** Moves an idle server to those that are checked before use; a private one is about to be taken. */
  retire(): void {
    if (this.isPrivate) return;
    this.#enter(SERVER_USED);
  }

  /** Checks a server that was idle for long; it comes back as idle, or is closed. */
  check(): void {
    const { checkQuery } = this.#upkeep();
    this.#isToBeChecked = false;
    this.#role?.doubt();
    if (checkQuery === undefined) return this.#becomeFree();
    this.#test(checkQuery, { failure: "test query failed" });
  }

  /** Its role may have changed: it is asked before anybody gets it. */
  doubtRole(): void {
    if (this.#role === undefined) return;
    this.#role.doubt();
    if (this.#state.kind === "idle") this.retire();
  }

  /** The server has said that it does not write: it is asked for its role before the next client. */
  doubtWrites(): void {
    this.#role?.doubtWrites();
  }

  /** The session of a client has become read-only, whoever has made it so. */
  noteReadOnly(client: ParameterCache): void {
    this.#role?.noteReadOnly(client);
  }

  /** A cancel request for the present client sets out; the server is kept from others till it ended. */
  beginCancel(): void {
    this.#cancelsInFlight += 1;
  }

  /** A cancel request has ended, whatever became of it. */
  endCancel(): void {
    this.#cancelsInFlight -= 1;
    if (this.#cancelsInFlight > 0) return;
    const { recovery } = this;
    if (recovery !== undefined) return this.#advance(recovery, undefined);
    if (this.#state.kind !== "being_canceled") return;
    if (this.#doubt !== undefined) this.discard(this.#doubt);
    else this.#reset(this.#upkeep());
  }

  /** Takes note of why the server says it ends, for the log. */
  noteFatal({ message, severity }: PgError): void {
    this.#lastWords = ` (${severity}: ${message})`;
  }

  /** Takes over a ParameterStatus. Returns the parameter, or undefined if it was too long to read. */
  takeParameterStatus(
    cursor: MessageCursor,
    state: ServerStateKind = this.#state.kind,
  ): { name: string; value: string } | undefined {
    if (!cursor.isWhole) {
      this.#doubt ??= "broken ParameterStatus packet";
      return undefined;
    }
    const start = cursor.start + HEADER_BYTES;
    const parameter = readParameterStatus(
      new BodyReader(cursor.buffer, start, cursor.end),
      this.parameters.get("client_encoding"),
    );
    this.#reports.note(parameter.name, parameter.value, state);
    if (parameter.name === "in_hot_standby") this.#onHotStandby(parameter.value);
    return parameter;
  }

  async #connect(): Promise<ByteStream | undefined> {
    const login = await connectToServer(this.#options, {
      signal: this.#ended.signal,
      onDialed: (stream) => this.#onDialed(stream),
      onTls: (tls) => this.#onTls(tls),
      onOtherWay: (isTls, why) => this.#log.otherWay(isTls, why),
      onOldProtocol: (refusal) => this.#onOldProtocol(refusal),
    });
    if (login === undefined || this.#isClosed()) return undefined;
    this.#log.noise(`speaks protocol ${versionText(login.minor)}`);
    this.#cancelKey = login.cancelKey;
    for (const [name, value] of login.parameters) this.#reports.note(name, value, "login");
    this.requestedAtMs = this.#nowMs();
    await this.#sink(login.rest, login.rest.length);
    if (this.#isClosed()) return undefined;
    this.#options.onReached(this.address);
    this.#afterLogin();
    return this.#stream;
  }

  #onDialed(stream: ByteStream): void {
    this.#stream = stream;
    this.#tls = undefined;
    if (!this.#isClosed()) this.#log.dialed(stream);
  }

  #onTls(tls: TlsInUse): void {
    this.#tls = this.#options.tls;
    this.#log.tlsStarted(tls);
  }

  #onOldProtocol(refusal: string): void {
    const { onOldProtocol, protocolMinor } = this.#options;
    this.#log.oldProtocol(protocolMinor, refusal);
    onOldProtocol(this.address);
  }

  #onHotStandby(isStandby: string): void {
    const why = this.#role?.noteHotStandby(isStandby === "on");
    // What has begun to replicate can go on after a promotion.
    if (why !== undefined && !this.isPrivate) this.tag(why);
    if (this.#state.kind !== "login" && !this.isDoomed) this.#options.onHotStandby(isStandby);
  }

  #afterLogin(): void {
    const role = this.#role;
    if (role === undefined || role.noteReports(this.reported)) return this.#admit();
    // With physical replication a server takes no SQL.
    if (this.replication === "physical") return this.#admit();
    this.#askRole(role, {
      onKnown: () => this.#admit(),
      onError: (error) => {
        this.#refuse(`role query failed: ${error.message}`, error);
      },
    });
  }

  /** Before anything else is done on a server, it must have the role that is asked for. */
  #admit(): void {
    const end = this.#role?.admit();
    if (end !== undefined) return this.#end(end);
    this.#runConnectQuery();
  }

  #askRole(
    role: RoleWatch,
    { onError, onKnown }: { onError: (error: PgError) => void; onKnown: () => void },
  ): void {
    const answer = new OwnQuery({ keepsTag: true });
    this.#ask(ROLE_QUERY, {
      answer,
      // It sets nothing: what comes with its answer is no part of a login.
      reportsAs: "idle",
      onDone: ({ error }) => {
        if (role.noteAnswer(answer.tag, this.#nowMs())) return onKnown();
        onError(error ?? new PgError(SQLSTATE.internalError, "no sensible answer"));
      },
    });
  }

  #runConnectQuery(): void {
    const { connectQuery } = this.#options;
    if (connectQuery === undefined) return this.#becomeFree();
    this.runOwnQuery(connectQuery, (result) => {
      if (result.error === undefined && result.status === TransactionStatus.Idle) {
        return this.#becomeFree();
      }
      const error = result.error ??
        new PgError(SQLSTATE.internalError, "connect_query left a transaction open");
      this.#refuse(`exec_on_connect query failed: ${error.message}`, error);
    });
  }

  readonly #sink = (buffer: Uint8Array, length: number): void | Promise<void> => {
    this.#cursor.feed(buffer, length);
    if (this.#ownQuery === undefined && this.#state.kind === "active") {
      return this.#state.taker.onServerChunk(this.#cursor);
    }
    return this.#receiveUnlinked();
  };

  /** What comes while no client is to see it. */
  #receiveUnlinked(): void | Promise<void> {
    const cursor = this.#cursor;
    while (cursor.next() && !this.#isClosed()) {
      if (this.#state.kind === "recovering") this.#receiveInRecovery(this.#state.recovery);
      else if (this.#ownQuery === undefined) {
        if (!this.#isHarmless()) return this.#receiveUnasked();
        if (cursor.type === Backend.ParameterStatus) this.#takeUnaskedStatus();
      } else if (cursor.type === Backend.ParameterStatus) {
        const { reportsAs } = this.#ownQuery;
        if (!cursor.isContinuation) this.takeParameterStatus(cursor, reportsAs);
      } else {
        this.#receiveAnswer(this.#ownQuery);
      }
      // A client is being served from here on: what follows is for it.
      if (this.#ownQuery === undefined && this.#state.kind === "active") {
        return this.#state.taker.onServerChunk(cursor);
      }
    }
    if (this.#isClosed()) cursor.abandonChunk();
  }

  #takeUnaskedStatus(): void {
    const { kind } = this.#state;
    // What came in one chunk with the end of the login is no part of it.
    this.takeParameterStatus(this.#cursor, kind === "login" ? "idle" : kind);
    if (this.#reports.isSomebodyElse) this.doom(NOT_PUT_BACK);
  }

  /** What a server may say at any time; in parts, a client linked meanwhile would get the rest. */
  #isHarmless(): boolean {
    const { isWhole, type } = this.#cursor;
    return isWhole && (type === Backend.ParameterStatus || type === Backend.NotificationResponse);
  }

  #receiveAnswer({ answer, onDone }: PendingQuery): void {
    const result = answer.receive(this.#cursor);
    if (answer.fatal !== undefined) this.noteFatal(answer.fatal);
    if (result === undefined) return;
    this.#ownQuery = undefined;
    this.transactionStatus = result.status;
    onDone(result);
  }

  /** What was meant for a client that is lost, or answers what is asked to end it. */
  #receiveInRecovery(recovery: Recovery): void {
    const cursor = this.#cursor;
    const isParameter = cursor.type === Backend.ParameterStatus && !cursor.isContinuation;
    if (isParameter) this.takeParameterStatus(cursor);
    const step = recovery.receive(cursor);
    this.transactionStatus = recovery.status;
    this.#advance(recovery, step);
  }

  /** Takes a step of a recovery, and the next one if that can follow at once. */
  #advance(recovery: Recovery, step: RecoveryStep | undefined): void {
    switch (step?.kind) {
      case "send":
        this.#send(step.message);
        break;
      case "failed":
        return this.discard(`${NOT_READY}: ${step.reason}`);
      case "done":
        this.#log.debug("recovered from the loss of its client");
        return this.#handBack();
    }
    // A cancel request on its way is not to meet what is sent now.
    if (!recovery.isDrained || this.#cancelsInFlight > 0) return;
    if (this.#doubt !== undefined) this.discard(this.#doubt);
    else this.#advance(recovery, recovery.goOn());
  }

  /** Nothing of the client is left: on to the next one, by way of the reset query if one is due. */
  #handBack(): void {
    if (this.#doubt !== undefined) return this.discard(this.#doubt);
    const upkeep = this.#upkeep();
    if (upkeep.isLifetimeOver) return this.discard("server lifetime over");
    this.#isToBeChecked = upkeep.checksAlways;
    if (this.#cancelsInFlight > 0) {
      this.#enter({ kind: "being_canceled" });
    } else {
      this.#reset(upkeep);
    }
  }

  /** A server that speaks without being asked is closed, and the log says what it said. */
  #receiveUnasked(): void {
    const said = unaskedWords(this.#cursor);
    this.#cursor.abandonChunk();
    this.#lose(`idle server got dirty${said}`);
  }

  /**
   * Takes back what the reset query might not, runs that if one is due; then the server is free.
   * The server's own report shows whether it worked: if not, the server is closed. What is kept so
   * is a connection that is clean but for that.
   */
  #reset(upkeep: ServerUpkeep): void {
    const { takingBack } = this.#reports;
    if (takingBack === "") return this.#runResetQuery(upkeep);
    this.#test(takingBack, { failure: NOT_PUT_BACK, goOn: () => this.#runResetQuery(upkeep) });
  }

  #runResetQuery({ resetQuery, resetsAlways }: ServerUpkeep): void {
    const isDue = resetsAlways || this.#wasSession;
    if (resetQuery === undefined || !isDue) return this.#becomeFree();
    this.#test(resetQuery, { failure: "reset query failed" });
  }

  #test(
    sql: string,
    { failure, goOn = () => this.#becomeFree() }: { failure: string; goOn?: () => void },
  ): void {
    if (this.#state.kind !== "tested") this.#enter({ kind: "tested" });
    this.runOwnQuery(sql, ({ error, status }) => {
      if (error !== undefined) return this.discard(`${failure}: ${error.message}`);
      if (status !== TransactionStatus.Idle) return this.discard(failure);
      if (/\b(discard|reset)\s+all\b/i.test(sql)) this.parameters.resetUnreported();
      if (/\b(discard|deallocate)\s+all\b/i.test(sql)) this.statements.clear();
      goOn();
    });
  }

  #becomeFree(): void {
    // At a login nobody was here before: then the next one would bring the same.
    if (this.#reports.takingBack !== "") return this.#lose(this.#doubt ?? NOT_PUT_BACK);
    if (this.#doubt !== undefined) return this.discard(this.#doubt);
    if (this.#role?.isDue(this.#nowMs()) === true) return this.#recheckRole(this.#role);
    this.#enter(this.#isToBeChecked ? SERVER_USED : SERVER_IDLE);
  }

  #recheckRole(role: RoleWatch): void {
    const { kind } = this.#state;
    // A login goes on until it is known: the doubt may have come after the server's report.
    const isBusy = kind === "tested" || kind === "login";
    if (!isBusy) this.#enter({ kind: "tested" });
    this.#askRole(role, {
      onError: (error) => this.discard(`role query failed: ${error.message}`),
      onKnown: () => {
        const why = role.recheck();
        if (why !== undefined) this.tag(why);
        this.#becomeFree();
      },
    });
  }

  /** Sorts what ended `run()` early into what the owner is told; throws what is no peer's fault. */
  #failed(error: unknown): void {
    if (error instanceof ServerRefusal) {
      // As libpq: of several hosts, another may be ready.
      const isNotReady = error.error.sqlstate === SQLSTATE.cannotConnectNow;
      if (isNotReady) return this.#endUnreached(error.message, error.error);
      return this.#refuse(error.message, error.error);
    }
    if (error instanceof ServerTlsError) return this.#endUnreached(error.message, error.error);
    if (error instanceof DialError) {
      const told = new PgError(SQLSTATE.sqlclientUnableToEstablishSqlconnection, error.failure);
      return this.#endUnreached(`${error.failure} (${errorText(error.cause)})`, told);
    }
    if (error instanceof ProtocolError) {
      const told = new PgError(SQLSTATE.protocolViolation, `server sent: ${error.message}`);
      return this.#lose(error.message, told);
    }
    if (error instanceof PgError) return this.#lose(error.message, error);
    const told = new PgError(SQLSTATE.internalError, "internal error");
    this.#lose(`internal error: ${String(error)}`, told);
    throw error;
  }

  /** Ends without anybody's wish. Who never came to be free does not count as having served. */
  #lose(reason: string, error: PgError = SERVER_CRASHED): void {
    if (this.#state.kind === "login") this.#endUnreached(reason, error);
    else this.#end({ reason, error, kind: "served" });
  }

  /** What a host says that is ready counts for all, but for one that is only tried beside them. */
  #refuse(reason: string, error: PgError): void {
    if (this.isTrial) this.#endUnreached(reason, error);
    else this.#end({ reason, error, kind: "refused" });
  }

  #endUnreached(reason: string, error: PgError): void {
    if (this.#isClosed()) return;
    this.#end({ reason, ...this.#options.onUnreachable(this.address, error) });
  }

  #end(end: ServerEnd): void {
    const before = this.#state;
    if (before.kind === "closed") return;
    this.#log.ended(end.reason, this.#nowMs() - this.createdAtMs);
    this.#ownQuery = undefined;
    this.#enter({ kind: "closed", end });
    this.#hangUp(before);
    if (before.kind === "active") before.taker.onServerClosed(end);
    this.statements.clear();
  }

  #hangUp(before: ServerState): void {
    // Nobody listens any more who has logged in; and it costs more than all the rest.
    if (before.kind === "login") this.#ended.abort();
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#options.hangUp(() => {
      if (before.kind !== "login" && before.kind !== "active") this.#sayGoodbye();
      stream.close();
    });
  }

  #sayGoodbye(): void {
    // If it cannot be sent at once, the end of the connection says the same.
    this.#send(terminate());
  }

  #send(message: Uint8Array): void {
    // Held by nobody: the stream keeps the order of its writes, what is asked has an answer that is
    // awaited, and a lost server shows as the end of its stream.
    void this.#stream!.write(message, 0, message.length);
  }

  #enter(next: ServerState): void {
    const before = this.#state;
    // Not by assert(): the message would be made each time.
    if (!mayServerGo(before.kind, next.kind)) {
      throw new AssertionError(`A server cannot go from ${before.kind} to ${next.kind}`);
    }
    this.#state = next;
    // One that is set aside goes on being idle as far as idle timeouts are concerned.
    const isSetAside = next.kind === "used" && before.kind === "idle";
    if (!isSetAside) this.#enteredAtMs = this.#options.clock.look().seenMs;
    // Asked first: the text would be made each time.
    if (this.#options.log.isNoisy) this.#log.noise(`${before.kind} -> ${next.kind}`);
    this.#options.owner.onServerState(this, before);
  }

  #upkeep(): ServerUpkeep {
    return this.#options.upkeep(this.createdAtMs);
  }

  #isClosed(): boolean {
    return this.#state.kind === "closed";
  }

  #nowMs(): number {
    return this.#options.clock.nowMs();
  }
}
