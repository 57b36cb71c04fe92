/**
 * Clients of the ledger: two drivers, and clients that speak messages, each with a protocol of its own.
 * A client answers what it saw of a transfer. What it never asked to commit was rolled back, whatever
 * became of the connection; what it asked to commit and had no answer to is unknown.
 */

// @ts-types="@types/pg"
import pg from "pg";
import postgres from "postgres";
import { saysItIsOver } from "../../tests/support/connection_end.ts";
import { frontend } from "../../tests/support/messages.ts";
import { type QueryResult, TestClient } from "../../tests/support/test_client.ts";
import {
  FAILING_SQL,
  ForeignAnswer,
  type Outcome,
  type Step,
  type Transfer,
  transferSteps,
  withLiterals,
} from "./ledger.ts";

/** Where clients log in, and as whom. */
export interface LedgerTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** PEM of the certificate to be believed; undefined = plain text. */
  readonly certificate?: string | undefined;
}

/** A client that is logged in. */
export interface LedgerClient {
  /** Whether its connection is gone, so that it can do nothing more. */
  readonly isLost: boolean;
  /**
   * Carries out a transfer.
   * @throws {ForeignAnswer} If it was answered with what it had not asked for.
   */
  transfer(transfer: Transfer): Promise<Outcome>;
  /** Leaves, politely where that is possible. */
  end(): Promise<void>;
  /** Leaves without a word; also to be called of one whose connection is lost. */
  vanish(): void;
}

/** A kind of client. */
export interface LedgerClientKind {
  readonly name: string;
  /** Logs in. Rejects with whatever came in between. */
  connect(target: LedgerTarget): Promise<LedgerClient>;
}

/** The connection is gone, or the server said that it goes. */
class Lost extends Error {}

/** A statement was answered with an error, and the connection lives. */
class Refused extends Error {}

/** One statement in, its answer out. Rejects with `Lost`, `Refused` or `ForeignAnswer`. */
type Ask = (step: Step) => Promise<string>;

const BEGIN: Step = { sql: "begin", values: [], tag: "BEGIN" };
const COMMIT: Step = { sql: "commit", values: [], tag: "COMMIT" };
const ROLLBACK: Step = { sql: "rollback", values: [], tag: "ROLLBACK" };
const FAILING: Step = { sql: FAILING_SQL, values: [], tag: "" };

/** A transfer statement by statement. */
async function stepwise(ask: Ask, transfer: Transfer): Promise<Outcome> {
  try {
    for (const step of [BEGIN, ...transferSteps(transfer)]) await ask(step);
    if (transfer.end === "rollback") {
      await ask(ROLLBACK);
      return "rolled back";
    }
    if (transfer.end === "fail") {
      await ask(FAILING).then(unexpected, refusalOnly);
    }
  } catch (error) {
    if (error instanceof Refused) await ask(ROLLBACK).catch(lossOnly);
    else lossOnly(error);
    return "rolled back";
  }
  return await commit(ask, transfer);
}

async function commit(ask: Ask, { end, id }: Transfer): Promise<Outcome> {
  try {
    const tag = await ask(end === "fail" ? ROLLBACK_BY_COMMIT : COMMIT);
    if (tag === "COMMIT") return "committed";
    if (tag === "ROLLBACK") return "rolled back";
    throw new ForeignAnswer(`COMMIT of transfer ${id} was answered with "${tag}"`);
  } catch (error) {
    if (error instanceof Refused) return "rolled back";
    lossOnly(error);
    return "unknown";
  }
}

/** COMMIT of a transaction that has failed. */
const ROLLBACK_BY_COMMIT: Step = { ...COMMIT, tag: "ROLLBACK" };

function unexpected(): never {
  throw new ForeignAnswer("a statement that cannot but fail was answered with success");
}

function refusalOnly(error: unknown): void {
  if (!(error instanceof Refused)) throw error;
}

function lossOnly(error: unknown): void {
  if (!(error instanceof Lost || error instanceof Refused)) throw error;
}

// --- clients that speak messages ---

/** Logs in over a connection of its own, by TLS if there is a certificate. */
export async function connectWire(
  target: LedgerTarget,
  applicationName = "ledger",
): Promise<TestClient> {
  const conn = await Deno.connect({ hostname: target.host, port: target.port });
  try {
    const client = new TestClient(await secured(conn, target));
    const { database, password, user } = target;
    const parameters = { application_name: applicationName };
    await client.login({ user, password, database, parameters });
    return client;
  } catch (error) {
    conn[Symbol.dispose]();
    throw error;
  }
}

