/**
 * Startup and authentication towards PostgreSQL, from an open connection to the first
 * ReadyForQuery. It decides nothing about retries.
 * Source: PostgreSQL, "Protocol Versions"; what of a NegotiateProtocolVersion is refused, libpq
 * refuses too.
 */

import type { ServerAuthentication } from "../auth/server_authentication.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { BodyReader } from "../wire/body_reader.ts";
import {
  readBackendKeyData,
  readNegotiateProtocolVersion,
  readParameterStatus,
} from "../wire/backend_messages.ts";
import { readErrorResponse } from "../wire/error_response.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { MAJOR, versionText } from "../wire/protocol_version.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { startupMessage } from "../wire/startup_packet.ts";
import { SERVER_CRASHED } from "./server_end.ts";
import { tlsBroken } from "./server_tls.ts";

/** A login consists of short messages; PostgreSQL's own are far below this. */
const MAX_LOGIN_MESSAGE_BYTES = 65_536;

/** What a login needs. */
export interface ServerLoginOptions {
  /** Of the StartupMessage, `user` and `database` among them. */
  readonly parameters: Iterable<readonly [string, string]>;
  readonly authentication: ServerAuthentication;
  /** Minor version of protocol 3 to ask for; the server may settle for an older one. */
  readonly minor: number;
}

/** What a login brings. */
export interface ServerLoginResult {
  /** Minor version of protocol 3 that is spoken. */
  readonly minor: number;
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
  /** Whether the server said so before it let us in: in TLS, or without, it may say otherwise. */
  readonly isEarly: boolean;

  /** `reason` is for the log, and may say more than clients are told. */
  constructor(error: PgError, reason: string, { isEarly = false } = {}) {
    super(reason);
    this.error = error;
    this.isEarly = isEarly;
  }
}

/**
 * The server answered a version newer than 3.0 by an error or by closing the connection, and nothing
 * else: it may be too old to negotiate, or no PostgreSQL. `cause` is what it would be otherwise.
 */
export class VersionRefusal extends Error {
  override readonly name = "VersionRefusal";
  override readonly cause: ServerRefusal | PgError;

  constructor(cause: ServerRefusal | PgError) {
    super(cause.message);
    this.cause = cause;
  }
}

/**
 * SQLSTATEs with which a version that is not understood is refused: PostgreSQL before its minor
 * releases of February 2018 sends the first, PgBouncer and others the second.
 */
const VERSION_REFUSALS: readonly string[] = [
  SQLSTATE.featureNotSupported,
  SQLSTATE.protocolViolation,
];

/**
 * Logs in.
 * @throws {VersionRefusal} If the version asked for may be why it comes to nothing.
 * @throws {ServerRefusal} If the server answers with an error, or wants a way of authentication
 *   that cannot be met.
 * @throws {ServerTlsError} If TLS ends after its handshake.
 * @throws {PgError} If it closes the connection.
 * @throws {ProtocolError} If what it sends is not the protocol.
 */
export async function logInToServer(
  stream: ByteStream,
  options: ServerLoginOptions,
): Promise<ServerLoginResult> {
  const login = new ServerLogin(stream, options);
  await send(stream, startupMessage(options.parameters, options.minor));
  const cursor = MessageCursor.ofWhole(MAX_LOGIN_MESSAGE_BYTES);
  for await (const chunk of stream.chunks()) {
    cursor.feed(chunk, chunk.length);
    while (cursor.next()) {
      const isDone = await login.receive(cursor);
      if (!isDone) continue;
      const { cancelKey, minor, parameters } = login;
      const rest = chunk.slice(chunk.length - cursor.unreadCount);
      return { minor, cancelKey, parameters, rest };
    }
  }
  const { tlsFailure } = stream;
  if (tlsFailure !== undefined) throw tlsBroken(tlsFailure, { isAnswered: login.isAnswered });
  throw login.failure(SERVER_CRASHED);
}

