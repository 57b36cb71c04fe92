/**
 * One backend of the fake PostgreSQL: reads messages, runs what `fake_sql.ts` knows, keeps the state
 * that a real backend keeps, and can be made to break the rules.
 */

import type { ByteStream } from "../../src/net/byte_stream.ts";
import { copyBoth, copyIn, copyOut } from "./fake_copy.ts";
import { BackendEnd, FakeLine } from "./fake_line.ts";
import { misbehave } from "./fake_misbehaviour.ts";
import { columnsOf, type Command, commentOf, readCommand, splitStatements } from "./fake_sql.ts";
import { BadParameter, FakeSessionParameters } from "./fake_session_parameters.ts";
import { FakeStatements, type Portal, StatementError } from "./fake_statements.ts";
import {
  backend as say,
  type MessageSplitter,
  type RawMessage,
  readCstrings,
  readInt32,
  readValues,
} from "./messages.ts";

/** What a backend is made of. */
export interface FakeBackendOptions {
  readonly stream: ByteStream;
  readonly splitter: MessageSplitter;
  readonly chunks: AsyncIterator<Uint8Array, void, void>;
  readonly processId: number;
  readonly secret: Uint8Array;
  readonly user: string;
  readonly database: string;
  readonly parameters: FakeSessionParameters;
  /** Of the StartupMessage. */
  readonly asked: ReadonlyMap<string, string>;
  /** What a look-up answers, by name. */
  readonly secrets: SecretRows;
  /** Whether it can say whether it is a standby. */
  readonly knowsRole: boolean;
  /** What it is at its login. */
  readonly roleAtLogin: "read_write_primary" | "read_only_primary" | "standby";
  readonly watch: BackendWatch;
}

/** What a simulation wants to know of backends, and has them do. */
export interface BackendWatch {
  /** Told of each statement that has a comment, before it runs. */
  onRun?: (backend: FakeBackend, sender: string) => void;
  /** Told of each cancel request that arrives, whether the backend runs anything or not. */
  onCancel?: (backend: FakeBackend) => void;
  /** Whether what belongs to no row carries the comment of its statement as well. */
  marksReplies: boolean;
}

/** What clients had of a backend; what the pooler asked for itself does not count. */
export interface ServedCounts {
  /** ReadyForQuery. */
  readies: number;
  /** Those of them that are in no transaction. */
  idleReadies: number;
  /** Parse. */
  parses: number;
}

/** Rows of name and secret, by the name that is asked for. */
export type SecretRows = ReadonlyMap<string, readonly (readonly (string | null)[])[]>;

/** A statement that was run, for tests that ask what reached a server. */
export interface RunStatement {
  readonly processId: number;
  readonly sql: string;
  /** The comment in it. */
  readonly sender: string | undefined;
  /** Transaction status before it ran. */
  readonly status: string;
}

/** Found when a statement is parsed; other errors when it runs. */
const FOUND_WHEN_PARSED: readonly string[] = ["42601", "42703"];

/** One session of the fake PostgreSQL. */
export class FakeBackend {
  readonly processId: number;
  readonly secret: Uint8Array;
  readonly user: string;
  readonly database: string;
  readonly stream: ByteStream;
  readonly parameters: FakeSessionParameters;
  readonly statements = new FakeStatements();
  /** What its StartupMessage asked for. */
  readonly asked: ReadonlyMap<string, string>;
  readonly roleAtLogin: FakeBackendOptions["roleAtLogin"];
  /** Every statement run, in order. */
  readonly ran: RunStatement[] = [];
  /** What COPY brought in, a text for each CopyData. */
  readonly copied: string[] = [];
  /** Where one client's messages came amid what belongs to another. */
  readonly mixUps: string[] = [];
  /** Names that were looked up. */
  readonly lookedUp: (string | null)[] = [];
  readonly served: ServedCounts = { readies: 0, idleReadies: 0, parses: 0 };
  /** Every message received after the login, by type. */
  received = "";
  status: "I" | "T" | "E" = "I";
  isClosed = false;
  /** Whether the signal of a cancel request is late: the next statement is hit by it. */
  isSignalDue = false;
  /** Sent in one piece with the next ReadyForQuery, behind it. */
  postscript: Uint8Array | undefined;
  /** Whether the next ReadyForQuery waits, once, until it is woken; what is before it is sent. */
  pausesBeforeReady = false;
  /** Whether the client said goodbye. */
  isTerminated = false;

  readonly #secrets: SecretRows;
  readonly #watch: BackendWatch;
  readonly #knowsRole: boolean;
  readonly #line: FakeLine;
  #isSkippingToSync = false;
  #sleep: PromiseWithResolvers<boolean> | undefined;
  #sender: string | undefined;
  /** Whether what is served was not asked for by a client. */
  #isPoolersOwn = false;
  /** Whose transaction or unsynced messages these are. */
  #owner: string | undefined;

