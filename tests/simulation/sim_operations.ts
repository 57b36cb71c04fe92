/**
 * What simulated clients do, and what each thing must be answered with. In runs with trouble the
 * connection may end before the answer does; otherwise nothing may be different.
 */

import assert from "node:assert/strict";
import { DialError } from "../../src/net/network.ts";
import { frontend } from "../support/messages.ts";
import { type QueryResult, TestClient } from "../support/test_client.ts";
import type { SimPlan } from "./sim_plan.ts";
import { Gone, type SimActor, type SimSession } from "./sim_session.ts";

/** One thing to do; its name stands in the transcript. */
export type Operation = (session: SimSession) => Promise<void>;

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
  session.expect(await session.query(session.signed(";")), "IZ");
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

/** Greater than any buffer on its way. */
async function huge(session: SimSession): Promise<void> {
  const { client, random } = session;
  const token = client.token();
  const { bufferBytes = 65_536 } = client.stage.plan.world;
  const length = Math.min(200_000, bufferBytes * random.between(2, 8));
  const text = `${token} ${"h".repeat(length)}`;
  await session.send(
    frontend.parse(`select $1 /* ${token} */`),
    frontend.bind({ values: [text] }),
    frontend.execute(),
    frontend.sync(),
  );
  session.expect(await session.answer(), "12DCZ", { values: [text] });
}

