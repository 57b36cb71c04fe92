/**
 * A client of a simulation: does things at random and knows what each must be answered with. All
 * that it sends and all that may come back carries its name, so that not one byte of another
 * client's replies goes unnoticed.
 */

import assert from "node:assert/strict";
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
  /** Whether it is time to leave. */
  readonly isEnding: boolean;
}

/** The connection ended before the answer was complete. */
class Gone extends Error {
  readonly result: QueryResult | undefined;

  constructor(result: QueryResult | undefined) {
    const [error] = result?.errors.slice(-1) ?? [];
    super(error === undefined ? "without a word" : `${error.sqlstate} ${error.message}`);
    this.result = result;
  }
}

type Operation = (session: SimSession) => Promise<void>;

/** One simulated application. */
export class SimClient {
  readonly name: string;
  readonly random: SeededRandom;
  readonly stage: SimStage;
  /** Statements that a cancel request of this client may hit. */
  readonly cancelable = new Set<string>();
  /** ReadyForQuery received after logins. */
  readyCount = 0;
  loginCount = 0;
  /** Whether it broke a rule on purpose, or was broken off: then it cannot expect to be served. */
  hasBrokenOff = false;
  /** The present connection, for whoever breaks it. */
  stream: SimStream | undefined;
  #tokenCount = 0;

  constructor(name: string, stage: SimStage, random: SeededRandom) {
    this.name = name;
    this.stage = stage;
    this.random = random;
  }

  /** Runs all sessions. */
  async run(): Promise<void> {
    const { plan } = this.stage;
    for (let session = 0; session < plan.sessionCount; session++) {
      await this.stage.park();
      if (this.stage.isEnding) return;
      await this.#session();
    }
  }

  token(): string {
    this.#tokenCount += 1;
    return `${this.name}:${this.#tokenCount}`;
  }

  async #session(): Promise<void> {
    const { stage } = this;
    this.hasBrokenOff = false;
    let session: SimSession | undefined;
    try {
      session = await SimSession.open(this);
      const count = this.random.between(0, stage.plan.maxOperations);
      for (let i = 0; i < count && !stage.isEnding; i++) {
        await stage.park();
        const operation = this.random.pick(operationsFor(stage.plan));
        stage.note(`${this.name} ${operation.name}`);
        await operation(session);
      }
      await session.leave();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      stage.note(`${this.name} gone: ${error.message}`);
      const mayBe = !stage.plan.isCalm || this.hasBrokenOff;
      assert.ok(mayBe, `${this.name} was thrown out in a calm run: ${error.message}`);
    } finally {
      this.stream?.close();
      this.stream = undefined;
    }
  }
}

/** One login of a client and what follows. */
class SimSession {
  readonly client: SimClient;
  readonly connection: TestClient;
  readonly random: SeededRandom;
  /** What SHOW must answer. */
  readonly parameters = new Map<string, string>();

  private constructor(client: SimClient, connection: TestClient) {
    this.client = client;
    this.connection = connection;
    this.random = client.random;
  }

  static async open(client: SimClient): Promise<SimSession> {
    const { random, stage } = client;
    client.stream = await stage.world.dial();
    const connection = new TestClient(client.stream);
    const session = new SimSession(client, connection);
    session.parameters.set("application_name", client.name);
    if (random.chance(0.5)) session.parameters.set("TimeZone", `Zone/${client.name}`);
    if (random.chance(0.2)) session.parameters.set("search_path", `"${client.name}", public`);
    if (random.chance(0.1)) await session.#askForTls();
    await session.#logIn();
    return session;
  }