async function secured(conn: Deno.TcpConn, { certificate }: LedgerTarget): Promise<Deno.Conn> {
  if (certificate === undefined) return conn;
  await conn.write(frontend.sslRequest());
  const answer = new Uint8Array(1);
  if (await conn.read(answer) === null) throw new Lost("the connection ended before TLS");
  return await Deno.startTls(conn, { hostname: "localhost", caCerts: [certificate] });
}

/**
 * Whether an error says that a connection has ended: closed by either side, TLS cut off, or nothing
 * getting through any more. Anything else is a fault, of Sluice or of the client.
 */
function hasEnded(error: unknown): boolean {
  return saysItIsOver(error) || error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.TimedOut;
}

/** A client of its own wire. */
class WireClient implements LedgerClient {
  readonly #client: TestClient;
  readonly #carryOut: (client: WireClient, transfer: Transfer) => Promise<Outcome>;
  #isLost = false;
  /** The statements it has prepared, by their text. */
  readonly #prepared = new Map<string, { readonly name: string; readonly isDoubtful: boolean }>();

  constructor(
    client: TestClient,
    carryOut: (client: WireClient, transfer: Transfer) => Promise<Outcome>,
  ) {
    this.#client = client;
    this.#carryOut = carryOut;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  async transfer(transfer: Transfer): Promise<Outcome> {
    return await this.#carryOut(this, transfer);
  }

  async end(): Promise<void> {
    // Who is gone already cannot be told goodbye.
    await this.#client.terminate().catch(() => this.vanish());
  }

  vanish(): void {
    this.#isLost = true;
    this.#client.close();
  }

  /** Sends messages that end with one that is answered by ReadyForQuery, and awaits that. */
  async exchange(...messages: readonly Uint8Array[]): Promise<QueryResult> {
    try {
      await this.#client.send(...messages);
      const result = await this.#client.result();
      if (result.status === undefined) this.vanish();
      return result;
    } catch (error) {
      this.vanish();
      if (!hasEnded(error)) throw error;
      return NOTHING;
    }
  }

  /** Messages that run a statement by a name it is prepared under, without the Sync. */
  prepared({ sql, values }: Step): Uint8Array[] {
    const known = this.#prepared.get(sql);
    const { isDoubtful, name } = known ?? { name: `step_${this.#prepared.size}`, isDoubtful: true };
    this.#prepared.set(sql, { name, isDoubtful: false });
    return [
      // To close what is not there is no error.
      ...(isDoubtful ? [frontend.close("S", name), frontend.parse(sql, name)] : []),
      frontend.bind({ statement: name, values: values.map(String) }),
      frontend.execute(),
    ];
  }

  /** Prepares a statement anew the next time: it failed, and it is not known whether it is there. */
  doubt({ sql }: Step): void {
    const known = this.#prepared.get(sql);
    if (known !== undefined) this.#prepared.set(sql, { ...known, isDoubtful: true });
  }
}

/** What is known when nothing came. */
const NOTHING: QueryResult = {
  types: "",
  rows: [],
  copied: [],
  tags: [],
  errors: [],
  notices: [],
  parameters: new Map(),
  status: undefined,
};

/** The tag of a statement's answer, which has to be the right one. */
function checked(step: Step, { errors, rows, status, tags }: QueryResult): string {
  if (errors.length > 0 && status !== undefined) throw new Refused(errors[0]?.message);
  const tag = tags[0];
  if (tag === undefined) {
    if (status === undefined) throw new Lost(errors[0]?.message ?? "no answer");
    throw new ForeignAnswer(`"${step.sql}" was answered with nothing`);
  }
  const isOurs = tag === step.tag && tags.length === 1 && rows.length === (step.row ? 1 : 0) &&
    rows[0]?.[0] === step.row;
  if (isOurs) return tag;
  const shown = `tags ${tags.join()} rows ${JSON.stringify(rows)}`;
  throw new ForeignAnswer(`"${step.sql}" with ${step.values.join()} was answered with ${shown}`);
}

function unnamed({ sql, values }: Step): Uint8Array[] {
  return [frontend.parse(sql), frontend.bind({ values: values.map(String) }), frontend.execute()];
}

function simpleAsk(client: WireClient): Ask {
  return async (step) => checked(step, await client.exchange(frontend.query(withLiterals(step))));
}

