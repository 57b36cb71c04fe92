/**
 * The login of one client, from its StartupMessage to its first ReadyForQuery: parameters,
 * authentication, and the welcome. Whether the database exists is told only after authentication.
 */

import type { Random } from "../base/random.ts";
import {
  type AuthStep,
  ClientAuthentication,
  type ClientAuthenticationMethod,
} from "../auth/client_authentication.ts";
import { UserCredential } from "../auth/credential.ts";
import type { KeyDerivation } from "../auth/key_derivation.ts";
import type { UserLooks } from "../auth/mock_challenge.ts";
import type { OutsideQuestion, PasswordDecision } from "../auth/outside_method.ts";
import { Secret } from "../base/secret.ts";
import type { Settings } from "../config/settings.ts";
import type { Greeting } from "../link/greeting.ts";
import type { ParameterCache, TrackedParameters } from "../link/parameter_cache.ts";
import { StandingFailure, type WelcomeRequest } from "../pool/pool.ts";
import { WaitingPlace } from "../pool/waiting_queue.ts";
import { authenticationOk } from "../wire/authentication_messages.ts";
import {
  backendKeyData,
  negotiateProtocolVersion,
  readyForQuery,
  TransactionStatus,
} from "../wire/backend_messages.ts";
import { noticeResponse } from "../wire/error_response.ts";
import { Frontend } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError } from "../wire/pg_error.ts";
import { negotiatedMinor } from "../wire/protocol_version.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { StartupMessage } from "../wire/startup_packet.ts";
import type { ClientService, ClientSession } from "./client_session.ts";
import { CredentialWait } from "./credential_wait.ts";
import type { LoginInput } from "./login_input.ts";
import { LoginWait } from "./login_wait.ts";
import type { Relay, ServerPool } from "./relay.ts";
import { type ClientIntent, nameWithHost, readIntent } from "./startup_parameters.ts";
import { turnedAwayError } from "./turned_away.ts";

/** The database name that means the console; PgBouncer's, as are the tools that use it. */
export const CONSOLE_DATABASE = "pgbouncer";

/** Room for the end of an exchange. */
const LET_IN_BYTES = 80;

/** Room for an ordinary welcome. */
const WELCOME_BYTES = 640;

const NO_BYTES: Readonly<Uint8Array> = new Uint8Array(0);

const LET_IN: Readonly<Uint8Array> = authenticationOk();

const READY: Readonly<Uint8Array> = readyForQuery(TransactionStatus.Idle);

/** What a client is let in with. */
export interface Admission {
  readonly service: ClientService;
  readonly greeting: Greeting;
  /** The client's own values, which go before those of the greeting. */
  readonly own?: ParameterCache;
  /** Told by a NOTICE; empty = nothing. */
  readonly notice?: string;
  /** Called when the client counts as logged in, before it is told so. */
  readonly begin?: () => void;
}

/** What a client has proved who it is by. */
export interface LoginProof {
  /** What is known of its user; it has been shown to know that, if it had to. */
  readonly known: UserCredential | undefined;
  /** The password that it has typed, and that somebody else has taken. */
  readonly typed: UserCredential | undefined;
}

/** What a login asks of the rest of the pooler. */
export interface LoginDesk {
  readonly random: Random;
  readonly derivation: KeyDerivation;
  readonly tracked: TrackedParameters;
  /** Stable, over restarts as well if it can be: unknown users get the same salt each time. */
  readonly mockSecret: Uint8Array;
  settings(): Settings;
  /** Why nobody is let in, if so. */
  refusal(client: ClientSession, database: string): PgError | undefined;
  /**
   * What is demanded of a client, by the rules in force now. May have to wait for the system to say
   * who is behind a socket.
   * @throws {PgError} If the client is not let in, whatever it knows.
   */
  methodFor(
    client: ClientSession,
    intent: ClientIntent,
  ): ClientAuthenticationMethod | Promise<ClientAuthenticationMethod>;
  /**
   * The client has proved who it is.
   * @throws {PgError} If there is no room any more.
   */
  enroll(client: ClientSession): void;
  /**
   * What is known of a user who wants to use a database: at once, or after a wait; undefined if
   * nothing.
   * @throws {PgError} If that cannot be found out.
   */
  credentialOf(user: string, database: string): UserCredential | CredentialWait | undefined;
  /**
   * Has somebody else say whether a client's password is right; undefined if the client has left.
   * @throws {PgError} If nobody can say.
   */
  askOutside(
    client: ClientSession,
    question: Pick<OutsideQuestion, "method" | "password">,
  ): Promise<PasswordDecision | undefined>;
  /** How users of a database look in a login; unknown ones are asked likewise. */
  looksFor(database: string): UserLooks;
  /** A client did not know the secret that was found for it. */
  noteMismatch(credential: UserCredential): void;
  /** Resolves when the client may be told that its password is right, or the `refusal` it gets. */
  holdAnswer(client: ClientSession, refusal: string | undefined): Promise<void>;
  /** Whether the process behind a unix socket may be `user` without a password. */
  isOwnProcess(client: ClientSession, user: string): boolean;
  /**
   * The pool for a client that has proved who it is.
   * @throws {PgError} If there is no such database, or the client may not have it.
   */
  poolFor(intent: ClientIntent, proof: LoginProof): ServerPool;
  /**
   * A pool for one client that replicates and has proved who it is; it goes with the client.
   * @throws {PgError} As `poolFor()`, or if there are too many of them.
   */
  openOwnPool(intent: ClientIntent, proof: LoginProof): ServerPool;
  /** The messages for what a server reported, which does not change any more. */
  greetingOf(reported: ReadonlyMap<string, string>): Greeting;
  /** Serves a client from a pool. */
  openRelay(client: ClientSession, pool: ServerPool): Relay;
  /**
   * Serves a client with the console.
   * @throws {PgError} If the user has no rights there.
   */
  openConsole(client: ClientSession, options: { isOwnProcess: boolean }): Admission;
  /** Makes the client's cancel key and lets the client be found by it. */
  giveCancelKey(client: ClientSession): Uint8Array;
  /** A client asks to be let in, for the log. */
  noteAttempt(client: ClientSession): void;
  /** A client's login has succeeded, for the statistics. */
  noteLogin(client: ClientSession): void;
}