  async #askForTls(): Promise<void> {
    await this.connection.send(frontend.sslRequest());
    const answer = await this.connection.receiveByte();
    if (answer === undefined) throw new Gone(undefined);
    assert.equal(answer, "N");
  }

  async #logIn(): Promise<void> {
    const { stage } = this.client;
    const { password } = stage.plan;
    try {
      await this.connection.login({
        user: this.random.pick(["ada", "bob"]),
        database: "app",
        ...(password === undefined ? {} : { password }),
        parameters: Object.fromEntries(this.parameters),
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
    stage.note(`${this.client.name} logged in`);
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
      if (message === undefined) throw new Gone(readResult(messages));
      this.#checkOwner(message);
      messages.push(message);
      if (isLast(message)) return messages;
      if (message.type === "Z") this.client.readyCount += 1;
      assert.notEqual(message.type, "Z", "An answer is not over before it is complete");
    }
  }

  /** Whatever carries a name carries ours. */
  #checkOwner({ body, type }: RawMessage): void {
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

async function simple(session: SimSession): Promise<void> {
  const { sql, token } = session.echo();
  session.expect(await session.query(sql), "TDCZ", { values: [token] });
}

async function twoStatements(session: SimSession): Promise<void> {
  const [a, b] = [session.echo(), session.echo()];
  const result = await session.query(`${a.sql};${b.sql}`);
  session.expect(result, "TDCTDCZ", { values: [a.token, b.token] });
}

async function empty(session: SimSession): Promise<void> {
  session.expect(await session.query(";"), "IZ");
}

async function failing(session: SimSession): Promise<void> {
  const token = session.client.token();
  const result = await session.query(`error 22012 ${token} /* ${token} */`);
  session.expect(result, "EZ");
  assert.equal(result.errors[0]?.message, token);
}

async function manyRows(session: SimSession): Promise<void> {
  const token = session.client.token();
  const count = session.random.between(1, 40);
  const result = await session.query(`rows ${count} '${token}${"x".repeat(300)}' /* ${token} */`);
  session.expect(result, `T${"D".repeat(count)}CZ`);
}

async function bigQuery(session: SimSession): Promise<void> {
  const token = session.client.token();
  const text = `${token} ${"y".repeat(session.random.between(1_000, 20_000))}`;
  session.expect(await session.query(`select '${text}' /* ${token} */`), "TDCZ", {
    values: [text],
  });
}

async function severalAtOnce(session: SimSession): Promise<void> {
  const echoes = Array.from({ length: session.random.between(2, 6) }, () => session.echo());
  await session.send(...echoes.map(({ sql }) => frontend.query(sql)));
  for (const { token } of echoes) {
    session.expect(await session.answer(), "TDCZ", { values: [token] });
  }
}

async function transaction(session: SimSession): Promise<void> {
  session.expect(await session.query(session.signed("begin")), "CZ", { status: "T" });
  let status = "T";
  for (let i = session.random.below(4); i > 0; i--) {
    await session.park();
    if (status === "E" || session.random.chance(0.2)) {
      const token = session.client.token();
      const result = await session.query(`error 22012 ${token} /* ${token} */`);
      status = "E";
      session.expect(result, "EZ", { status });
    } else {
      const { sql, token } = session.echo();
      session.expect(await session.query(sql), "TDCZ", { values: [token], status });
    }
  }
  await session.park();
  const end = session.random.pick(["commit", "rollback"]);
  session.expect(await session.query(session.signed(end)), "CZ");
}

async function extended(session: SimSession): Promise<void> {
  const token = session.client.token();
  await session.send(
    frontend.parse(`select $1 /* ${token} */`),
    frontend.bind({ values: [token] }),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  session.expect(await session.answer(), "12TDCZ", { values: [token] });
}

async function extendedTransaction(session: SimSession): Promise<void> {
  const { sql, token } = session.echo();
  await session.send(...[session.signed("begin"), sql, session.signed("commit")].flatMap((each) => [
    frontend.parse(each),
    frontend.bind(),
    frontend.execute(),
  ]));
  await session.park();
  await session.send(frontend.sync());
  session.expect(await session.answer(), "12C12DC12CZ", { values: [token] });
}

async function pipeline(session: SimSession): Promise<void> {
  const groups = Array.from({ length: session.random.between(1, 5) }, () => ({
    ...session.echo(),
    fails: session.random.chance(0.3),
  }));
  for (const { fails, sql, token } of groups) {
    await session.send(
      frontend.parse(fails ? `error 22012 ${token} /* ${token} */` : sql),
      frontend.bind(),
      frontend.execute(),
      ...[frontend.parse(sql), frontend.bind(), frontend.execute()],
      frontend.sync(),
    );
    if (session.random.chance(0.3)) await session.park();
  }
  for (const { fails, token } of groups) {
    const result = await session.answer();
    if (fails) session.expect(result, "12EZ");
    else session.expect(result, "12DC12DCZ", { values: [token, token] });
  }
}

async function flushed(session: SimSession): Promise<void> {
  const { sql, token } = session.echo();
  await session.send(frontend.parse(sql), frontend.describe("S"), frontend.flush());
  assert.equal((await session.until("T")).types.replaceAll(/[SNA]/g, ""), "1tT");
  await session.park();
  await session.send(frontend.bind(), frontend.execute(), frontend.flush());
  const result = await session.until("C");
  assert.deepEqual(result.rows, [[token]]);
  await session.park();
  await session.send(frontend.sync());
  session.expect(await session.answer(), "Z");
}

async function loneSync(session: SimSession): Promise<void> {
  await session.send(frontend.sync());
  session.expect(await session.answer(), "Z");
}

async function loneFlush(session: SimSession): Promise<void> {
  await session.send(frontend.flush());
  await simple(session);
}

async function functionCall(session: SimSession): Promise<void> {
  await session.send(frontend.functionCall(7));
  session.expect(await session.answer(), "VZ");
}

async function copyIn(session: SimSession): Promise<void> {
  await session.send(frontend.query(session.signed("copy t from stdin")));
  await session.until("G");
  const count = session.random.below(5);
  for (let i = 0; i < count; i++) {
    await session.send(frontend.copyData(`${session.client.token()} ${"z".repeat(200)}`));
    if (session.random.chance(0.3)) await session.park();
  }
  if (session.random.chance(0.7)) {
    await session.send(frontend.copyDone());
    const result = await session.answer();
    session.expect(result, "CZ");
    assert.deepEqual(result.tags, [`COPY ${count}`]);
  } else {
    await session.send(frontend.copyFail("changed my mind"));
    session.expect(await session.answer(), "EZ");
  }
}

/** Goes on sending after the COPY has failed, as a client does that has not yet heard of it. */
async function failingCopyIn(session: SimSession): Promise<void> {
  const after = session.random.between(0, 2);
  await session.send(frontend.query(session.signed(`copy t from stdin failing after ${after}`)));
  await session.until("G");
  const data = () => frontend.copyData(`${session.client.token()} ${"z".repeat(200)}`);
  for (let i = 0; i < 5; i++) {
    await session.send(data());
    if (session.random.chance(0.5)) await session.park();
  }
  await session.send(frontend.copyDone());
  session.expect(await session.answer(), "EZ");
}

async function extendedCopyIn(session: SimSession): Promise<void> {
  await session.send(
    frontend.parse(session.signed("copy t from stdin")),
    frontend.bind(),
    frontend.execute(),
    frontend.sync(),
  );
  await session.until("G");
  await session.send(frontend.copyData(`${session.client.token()} z`));
  await session.park();
  await session.send(frontend.copyDone(), frontend.sync());
  session.expect(await session.answer(), "CZ");
}

async function copyOut(session: SimSession): Promise<void> {
  const token = session.client.token();
  const count = session.random.between(0, 30);
  const sql = `copy t to stdout ${count} '${token}${"w".repeat(200)}' /* ${token} */`;
  session.expect(await session.query(sql), `H${"d".repeat(count)}cCZ`);
}

async function sessionId(session: SimSession): Promise<void> {
  const result = await session.query(session.signed("select session id"));
  session.expect(result, "TDCZ");
  assert.equal(result.rows[0]?.[1], session.client.name, "The server takes us for another");
}

async function setParameter(session: SimSession): Promise<void> {
  const name = session.random.pick(["TimeZone", "application_name"]);
  const value = name === "TimeZone"
    ? `Zone/${session.client.token()}`.replace(":", "_")
    : session.client.name;
  session.expect(await session.query(session.signed(`set ${name} = '${value}'`)), "CZ");
  session.parameters.set(name, value);
  assert.equal(session.connection.parameters.get(name), value);
}

/** What is set in a transaction that is rolled back was never set. */
async function setInTransaction(session: SimSession): Promise<void> {
  const value = `Zone/${session.client.token()}`.replace(":", "_");
  const isKept = session.random.chance(0.5);
  await session.query(session.signed("begin"));
  await session.query(session.signed(`set TimeZone = '${value}'`));
  await session.park();
  session.expect(await session.query(session.signed(isKept ? "commit" : "rollback")), "CZ");
  if (isKept) session.parameters.set("TimeZone", value);
}

async function showParameters(session: SimSession): Promise<void> {
  for (const [name, value] of session.parameters) {
    await session.park();
    const result = await session.query(session.signed(`show ${name}`));
    session.expect(result, "TDCZ", { values: [value] });
  }
}

async function sleep(session: SimSession): Promise<void> {
  const result = await session.query(session.signed("select pg_sleep(1)"));
  session.expect(result, "TDCZ");
}

/** Asks for a cancel at some moment: it hits the sleep, or our wait for a server, or nothing. */
async function canceled(session: SimSession): Promise<void> {
  const isExtended = session.random.chance(0.5);
  const token = session.client.token();
  session.client.cancelable.add(token);
  const sql = `select pg_sleep(1) /* ${token} */`;
  const second = session.echo();
  const messages = isExtended
    ? [
      ...[frontend.parse(sql), frontend.bind(), frontend.execute(), frontend.sync()],
      ...[frontend.parse(second.sql), frontend.bind(), frontend.execute(), frontend.sync()],
    ]
    : [frontend.query(sql), frontend.query(second.sql)];
  await session.send(...messages);
  if (session.random.chance(0.7)) await session.park();
  const canceling = cancel(session);
  const isError = (result: QueryResult) => result.errors.length > 0;
  for (let i = 0; i < 2; i++) {
    const result = await session.answer();
    assert.equal(result.status, "I");
    if (isError(result)) assert.equal(result.errors[0]?.sqlstate, "57014");
    else if (i === 1) assert.deepEqual(result.rows, [[second.token]]);
  }
  await canceling;
}

/** Asks for a cancel when it is most likely too late, and the server is somebody else's. */
async function canceledLate(session: SimSession): Promise<void> {
  const { sql, token } = session.echo();
  await session.send(frontend.query(sql));
  const canceling = cancel(session);
  const result = await session.answer();
  assert.equal(result.status, "I");
  if (result.errors.length > 0) assert.equal(result.errors[0]?.sqlstate, "57014");
  else session.expect(result, "TDCZ", { values: [token] });
  await canceling;
}

async function cancel({ client, connection }: SimSession): Promise<void> {
  const { stage } = client;
  const stream = await stage.world.dial().catch(() => undefined);
  if (stream === undefined) return;
  const canceler = new TestClient(stream);
  await canceler.send(frontend.cancelRequest(connection.cancelKey!));
  await canceler.receiveUntilEnd();
  canceler.close();
}

async function wrongCancel({ client }: SimSession): Promise<void> {
  const canceler = new TestClient(await client.stage.world.dial());
  await canceler.send(frontend.cancelRequest(client.random.bytes(8)));
  assert.deepEqual(await canceler.receiveUntilEnd(), []);
  canceler.close();
}

/** Leaves in the middle of something, without a word. */
async function vanish(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  const { random } = session;
  const isMulti = session.client.stage.plan.mode !== "statement";
  switch (random.below(isMulti ? 6 : 4)) {
    case 0: {
      // The pooler may cancel what nobody waits for any more.
      const token = session.client.token();
      session.client.cancelable.add(token);
      await session.send(frontend.query(`select pg_sleep(1) /* ${token} */`));
      break;
    }
    case 1:
      await session.send(frontend.query(session.echo().sql).subarray(0, random.between(1, 20)));
      break;
    case 2:
      await session.send(frontend.parse(session.echo().sql), frontend.bind(), frontend.execute());
      break;
    case 3:
      await session.send(frontend.query(session.signed("copy t from stdin")));
      await session.until("G");
      await session.send(frontend.copyData("half of this is missing").subarray(0, 12));
      break;
    case 4:
      await session.query(session.signed("begin"));
      break;
    case 5:
      await session.query(session.signed("begin"));
      await session.send(frontend.query(`rows 40 '${"v".repeat(400)}'`));
      break;
  }
  if (random.chance(0.7)) await session.park();
  if (random.chance(0.5)) session.client.stream?.reset();
  else session.connection.close();
  throw new Gone(undefined);
}

/** Says goodbye in the same breath as a query. */
async function queryAndTerminate(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  await session.send(frontend.query(session.echo().sql), frontend.terminate());
  await session.answer();
  throw new Gone(undefined);
}

async function garbage(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  const bytes = session.random.chance(0.5)
    ? session.random.bytes(session.random.between(5, 60))
    : frontend.parse("select 1").fill(0x21, 0, 1);
  await session.send(
    session.random.chance(0.5) ? bytes : frontend.query(session.echo().sql),
    bytes,
  );
  for (let i = session.random.below(4); i > 0; i--) await session.park();
  session.connection.close();
  throw new Gone(undefined);
}

/** A transaction where there may be none: the client is told so and closed. */
async function forbiddenTransaction(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  try {
    await session.query(session.signed("begin"));
  } catch (error) {
    assert.ok(error instanceof Gone);
    const { isCalm } = session.client.stage.plan;
    if (isCalm) {
      assert.equal(error.result?.errors[0]?.sqlstate, "0A000", JSON.stringify(error.result));
    }
    throw error;
  }
  assert.fail("A transaction was allowed in statement mode");
}

/**
 * Makes the server break the rules. (Not by a second ReadyForQuery: whom that is taken for an answer
 * by depends on when it comes, and nobody could tell.)
 */
async function sabotage(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  const how = session.random.pick(["close", "reset", "fatal", "garbage", "cut", "bad_ready"]);
  await session.query(session.signed(`misbehave ${how}`));
  assert.fail(`A client goes on after its server did this: ${how}`);
}

const ANYWHERE: readonly Operation[] = [
  ...[simple, simple, simple, twoStatements, empty, failing, manyRows, bigQuery, severalAtOnce],
  ...[extended, extended, pipeline, flushed, loneSync, loneFlush, functionCall],
  ...[copyIn, failingCopyIn, extendedCopyIn, copyOut],
  ...[sessionId, sessionId, setParameter, showParameters],
  ...[sleep, canceled, canceled, canceledLate, wrongCancel],
  ...[vanish, queryAndTerminate, garbage],
];

const WITH_TRANSACTIONS: readonly Operation[] = [
  ...ANYWHERE,
  ...[transaction, transaction, transaction, extendedTransaction, setInTransaction],
];

const CANCELING: readonly Operation[] = [
  ...[simple, sleep, sleep, sleep, canceled, canceledLate, canceledLate, canceledLate, vanish],
];

function operationsFor({ isCalm, mode, theme }: SimPlan): readonly Operation[] {
  if (theme === "cancel") return CANCELING;
  const operations = mode === "statement" ? [...ANYWHERE, forbiddenTransaction] : WITH_TRANSACTIONS;
  return isCalm ? operations : [...operations, sabotage];
}
