/**
 * Serves one client of the console: walks what it sends and runs its commands one at a time, in
 * the order in which they came. The next is not looked at before the last one's answer was taken:
 * the promise of `onClientChunk()` holds the client's receive loop.
 */

import type { ClientService, ClientSession } from "../client/client_session.ts";
import { readyForQuery, TransactionStatus } from "../wire/backend_messages.ts";
import { BodyReader } from "../wire/body_reader.ts";
import { errorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Frontend } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ConsoleContext, ConsoleRights } from "./console_context.ts";
import { runCommand } from "./run_command.ts";

/** Longest message; a command is a line. Longer ones are taken for an attack or a mistake. */
const MAX_MESSAGE_BYTES = 65_536;

/** Every message is held until it is whole: none is long. */
const ALL_INSPECTED = new Uint8Array(256).fill(1);

const READY = readyForQuery(TransactionStatus.Idle);

const NO_EXTENDED_PROTOCOL = errorResponse(
  new PgError(
    SQLSTATE.featureNotSupported,
    "extended query protocol not supported by admin console",
    { severity: "ERROR" },
  ),
);

/** What a console session is made of. */
export interface ConsoleSessionOptions {
  readonly client: ClientSession;
  readonly context: ConsoleContext;
  readonly rights: ConsoleRights;
}

/** The service of a client that logged in to the console. */
export class ConsoleSession implements ClientService {
  readonly #options: ConsoleSessionOptions;
  readonly #cursor = new MessageCursor({
    inspected: ALL_INSPECTED,
    maxInspectedBytes: MAX_MESSAGE_BYTES,
    maxMessageBytes: MAX_MESSAGE_BYTES,
  });
  /** After an error in the extended protocol everything up to the Sync is dropped. */
  #isSkippingToSync = false;
  #isDetached = false;

  constructor(options: ConsoleSessionOptions) {
    this.#options = options;
  }

  /**
   * Takes what the client sent; resolves when all of it has been answered.
   * @throws {ProtocolError} If it is not what a client may send.
   */
  async onClientChunk(buffer: Uint8Array, length: number): Promise<void> {
    const cursor = this.#cursor;
    cursor.feed(buffer, length);
    while (!this.#isDetached && cursor.next()) await this.#receive(cursor);
  }

  /** The client is gone: what it had still asked is not run. */
  detach(): void {
    this.#isDetached = true;
  }

  async #receive(cursor: MessageCursor): Promise<void> {
    switch (cursor.type) {
      case Frontend.Terminate:
        return this.#options.client.end("client close request");
      case Frontend.Sync:
        this.#isSkippingToSync = false;
        return await this.#options.client.send(READY);
    }
    if (this.#isSkippingToSync) return;
    switch (cursor.type) {
      case Frontend.Query:
        return await this.#run(queryText(cursor));
      case Frontend.Parse:
      case Frontend.Bind:
      case Frontend.Describe:
      case Frontend.Execute:
      case Frontend.Close:
        this.#isSkippingToSync = true;
        return await this.#options.client.send(NO_EXTENDED_PROTOCOL);
      case Frontend.Flush:
        return;
      default:
        return await this.#answer(errorResponse(unsupported(cursor.type)));
    }
  }

  async #run(text: string): Promise<void> {
    const { context, rights } = this.#options;
    try {
      const { answer, afterwards } = await runCommand(text, { context, rights });
      const sending = answer === undefined ? undefined : this.#answer(answer);
      afterwards?.();
      await sending;
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      await this.#answer(errorResponse(error));
    }
  }

  /** Sends an answer and that the next command may come. */
  async #answer(answer: Uint8Array): Promise<void> {
    if (this.#isDetached) return;
    const whole = new MessageWriter(answer.length + READY.length).bytes(answer).bytes(READY);
    await this.#options.client.send(whole.take());
  }
}

function queryText(cursor: MessageCursor): string {
  const reader = new BodyReader(cursor.buffer, cursor.start + HEADER_BYTES, cursor.end);
  const text = reader.cstring();
  if (reader.remaining > 0) throw new ProtocolError("failed to parse packet");
  return text;
}

function unsupported(type: number): PgError {
  return new PgError(
    SQLSTATE.protocolViolation,
    `unsupported packet type for admin console: ${type}`,
    { severity: "ERROR" },
  );
}
