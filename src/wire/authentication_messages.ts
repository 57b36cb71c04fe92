/**
 * The messages of a login: the backend's authentication requests ('R') and what a frontend answers
 * ('p'). Builds what a pooler says to a client, reads what clients and servers say. Pure.
 *
 * Not here: PasswordMessage, SASLInitialResponse and SASLResponse as sent to a server; they come
 * from pg-protocol's serializer. Which message is due when is known to `auth/`.
 * Source: PostgreSQL, "Message Formats"; codes as AUTH_REQ_… in src/include/libpq/protocol.h.
 */

import { BodyReader } from "./body_reader.ts";
import { HEADER_BYTES } from "./message_cursor.ts";
import { Backend } from "./message_type.ts";
import { MessageWriter } from "./message_writer.ts";
import { ProtocolError } from "./pg_error.ts";

const CODE = {
  ok: 0,
  cleartextPassword: 3,
  md5Password: 5,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const;

/** Room for the names of both mechanisms that there are. */
const MECHANISMS_BYTES = 40;

/** Bytes of the salt in AuthenticationMD5Password. */
export const MD5_SALT_BYTES = 4;

/** Builds AuthenticationOk, type byte included. */
export function authenticationOk(): Uint8Array<ArrayBuffer> {
  return begin(CODE.ok, 0).end().take();
}

/** Builds AuthenticationCleartextPassword, type byte included. */
export function authenticationCleartextPassword(): Uint8Array<ArrayBuffer> {
  return begin(CODE.cleartextPassword, 0).end().take();
}

/** Builds AuthenticationMD5Password, type byte included. `salt` has `MD5_SALT_BYTES` bytes. */
export function authenticationMd5Password(salt: Uint8Array): Uint8Array<ArrayBuffer> {
  return begin(CODE.md5Password, salt.length).bytes(salt).end().take();
}

/** Builds AuthenticationSASL, type byte included; the mechanism liked best comes first. */
export function authenticationSasl(mechanisms: readonly string[]): Uint8Array<ArrayBuffer> {
  const writer = begin(CODE.sasl, MECHANISMS_BYTES);
  for (const name of mechanisms) writer.cstring(name);
  return writer.int8(0).end().take();
}

/** Builds AuthenticationSASLContinue, type byte included, of what the mechanism says in ASCII. */
export function authenticationSaslContinue(data: string): Uint8Array<ArrayBuffer> {
  return begin(CODE.saslContinue, data.length).text(data).end().take();
}

/** Builds AuthenticationSASLFinal, type byte included, of what the mechanism says in ASCII. */
export function authenticationSaslFinal(data: string): Uint8Array<ArrayBuffer> {
  return begin(CODE.saslFinal, data.length).text(data).end().take();
}

/** Begins an authentication request with room for so many bytes behind its code. */
function begin(code: number, dataBytes: number): MessageWriter {
  return new MessageWriter(HEADER_BYTES + 4 + dataBytes).begin(Backend.Authentication).int32(code);
}

/** What a server demands or says, from the body of an 'R' message. */
export type AuthenticationRequest =
  | { readonly kind: "ok" }
  | { readonly kind: "cleartext" }
  | { readonly kind: "md5"; readonly salt: Uint8Array<ArrayBuffer> }
  | { readonly kind: "sasl"; readonly mechanisms: readonly string[] }
  | { readonly kind: "saslContinue"; readonly data: Uint8Array<ArrayBuffer> }
  | { readonly kind: "saslFinal"; readonly data: Uint8Array<ArrayBuffer> }
  /** Kerberos, GSSAPI, SSPI and whatever comes later. */
  | { readonly kind: "unsupported"; readonly code: number };

/**
 * Reads the body of an 'R' message; the result owns its bytes.
 *
 * @throws {ProtocolError} If the body is cut short or has bytes too many.
 */
export function readAuthentication(body: Uint8Array): AuthenticationRequest {
  const reader = new BodyReader(body, 0, body.length);
  const code = reader.int32();
  switch (code) {
    case CODE.ok:
      return endOf(reader, { kind: "ok" });
    case CODE.cleartextPassword:
      return endOf(reader, { kind: "cleartext" });
    case CODE.md5Password:
      return endOf(reader, { kind: "md5", salt: reader.bytes(MD5_SALT_BYTES) });
    case CODE.sasl:
      return endOf(reader, { kind: "sasl", mechanisms: readMechanisms(reader) });
    case CODE.saslContinue:
      return { kind: "saslContinue", data: reader.bytes(reader.remaining) };
    case CODE.saslFinal:
      return { kind: "saslFinal", data: reader.bytes(reader.remaining) };
    default:
      return { kind: "unsupported", code };
  }
}

/** An empty name ends the list. */
function readMechanisms(reader: BodyReader): string[] {
  const mechanisms: string[] = [];
  for (;;) {
    const name = reader.cstring();
    if (name === "") return mechanisms;
    mechanisms.push(name);
  }
}

/**
 * Reads a PasswordMessage: the bytes before the zero byte, borrowed from `body`. A password need
 * not be UTF-8, and comparing what was decoded would take different passwords for the same one.
 *
 * @throws {ProtocolError} If the one zero byte does not stand at the end.
 */
export function readPasswordBytes(body: Uint8Array): Uint8Array {
  const zeroAt = body.indexOf(0);
  if (zeroAt < 0 || zeroAt !== body.length - 1) {
    throw new ProtocolError("broken PasswordMessage: expected one zero byte, at its end");
  }
  return body.subarray(0, zeroAt);
}

/** The first answer of a client that was offered SASL mechanisms. */
export interface SaslInitialResponse {
  /** The mechanism it chose, as it named it. */
  readonly mechanism: string;
  /** The mechanism's first data, owned; undefined when the client sent none. */
  readonly data: Uint8Array<ArrayBuffer> | undefined;
}

/**
 * Reads a SASLInitialResponse. (The body of each later SASLResponse is its data, whole.)
 *
 * @throws {ProtocolError} If a length is wrong.
 */
export function readSaslInitialResponse(body: Uint8Array): SaslInitialResponse {
  const reader = new BodyReader(body, 0, body.length);
  const mechanism = reader.cstring();
  const length = reader.int32();
  const data = length === -1 ? undefined : reader.bytes(length);
  return endOf(reader, { mechanism, data });
}

function endOf<T>(reader: BodyReader, value: T): T {
  if (reader.remaining > 0) throw new ProtocolError("failed to parse packet: bytes too many");
  return value;
}
