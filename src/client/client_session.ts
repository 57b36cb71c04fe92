/**
 * One connected application, all its life: startup, login, serve, close. What it is served with
 * (a relay to servers, or the console) it does not look into.
 */

import { assert, AssertionError } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Settings } from "../config/settings.ts";
import type { ParameterCache } from "../link/parameter_cache.ts";
import type { Logger } from "../log/logger.ts";
import type { ByteStream, Endpoint, SinkAnswer, Touchable } from "../net/byte_stream.ts";
import { type TlsHandshake, TlsHandshakeError } from "../net/tls.ts";
import { errorResponse } from "../wire/error_response.ts";
import { Frontend } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import type { Replication } from "../wire/replication.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { StartupMessage } from "../wire/startup_packet.ts";
import { type ProxyRule, receiveOrigin } from "./client_origin.ts";
import { type ClientOpening, type OpeningHost, receiveOpening } from "./client_startup.ts";
import {
  CLIENT_STATES,
  type ClientState,
  type ClientStateKind,
  mayClientGo,
} from "./client_state.ts";
import { type ClientTls, type TlsLogin, tlsLogin, type TlsOffer } from "./client_tls.ts";
import { LoginInput } from "./login_input.ts";
import type { Relay, RelayHost, ServerPool } from "./relay.ts";

/** The whole message: its type, and the length of its length. */
const TERMINATE: readonly number[] = [Frontend.Terminate, 0, 0, 0, 4];

/** What a logged-in client is served with. */
export interface ClientService {
  /** Takes what the client sent: the sink of its receive loop. */
  onClientChunk(buffer: Uint8Array, length: number): SinkAnswer;
  /** Reads what it will need for that. */
  touch?(): number;
  /** Whether a message to the client was sent in part only: an error would be taken for its rest. */
  readonly isMidReply?: boolean;
  /** Ends what is being waited for, at the client's request; returns whether there was anything. */
  cancel?(): boolean;
  /** The client is gone: it was lost or has left, or it was ended here, for this reason. */
  detach(endedBecause: string | undefined): void;
}

/** What a client session asks of the rest of the pooler. */
export interface SessionDesk {
  settings(): Settings;
  /** What a connection must begin with. */
  proxyRule(stream: ByteStream): ProxyRule;
  /** What TLS a connection may have, and whether it must. */
  tlsOffer(stream: ByteStream): TlsOffer;
  /** Logs a client in. Returns what it is served with, or undefined if it is over with it. */
  logIn(
    client: ClientSession,
    login: { readonly startup: StartupMessage; readonly input: LoginInput },
  ): Promise<ClientService | undefined>;
  /** Carries out a cancel request; resolves when that has been tried. */
  cancel(key: Uint8Array, requester: ClientSession): Promise<void>;
  /** The client is not where its connection comes from, but where `remote` says by now. */
  noteMove(client: ClientSession): void;
  /** One client more, or one less, is idle. */
  noteIdle(change: 1 | -1): void;
  /** The client has been told to go, or is gone; `forget()` follows. */
  noteEnd(client: ClientSession): void;
  /** The client is gone. */
  forget(client: ClientSession): void;
}

/** What a client session is made of. */
export interface ClientSessionOptions {
  readonly id: number;
  readonly stream: ByteStream;
  readonly clock: Clock;
  readonly log: Logger;
  readonly desk: SessionDesk;
  /** Whether it has come when the pooler was ending already; no if left out. */
  readonly isLate?: boolean;
}

/** A client, as registry, janitor and console see it. */
export class ClientSession implements RelayHost, OpeningHost, Touchable {
  readonly id: number;
  readonly stream: ByteStream;
  /** Where the client is: the connection's other end, or what a trusted proxy says of it. */
  remote: Endpoint;
  readonly connectedAtMs: number;
  /** Whether it has come when the pooler was ending already. */
  readonly isLate: boolean;
  /** Wall clock, for SHOW CLIENTS. */
  readonly connectedWallMs: number;
  /** As the startup packet named them; undefined before it came. */
  user: string | undefined;
  database: string | undefined;
  parameters: ParameterCache | undefined;
  /** Minor version of protocol 3 that is spoken, from the login on. */
  protocolMinor = 0;
  /** What it asked to be connected for. */
  replication: Replication = "none";
  cancelKey: Uint8Array | undefined;
  /** While it logs in over TLS. */
  tlsLogin: TlsLogin | undefined;
  /** Set with the login; undefined for a client of the console. */
  pool: ServerPool | undefined;
  relay: Relay | undefined;
  /** Whether it was told that it has to wait for a server. */
  hasWaitNotice = false;
  /** Whether it did not come to log in, but for a cancel request, which is being carried out. */
  isCanceling = false;

  readonly #options: ClientSessionOptions;
  #state: ClientState;
  #enteredAtMs = 0;
  #service: ClientService | undefined;
  #isShakingHands = false;