/** One login. */
export class ClientLogin {
  readonly #client: ClientSession;
  readonly #desk: LoginDesk;
  readonly #input: LoginInput;
  /** What is known of the client's user. */
  #known: UserCredential | undefined;
  /** The password it has typed, if somebody else took that. */
  #typed: UserCredential | undefined;
  /** What ends the exchange on our side, and has not been sent yet: it goes out with what follows. */
  #lastWord: Uint8Array = NO_BYTES;

  constructor(client: ClientSession, { desk, input }: { desk: LoginDesk; input: LoginInput }) {
    this.#client = client;
    this.#desk = desk;
    this.#input = input;
  }

  /**
   * Runs the login. Returns what the client is served with, or undefined if it is over with it.
   * @throws {PgError} If the client is not let in.
   */
  async run(startup: StartupMessage): Promise<ClientService | undefined> {
    const settings = this.#desk.settings();
    const intent = readIntent(startup.parameters, {
      tracked: this.#desk.tracked,
      ignored: settings.ignoreStartupParameters,
    });
    if (settings.applicationNameAddHost) this.#addHost(intent.parameters);
    this.#client.enterLogin(intent.user, intent.database);
    this.#client.parameters = intent.parameters;
    this.#client.replication = intent.replication;
    this.#desk.noteAttempt(this.#client);
    const refusal = this.#desk.refusal(this.#client, intent.database);
    if (refusal !== undefined) throw refusal;
    const negotiating = this.#negotiate(startup, intent);
    if (negotiating !== undefined) await negotiating;
    const isOwnProcess = intent.database === CONSOLE_DATABASE &&
      this.#desk.isOwnProcess(this.#client, intent.user);
    if (!isOwnProcess && !await this.#authenticate(intent)) return undefined;
    // Told to go while something was sent to it: it is not to be counted as one of those who are in.
    if (!this.#client.isOpen) return undefined;
    try {
      this.#desk.enroll(this.#client);
      const admitted = this.#admit(intent, isOwnProcess);
      return admitted instanceof Promise ? await admitted : admitted;
    } catch (error) {
      // Who is not let in learns all the same that it was us whom it told its secret.
      await this.#client.send(this.#takeLastWord());
      throw error;
    }
  }

  #takeLastWord(): Uint8Array {
    const message = this.#lastWord;
    this.#lastWord = NO_BYTES;
    return message;
  }

  /** Tells the client that it is in; the rest of the welcome follows. */
  #letIn(): void | Promise<void> {
    return this.#client.send(this.#writeLetIn(new MessageWriter(LET_IN_BYTES)).take());
  }

  #writeLetIn(writer: MessageWriter): MessageWriter {
    return writer.bytes(this.#takeLastWord()).bytes(LET_IN);
  }

  #addHost(parameters: ParameterCache): void {
    const name = parameters.get("application_name");
    parameters.set("application_name", nameWithHost(name, this.#client.remote));
  }

  /** Settles which version is spoken; says once what of that asked for is not spoken. */
  #negotiate(
    { minor }: StartupMessage,
    { protocolOptions }: ClientIntent,
  ): void | Promise<void> {
    const spoken = negotiatedMinor(minor);
    this.#client.protocolMinor = spoken;
    if (minor === spoken && protocolOptions.length === 0) return;
    // Never newer than asked for, which a client must refuse.
    return this.#client.send(negotiateProtocolVersion(spoken, protocolOptions));
  }

