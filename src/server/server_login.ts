/**
 * Startup and authentication towards PostgreSQL, from an open connection to the first
 * ReadyForQuery. It decides nothing about retries.
 */

import type { ServerAuthentication } from "../auth/server_authentication.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { BodyReader } from "../wire/body_reader.ts";
import { readParameterStatus } from "../wire/backend_messages.ts";
import { readErrorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { startupMessage } from "../wire/startup_packet.ts";

/** A login consists of short messages; PostgreSQL's own are far below this. */
const MAX_LOGIN_MESSAGE_BYTES = 65_536;

/** What a login needs. */
export interface ServerLoginOptions {
  /** Of the StartupMessage, `user` and `database` among them. */
  readonly parameters: Iterable<readonly [string, string]>;
  readonly authentication: ServerAuthentication;
}

/** What a login brings. */
export interface ServerLoginResult {
  /** Process ID and secret, as a CancelRequest must repeat them; undefined if none was given. */
  readonly cancelKey: Uint8Array<ArrayBuffer> | undefined;
  /** Every parameter the server reported, last value each, in the order first reported. */
  readonly parameters: ReadonlyMap<string, string>;
  /** What came in one chunk with the end of the login: what a server may say at any time. */
  readonly rest: Uint8Array;
}

/** The login cannot succeed as things are: trying again at once would bring the same. */
export class ServerRefusal extends Error {
  override readonly name = "ServerRefusal";
  /** As the server sent it, or what is wrong with its demand. */
  readonly error: PgError;

  /** `reason` is for the log, and may say more than clients are told. */
  constructor(error: PgError, reason: string) {
    super(reason);
    this.error = error;
  }
}

/**
 * Logs in.
 * @throws {ServerRefusal} If the server answers with an error, or wants a way of authentication
 *   that cannot be met.
 * @throws {PgError} If it closes the connection.
 * @throws {ProtocolError} If what it sends is not the protocol.
 */
export async function logInToServer(
  stream: ByteStream,
  options: ServerLoginOptions,
): Promise<ServerLoginResult> {
  const login = new ServerLogin(stream, options.authentication);
  await send(stream, startupMessage(options.parameters));
  const cursor = MessageCursor.ofWhole(MAX_LOGIN_MESSAGE_BYTES);
  for await (const chunk of stream.chunks()) {
    cursor.feed(chunk, chunk.length);
    while (cursor.next()) {
      const isDone = await login.receive(cursor);
      if (!isDone) continue;
      const { cancelKey, parameters } = login;
      return { cancelKey, parameters, rest: chunk.slice(chunk.length - cursor.unreadCount) };
    }
  }
  throw new PgError(SQLSTATE.connectionFailure, "server conn crashed?");
}

class ServerLogin {
  readonly parameters = new Map<string, string>();
  cancelKey: Uint8Array<ArrayBuffer> | undefined;
  readonly #stream: ByteStream;
  readonly #authentication: ServerAuthentication;
  #isAuthenticated = false;

  constructor(stream: ByteStream, authentication: ServerAuthentication) {
    this.#stream = stream;
    this.#authentication = authentication;
  }

  /** Takes one message. Returns whether the login is complete. */
  async receive(cursor: MessageCursor): Promise<boolean> {
    const { buffer, type } = cursor;
    const start = cursor.start + HEADER_BYTES;
    switch (type) {
      case Backend.Authentication:
        await this.#authenticate(buffer.slice(start, cursor.end));
        return false;
      case Backend.ErrorResponse:
        throw refusal(readErrorResponse(new BodyReader(buffer, start, cursor.end)));
      case Backend.NoticeResponse:
      case Backend.NegotiateProtocolVersion:
        return false;
    }
    if (!this.#isAuthenticated) throw unexpected(type);
    switch (type) {
      case Backend.ParameterStatus: {
        const { name, value } = readParameterStatus(new BodyReader(buffer, start, cursor.end));
        this.parameters.set(name, value);
        return false;
      }
      case Backend.BackendKeyData:
        this.cancelKey = buffer.slice(start, cursor.end) as Uint8Array<ArrayBuffer>;
        return false;
      case Backend.ReadyForQuery:
        return true;
      default:
        throw unexpected(type);
    }
  }

  async #authenticate(body: Uint8Array): Promise<void> {
    const step = await this.#authentication.receive(body);
    switch (step.kind) {
      case "send":
        return await send(this.#stream, step.message);
      case "ok":
        this.#isAuthenticated = true;
        return;
      case "wait":
        return;
      case "failed":
        throw new ServerRefusal(step.error, step.reason);
    }
  }
}

function refusal(error: PgError): ServerRefusal {
  return new ServerRefusal(error, `server login failed: ${error.severity} ${error.message}`);
}

function unexpected(type: number): ProtocolError {
  return new ProtocolError(`unknown pkt from server: '${String.fromCharCode(type)}'`);
}

async function send(stream: ByteStream, message: Uint8Array): Promise<void> {
  await stream.write(message, 0, message.length);
}