  constructor(options: ClientSessionOptions) {
    this.#options = options;
    this.id = options.id;
    this.stream = options.stream;
    this.remote = options.stream.remote;
    this.isLate = options.isLate ?? false;
    this.connectedAtMs = options.clock.nowMs();
    this.connectedWallMs = options.clock.wallMs();
    this.#state = { kind: "startup" };
    this.#enteredAtMs = this.connectedAtMs;
  }

  touch(): number {
    return this.protocolMinor + Number(this.hasWaitNotice) + Number(this.#isShakingHands);
  }

  touchRest(): number {
    return this.#service?.touch?.() ?? 0;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** When it came to be in the state that it is in. */
  get enteredAtMs(): number {
    return this.#enteredAtMs;
  }

  /** Whether it has not been told to go, and has not gone. */
  get isOpen(): boolean {
    return this.#state.kind !== "closing" && this.#state.kind !== "closed";
  }

  /** Runs the session to its end. Never rejects for what the client did. */
  async run(): Promise<void> {
    try {
      const rest = await this.#logIn();
      if (rest !== undefined) await this.stream.pump(this.#sink, rest, this);
      this.end("client unexpected eof");
    } catch (error) {
      this.#failed(error);
      if (!(error instanceof PgError) && !(error instanceof ProtocolError)) throw error;
    } finally {
      await this.#linger();
      this.stream.close();
      this.#enter({ kind: "closed", reason: this.#reason() });
      this.#options.desk.forget(this);
    }
  }

  /** The client begins to log in. */
  enterLogin(user: string, database: string): void {
    this.user = user;
    this.database = database;
    this.#enter({ kind: "login" });
  }

  enterIdle(): void {
    this.#enter(CLIENT_STATES.idle);
  }

  enterWaiting(): void {
    this.hasWaitNotice = false;
    this.#enter(CLIENT_STATES.waiting);
    // One that asked and left in one breath is served all the same, as a server would.
    if (this.relay?.isTerminating !== true) this.watchForEnd();
  }

  enterActive(): void {
    this.#enter(CLIENT_STATES.active);
  }

  /** What the client is served with from now on. */
  setService(service: ClientService): void {
    this.#service = service;
  }

  tlsOffer(): TlsOffer {
    return this.#options.desk.tlsOffer(this.stream);
  }

  async startTls(tls: ClientTls, received: Uint8Array): Promise<TlsHandshake> {
    if (!this.isOpen) throw new TlsHandshakeError("it was ended before");
    this.#isShakingHands = true;
    const handshake = await this.stream.startTls({ context: tls.context, received });
    this.#isShakingHands = false;
    this.tlsLogin = tlsLogin(tls, handshake);
    return handshake;
  }

  /** Sends a message to the client, in its turn. Answers as `ByteStream.write()` does. */
  send(message: Uint8Array): void | Promise<void> {
    return this.stream.write(message, 0, message.length);
  }

  noteError(error: PgError): void {
    const { desk, log } = this.#options;
    if (desk.settings().logPoolerErrors) {
      log.warning(`${this.#label()} pooler error: ${error.message}`);
    }
  }

  /** Logs why it is closed; nothing if it was ended before, for a reason of its own. */
  logEnd(reason: string): void {
    const { desk, log } = this.#options;
    if (!this.isOpen || !desk.settings().logDisconnections) return;
    const ageSeconds = Math.floor((this.#nowMs() - this.connectedAtMs) / 1000);
    log.log(`${this.#label()} closing because: ${reason} (age=${ageSeconds}s)`);
  }

  /**
   * Ends the client. With an error, that is sent to it and the connection lingers until the client
   * has closed its side, so that what it had still sent does not make the error get lost.
   */
  end(reason: string, error?: PgError): void {
    if (!this.isOpen) return;
    if (error !== undefined) this.noteError(error);
    this.logEnd(reason);
    this.#end(reason, error);
  }

  /**
   * Ends a client that is one too many: no line in the log and no lingering, since there may be very
   * many of them. The error arrives if nothing of the client's was unread.
   */
  turnAway(error: PgError): void {
    if (!this.isOpen) return;
    this.#end(error.message, error);
    this.hangUp();
  }

  #end(reason: string, error: PgError | undefined): void {
    const service = this.#service;
    this.#service = undefined;
    // In a handshake nothing can be told but by TLS itself.
    if (error === undefined || service?.isMidReply === true || this.#isShakingHands) {
      // Not yet `closed`: that is said when the receive loop has ended.
      this.#enter({ kind: "closing", reason });
      service?.detach(error === undefined ? undefined : reason);
      this.stream.close();
      return;
    }
    this.#enter({ kind: "closing", reason });
    service?.detach(reason);
    const message = errorResponse(error);
    void this.stream.write(message, 0, message.length);
    this.stream.finishWriting();
  }

  /** Ends what its service waits for; returns whether there was anything. */
  cancelService(): boolean {
    return this.#service?.cancel?.() === true;
  }

  /** Notices from now on if the client leaves while it is being held, in a queue for a server. */
  watchForEnd(): void {
    this.stream.watch(this.#onLook);
  }

  /** Closes what has lingered long enough. */
  hangUp(): void {
    this.stream.close();
  }

  /**
   * From the first byte to the first that is served. Returns what came behind the login, the
   * beginning of what is to be served; undefined if the client is not to be served.
   * Apart from `run()`, whose frame lives as long as the client does: it holds nothing of this.
   */
  async #logIn(): Promise<Uint8Array | undefined> {
    const { desk } = this.#options;
    const input = new LoginInput(this.stream.chunks());
    const opening = await this.#receiveOpening(input);
    if (!this.isOpen) return undefined;
    switch (opening.kind) {
      case "nothing":
        if (opening.reason !== undefined) this.logEnd(opening.reason);
        this.#endSilently();
        return undefined;
      case "cancel_request":
        this.isCanceling = true;
        await desk.cancel(opening.key, this);
        this.#endInOrder();
        return undefined;
    }
    const service = await desk.logIn(this, { startup: opening, input });
    this.tlsLogin = undefined;
    if (service === undefined || !this.isOpen) return undefined;
    this.#service = service;
    return input.rest();
  }

  #receiveOpening(input: LoginInput): Promise<ClientOpening> {
    const rule = this.#options.desk.proxyRule(this.stream);
    return rule === "off" ? receiveOpening(input, this) : this.#receiveBehindProxy(input, rule);
  }

  async #receiveBehindProxy(
    input: LoginInput,
    rule: Exclude<ProxyRule, "off">,
  ): Promise<ClientOpening> {
    const origin = await receiveOrigin(input, rule);
    if (origin.kind === "nothing") return origin;
    if (origin.remote !== undefined) {
      this.remote = origin.remote;
      this.#options.desk.noteMove(this);
    }
    return await receiveOpening(input, this);
  }

  readonly #sink = (buffer: Uint8Array, length: number): SinkAnswer =>
    this.#service?.onClientChunk(buffer, length);

  readonly #onLook = (buffer: Uint8Array, length: number): void => {
    if (length === 0) this.end("client unexpected eof");
    // In the middle of a message the same bytes are part of that.
    else if (isTerminate(buffer, length) && this.relay?.isMidRequest !== true) {
      this.end("client close request");
    }
  };

  #endSilently(): void {
    if (!this.isOpen) return;
    this.#enter({ kind: "closing", reason: "nothing to serve" });
    this.stream.close();
  }