function extendedAsk(client: WireClient): Ask {
  return async (step) => checked(step, await client.exchange(...unnamed(step), frontend.sync()));
}

function preparedAsk(client: WireClient): Ask {
  return async (step) => {
    const result = await client.exchange(...client.prepared(step), frontend.sync());
    // A Parse in a transaction that has failed is refused.
    if (result.errors.length > 0) client.doubt(step);
    return checked(step, result);
  };
}

/** All statements of a transfer, of which the last one ends it. */
function allSteps(transfer: Transfer): Step[] {
  const end = transfer.end === "rollback" ? ROLLBACK : COMMIT;
  const failing = transfer.end === "fail" ? [FAILING] : [];
  return [BEGIN, ...transferSteps(transfer), ...failing, end];
}

/** What is seen of a transfer all of which was sent at once. */
async function readAtOnce(
  client: WireClient,
  transfer: Transfer,
  result: QueryResult,
): Promise<Outcome> {
  const { errors, rows, status, tags } = result;
  const expected = allSteps(transfer).map(({ tag }) => tag);
  const isForeign = tags.some((tag, i) => tag !== expected[i]) ||
    rows.some(([value]) => value !== String(transfer.id)) ||
    (errors.length === 0 && status !== undefined && tags.length !== expected.length);
  if (isForeign) {
    const shown = `tags ${tags.join()} rows ${JSON.stringify(rows)}`;
    throw new ForeignAnswer(`transfer ${transfer.id} at once was answered with ${shown}`);
  }
  if (tags.includes("COMMIT")) return "committed";
  if (tags.includes("ROLLBACK")) return "rolled back";
  if (status === undefined) return transfer.end === "commit" ? "unknown" : "rolled back";
  if (status === "E") await client.exchange(frontend.query("rollback"));
  return "rolled back";
}

async function inOneQuery(client: WireClient, transfer: Transfer): Promise<Outcome> {
  const sql = allSteps(transfer).map(withLiterals).join("; ");
  return await readAtOnce(client, transfer, await client.exchange(frontend.query(sql)));
}

async function inOnePipeline(client: WireClient, transfer: Transfer): Promise<Outcome> {
  const messages = allSteps(transfer).flatMap(unnamed);
  return await readAtOnce(client, transfer, await client.exchange(...messages, frontend.sync()));
}

function wireKind(
  name: string,
  carryOut: (client: WireClient, transfer: Transfer) => Promise<Outcome>,
): LedgerClientKind {
  return {
    name,
    connect: async (target) => new WireClient(await connectWire(target), carryOut),
  };
}

// --- drivers ---

/** What a driver's error says: the server's own have a severity. */
function driverError(error: unknown): Error {
  if (!(error instanceof Error)) return new Lost(String(error));
  const severity = "severity" in error ? error.severity : undefined;
  return severity === "ERROR" ? new Refused(error.message) : new Lost(error.message);
}

class PgClient implements LedgerClient {
  readonly #client: pg.Client;
  #isLost = false;