  constructor(options: FakeBackendOptions) {
    this.processId = options.processId;
    this.secret = options.secret;
    this.user = options.user;
    this.database = options.database;
    this.stream = options.stream;
    this.parameters = options.parameters;
    this.asked = options.asked;
    this.roleAtLogin = options.roleAtLogin;
    this.#secrets = options.secrets;
    this.#watch = options.watch;
    this.#knowsRole = options.knowsRole;
    const { chunks, splitter, stream } = options;
    this.#line = new FakeLine({ chunks, splitter, stream, onMessage: (type) => this.#count(type) });
  }

  /** Whether a statement waits to be woken. */
  get isSleeping(): boolean {
    return this.#sleep !== undefined;
  }

  /** Who sent the statement that runs now, by its comment. */
  get sender(): string | undefined {
    return this.#sender;
  }

  /** Serves until the client leaves. */
  async run(): Promise<void> {
    try {
      for (;;) {
        const received = await this.#line.next();
        if (received === undefined || received.type === "X") {
          this.isTerminated = received !== undefined;
          return;
        }
        await this.#handle(received);
      }
    } catch (error) {
      if (!(error instanceof BackendEnd)) throw error;
    } finally {
      this.isClosed = true;
      this.stream.close();
    }
  }

  /** Lets a sleeping statement go on. */
  wake(): void {
    this.#sleep?.resolve(true);
  }

  /** Cancels the running statement. Returns whether there was one. */
  cancel(): boolean {
    const isRunning = this.#sleep !== undefined;
    this.#sleep?.resolve(false);
    return isRunning;
  }

  /** Says something without being asked. */
  async speak(...messages: readonly Uint8Array[]): Promise<void> {
    await this.#line.speak(...messages);
  }

  /** Ends as on `pg_terminate_backend()`. */
  async terminate(): Promise<void> {
    this.#line.terminate();
    await this.speak(
      say.error("57P01", "terminating connection due to administrator command", "FATAL"),
    );
    this.close();
  }

  /** Ends without a word. */
  close(): void {
    this.#sleep?.resolve(true);
    this.stream.close();
  }

