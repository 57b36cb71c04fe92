/**
 * A session of a simulated client: what it may receive and what not. All that it sends and all that
 * may come back carries its name, so that not one byte of another client's replies goes unnoticed.
 */

import assert from "node:assert/strict";
import type { ShutdownMode } from "../../src/admin/console_context.ts";
import { DialError } from "../../src/net/network.ts";
import { TlsHandshakeError } from "../../src/net/tls.ts";
import { Frontend } from "../../src/wire/message_type.ts";
import { frontend, type RawMessage, textOf } from "../support/messages.ts";
import type { PoolerWorld } from "../support/pooler_world.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import type { SimStream } from "../support/sim_net.ts";
import { LoginRefused, type QueryResult, readResult, TestClient } from "../support/test_client.ts";
import type { SimPlan } from "./sim_plan.ts";

/** What a client sees of the run. */
export interface SimStage {
  readonly world: PoolerWorld;
  readonly plan: SimPlan;
  /** Waits until the scheduler picks whoever waits here. */
  park(): Promise<void>;
  note(line: string): void;
  /** The run has failed. */
  fail(error: unknown): void;
  /** Whether it is time to leave. */
  readonly isEnding: boolean;
  /** Tells the pooler to end. */
  shutDown(mode: ShutdownMode): void;
  /** How the pooler was told to end, if it was. */
  readonly closing: ShutdownMode | undefined;
}

/** The connection ended before the answer was complete. */
export class Gone extends Error {
  /** What was received of the answer. */
  readonly result: QueryResult | undefined;

  constructor(result: QueryResult | undefined) {
    const [error] = result?.errors.slice(-1) ?? [];
    super(error === undefined ? "without a word" : `${error.sqlstate} ${error.message}`);
    this.result = result;
  }
}

/** Who a client is, and what it keeps from session to session. */
export class SimActor {
  readonly name: string;
  readonly random: SeededRandom;
  readonly stage: SimStage;
  /** Statements that a cancel request of this client may hit. */
  readonly cancelable = new Set<string>();
  /** Its cancel requests that are under way. */
  cancelCount = 0;
  /** ReadyForQuery received after logins. */
  readyCount = 0;
  loginCount = 0;
  /** Whether the present connection is. */
  isLoggedIn = false;
  /** Whether it broke a rule on purpose, or was broken off: then it cannot expect to be served. */
  hasBrokenOff = false;
  /** Whether the present connection ends at some byte: anything it asks may be canceled then. */
  isDoomed = false;
  /** What was sent and received after logins. */
  readonly sent = { bytes: 0, goodbyeBytes: 0, parses: 0, binds: 0 };
  receivedBytes = 0;
  /** Of them those of ParameterStatus and NoticeResponse, some of which are the pooler's own. */
  reportBytes = 0;
  readonly #sessions: { readonly firstToken: number; readonly session: SimSession }[] = [];
  /** The present connection, for whoever breaks it. */
  stream: SimStream | undefined;
  #tokenCount = 0;

  constructor(name: string, stage: SimStage, random: SeededRandom) {
    this.name = name;
    this.stage = stage;
    this.random = random;
  }

  /** Lets the present connection end at some byte, now and then. */
  doom(): void {
    const { clientBreaks } = this.stage.plan.hazards;
    this.isDoomed = clientBreaks > 0 && this.random.chance(clientBreaks);
    if (!this.isDoomed) return;
    this.hasBrokenOff = true;
    this.stream!.breakOffAfter(1 + this.random.below(this.random.pick([60, 600, 6_000])));
  }

  /** A name for one statement, which nobody else ever uses. */
  token(): string {
    this.#tokenCount += 1;
    const token = `${this.name}:${this.#tokenCount}`;
    if (this.isDoomed) this.cancelable.add(token);
    return token;
  }

  /** Tokens from now on are of this session. */
  begin(session: SimSession): void {
    this.#sessions.push({ firstToken: this.#tokenCount + 1, session });
  }

  /** The session in which a statement was sent. */
  sessionOf(token: string): SimSession | undefined {
    const number = Number(token.split(":")[1]);
    return this.#sessions.findLast(({ firstToken }) => firstToken <= number)?.session;
  }
}

/** One login of a client and what follows. */
export class SimSession {
  readonly client: SimActor;
  readonly connection: TestClient;
  readonly random: SeededRandom;
  /** The statements it has prepared, by name: their SQL, and what they answer if it is not `$1`. */
  readonly prepared = new Map<string, { readonly sql: string; readonly value?: string }>();
  /** What SHOW must answer. */
  readonly parameters = new Map<string, string>();
  readonly #user: string;

  private constructor(client: SimActor, connection: TestClient) {
    this.client = client;
    this.connection = connection;
    this.random = client.random;
    this.#user = client.random.pick(["ada", "bob"]);
    this.parameters.set("session_authorization", this.#user);
  }

  static async open(client: SimActor): Promise<SimSession> {
    const { random, stage } = client;
    try {
      client.stream = await stage.world.dial();
    } catch (error) {
      if (error instanceof DialError) throw new Gone(undefined);
      throw error;
    }
    client.doom();
    const connection = new TestClient(client.stream);
    const session = new SimSession(client, connection);
    client.begin(session);
    session.parameters.set("application_name", client.name);
    if (random.chance(0.5)) session.parameters.set("TimeZone", `Zone/${client.name}`);
    if (random.chance(0.2)) session.parameters.set("search_path", `"${client.name}", public`);
    if (random.chance(0.2)) session.parameters.set("IntervalStyle", `style of ${client.name}`);
    if (random.chance(0.2)) session.parameters.set("default_transaction_read_only", "on");
    await session.#startTls();
    await session.#logIn();
    return session;
  }

  async #startTls(): Promise<void> {
    const { clientTls } = this.client.stage.plan;
    const wants = this.random.chance(clientTls === undefined ? 0.1 : 0.7);
    if (clientTls === undefined) return wants ? await this.#askForTls() : undefined;
    if (!wants && !clientTls.isDemanded) return;
    const isDirect = this.random.chance(0.3);
    if (!isDirect) await this.#askForTls();
    try {
      await this.connection.startTls(clientTls.context);
    } catch (error) {
      if (error instanceof TlsHandshakeError) throw new Gone(undefined);
      throw error;
    }
  }