/** Takes nothing of a long answer for a while. */
async function readSlowly(session: SimSession): Promise<void> {
  const { client, random } = session;
  const token = client.token();
  const count = random.between(20, 60);
  client.stream!.stall();
  await session.send(frontend.query(`rows ${count} '${token}${"s".repeat(400)}' /* ${token} */`));
  for (let i = random.between(1, 8); i > 0; i--) await session.park();
  client.stream?.unstall();
  session.expect(await session.answer(), `T${"D".repeat(count)}CZ`);
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

/** Named statements, some of them the same for all clients, several groups in flight at once. */
async function prepared(session: SimSession): Promise<void> {
  const { random } = session;
  const expected: (() => Promise<void>)[] = [];
  // Who sends on behind an error uses what may never have been prepared.
  let fails = false;
  for (let count = random.between(1, 4); count > 0 && !fails; count--) {
    const name = random.pick(["p1", "p2", "p3"]);
    fails = random.chance(0.2);
    const check = !fails && random.chance(0.1)
      ? await deallocate(session, name)
      : await runPrepared(session, name, fails);
    expected.push(check);
    if (random.chance(0.3)) await session.park();
  }
  for (const check of expected) await check();
}

async function runPrepared(
  session: SimSession,
  name: string,
  fails: boolean,
): Promise<() => Promise<void>> {
  const { random } = session;
  const token = session.client.token();
  const failing = frontend.parse(`error 22012 ${token} /* ${token} */`);
  const messages = fails ? [failing, frontend.bind(), frontend.execute()] : [];
  let one = session.prepared.get(name);
  let types = "";
  if (one === undefined) {
    one = random.chance(0.3)
      ? { sql: `select '${token}' /* ${token} */`, value: token }
      : { sql: random.pick(["select $1", " select $1", "  select $1"]) };
    messages.push(frontend.parse(one.sql, name));
    types = "1";
    if (!fails) session.prepared.set(name, one);
  }
  const bind = frontend.bind({ statement: name, values: [token] });
  messages.push(bind, frontend.execute());
  types += "2DC";
  if (random.chance(0.2)) {
    messages.push(frontend.close("S", name));
    types += "3";
    if (!fails) session.prepared.delete(name);
  }
  await session.send(...messages, frontend.sync());
  const values = [one.value ?? token];
  return async () => {
    if (fails) session.expect(await session.answer(), "12EZ");
    else session.expect(await session.answer(), `${types}Z`, { values });
  };
}

async function deallocate(session: SimSession, name: string): Promise<() => Promise<void>> {
  const isKnown = session.prepared.delete(name);
  await session.send(frontend.query(`deallocate ${name}`));
  return async () => session.expect(await session.answer(), isKnown ? "CZ" : "EZ");
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
    assert.match(result.tags[0]!, new RegExp(`^COPY ${count}\\b`));
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
  // What is not reported does not follow its client.
  const isOld = session.client.stage.plan.hosts?.isReported === false;
  const name = session.random.pick([
    ...["TimeZone", "application_name", "IntervalStyle"],
    ...isOld ? [] : ["default_transaction_read_only"],
  ]);
  const value = name === "application_name"
    ? session.client.name
    : `Any/${session.client.token()}`.replace(":", "_");
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

/** Whom a client makes of itself it is to the end of its transaction, and nobody after it. */
async function becomeAnother(session: SimSession): Promise<void> {
  const user = session.parameters.get("session_authorization")!;
  session.parameters.delete("session_authorization");
  await session.query(session.signed("begin"));
  await session.query(session.signed("set session authorization root"));
  await session.park();
  session.expect(await session.query(session.signed("show is_superuser")), "TDCZ", {
    values: ["on"],
    status: "T",
  });
  session.expect(await session.query(session.signed("commit")), "CZ");
  if (session.client.stage.plan.mode === "session") {
    session.expect(await session.query(session.signed("reset session authorization")), "CZ");
  }
  session.parameters.set("session_authorization", user);
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
  // Before it is asked for, it may hit nothing.
  session.client.cancelable.add(token);
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

/** Asks for a cancel of what may end by itself at any moment, and the server be somebody else's. */
async function sleepCanceled(session: SimSession): Promise<void> {
  const token = session.client.token();
  await session.send(frontend.query(`select pg_sleep(1) /* ${token} */`));
  for (let i = session.random.below(3); i > 0; i--) await session.park();
  session.client.cancelable.add(token);
  const canceling = cancel(session);
  for (let i = session.random.below(5); i > 0; i--) await session.park();
  const { backends } = session.client.stage.world.postgres;
  const running = backends.find(({ isSleeping, sender }) => isSleeping && sender === token);
  if (session.random.chance(0.7)) running?.wake();
  const result = await session.answer();
  if (result.errors.length > 0) assert.equal(result.errors[0]?.sqlstate, "57014");
  else session.expect(result, "TDCZ");
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
  client.cancelCount += 1;
  await sendCancel(client, connection.cancelKey!);
  client.cancelCount -= 1;
}

async function wrongCancel({ client }: SimSession): Promise<void> {
  const key = client.random.bytes(8);
  // Nobody's: those of a pooler have it clear. Two sources of chance may give the same bytes here.
  key[0]! |= 0x80;
  await sendCancel(client, key);
}

async function sendCancel({ stage }: SimActor, key: Uint8Array): Promise<void> {
  let canceler;
  try {
    canceler = new TestClient(await stage.world.dial());
  } catch (error) {
    // Where nobody listens any more.
    if (error instanceof DialError && stage.closing !== undefined) return;
    throw error;
  }
  await canceler.send(frontend.cancelRequest(key));
  const answer = await canceler.receiveUntilEnd();
  assert.ok(answer.length === 0 || stage.closing !== undefined, "A cancel request has no answer");
  canceler.close();
}

/** Leaves in the middle of something, without a word. */
async function vanish(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  const { random } = session;
  const isMulti = session.client.stage.plan.mode !== "statement";
  if (isMulti && random.chance(0.5)) {
    await session.query(session.signed("begin"));
    if (random.chance(0.3)) await session.query(session.signed("set TimeZone = 'Zone/Lost'"));
    if (random.chance(0.2)) await session.query(session.signed("error 22012"));
  }
  await beginSomething(session);
  if (random.chance(0.7)) await session.park();
  if (random.chance(0.2)) await session.send(frontend.terminate());
  if (random.chance(0.5)) session.client.stream?.reset();
  else session.connection.close();
  throw new Gone(undefined);
}

/** Sends something of which the end is not waited for. */
async function beginSomething(session: SimSession): Promise<void> {
  const { random } = session;
  const token = session.client.token();
  const begin = random.pick<() => Promise<void>>([
    () => Promise.resolve(),
    () => session.send(...sleeps(session, random.between(1, 3)).map(frontend.query)),
    () => session.send(...sleeps(session, random.between(1, 4)).flatMap(synced)),
    () => session.send(frontend.query(session.echo().sql).subarray(0, random.between(1, 20))),
    () => session.send(...synced(session.echo().sql).slice(0, random.between(1, 3))),
    () => session.send(...synced(session.signed("copy t from stdin"))),
    () =>
      session.send(...synced(session.signed("copy t from stdin")).slice(0, 3), frontend.flush()),
    () => session.send(frontend.query(`rows 40 '${token}${"v".repeat(400)}' /* ${token} */`)),
    () => session.send(frontend.query(`copy t to stdout 40 '${token} v' /* ${token} */`)),
    () => session.send(...Array.from({ length: 30 }, () => frontend.query(session.echo().sql))),
    () => copyInHalf(session),
  ]);
  await begin();
}

/** Begins a COPY and sends some data, perhaps not to the end of a message. */
async function copyInHalf(session: SimSession): Promise<void> {
  const { client, random } = session;
  await session.send(frontend.query(session.signed("copy t from stdin")));
  // In a transaction that has failed there is none.
  const isHeard = session.connection.status !== "E" && random.chance(0.7);
  if (isHeard) await session.until("G");
  const data = frontend.copyData(`${client.token()} and more`);
  await session.send(random.chance(0.5) ? data : data.subarray(0, 12));
}

/** One statement in the extended protocol. */
function synced(sql: string): Uint8Array[] {
  return [frontend.parse(sql), frontend.bind(), frontend.execute(), frontend.sync()];
}

/** Statements that the pooler may cancel, since nobody waits for them any more. */
function sleeps(session: SimSession, count: number): string[] {
  return Array.from({ length: count }, () => {
    const token = session.client.token();
    session.client.cancelable.add(token);
    return `select pg_sleep(1) /* ${token} */`;
  });
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
  const bytes = session.random.pick([
    session.random.bytes(session.random.between(5, 60)),
    frontend.parse("select 1").fill(0x21, 0, 1),
    ...[0, 1, 2, 3, 2 ** 31 - 1, 2 ** 32 - 1].map((length) => claiming(length)),
  ]);
  await session.send(
    session.random.chance(0.5) ? bytes : frontend.query(session.echo().sql),
    bytes,
  );
  for (let i = session.random.below(4); i > 0; i--) await session.park();
  session.connection.close();
  throw new Gone(undefined);
}

/** The beginning of a message of a length that is none, or more than anybody sends. */
function claiming(length: number): Uint8Array {
  const message = frontend.query("select 1");
  new DataView(message.buffer, message.byteOffset).setUint32(1, length);
  return message;
}

/** A transaction where there may be none: the client is told so and closed. */
async function forbiddenTransaction(session: SimSession): Promise<void> {
  session.client.hasBrokenOff = true;
  try {
    await session.query(session.signed("begin"));
  } catch (error) {
    assert.ok(error instanceof Gone);
    const { closing, plan: { isCalm } } = session.client.stage;
    if (isCalm && closing === undefined && !session.client.isDoomed) {
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
  const how = session.random.pick([
    "close",
    "reset",
    "fatal",
    "garbage",
    "cut",
    "huge",
    "bad_ready",
  ]);
  await session.query(session.signed(`misbehave ${how}`));
  assert.fail(`A client goes on after its server did this: ${how}`);
}

/** After these what was counted is known. */
const TIDY: readonly Operation[] = [
  ...[simple, simple, simple, twoStatements, empty, failing, manyRows, bigQuery, severalAtOnce],
  ...[prepared, prepared, prepared, huge, readSlowly],
  ...[extended, extended, pipeline, flushed, loneSync, loneFlush, functionCall],
  ...[copyIn, extendedCopyIn, copyOut],
  ...[sessionId, sessionId, setParameter, showParameters, sleep, wrongCancel],
];

const TIDY_TRANSACTIONS: readonly Operation[] = [
  ...[transaction, transaction, transaction, extendedTransaction, setInTransaction],
  becomeAnother,
];

const ANYWHERE: readonly Operation[] = [
  ...TIDY,
  ...[canceled, canceled, canceledLate, failingCopyIn],
  ...[vanish, queryAndTerminate, garbage],
];

const WITH_TRANSACTIONS: readonly Operation[] = [...ANYWHERE, ...TIDY_TRANSACTIONS];

const TIDY_WITH_TRANSACTIONS: readonly Operation[] = [...TIDY, ...TIDY_TRANSACTIONS];

const CANCELING: readonly Operation[] = [
  ...[simple, sleep, sleep, sleep, sleep, sleep, canceled, canceledLate, vanish],
  ...[sleepCanceled, sleepCanceled, sleepCanceled],
];

const LOSING: readonly Operation[] = [
  ...[vanish, vanish, vanish, vanish, vanish, queryAndTerminate],
  ...[simple, simple, extended, sessionId, setParameter, showParameters, sleep],
];

/** What a client of this run chooses from. */
export function operationsFor({ isCalm, mode, theme }: SimPlan): readonly Operation[] {
  if (theme === "cancel") return CANCELING;
  if (theme === "loss") return LOSING;
  if (theme === "tidy") return mode === "statement" ? TIDY : TIDY_WITH_TRANSACTIONS;
  const operations = mode === "statement" ? [...ANYWHERE, forbiddenTransaction] : WITH_TRANSACTIONS;
  return isCalm ? operations : [...operations, sabotage];
}
