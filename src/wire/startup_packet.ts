/**
 * The untyped packets that open a connection: StartupMessage, SSLRequest, GSSENCRequest and
 * CancelRequest. Pure. What the parameters mean is not judged here.
 * Source: PostgreSQL, "Message Formats"; codes as in src/include/libpq/pqcomm.h.
 */

import { BodyReader } from "./body_reader.ts";
import { MessageWriter } from "./message_writer.ts";
import { ProtocolError } from "./pg_error.ts";
import { MAJOR } from "./protocol_version.ts";

/** Longest startup packet taken; enough for any parameters, too little to fill memory with. */
export const MAX_STARTUP_BYTES = 65_536;

/** Length word and code. */
const SHORTEST_PACKET_BYTES = 8;

const CANCEL_REQUEST_CODE = 80_877_102;
const SSL_REQUEST_CODE = 80_877_103;
const GSSENC_REQUEST_CODE = 80_877_104;

/** Shortest cancel key: a process ID and a secret of 4 bytes, as in protocol 3.0. */
const MIN_CANCEL_KEY_BYTES = 8;

/** Longest cancel key: in protocol 3.2 the secret may have 256 bytes. */
const MAX_CANCEL_KEY_BYTES = 260;

/** What a connection may open with. */
export type StartupPacket =
  | { readonly kind: "ssl_request" }
  | { readonly kind: "gssenc_request" }
  | { readonly kind: "cancel_request"; readonly key: Uint8Array<ArrayBuffer> }
  | { readonly kind: "old_protocol"; readonly major: number }
  | StartupMessage;

/** The packet that asks for a session. */
export interface StartupMessage {
  readonly kind: "startup_message";
  /** Minor version of protocol 3. */
  readonly minor: number;
  /** In the order sent; a name sent twice keeps its last value, as in PostgreSQL. */
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Length of the packet that begins at `at`, or undefined while that cannot be told.
 * @throws {ProtocolError} If the length is impossible or over the limit.
 */
export function startupPacketBytes(bytes: Uint8Array, at = 0): number | undefined {
  if (bytes.length - at < 4) return undefined;
  const length = new BodyReader(bytes, at, at + 4).int32();
  if (length < SHORTEST_PACKET_BYTES || length > MAX_STARTUP_BYTES) {
    const shown = Array.from(
      bytes.subarray(at, at + 4),
      (byte) => byte.toString(16).padStart(2, "0"),
    );
    throw new ProtocolError(`bad packet header: '${shown.join("")}'`);
  }
  return length;
}

/**
 * Reads one whole packet, length word included.
 * @throws {ProtocolError} If it is not one of the four.
 */
export function readStartupPacket(packet: Uint8Array): StartupPacket {
  const reader = new BodyReader(packet, 4, packet.length);
  const code = reader.int32();
  switch (code) {
    case SSL_REQUEST_CODE:
      return { kind: "ssl_request" };
    case GSSENC_REQUEST_CODE:
      return { kind: "gssenc_request" };
    case CANCEL_REQUEST_CODE:
      if (!isCancelKeyLength(reader.remaining)) throw new ProtocolError("bad cancel request");
      return { kind: "cancel_request", key: reader.bytes(reader.remaining) };
  }
  const major = code >>> 16;
  if (major < MAJOR) return { kind: "old_protocol", major };
  if (major > MAJOR) throw new ProtocolError(`unknown pkt: startup code ${code}`);
  return { kind: "startup_message", minor: code & 0xffff, parameters: readParameters(reader) };
}

/** Whether a key, process ID and secret, may have so many bytes. */
export function isCancelKeyLength(count: number): boolean {
  return count >= MIN_CANCEL_KEY_BYTES && count <= MAX_CANCEL_KEY_BYTES;
}

function readParameters(reader: BodyReader): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  while (reader.remaining > 1) {
    const name = reader.cstring();
    if (name === "") throw badLayout();
    if (reader.remaining === 0) throw badLayout();
    parameters.set(name, reader.cstring());
  }
  if (reader.remaining !== 1 || reader.int8() !== 0) throw badLayout();
  return parameters;
}

function badLayout(): ProtocolError {
  return new ProtocolError("invalid startup packet layout: expected terminator as last byte");
}

/** Builds a StartupMessage that asks for a minor version of protocol 3. */
export function startupMessage(
  parameters: Iterable<readonly [string, string]>,
  minor = 0,
): Uint8Array {
  const writer = new MessageWriter().beginUntyped().int32(MAJOR << 16 | minor);
  for (const [name, value] of parameters) writer.cstring(name).cstring(value);
  return writer.int8(0).end().take();
}

/** Builds a CancelRequest; `key` is process ID and secret as BackendKeyData gave them. */
export function cancelRequest(key: Uint8Array): Uint8Array {
  return new MessageWriter().beginUntyped().int32(CANCEL_REQUEST_CODE).bytes(key).end().take();
}

/** Builds an SSLRequest, answered by one byte: `S` or `N`. */
export function sslRequest(): Uint8Array {
  return new MessageWriter().beginUntyped().int32(SSL_REQUEST_CODE).end().take();
}
