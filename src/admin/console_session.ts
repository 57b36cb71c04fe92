/**
 * Serves one client of the console: walks what it sends and runs its commands one at a time, in
 * the order in which they came. The next is not looked at before the last one's answer was taken:
 * the promise of `onClientChunk()` holds the client's receive loop.
 */

import { Deferred } from "../base/deferred.ts";
import { turnOn } from "../base/turn.ts";
import type { ClientService, ClientSession } from "../client/client_session.ts";
import {
  bindComplete,
  closeComplete,
  commandComplete,
  emptyQueryResponse,
  noData,
  parameterDescription,
  parseComplete,
  portalSuspended,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from "../wire/backend_messages.ts";
import { BodyReader } from "../wire/body_reader.ts";
import { errorResponse, noticeResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Frontend, Target } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { type AdminCommand, parseAdminCommand } from "./admin_parser.ts";
import { AnswerStream } from "./answer_stream.ts";
import type { ConsoleContext, ConsoleRights } from "./console_context.ts";
import { invalidCommand } from "./invalid_command.ts";
import { type Portal, type PortalProgress, PreparedCommands } from "./prepared_commands.ts";
import { OID, textRow } from "./result_set.ts";
import { columnsOf, type CommandOutcome, type RunCommand, runCommand } from "./run_command.ts";
import { rowsInSteps } from "./selection.ts";
import { formatsOf, rowIn } from "./value_formats.ts";

/** Longest message; a command is a line. Longer ones are taken for an attack or a mistake. */
const MAX_MESSAGE_BYTES = 65_536;

const READY = readyForQuery(TransactionStatus.Idle);

/** Commands of one chunk that are run in one go: as short as they are, many take their time. */
const COMMANDS_A_TURN = 10;

/** What a console session is made of. */
export interface ConsoleSessionOptions {
  readonly client: ClientSession;
  readonly context: ConsoleContext;
  readonly rights: ConsoleRights;
}

/** A command that has not come to its outcome. */
interface RunningCommand {
  /** Ends what it waits for. */
  readonly canceled: AbortController;
  /** The client is gone. */
  readonly left: Deferred<undefined>;
}

/** The service of a client that logged in to the console. */
export class ConsoleSession implements ClientService {
  readonly #options: ConsoleSessionOptions;
  readonly #cursor = MessageCursor.ofWhole(MAX_MESSAGE_BYTES);
  readonly #answers: AnswerStream;
  readonly #prepared = new PreparedCommands();
  #running: RunningCommand | undefined;
  /** After an error in the extended protocol everything up to the Sync is dropped. */
  #isSkippingToSync = false;
  #isDetached = false;

  constructor(options: ConsoleSessionOptions) {
    this.#options = options;
    this.#answers = new AnswerStream(options.client);
  }

  /**
   * Takes what the client sent; resolves when all of it has been answered.
   * @throws {ProtocolError} If it is not what a client may send.
   */
  async onClientChunk(buffer: Uint8Array, length: number): Promise<void> {
    const cursor = this.#cursor;
    cursor.feed(buffer, length);
    let runCount = 0;
    while (!this.#isDetached && cursor.next()) {
      await this.#receive(cursor);
      if (!isRun(cursor.type)) continue;
      runCount += 1;
      if (runCount % COMMANDS_A_TURN === 0) await this.#turn();
    }
    await this.#answers.flush();
  }

  /** Ends what is being waited for; the command fails, and the session goes on. */
  cancel(): boolean {
    if (this.#running === undefined) return false;
    this.#running.canceled.abort(
      new PgError(SQLSTATE.queryCanceled, "canceling statement due to user request", {
        severity: "ERROR",
      }),
    );
    return true;
  }

  /** The client is gone: what it had still asked is not run, and what it waited for goes on. */
  detach(): void {
    this.#isDetached = true;
    this.#running?.left.resolve(undefined);
  }

  async #receive(cursor: MessageCursor): Promise<void> {
    switch (cursor.type) {
      case Frontend.Terminate:
        await this.#answers.flush();
        return this.#options.client.end("client close request");
      case Frontend.Sync:
        this.#isSkippingToSync = false;
        this.#prepared.endPortals();
        this.#answers.add(READY);
        return await this.#answers.flush();
    }
    if (this.#isSkippingToSync) return;
    switch (cursor.type) {
      case Frontend.Query:
        return await this.#query(queryText(cursor));
      case Frontend.Parse:
      case Frontend.Bind:
      case Frontend.Describe:
      case Frontend.Execute:
      case Frontend.Close:
        return await this.#extended(cursor.type, bodyOf(cursor));
      case Frontend.Flush:
        return await this.#answers.flush();
      default:
        this.#refuse(unsupported(cursor.type), READY);
    }
  }

  /** One command in a Query: rows in text, and ReadyForQuery. */
  async #query(text: string): Promise<void> {
    this.#prepared.dropUnnamed();
    try {
      const command = parseAdminCommand(text);
      if (command === undefined) throw invalidCommand(text);
      const run = await this.#run(command);
      if (run === undefined) return;
      await this.#tell(run);
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      this.#refuse(error, READY);
    }
    await this.#answers.flush();
  }

  /** Tells what came of a Query, and does what is to be done after that. */
  async #tell(run: RunCommand): Promise<void> {
    const { outcome } = run;
    if (outcome.kind === "rows") {
      const { columns } = outcome.table;
      const steps = rowsInSteps(outcome.table, outcome.selection, () => this.#turn());
      this.#answers.add(rowDescription(columns));
      for await (const step of steps) {
        // Whoever has left is sent nothing, and its rows need not be made.
        if (this.#isDetached) return;
        this.#answers.add(...step.map(textRow));
      }
    }
    await this.#finish(run, READY);
  }

  /** Tells how it ended, and does what is to be done after that, whether or not that is taken. */
  async #finish({ afterwards, outcome }: RunCommand, ...behind: Uint8Array[]): Promise<void> {
    this.#addEnd(outcome);
    if (outcome.kind !== "silence") this.#answers.add(...behind);
    const sending = this.#answers.flush();
    afterwards?.();
    await sending;
  }

  #addEnd(outcome: CommandOutcome): void {
    switch (outcome.kind) {
      case "silence":
        return;
      case "empty":
        return this.#answers.add(emptyQueryResponse());
      case "rows":
        return this.#answers.add(commandComplete(outcome.tag));
      case "done":
        if (outcome.notice !== undefined) this.#answers.add(noticeResponse(outcome.notice));
        return this.#answers.add(commandComplete(outcome.tag));
    }
  }

  /** Lets others have the thread between two steps of a long answer, or of many. */
  async #turn(): Promise<void> {
    await this.#answers.flush();
    await turnOn(this.#options.context.clock);
  }

  /** Runs a command; undefined if the client left meanwhile. */
  async #run(command: AdminCommand): Promise<RunCommand | undefined> {
    const { client, context, rights } = this.#options;
    // Anew for each command: a promise keeps all that was ever raced against it.
    const running = { canceled: new AbortController(), left: new Deferred<undefined>() };
    this.#running = running;
    // Commands that wait hold the receive loop: a client that leaves must be noticed all the same.
    if (doesWait(command)) client.watchForEnd();
    try {
      return await Promise.race([
        runCommand(command, { context, rights, signal: running.canceled.signal }),
        running.left.promise,
      ]);
    } finally {
      this.#running = undefined;
    }
  }

  async #extended(type: number, reader: BodyReader): Promise<void> {
    try {
      await this.#runExtended(type, reader);
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      this.#isSkippingToSync = true;
      this.#refuse(error);
    }
  }

  /** Tells an error, the log as well. */
  #refuse(error: PgError, ...behind: Uint8Array[]): void {
    this.#options.client.noteError(error);
    this.#answers.add(errorResponse(error), ...behind);
  }

  async #runExtended(type: number, reader: BodyReader): Promise<void> {
    switch (type) {
      case Frontend.Parse:
        this.#prepared.parse(reader);
        return this.#answers.add(parseComplete());
      case Frontend.Bind:
        this.#prepared.bind(reader);
        return this.#answers.add(bindComplete());
      case Frontend.Describe:
        return this.#describe(reader);
      case Frontend.Close:
        return this.#close(reader);
      case Frontend.Execute:
        return await this.#execute(this.#prepared.portal(reader.cstring()), reader.int32());
    }
  }

  #describe(reader: BodyReader): void {
    if (reader.int8() === Target.Statement) {
      const { example, parameterOids } = this.#prepared.command(reader.cstring());
      this.#answers.add(parameterDescription(parameterOids.map((oid) => oid || OID.text)));
      return this.#addColumns(example, []);
    }
    const { command, formatCodes } = this.#prepared.portal(reader.cstring());
    this.#addColumns(command, formatCodes);
  }

  #addColumns(command: AdminCommand, formatCodes: readonly number[]): void {
    const columns = columnsOf(command, this.#options.context);
    if (columns === undefined) return this.#answers.add(noData());
    this.#answers.add(rowDescription(columns, formatsOf(formatCodes, columns.length)));
  }

  #close(reader: BodyReader): void {
    if (reader.int8() === Target.Statement) this.#prepared.closeCommand(reader.cstring());
    else this.#prepared.closePortal(reader.cstring());
    this.#answers.add(closeComplete());
  }

  /** @param maxRows 0 for all that there are. */
  async #execute(portal: Portal, maxRows: number): Promise<void> {
    if (portal.progress !== undefined) return await this.#goOn(portal.progress, maxRows);
    if (portal.isRun) throw alreadyRun();
    portal.isRun = true;
    const run = await this.#run(portal.command);
    if (run === undefined) return;
    if (run.outcome.kind !== "rows") return await this.#finish(run);
    portal.progress = this.#begin(portal, run.outcome);
    await this.#goOn(portal.progress, maxRows);
  }

  #begin(
    { formatCodes }: Portal,
    { selection, table, tag }: Extract<CommandOutcome, { readonly kind: "rows" }>,
  ): PortalProgress {
    const formats = formatsOf(formatCodes, table.columns.length);
    const steps = rowsInSteps(table, selection, () => this.#turn());
    return { tag, table, formats, steps, held: [], isOver: false };
  }

  /** Sends the next rows of a portal, and says whether there are more. */
  async #goOn(progress: PortalProgress, maxRows: number): Promise<void> {
    const { formats, steps, table, tag } = progress;
    let left = maxRows > 0 ? maxRows : Infinity;
    while (!this.#isDetached) {
      const sent = progress.held.slice(0, Math.min(left, progress.held.length));
      progress.held = progress.held.slice(sent.length);
      left -= sent.length;
      this.#answers.add(...sent.map((row) => rowIn(table.columns, formats, row)));
      // As PostgreSQL: who has got as many as it asked for has to ask whether that was all.
      if (left === 0) return this.#answers.add(portalSuspended());
      if (progress.isOver) return this.#answers.add(commandComplete(tag));
      const next = await steps.next();
      if (next.done === true) progress.isOver = true;
      else progress.held = next.value;
    }
  }
}

/** Whether a message has a command run. */
function isRun(type: number): boolean {
  return type === Frontend.Query || type === Frontend.Execute;
}

function doesWait({ kind }: AdminCommand): boolean {
  return kind === "pause" || kind === "suspend" || kind === "wait_close" || kind === "reload";
}

function bodyOf(cursor: MessageCursor): BodyReader {
  return new BodyReader(cursor.buffer, cursor.start + HEADER_BYTES, cursor.end);
}

function queryText(cursor: MessageCursor): string {
  const reader = bodyOf(cursor);
  const text = reader.cstring();
  if (reader.remaining > 0) throw new ProtocolError("failed to parse packet");
  return text;
}

function alreadyRun(): PgError {
  return new PgError(SQLSTATE.objectNotInPrerequisiteState, "portal cannot be run a second time", {
    severity: "ERROR",
  });
}

function unsupported(type: number): PgError {
  return new PgError(
    SQLSTATE.protocolViolation,
    `unsupported packet type for admin console: ${type}`,
    { severity: "ERROR" },
  );
}