  private constructor(client: pg.Client) {
    this.#client = client;
    client.on("error", () => void (this.#isLost = true));
    client.on("end", () => void (this.#isLost = true));
  }

  static async connect({ certificate, ...target }: LedgerTarget): Promise<PgClient> {
    const ssl = certificate === undefined ? false : { rejectUnauthorized: false };
    const client = new pg.Client({ ...target, ssl, connectionTimeoutMillis: LOGIN_LIMIT_MS });
    const connected = new PgClient(client);
    try {
      await client.connect();
      return connected;
    } catch (error) {
      connected.vanish();
      throw error;
    }
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  async transfer(transfer: Transfer): Promise<Outcome> {
    return await stepwise((step) => this.#ask(step), transfer);
  }

  async #ask(step: Step): Promise<string> {
    let result: pg.QueryResult<unknown[]>;
    try {
      const values = [...step.values];
      result = await this.#client.query<unknown[]>({ text: step.sql, values, rowMode: "array" });
    } catch (error) {
      const known = driverError(error);
      if (known instanceof Lost) this.vanish();
      throw known;
    }
    const { command, rowCount, rows } = result;
    const counts = { INSERT: ` 0 ${rowCount}`, UPDATE: ` ${rowCount}` }[command] ?? "";
    const values = rows.map((row) => row.map(String));
    return checked(step, { ...NOTHING, tags: [`${command}${counts}`], rows: values, status: "I" });
  }

  async end(): Promise<void> {
    if (!this.#isLost) await this.#client.end();
  }

  vanish(): void {
    this.#isLost = true;
    const { stream } = (this.#client as unknown as { connection: { stream: Destroyable } })
      .connection;
    stream.destroy();
  }
}

/** A socket of Node's. */
interface Destroyable {
  destroy(): void;
}

/** How long a driver waits for a login. */
const LOGIN_LIMIT_MS = 60_000;

/** How long a query may take to be told that the connection has gone, in ms. */
const GONE_MS = 1000;

class PostgresJsClient implements LedgerClient {
  readonly #sql: postgres.Sql;
  /** Resolves a while after the connection has gone: a query that meets just that is never answered. */
  readonly #gone = Promise.withResolvers<void>();
  #goneTimer: ReturnType<typeof setTimeout> | undefined;
  #isLost = false;

  private constructor(sql: postgres.Sql, closed: Promise<unknown>) {
    this.#sql = sql;
    void closed.then(() => this.#noteClosed());
  }

  #noteClosed(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#goneTimer = setTimeout(() => this.#gone.resolve(), GONE_MS);
  }

  static async connect({ certificate, ...target }: LedgerTarget): Promise<PostgresJsClient> {
    const ssl = certificate === undefined ? false : { rejectUnauthorized: false };
    const closed = Promise.withResolvers<unknown>();
    const sql = postgres({
      onclose: closed.resolve,
      ...{ ...target, ssl, max: 1, idle_timeout: 0, fetch_types: false, backoff: () => 0 },
      connect_timeout: LOGIN_LIMIT_MS / 1000,
      onnotice: () => {},
    });
    try {
      await sql`select 1`;
      return new PostgresJsClient(sql, closed.promise);
    } catch (error) {
      await sql.end({ timeout: 0 });
      throw error;
    }
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  async transfer(transfer: Transfer): Promise<Outcome> {
    let isAskedToCommit = false;
    try {
      const running = this.#sql.begin(async (sql) => {
        for (const { row, sql: text, values } of transferSteps(transfer)) {
          const [answer] = await sql.unsafe(text, [...values], { prepare: true });
          if (answer?.["id"]?.toString() === row) continue;
          const shown = JSON.stringify(answer);
          throw new ForeignAnswer(`"${text}" with ${values.join()} was answered with ${shown}`);
        }
        if (transfer.end === "rollback") throw new Refused("as was meant");
        if (transfer.end === "fail") await sql.unsafe(FAILING_SQL);
        isAskedToCommit = true;
      });
      const gone = this.#gone.promise.then(() => {
        throw new Lost("the connection has gone");
      });
      await Promise.race([running, gone]);
      return "committed";
    } catch (error) {
      if (error instanceof ForeignAnswer) throw error;
      const known = error instanceof Refused ? error : driverError(error);
      if (known instanceof Lost) this.#isLost = true;
      return isAskedToCommit && known instanceof Lost ? "unknown" : "rolled back";
    }
  }

  async end(): Promise<void> {
    this.#isLost = true;
    await this.#sql.end({ timeout: 1 });
  }

  vanish(): void {
    this.#isLost = true;
    clearTimeout(this.#goneTimer);
    void this.#sql.end({ timeout: 0 });
  }
}

/**
 * Postgres.js may write once more to a connection that it knows to be gone, in a callback of the runtime's
 * that nobody can catch. The transfer has been rejected by then. Disposed, it is an error again.
 */
export function tolerateLateWrites(): Disposable {
  const tolerate = (event: ErrorEvent) => {
    const stack = event.error instanceof TypeError ? event.error.stack ?? "" : "";
    if (/reading 'write'[^]*nextWrite[^]*\/postgres\//.test(stack)) event.preventDefault();
  };
  addEventListener("error", tolerate);
  return { [Symbol.dispose]: () => removeEventListener("error", tolerate) };
}

/** All kinds. */
export const LEDGER_CLIENTS: readonly LedgerClientKind[] = [
  wireKind("simple", (client, transfer) => stepwise(simpleAsk(client), transfer)),
  wireKind("one query", inOneQuery),
  wireKind("extended", (client, transfer) => stepwise(extendedAsk(client), transfer)),
  wireKind("pipeline", inOnePipeline),
  wireKind("prepared", (client, transfer) => stepwise(preparedAsk(client), transfer)),
  { name: "pg", connect: (target) => PgClient.connect(target) },
  { name: "postgres", connect: (target) => PostgresJsClient.connect(target) },
];