  #count(type: string): void {
    this.received += type;
    if (type === "P") this.served.parses += 1;
  }

  async #handle({ type, body }: RawMessage): Promise<void> {
    this.#isPoolersOwn = type === "Q" && isPoolersOwn(readCstrings(body)[0] ?? "");
    if (type === "S") return await this.#sync();
    if (this.#isSkippingToSync) return;
    if (type === "Q") return await this.#simple(readCstrings(body)[0] ?? "");
    if (type === "H") return await this.#line.flush();
    // What is left of a COPY that has failed.
    if (type === "d" || type === "c" || type === "f") return;
    try {
      await this.#extended({ type, body });
    } catch (error) {
      this.#fail(error);
      this.#isSkippingToSync = type !== "F";
      await this.#line.flush();
    }
  }

  async #simple(sql: string): Promise<void> {
    this.statements.forget("");
    const statements = splitStatements(sql);
    if (statements.length === 0) this.#line.put(say.empty());
    try {
      if (this.status === "I") this.parameters.save();
      for (const statement of statements) await this.#run(statement, { values: [] });
      if (this.status === "I") this.parameters.settle(true);
    } catch (error) {
      this.#fail(error);
    }
    await this.#ready();
  }

  async #sync(): Promise<void> {
    this.#isSkippingToSync = false;
    if (this.status === "I") {
      this.statements.closePortals();
      this.parameters.settle(true);
    }
    await this.#ready();
  }

  async #extended({ type, body }: RawMessage): Promise<void> {
    switch (type) {
      case "P":
        return this.#parse(body);
      case "B":
        return this.#bind(body);
      case "D":
        return this.#describe(body);
      case "E":
        return await this.#execute(body);
      case "C": {
        const { isStatement, name } = readTarget(body);
        this.statements.close(isStatement ? "statement" : "portal", name);
        return this.#line.put(say.closeComplete());
      }
      case "F":
        this.#line.put(say.functionCallResponse(`function ${readInt32(body)}`));
        return await this.#ready();
      default:
        this.#line.put(say.error("08P01", `invalid frontend message type ${type}`, "FATAL"));
        await this.#line.flush();
        throw new BackendEnd();
    }
  }

  #parse(body: Uint8Array): void {
    const [name = "", sql = ""] = readCstrings(body);
    if (name === "") this.statements.forget("");
    this.#noteOwner(commentOf(sql));
    const command = readCommand(sql);
    this.#refuseInFailedTransaction(command);
    if (command.kind === "error" && FOUND_WHEN_PARSED.includes(command.sqlstate)) {
      throw new StatementError(command.sqlstate, command.text);
    }
    this.statements.prepare(name, sql);
    this.#line.put(say.parseComplete());
  }

  #bind(body: Uint8Array): void {
    const [portal = "", name = ""] = readCstrings(body);
    const sql = this.statements.sql(name);
    const rest = body.subarray(portal.length + name.length + 2);
    const formats = rest[0]! << 8 | rest[1]!;
    this.statements.bind(portal, { sql, values: readValues(rest.subarray(2 + 2 * formats)) });
    this.#line.put(say.bindComplete());
  }

  #describe(body: Uint8Array): void {
    const { isStatement, name } = readTarget(body);
    // As PostgreSQL, which looks at the result only when it has told of the parameters.
    const isOutdated = isStatement && name === this.statements.outdated;
    if (isOutdated) this.#line.put(say.parameterDescription());
    const sql = isStatement ? this.statements.sql(name) : this.statements.portal(name).sql;
    if (isStatement) this.#line.put(say.parameterDescription());
    const columns = columnsOf(readCommand(sql));
    this.#line.put(columns === undefined ? say.noData() : say.rowDescription(columns));
  }

  async #execute(body: Uint8Array): Promise<void> {
    const { sql, values } = this.statements.portal(readCstrings(body)[0] ?? "");
    const [statement] = splitStatements(sql);
    if (statement === undefined) return this.#line.put(say.empty());
    if (this.status === "I") this.parameters.save();
    await this.#run(statement, { values, isDescribed: true });
  }

  async #run(
    statement: string,
    { isDescribed = false, values }: { isDescribed?: boolean; values: Portal["values"] },
  ): Promise<void> {
    const command = readCommand(statement);
    const sender = commentOf(statement);
    const { processId, status } = this;
    this.ran.push({ processId, sql: statement, sender, status });
    this.#sender = sender;
    this.#noteOwner(sender);
    if (sender !== undefined) this.#watch.onRun?.(this, sender);
    if (this.isSignalDue) {
      this.isSignalDue = false;
      throw new StatementError("57014", "canceling statement due to user request");
    }
    this.#refuseInFailedTransaction(command);
    const columns = columnsOf(command);
    if (columns !== undefined && !isDescribed) {
      this.#line.put(say.rowDescription(columns.map((name) => this.#marked(name))));
    }
    await this.#runCommand(command, values);
    this.#sender = undefined;
  }

  #refuseInFailedTransaction({ kind }: Command): void {
    if (this.status !== "E" || kind === "commit" || kind === "rollback") return;
    throw new StatementError(
      "25P02",
      "current transaction is aborted, commands ignored until end of transaction block",
    );
  }

  async #runCommand(command: Command, values: Portal["values"]): Promise<void> {
    switch (command.kind) {
      case "begin":
      case "commit":
      case "rollback":
        return this.#transaction(command.kind);
      case "error":
        throw new StatementError(command.sqlstate, command.text);
      case "echo":
        return this.#rows([[command.text === "$1" ? values[0] ?? null : command.text]]);
      case "session_id":
        return this.#rows([[String(this.processId), this.parameters.get("application_name")]]);
      case "look_up":
        return await this.#lookUp(values[0] ?? null, command.waits);
      case "rows":
        return this.#rows(Array.from({ length: command.count }, () => [command.text]));
      case "show":
        return this.#rows([[this.parameters.get(command.name)]], "SHOW");
      case "role":
        if (!this.#knowsRole) throw new StatementError("42883", "no such function");
        return this.#rows(Array.from({ length: this.parameters.roleRowCount }, () => ["1"]));
      case "set":
        this.parameters.set(command.name, command.value);
        return command.rows ? this.#rows([[command.value]]) : this.#complete("SET");
      case "reset":
        this.parameters.reset(command.name);
        return this.#line.put(say.complete("RESET"));
      case "reset_all":
        this.parameters.resetAll();
        return this.#line.put(say.complete("RESET"));
      case "discard_all":
        return this.#discardAll();
      case "deallocate":
        return this.#deallocate(command.name);
      case "unlisten":
        return this.#line.put(say.complete("UNLISTEN"));
      case "sleep":
        return await this.#sleepNow();
      case "copy_in":
        return await this.#copyIn(command.failAfter);
      case "copy_out":
        copyOut(this.#line, command);
        return this.#complete(`COPY ${command.count}`);
      case "copy_both":
        return await this.#copyBoth();
      case "notice":
        return this.#line.put(say.notice(command.text), say.complete("DO"));
      case "misbehave":
        if (command.how === "silence") return await this.#keepSilent();
        return await misbehave(this.#line, command.how);
    }
  }

  #rows(rows: readonly (readonly (string | null)[])[], tag = `SELECT ${rows.length}`): void {
    for (const row of rows) this.#line.put(say.dataRow(row));
    this.#complete(tag);
  }

  #complete(tag: string): void {
    this.#line.put(say.complete(this.#marked(tag)));
  }

  #marked(text: string): string {
    const isMarked = this.#watch.marksReplies && this.#sender !== undefined;
    return isMarked ? `${text} of ${this.#sender}` : text;
  }

  #transaction(kind: "begin" | "commit" | "rollback"): void {
    if (kind === "begin") {
      this.parameters.save();
      if (this.status === "I") this.status = "T";
      return this.#complete("BEGIN");
    }
    const isCommitted = kind === "commit" && this.status !== "E";
    this.parameters.settle(isCommitted);
    this.status = "I";
    this.#complete(isCommitted ? "COMMIT" : "ROLLBACK");
  }

  #discardAll(): void {
    if (this.status !== "I") {
      throw new StatementError("25001", "DISCARD ALL cannot run inside a transaction block");
    }
    this.parameters.resetAll();
    this.statements.clear();
    this.#line.put(say.complete("DISCARD ALL"));
  }

  async #pause(): Promise<void> {
    await this.#line.flush();
    this.#sleep = Promise.withResolvers<boolean>();
    await this.#sleep.promise;
    this.#sleep = undefined;
  }

  #deallocate(name: string | undefined): void {
    if (name === undefined) {
      this.statements.deallocateAll();
      return this.#line.put(say.complete("DEALLOCATE ALL"));
    }
    this.statements.deallocate(name);
    this.#line.put(say.complete("DEALLOCATE"));
  }

  async #lookUp(name: string | null, waits: boolean): Promise<void> {
    this.lookedUp.push(name);
    if (waits) await this.#pause();
    this.#rows(this.#secrets.get(name ?? "") ?? []);
  }

  async #sleepNow(): Promise<void> {
    await this.#line.flush();
    if (this.stream.isClosed) throw new BackendEnd();
    this.#sleep = Promise.withResolvers<boolean>();
    const isDone = await this.#sleep.promise;
    this.#sleep = undefined;
    if (!isDone) {
      throw new StatementError("57014", "canceling statement due to user request");
    }
    this.#rows([[""]]);
  }

  async #copyIn(failAfter: number | undefined): Promise<void> {
    const onData = (text: string) => {
      this.copied.push(text);
      if (/^\w+:/.test(text)) this.#noteOwner(text);
    };
    this.#complete(`COPY ${await copyIn(this.#line, { failAfter, onData })}`);
  }

  async #copyBoth(): Promise<void> {
    const end = await copyBoth(this.#line, (text) => this.copied.push(text));
    if (end === "done") return;
    this.isTerminated = true;
    throw new BackendEnd();
  }

  async #keepSilent(): Promise<void> {
    this.#sleep = Promise.withResolvers<boolean>();
    await this.#sleep.promise;
    throw new BackendEnd();
  }

  #fail(error: unknown): void {
    this.#sender = undefined;
    if (error instanceof BackendEnd) throw error;
    const isKnown = error instanceof StatementError || error instanceof BadParameter;
    if (!isKnown) throw error;
    if (this.status === "I") this.parameters.settle(false);
    else this.status = "E";
    const isOutdated = error instanceof StatementError && error.isOutdated;
    this.#line.put(isOutdated ? say.outdated() : say.error(error.sqlstate, error.message));
  }

  /** Reports what has changed, then says that the next request may come. */
  async #ready(): Promise<void> {
    if (this.pausesBeforeReady) {
      this.pausesBeforeReady = false;
      await this.#pause();
    }
    for (const [name, value] of this.parameters.takeNews()) {
      this.#line.put(say.parameterStatus(name, value));
    }
    if (!this.#isPoolersOwn) {
      this.served.readies += 1;
      if (this.status === "I") this.served.idleReadies += 1;
    }
    this.#line.put(say.ready(this.status), this.postscript ?? new Uint8Array());
    this.postscript = undefined;
    if (this.status === "I") this.#owner = undefined;
    await this.#line.flush();
  }

  /** Until the next ReadyForQuery with status idle, all must come from one client. */
  #noteOwner(sender: string | undefined): void {
    const owner = sender?.split(":")[0];
    if (owner === undefined) return;
    this.#owner ??= owner;
    if (owner !== this.#owner) this.mixUps.push(`${sender} amid what is ${this.#owner}'s`);
  }
}

/**
 * Whether a query is the pooler's own: clients of a simulation sign theirs, but for what would not be
 * known any more if it had a comment.
 */
function isPoolersOwn(sql: string): boolean {
  return commentOf(sql) === undefined && !/^(?:deallocate|unlisten)\b/i.test(sql);
}

/** What a Describe or a Close is about. */
function readTarget(body: Uint8Array): { isStatement: boolean; name: string } {
  const isStatement = String.fromCharCode(body[0]!) === "S";
  return { isStatement, name: readCstrings(body.subarray(1))[0] ?? "" };
}