  /** Returns whether the client proved who it is; false if it is gone. */
  async #authenticate(intent: ClientIntent): Promise<boolean> {
    const { derivation, mockSecret, random } = this.#desk;
    const { user } = intent;
    // Before anything is looked up: who is rejected is not worth a query.
    let method = this.#desk.methodFor(this.#client, intent);
    if (method instanceof Promise) method = await method;
    if (!this.#client.isOpen) return false;
    const before = this.#desk.settings();
    const known = this.#findCredential(intent, method);
    this.#known = known instanceof CredentialWait ? await known.hold(this.#client) : known;
    if (!this.#client.isOpen) return false;
    // That may have been long, and the rules of now may want more of the client, or nothing of it.
    if (this.#desk.settings() !== before) {
      method = await this.#desk.methodFor(this.#client, intent);
      if (!this.#client.isOpen) return false;
    }
    const settings = this.#desk.settings();
    const exchange = new ClientAuthentication({
      method,
      userName: user,
      credential: this.#known,
      random,
      derivation,
      scramIterations: settings.scramIterations,
      mockSecret,
      looks: this.#desk.looksFor(intent.database),
      endPoint: this.#client.tlsLogin?.endPoint,
    });
    const step = exchange.start();
    return step.kind === "accepted" ? this.#accept(step) : await this.#run(exchange, step);
  }

  /** What is known of the user: most are known at once. */
  #findCredential(
    { database, user }: ClientIntent,
    method: ClientAuthenticationMethod,
  ): UserCredential | CredentialWait | undefined {
    // Whom PAM knows need not be known here.
    if (typeof method === "object" && method.kind === "pam") return undefined;
    return this.#desk.credentialOf(user, database);
  }

  /** Returns whether the client proved who it is; false if it is gone. */
  async #run(exchange: ClientAuthentication, first: AuthStep): Promise<boolean> {
    let step = first;
    const isAsked = step.kind === "challenge";
    while (step.kind === "challenge" || step.kind === "outside") {
      const next = step.kind === "challenge"
        ? await this.#ask(exchange, step.message)
        : await this.#askOutside(exchange, step);
      if (next === undefined || !this.#client.isOpen) return false;
      step = next;
    }
    const refusal = step.kind === "rejected" ? step.reason : undefined;
    if (refusal !== undefined && this.#known !== undefined) this.#desk.noteMismatch(this.#known);
    if (isAsked || refusal !== undefined) await this.#desk.holdAnswer(this.#client, refusal);
    if (step.kind === "rejected") {
      this.#client.end(step.reason, step.error);
      return false;
    }
    return this.#accept(step);
  }

  /** Returns whether the client, which has proved who it is, is still there. */
  #accept({ message }: AuthStep & { readonly kind: "accepted" }): boolean {
    if (!this.#client.isOpen) return false;
    this.#lastWord = message ?? NO_BYTES;
    return true;
  }

  /** What comes of the client's answer; undefined if it has left. */
  async #ask(exchange: ClientAuthentication, challenge: Uint8Array): Promise<AuthStep | undefined> {
    await this.#client.send(challenge);
    const message = await this.#input.message();
    if (message === undefined || !this.#client.isOpen) return undefined;
    if (message.type === Frontend.Terminate) return undefined;
    if (message.type !== Frontend.Password) {
      throw new PgError(SQLSTATE.protocolViolation, "unknown pkt: a password was expected");
    }
    return await exchange.receive(message.body);
  }

  /** What comes of the answer of somebody else; undefined if the client has left. */
  async #askOutside(
    exchange: ClientAuthentication,
    { method, password }: AuthStep & { readonly kind: "outside" },
  ): Promise<AuthStep | undefined> {
    const decision = await this.#desk.askOutside(this.#client, { method, password });
    if (decision === undefined) return undefined;
    if (decision.kind === "right") {
      this.#typed = new UserCredential(this.#client.user!, new Secret(password));
    }
    return exchange.conclude(decision);
  }

  /** What servers of the client's pool log in by. */
  #proof(): LoginProof {
    return { known: this.#known, typed: this.#typed };
  }

  #admit(
    intent: ClientIntent,
    isOwnProcess: boolean,
  ): ClientService | undefined | Promise<ClientService | undefined> {
    if (intent.replication !== "none") return this.#admitToOwnServer(intent);
    if (intent.database === CONSOLE_DATABASE) {
      const admission = this.#desk.openConsole(this.#client, { isOwnProcess });
      return this.#welcome(admission, { isLetIn: false });
    }
    const pool = this.#desk.poolFor(intent, this.#proof());
    this.#client.pool = pool;
    pool.clientCount += 1;
    const reported = pool.welcome === undefined ? undefined : pool.welcomeAtOnce;
    // It may have to wait for the rest; else all of it goes out at once.
    if (reported === undefined) return this.#admitLater(intent, pool);
    if (reported instanceof StandingFailure) throw turnedAwayError(reported);
    return this.#admitTo(pool, intent, { reported, isLetIn: false });
  }

