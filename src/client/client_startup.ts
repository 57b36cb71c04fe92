/** The fork at the start of a connection: what does it open with? */

import type { ByteStream } from "../net/byte_stream.ts";
import { type TlsHandshake, TlsHandshakeError } from "../net/tls.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { readStartupPacket, type StartupMessage } from "../wire/startup_packet.ts";
import type { ClientTls, TlsOffer } from "./client_tls.ts";
import type { LoginInput } from "./login_input.ts";

/** First byte of a TLS handshake record. */
const TLS_HANDSHAKE = 0x16;

/** The answers to a request for encryption. */
const ANSWERS = { yes: Uint8Array.of(0x53), no: Uint8Array.of(0x4e) } as const;

/** What a connection turned out to want. */
export type ClientOpening = StartupMessage | CancelOpening | NoOpening;

/** Somebody else's query is to be cancelled. */
export interface CancelOpening {
  readonly kind: "cancel_request";
  readonly key: Uint8Array<ArrayBuffer>;
}

/** Nothing to be answered; `reason` is for the log, undefined if it is not worth a line. */
export interface NoOpening {
  readonly kind: "nothing";
  readonly reason: string | undefined;
}

/** The connection that is opened. */
export interface OpeningHost {
  readonly stream: ByteStream;
  /** What is offered by the settings of this moment. */
  tlsOffer(): TlsOffer;
  /** As `ByteStream.startTls()`. */
  startTls(tls: ClientTls, received: Uint8Array): Promise<TlsHandshake>;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Reads up to the first packet that is not about encryption, and goes over to TLS as was agreed.
 * @throws {PgError} If the client has to be told why it is not served.
 * @throws {ProtocolError} If what it sent is no startup packet.
 */
export async function receiveOpening(
  input: LoginInput,
  host: OpeningHost,
): Promise<ClientOpening> {
  const peeked = input.peek();
  if ((peeked instanceof Promise ? await peeked : peeked) === TLS_HANDSHAKE) {
    const failure = await startDirectly(input, host);
    if (failure !== undefined) return failure;
  }
  const asked = new Set<string>();
  for (;;) {
    const received = input.startupPacket();
    const bytes = received instanceof Promise ? await received : received;
    if (bytes === undefined) {
      // A probe that connects and leaves is not worth a line.
      const hasBegun = input.heldCount > 0 || asked.size > 0 || isSecure(host);
      return { kind: "nothing", reason: hasBegun ? "client unexpected eof" : undefined };
    }
    const packet = readStartupPacket(bytes);
    switch (packet.kind) {
      case "startup_message":
        // Not before: this is where PgBouncer looks, and so a cancel request may come without.
        if (host.tlsOffer().isRequired && !isSecure(host)) {
          throw new PgError(SQLSTATE.protocolViolation, "SSL required");
        }
        return packet;
      case "cancel_request":
        return packet;
      case "old_protocol":
        throw new PgError(SQLSTATE.featureNotSupported, "old V2 protocol not supported");
      case "gssenc_request":
        refuseEncryptionTwice(asked, packet.kind);
        refuseBytesBehind(input, packet.kind);
        await host.stream.write(ANSWERS.no, 0, 1);
        break;
      case "ssl_request": {
        if (isSecure(host)) return { kind: "nothing", reason: "SSL req inside SSL" };
        refuseEncryptionTwice(asked, packet.kind);
        refuseBytesBehind(input, packet.kind);
        const failure = await answerSslRequest(host);
        if (failure !== undefined) return failure;
        // As in PostgreSQL: one way to encrypt is enough.
        if (isSecure(host)) asked.add("gssenc_request");
      }
    }
  }
}

function isSecure({ stream }: OpeningHost): boolean {
  return stream.tls !== undefined;
}

async function answerSslRequest(host: OpeningHost): Promise<NoOpening | undefined> {
  const answer = host.tlsOffer().tls === undefined ? ANSWERS.no : ANSWERS.yes;
  await host.stream.write(answer, 0, 1);
  if (answer === ANSWERS.no) return undefined;
  // Asked for again: another may be in force since the answer was sent.
  const { tls } = host.tlsOffer();
  if (tls === undefined) return { kind: "nothing", reason: "TLS is not available any more" };
  const shaken = await shakeHands(host, tls, NO_BYTES);
  return "kind" in shaken ? shaken : undefined;
}

/** TLS without having asked for it, as from PostgreSQL 17 on: who does that has to say so by ALPN. */
async function startDirectly(
  input: LoginInput,
  host: OpeningHost,
): Promise<NoOpening | undefined> {
  const { tls } = host.tlsOffer();
  if (tls === undefined) return { kind: "nothing", reason: "TLS is not available" };
  const shaken = await shakeHands(host, tls, input.takeHeld());
  if ("kind" in shaken) return shaken;
  if (shaken.hasProtocol) return undefined;
  // It may be of another protocol that is to be talked into speaking this one.
  const reason = "direct TLS connection without ALPN protocol negotiation extension";
  return { kind: "nothing", reason };
}

/** Who fails is told by TLS alone. */
async function shakeHands(
  host: OpeningHost,
  tls: ClientTls,
  received: Uint8Array,
): Promise<TlsHandshake | NoOpening> {
  try {
    return await host.startTls(tls, received);
  } catch (error) {
    if (!(error instanceof TlsHandshakeError)) throw error;
    return { kind: "nothing", reason: `TLS handshake error: ${error.message}` };
  }
}

function refuseEncryptionTwice(asked: Set<string>, kind: string): void {
  if (asked.has(kind)) throw new PgError(SQLSTATE.protocolViolation, `repeated ${kind}`);
  asked.add(kind);
}

/** Bytes sent before the answer could be known would be taken for encrypted ones: an attack. */
function refuseBytesBehind(input: LoginInput, kind: "ssl_request" | "gssenc_request"): void {
  if (input.heldCount === 0) return;
  const what = kind === "ssl_request" ? "SSL request" : "GSSAPI encryption request";
  throw new PgError(
    SQLSTATE.protocolViolation,
    `received unencrypted data after ${what}`,
  );
}