  /** Over TLS some clients take an end without close_notify for the failure of what they asked. */
  #endInOrder(): void {
    if (!this.isOpen) return;
    this.#enter({ kind: "closing", reason: "served" });
    this.stream.finishWriting();
  }

  /** Sorts what ended the session early into what the client is told. */
  #failed(error: unknown): void {
    if (error instanceof PgError) return this.end(error.message, error);
    if (error instanceof ProtocolError) {
      return this.end(error.message, new PgError(SQLSTATE.protocolViolation, error.message));
    }
    this.end(
      `internal error: ${String(error)}`,
      new PgError(SQLSTATE.internalError, "internal error"),
    );
  }

  /** Waits, dropping what it still sends, until the client is gone or has been hung up on. */
  async #linger(): Promise<void> {
    for await (const _chunk of this.stream.chunks()) assert(!this.isOpen, "Only at the end");
  }

  #enter(next: ClientState): void {
    const before: ClientStateKind = this.#state.kind;
    // Not by assert(): the message would be made each time.
    if (!mayClientGo(before, next.kind)) {
      throw new AssertionError(`A client cannot go from ${before} to ${next.kind}`);
    }
    this.#state = next;
    const { clock, desk, log } = this.#options;
    this.#enteredAtMs = clock.look().seenMs;
    if (next.kind === "idle") desk.noteIdle(1);
    else if (before === "idle") desk.noteIdle(-1);
    if (next.kind === "closing") desk.noteEnd(this);
    if (log.isNoisy) log.noise(`${this.#label()} ${before} -> ${next.kind}`);
  }

  #reason(): string {
    return this.#state.kind === "closing" ? this.#state.reason : "";
  }

  #nowMs(): number {
    return this.#options.clock.nowMs();
  }

  #label(): string {
    return clientLabel(this);
  }
}

/** Whether a chunk is Terminate, as it comes from a client that leaves. */
function isTerminate(buffer: Uint8Array, length: number): boolean {
  return length === TERMINATE.length && TERMINATE.every((byte, at) => buffer[at] === byte);
}

/** `C-0x…: database/user@host:port`, as PgBouncer's log names a client. */
export function clientLabel(client: ClientSession): string {
  const id = client.id.toString(16).padStart(12, "0");
  const { host, port } = client.remote;
  const who = `${client.database ?? "(nodb)"}/${client.user ?? "(nouser)"}`;
  return `C-0x${id}: ${who}@${host}:${port}`;
}
