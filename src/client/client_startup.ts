/** The fork at the start of a connection: what does it open with? */

import type { ByteStream } from "../net/byte_stream.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { readStartupPacket, type StartupMessage } from "../wire/startup_packet.ts";
import type { LoginInput } from "./login_input.ts";

/** First byte of a TLS handshake record. */
const TLS_HANDSHAKE = 0x16;

/** The answer to a request for encryption that is not to be had. */
const REFUSAL = 0x4e; // N

/** What a connection turned out to want. */
export type ClientOpening =
  | StartupMessage
  | { readonly kind: "cancel_request"; readonly key: Uint8Array<ArrayBuffer> }
  /** Nothing to be answered; `reason` is for the log, undefined if it is not worth a line. */
  | { readonly kind: "nothing"; readonly reason: string | undefined };

/**
 * Reads up to the first packet that is not about encryption.
 * @throws {PgError} If the client has to be told why it is not served.
 * @throws {ProtocolError} If what it sent is no startup packet.
 */
export async function receiveOpening(
  input: LoginInput,
  stream: ByteStream,
): Promise<ClientOpening> {
  if (await input.peek() === TLS_HANDSHAKE) {
    return { kind: "nothing", reason: "TLS is not available" };
  }
  const asked = new Set<string>();
  for (;;) {
    const bytes = await input.startupPacket();
    if (bytes === undefined) {
      // A probe that connects and leaves is not worth a line.
      const hasBegun = input.heldCount > 0 || asked.size > 0;
      return { kind: "nothing", reason: hasBegun ? "client unexpected eof" : undefined };
    }
    const packet = readStartupPacket(bytes);
    switch (packet.kind) {
      case "startup_message":
      case "cancel_request":
        return packet;
      case "old_protocol":
        throw new PgError(SQLSTATE.featureNotSupported, "old V2 protocol not supported");
      case "ssl_request":
      case "gssenc_request":
        refuseEncryptionTwice(asked, packet.kind);
        refuseBytesBehind(input, packet.kind);
        await stream.write(new Uint8Array([REFUSAL]), 0, 1);
    }
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
