/**
 * Asks the console of another Sluice, over its unix socket, as the user that may look there without
 * a password: whoever runs as the same user of the system.
 */

import type { Clock, Timer } from "../base/clock.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { Settings } from "../config/settings.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import {
  DialError,
  formatAddress,
  type Network,
  type ServerAddress,
  type StreamOptions,
  unixSocketPath,
} from "../net/network.ts";
import { BodyReader, decodeText } from "../wire/body_reader.ts";
import { readAuthentication } from "../wire/authentication_messages.ts";
import { readErrorResponse } from "../wire/error_response.ts";
import { query, terminate } from "../wire/frontend_messages.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { ProtocolError } from "../wire/pg_error.ts";
import { startupMessage } from "../wire/startup_packet.ts";

/** Longest time for a connection. */
const CONNECT_LIMIT_MS = 10_000;

/** More than any row of the console. */
const MAX_MESSAGE_BYTES = 1_048_576;

/** The console could not be asked, or said no. */
export class ConsoleError extends Error {
  override readonly name = "ConsoleError";
}

/** A row of an answer, by the names of its columns; null is NULL. */
export type ConsoleRow = Readonly<Record<string, string | null>>;

/** How the console is reached. */
export interface ConsoleClientOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly streamOptions: StreamOptions;
  /** Longest time for everything that is asked; 0 for no limit. */
  readonly limitMs: number;
}

/**
 * Where the Sluice of a configuration can be asked.
 * @throws {ConsoleError} If it has no unix socket.
 */
export function consoleAddress({ listenPort: port, unixSocketDir }: Settings): ServerAddress {
  if (unixSocketDir === "") {
    throw new ConsoleError("unix_socket_dir is empty: there is no socket to ask at");
  }
  return { kind: "unix", path: unixSocketPath(unixSocketDir, port), port };
}

/** A connection to a console. */
export class ConsoleClient implements Disposable {
  readonly #stream: ByteStream;
  readonly #messages: AsyncGenerator<MessageCursor, void, void>;
  readonly #timer: Timer | undefined;
  #isLate = false;

  /** Use `connect()`. */
  constructor(stream: ByteStream, { clock, limitMs }: { clock: Clock; limitMs: number }) {
    this.#stream = stream;
    this.#messages = messagesOf(stream);
    if (limitMs === 0) return;
    this.#timer = clock.startTimer(limitMs, () => {
      this.#isLate = true;
      stream.close();
    });
  }

  /**
   * Connects and logs in.
   * @throws {ConsoleError} If nobody listens there, or we are not let in.
   */
  static async connect(
    address: ServerAddress,
    { clock, limitMs, network, streamOptions }: ConsoleClientOptions,
  ): Promise<ConsoleClient> {
    const stream = await network.dial(address, { ...streamOptions, timeoutMs: CONNECT_LIMIT_MS })
      .catch((error: unknown) => {
        if (!(error instanceof DialError)) throw error;
        throw new ConsoleError(`no Sluice at ${formatAddress(address)}: ${error.message}`);
      });
    const client = new ConsoleClient(stream, { clock, limitMs });
    try {
      await client.#logIn();
      return client;
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Runs a command and gives the rows of its answer.
   * @throws {ConsoleError} If the console answers with an error, or not at all.
   */
  async rows(sql: string): Promise<ConsoleRow[]> {
    await this.#send(query(sql));
    let columns: string[] = [];
    const rows: ConsoleRow[] = [];
    await this.#receive((type, body) => {
      if (type === Backend.RowDescription) columns = readColumns(body);
      else if (type === Backend.DataRow) rows.push(readRow(body, columns));
    });
    return rows;
  }

  /** Says goodbye and hangs up. */
  [Symbol.dispose](): void {
    this.#timer?.cancel();
    const message = terminate();
    void this.#stream.write(message, 0, message.length);
    this.#stream.close();
  }

  async #logIn(): Promise<void> {
    await this.#send(startupMessage([["user", CONSOLE_DATABASE], ["database", CONSOLE_DATABASE]]));
    await this.#receive((type, body) => {
      if (type !== Backend.Authentication) return;
      if (readAuthentication(body.bytes(body.remaining)).kind === "ok") return;
      throw new ConsoleError(
        "the console asks for a password: run this as the user that Sluice runs as",
      );
    });
  }

  /** Takes messages up to ReadyForQuery. @throws {ConsoleError} If one is an error, or nonsense. */
  async #receive(take: (type: number, body: BodyReader) => void): Promise<void> {
    try {
      await this.#receiveAll(take);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      throw new ConsoleError(`what answers there is no Sluice: ${error.message}`);
    }
  }

  async #receiveAll(take: (type: number, body: BodyReader) => void): Promise<void> {
    let error: ConsoleError | undefined;
    for (;;) {
      const next = await this.#messages.next();
      if (next.done === true) throw error ?? this.#gone();
      const { buffer, end, start, type } = next.value;
      const body = new BodyReader(buffer, start + HEADER_BYTES, end);
      if (type === Backend.ErrorResponse) error = new ConsoleError(readErrorResponse(body).message);
      else if (type !== Backend.ReadyForQuery) take(type, body);
      else if (error === undefined) return;
      else throw error;
    }
  }

  #gone(): ConsoleError {
    if (this.#isLate) return new ConsoleError("the console does not answer");
    return new ConsoleError("the console closed the connection");
  }

  async #send(message: Uint8Array): Promise<void> {
    await this.#stream.write(message, 0, message.length);
  }
}

/** The messages, each valid until the next is asked for. */
async function* messagesOf(stream: ByteStream): AsyncGenerator<MessageCursor, void, void> {
  const cursor = MessageCursor.ofWhole(MAX_MESSAGE_BYTES);
  for await (const chunk of stream.chunks()) {
    cursor.feed(chunk, chunk.length);
    while (cursor.next()) yield cursor;
  }
}

/** Name, and then what is the same for all columns of the console. */
function readColumns(body: BodyReader): string[] {
  return Array.from({ length: body.int16() }, () => {
    const name = body.cstring();
    body.bytes(18);
    return name;
  });
}

function readRow(body: BodyReader, columns: readonly string[]): ConsoleRow {
  const values = Array.from({ length: body.int16() }, () => {
    const length = body.int32();
    if (length < 0) return null;
    const bytes = body.bytes(length);
    return decodeText(bytes, 0, bytes.length);
  });
  return Object.fromEntries(columns.map((name, at) => [name, values[at] ?? null]));
}