  async #askForTls(): Promise<void> {
    const { stage } = this.client;
    const { clientTls, isCalm } = stage.plan;
    await this.connection.send(frontend.sslRequest());
    const answer = await this.connection.receiveByte();
    // In the place of the byte there may be an error, for one that took too long or is told to go.
    const isGone = answer === undefined ||
      answer === "E" && (!isCalm || stage.closing !== undefined);
    if (isGone) throw new Gone(undefined);
    assert.equal(answer, clientTls === undefined ? "N" : "S");
  }

  async #logIn(): Promise<void> {
    const { stage } = this.client;
    const { password } = stage.plan;
    try {
      await this.connection.login({
        user: this.#user,
        minor: this.random.pick([0, 2, 2, 9_999]),
        database: "app",
        ...(password === undefined ? {} : { password }),
        parameters: this.#asked,
      });
    } catch (error) {
      if (error instanceof LoginRefused) throw new Gone(undefined);
      if (error instanceof Error && error.message.startsWith("The connection ended")) {
        throw new Gone(undefined);
      }
      throw error;
    }
    for (const [name, value] of this.parameters) {
      const told = this.connection.parameters.get(name);
      if (told !== undefined) assert.equal(told, value, `${name} as told at login`);
    }
    this.client.loginCount += 1;
    this.client.isLoggedIn = true;
    stage.note(`${this.client.name} logged in`);
  }

  /** What the StartupMessage asks for. */
  get #asked(): Record<string, string> {
    const { session_authorization: _, ...asked } = Object.fromEntries(this.parameters);
    return asked;
  }

  /** Whether its servers tell, and so are told, what a parameter is. */
  isTold(name: string): boolean {
    const { reportsSearchPath = true } = this.client.stage.plan.world.postgres ?? {};
    return name !== "search_path" || reportsSearchPath;
  }

  get isIdle(): boolean {
    return this.connection.status === "I";
  }

  /** A statement with an answer that is ours and nobody else's. */
  echo(): { token: string; sql: string } {
    const token = this.client.token();
    return { token, sql: `select '${token}' /* ${token} */` };
  }

  /** A statement with our name on it. */
  signed(sql: string): string {
    return `${sql} /* ${this.client.token()} */`;
  }

  /** Sends without waiting until it is taken: who only writes and never reads may wait for ever. */
  async send(...messages: readonly Uint8Array[]): Promise<void> {
    const { sent } = this.client;
    for (const message of messages) {
      sent.bytes += message.length;
      if (message[0] === Frontend.Terminate) sent.goodbyeBytes += message.length;
      if (message[0] === Frontend.Parse) sent.parses += 1;
      if (message[0] === Frontend.Bind) sent.binds += 1;
    }
    const sending = this.connection.send(...messages);
    if (this.random.chance(0.5)) await Promise.race([sending, this.park()]);
  }

  /** Reads the answer to one request. @throws {Gone} If the connection ends before it. */
  async answer(): Promise<QueryResult> {
    const messages = await this.#receive((message) => message.type === "Z");
    this.client.readyCount += 1;
    return readResult(messages);
  }

  /** Reads up to the message of a type. */
  async until(type: string): Promise<QueryResult> {
    return readResult(await this.#receive((message) => message.type === type));
  }

  async #receive(isLast: (message: RawMessage) => boolean): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (;;) {
      const message = await this.connection.receive();
      if (message === undefined) {
        this.#checkOwner("a part", this.connection.held);
        throw new Gone(readResult(messages));
      }
      const { body, type } = message;
      this.#checkOwner(type, body);
      this.client.receivedBytes += body.length + 5;
      if (type === "S" || type === "N") this.client.reportBytes += body.length + 5;
      messages.push(message);
      if (isLast(message)) return messages;
      if (message.type === "Z") this.client.readyCount += 1;
      assert.notEqual(message.type, "Z", "An answer is not over before it is complete");
    }
  }

  /** Whatever carries a name carries ours. */
  #checkOwner(type: string, body: Uint8Array): void {
    for (const [, name] of textOf(body).matchAll(/\b(c\d+):\d+/g)) {
      assert.equal(name, this.client.name, `A reply (${type}) to ${name} came to us`);
    }
  }

  async query(sql: string): Promise<QueryResult> {
    await this.send(frontend.query(sql));
    return await this.answer();
  }

  /** Asserts what an answer is: types (what may come at any time left out), first values, status. */
  expect(result: QueryResult, types: string, options: {
    values?: readonly (string | null)[];
    status?: string;
  } = {}): void {
    const got = result.types.replaceAll(/[SNA]/g, "");
    const told = result.errors.map(({ message, sqlstate }) => `${sqlstate} ${message}`).join();
    assert.equal(got, types, `${this.client.name} got ${got} instead of ${types} ${told}`);
    if (options.values !== undefined) {
      assert.deepEqual(result.rows.map(([first]) => first), options.values);
    }
    assert.equal(result.status, options.status ?? "I");
  }

  async park(): Promise<void> {
    await this.client.stage.park();
  }

  async leave(): Promise<void> {
    if (this.random.chance(0.5)) await this.send(frontend.terminate());
    this.connection.close();
  }
}