  /** Admits a client to a pool of which no server has reported anything yet. */
  async #admitLater(intent: ClientIntent, pool: ServerPool): Promise<ClientService | undefined> {
    await this.#letIn();
    // Ended meanwhile: nobody would take it out of the queue that it is about to enter.
    if (!this.#client.isOpen) return undefined;
    const reported = await this.#serverParameters(pool);
    if (reported === undefined || !this.#client.isOpen) return undefined;
    return await this.#admitTo(pool, intent, { reported, isLetIn: true });
  }

  #admitTo(
    pool: ServerPool,
    intent: ClientIntent,
    { isLetIn, reported }: {
      readonly reported: ReadonlyMap<string, string>;
      readonly isLetIn: boolean;
    },
  ): ClientService | Promise<ClientService> {
    intent.parameters.adopt(reported);
    const service = this.#desk.openRelay(this.#client, pool);
    const notice = this.#desk.settings().loginNotifyMessage;
    const greeting = this.#desk.greetingOf(reported);
    const admission = { service, greeting, own: intent.parameters, notice };
    return this.#welcome(admission, { isLetIn });
  }

  /** A client that replicates gets a server of its own, and sees that one's parameters. */
  async #admitToOwnServer(intent: ClientIntent): Promise<ClientService | undefined> {
    if (intent.database === CONSOLE_DATABASE) {
      throw new PgError(SQLSTATE.featureNotSupported, "the console has nothing to replicate");
    }
    const pool = this.#desk.openOwnPool(intent, this.#proof());
    this.#client.pool = pool;
    pool.clientCount += 1;
    await this.#letIn();
    if (!this.#client.isOpen) return undefined;
    const reported = await this.#serverParameters(pool);
    if (reported === undefined || !this.#client.isOpen) return undefined;
    intent.parameters.adopt(reported);
    const service = this.#desk.openRelay(this.#client, pool);
    const greeting = this.#desk.greetingOf(reported);
    const admission = { service, greeting, begin: () => service.takeOwnServer() };
    return await this.#welcome(admission, { isLetIn: true });
  }

  /** What the newest server of the pool reported; waits for one if there was none yet. */
  async #serverParameters(pool: ServerPool): Promise<ReadonlyMap<string, string> | undefined> {
    const wait = new WelcomeWait(pool);
    const got = pool.acquireWelcome(wait.place);
    if (got instanceof StandingFailure) throw turnedAwayError(got);
    if (got !== undefined) return got;
    return await wait.hold(this.#client);
  }

  #welcome(
    { begin, greeting, notice = "", own, service }: Admission,
    { isLetIn }: { readonly isLetIn: boolean },
  ): ClientService | Promise<ClientService> {
    const writer = new MessageWriter(WELCOME_BYTES);
    if (!isLetIn) this.#writeLetIn(writer);
    greeting.writeTo(writer, own);
    writer.bytes(backendKeyData(this.#desk.giveCancelKey(this.#client)));
    if (notice !== "") writer.bytes(loginNotice(notice));
    writer.bytes(READY);
    this.#client.enterIdle();
    this.#client.setService(service);
    begin?.();
    if (!this.#client.isOpen) return service;
    this.#desk.noteLogin(this.#client);
    const sending = this.#client.send(writer.take());
    return sending === undefined ? service : sending.then(() => service);
  }
}

/** A client in the queue of those logging in. */
class WelcomeWait extends LoginWait<ReadonlyMap<string, string>>
  implements WelcomeRequest<PgError> {
  readonly place: WaitingPlace<WelcomeRequest<PgError>>;
  readonly #pool: ServerPool;

  constructor(pool: ServerPool) {
    super();
    this.#pool = pool;
    this.place = new WaitingPlace<WelcomeRequest<PgError>>(this);
  }

  welcome(parameters: ReadonlyMap<string, string>): void {
    this.settle(parameters);
  }

  override refuse(error: PgError): void {
    super.refuse(new PgError(error.sqlstate, error.message));
  }

  turnAway(failure: StandingFailure<PgError>): void {
    super.refuse(turnedAwayError(failure));
  }

  override detach(): void {
    this.#pool.cancelWelcome(this.place);
    super.detach();
  }
}

function loginNotice(text: string): Uint8Array {
  return noticeResponse(
    new PgError(SQLSTATE.successfulCompletion, text, { severity: "NOTICE" }),
  );
}