class ServerLogin {
  readonly parameters = new Map<string, string>();
  cancelKey: Uint8Array<ArrayBuffer> | undefined;
  /** As asked for, until the server has said otherwise. */
  minor: number;
  readonly #stream: ByteStream;
  readonly #authentication: ServerAuthentication;
  #isAuthenticated = false;
  #hasNegotiated = false;
  /** Whether the server has taken up the request: then it does not mind the version. */
  #hasTakenUp = false;

  constructor(stream: ByteStream, { authentication, minor }: ServerLoginOptions) {
    this.#stream = stream;
    this.#authentication = authentication;
    this.minor = minor;
  }

  /** Whether the server has said anything but what version it speaks. */
  get isAnswered(): boolean {
    return this.#hasTakenUp;
  }

  /** Takes one message. Returns whether the login is complete. */
  async receive(cursor: MessageCursor): Promise<boolean> {
    const { buffer, type } = cursor;
    const start = cursor.start + HEADER_BYTES;
    switch (type) {
      case Backend.Authentication:
        this.#hasTakenUp = true;
        await this.#authenticate(buffer.slice(start, cursor.end));
        return false;
      case Backend.ErrorResponse:
        throw this.#refusal(readErrorResponse(new BodyReader(buffer, start, cursor.end)));
      case Backend.NoticeResponse:
        return false;
    }
    if (!this.#isAuthenticated) {
      if (type !== Backend.NegotiateProtocolVersion) throw unexpected(type);
      this.#negotiate(new BodyReader(buffer, start, cursor.end));
      return false;
    }
    switch (type) {
      case Backend.ParameterStatus: {
        const { name, value } = readParameterStatus(new BodyReader(buffer, start, cursor.end));
        this.parameters.set(name, value);
        return false;
      }
      case Backend.BackendKeyData:
        // Kept whole, whatever the version: it is the server's own, and goes nowhere but back.
        this.cancelKey = readBackendKeyData(new BodyReader(buffer, start, cursor.end));
        return false;
      case Backend.ReadyForQuery:
        return true;
      default:
        throw unexpected(type);
    }
  }

  /** What a failure is to be taken for, before the server has taken up the request and after. */
  failure(error: ServerRefusal | PgError): VersionRefusal | ServerRefusal | PgError {
    return this.minor === 0 || this.#hasTakenUp ? error : new VersionRefusal(error);
  }

  #refusal(error: PgError): Error {
    const refused = new ServerRefusal(
      error,
      `server login failed: ${error.severity} ${error.message}`,
      { isEarly: !this.#isAuthenticated },
    );
    return VERSION_REFUSALS.includes(error.sqlstate) ? this.failure(refused) : refused;
  }

  /** Settles for an older version, if that is what the server says. */
  #negotiate(reader: BodyReader): void {
    if (this.#hasNegotiated) throw badNegotiation("came twice");
    this.#hasNegotiated = true;
    const { unknownOptions, version } = readNegotiateProtocolVersion(reader);
    // PostgreSQL sends the whole version; its documentation can be read as if it were the minor alone.
    const minor = version >>> 16 === 0 ? version : version - (MAJOR << 16);
    // None was sent, so that only the version can be what it is about.
    if (unknownOptions.length > 0) throw badNegotiation("is about options not asked for");
    if (minor < 0 || minor >= this.minor) {
      const [spoken, asked] = [`${version >> 16}.${version & 0xffff}`, versionText(this.minor)];
      throw badNegotiation(`offers protocol ${spoken} instead of ${asked}`);
    }
    this.minor = minor;
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

/** It would be the same at the next try, so that nobody need wait for that. */
function badNegotiation(what: string): ServerRefusal {
  const text = `server login failed: NegotiateProtocolVersion ${what}`;
  return new ServerRefusal(new PgError(SQLSTATE.protocolViolation, text), text);
}

function unexpected(type: number): ProtocolError {
  return new ProtocolError(`unknown pkt from server: '${String.fromCharCode(type)}'`);
}

async function send(stream: ByteStream, message: Uint8Array): Promise<void> {
  await stream.write(message, 0, message.length);
}
