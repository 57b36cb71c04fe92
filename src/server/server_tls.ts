/**
 * How a connection to a server goes over to TLS: by asking for it, or at once. Whether a certificate
 * is looked at is a matter of the context.
 *
 * Invariant: until the handshake has ended nothing that came is believed or shown to anybody, and
 * nothing may have come together with the answer.
 * Source: PostgreSQL, "SSL Session Encryption"; what is refused is refused by libpq 17 (and by its
 * earlier versions since their releases of November 2024), in its words or PgBouncer's.
 */

import { type ServerTlsFacts, tlsServerEndPoint } from "../auth/channel_binding.ts";
import { CertificateError } from "../auth/der_reader.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { type TlsContext, type TlsHandshake, TlsHandshakeError } from "../net/tls.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { sslRequest } from "../wire/startup_packet.ts";
import { SERVER_CRASHED } from "./server_end.ts";

/** When TLS is used: see `connectAttempts()`. */
export type ServerTlsUse = "allow" | "prefer" | "require";

/** How a server is spoken to where TLS comes into it. */
export interface ServerTls {
  readonly use: ServerTlsUse;
  /** By an SSLRequest, or by beginning with the handshake. */
  readonly negotiation: "postgres" | "direct";
  readonly context: TlsContext;
  /** The host as it is configured: a name or an address. */
  readonly serverName: string;
  /** Keeps the context good for new connections, whatever a reload does, until disposed of. */
  hold(): Disposable;
}

/**
 * `not_offered`: the connection may go on in plain text; else it is good for nothing any more.
 * `broken`: there was TLS, so that another connection is not to do without.
 */
export type ServerTlsFailure = "not_offered" | "handshake" | "bad_answer" | "broken";

/** No TLS came about, or it did not last until the login was over. */
export class ServerTlsError extends Error {
  override readonly name = "ServerTlsError";
  readonly failure: ServerTlsFailure;
  /** What clients are told. */
  readonly error: PgError;

  /** `reason` is for the log. */
  constructor(failure: ServerTlsFailure, told: string, reason = told) {
    super(reason);
    this.failure = failure;
    this.error = new PgError(SQLSTATE.sqlclientUnableToEstablishSqlconnection, told);
  }
}

const [YES, NO, ERROR] = ["S", "N", "E"].map((letter) => letter.charCodeAt(0));

/**
 * Goes over to TLS; nothing was sent or received yet. To close the stream ends it.
 * @throws {ServerTlsError} If the server does not offer it, answers otherwise than it may, or no
 *   handshake comes about.
 * @throws {PgError} If the server closes the connection.
 */
export async function startServerTls(
  stream: ByteStream,
  { context, negotiation, serverName }: ServerTls,
): Promise<TlsHandshake> {
  if (negotiation === "postgres") await askForTls(stream);
  const handshake = await shakeHands(() => stream.startTls({ context, serverName }));
  // Whoever has not agreed on the protocol may take our first message for one of another's.
  if (negotiation === "direct" && !handshake.hasProtocol) throw handshakeFailed(NO_PROTOCOL);
  return handshake;
}

const NO_PROTOCOL =
  "direct SSL connection was established without ALPN protocol negotiation extension";

/**
 * What a login over this connection is bound to.
 * @throws {ServerTlsError} If the server's certificate cannot be read.
 */
export function tlsFactsOf({ peerCertificate }: TlsHandshake): ServerTlsFacts {
  try {
    return { endPoint: peerCertificate && tlsServerEndPoint(peerCertificate) };
  } catch (error) {
    if (error instanceof CertificateError) throw handshakeFailed(error.message);
    throw error;
  }
}

async function askForTls(stream: ByteStream): Promise<void> {
  const request = sslRequest();
  await stream.write(request, 0, request.length);
  for await (const chunk of stream.chunks()) return checkAnswer(chunk);
  throw SERVER_CRASHED;
}

function checkAnswer(chunk: Uint8Array): void {
  const [answer] = chunk;
  // Of somebody who has not shown who it is: its words are not for anybody.
  if (answer === ERROR) throw badAnswer("server sent an error response during SSL exchange");
  if (answer !== YES && answer !== NO) throw badAnswer("bad sslreq answer");
  // Anybody in between could have put it there.
  if (chunk.length > 1) throw badAnswer("received unencrypted data after SSL response");
  if (answer === NO) throw new ServerTlsError("not_offered", "server refused SSL");
}

async function shakeHands(start: () => Promise<TlsHandshake>): Promise<TlsHandshake> {
  try {
    return await start();
  } catch (error) {
    if (error instanceof TlsHandshakeError) throw handshakeFailed(error.message);
    throw error;
  }
}

function badAnswer(what: string): ServerTlsError {
  return new ServerTlsError("bad_answer", what);
}

/**
 * What is told and logged when TLS ends during the login; `why` in the words of the library. Up to the
 * first answer it is about the handshake: in TLS 1.3 a server that refuses our certificate says so
 * when that is over.
 */
export function tlsBroken(why: string, { isAnswered }: { isAnswered: boolean }): ServerTlsError {
  if (!isAnswered) return failedHandshake("broken", why);
  const { message } = SERVER_CRASHED;
  return new ServerTlsError("broken", message, `${message} (TLS: ${why})`);
}

function handshakeFailed(why: string): ServerTlsError {
  return failedHandshake("handshake", why);
}

function failedHandshake(failure: ServerTlsFailure, why: string): ServerTlsError {
  return new ServerTlsError(
    failure,
    "server TLS handshake failed",
    `TLS handshake failed: ${why}`,
  );
}
