/** The few backend messages that Sluice reads or makes itself. Pure. */

import { type BodyReader, decodeText } from "./body_reader.ts";
import { textReaderOf } from "./client_encoding.ts";
import { HEADER_BYTES, type MessageCursor } from "./message_cursor.ts";
import { Backend } from "./message_type.ts";
import { MessageWriter } from "./message_writer.ts";
import { ProtocolError } from "./pg_error.ts";
import { MAJOR } from "./protocol_version.ts";
import { isCancelKeyLength } from "./startup_packet.ts";

/** Transaction status of ReadyForQuery: idle, in a transaction, in a failed transaction. */
export const TransactionStatus = { Idle: 0x49, InTransaction: 0x54, Failed: 0x45 } as const;

/** One of the three bytes above. */
export type TransactionStatus = (typeof TransactionStatus)[keyof typeof TransactionStatus];

/** Whether a byte of a ReadyForQuery is one of the three. */
export function isTransactionStatus(byte: number): byte is TransactionStatus {
  return byte === TransactionStatus.Idle || byte === TransactionStatus.InTransaction ||
    byte === TransactionStatus.Failed;
}

/**
 * The transaction status of a ReadyForQuery that a cursor stands at.
 * @throws {ProtocolError} If it has none.
 */
export function transactionStatusOf({ buffer, end, start }: MessageCursor): TransactionStatus {
  const status = buffer[start + HEADER_BYTES]!;
  if (end - start !== HEADER_BYTES + 1 || !isTransactionStatus(status)) {
    throw new ProtocolError("bad ReadyForQuery");
  }
  return status;
}

/** Builds ReadyForQuery. */
export function readyForQuery(status: TransactionStatus): Uint8Array<ArrayBuffer> {
  return new MessageWriter(8).begin(Backend.ReadyForQuery).int8(status).end().take();
}

/** Builds ParameterStatus. */
export function parameterStatus(name: string, value: string): Uint8Array<ArrayBuffer> {
  return writeParameterStatus(new MessageWriter(), name, value).take();
}

/** Adds a ParameterStatus to what is written. */
export function writeParameterStatus(
  writer: MessageWriter,
  name: string,
  value: string,
): MessageWriter {
  return writer.begin(Backend.ParameterStatus).cstring(name).cstring(value).end();
}

/**
 * Reads the body of ParameterStatus, whose value is in the session's `client_encoding`.
 * @throws {ProtocolError} If it is not two texts.
 */
export function readParameterStatus(
  reader: BodyReader,
  encoding?: string,
): { name: string; value: string } {
  return { name: reader.cstring(), value: reader.cstring(textReaderOf(encoding)) };
}

/** Builds BackendKeyData; `key` is 4 bytes of process ID and the secret. */
export function backendKeyData(key: Uint8Array): Uint8Array<ArrayBuffer> {
  return new MessageWriter(16).begin(Backend.BackendKeyData).bytes(key).end().take();
}

/**
 * Reads the body of BackendKeyData: process ID and secret.
 * @throws {ProtocolError} If it has a length that no key has.
 */
export function readBackendKeyData(reader: BodyReader): Uint8Array<ArrayBuffer> {
  const count = reader.remaining;
  if (!isCancelKeyLength(count)) throw new ProtocolError(`bad cancel key: ${count} bytes`);
  return reader.bytes(count);
}

/** What a server says when it does not speak all that it was asked for. */
export interface ProtocolNegotiation {
  /** Major version in the upper half, minor in the lower. */
  readonly version: number;
  /** The protocol options that it does not know. */
  readonly unknownOptions: readonly string[];
}

/** Builds NegotiateProtocolVersion: the minor version spoken and the options not known. */
export function negotiateProtocolVersion(
  minor: number,
  unknownOptions: readonly string[],
): Uint8Array<ArrayBuffer> {
  // The word is the whole version, major in the upper half, as PostgreSQL sends it.
  const writer = new MessageWriter().begin(Backend.NegotiateProtocolVersion)
    .int32(MAJOR << 16 | minor).int32(unknownOptions.length);
  for (const option of unknownOptions) writer.cstring(option);
  return writer.end().take();
}

/** Reads the body of NegotiateProtocolVersion. @throws {ProtocolError} If it is none. */
export function readNegotiateProtocolVersion(reader: BodyReader): ProtocolNegotiation {
  const version = reader.int32();
  const count = reader.int32();
  const unknownOptions: string[] = [];
  // A count that is a lie ends with the bytes: each name takes one at least.
  for (let i = 0; i < count; i++) unknownOptions.push(reader.cstring());
  if (count < 0 || reader.remaining > 0) throw new ProtocolError("failed to parse packet");
  return { version, unknownOptions };
}

/** Builds CommandComplete. */
export function commandComplete(tag: string): Uint8Array<ArrayBuffer> {
  return new MessageWriter(32).begin(Backend.CommandComplete).cstring(tag).end().take();
}

/** Builds ParseComplete. */
export function parseComplete(): Uint8Array<ArrayBuffer> {
  return bare(Backend.ParseComplete);
}

/** Builds BindComplete. */
export function bindComplete(): Uint8Array<ArrayBuffer> {
  return bare(Backend.BindComplete);
}

/** Builds CloseComplete. */
export function closeComplete(): Uint8Array<ArrayBuffer> {
  return bare(Backend.CloseComplete);
}

/** Builds NoData. */
export function noData(): Uint8Array<ArrayBuffer> {
  return bare(Backend.NoData);
}

/** Builds PortalSuspended. */
export function portalSuspended(): Uint8Array<ArrayBuffer> {
  return bare(Backend.PortalSuspended);
}

/** Builds EmptyQueryResponse. */
export function emptyQueryResponse(): Uint8Array<ArrayBuffer> {
  return bare(Backend.EmptyQueryResponse);
}

function bare(type: number): Uint8Array<ArrayBuffer> {
  return new MessageWriter(8).begin(type).end().take();
}

/** Builds ParameterDescription, from type OIDs. */
export function parameterDescription(oids: readonly number[]): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter().begin(Backend.ParameterDescription).int16(oids.length);
  for (const oid of oids) writer.int32(oid);
  return writer.end().take();
}

/** One column of a result. */
export interface ResultColumn {
  readonly name: string;
  /** Type OID. */
  readonly oid: number;
  /** Bytes a value takes, -1 when that varies. */
  readonly sizeBytes: number;
}

/** Builds RowDescription; `formats` has a format code for each column, else all are text. */
export function rowDescription(
  columns: readonly ResultColumn[],
  formats: readonly number[] = [],
): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter().begin(Backend.RowDescription).int16(columns.length);
  for (const [at, column] of columns.entries()) {
    writer.cstring(column.name).int32(0).int16(0)
      .int32(column.oid).int16(column.sizeBytes).int32(-1).int16(formats[at] ?? 0);
  }
  return writer.end().take();
}

/** Builds DataRow from texts, or bytes as they are; null is SQL's NULL. */
export function dataRow(
  values: readonly (string | Uint8Array | null)[],
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const writer = new MessageWriter().begin(Backend.DataRow).int16(values.length);
  for (const value of values) {
    if (value === null) writer.int32(-1);
    else {
      const bytes = typeof value === "string" ? encoder.encode(value) : value;
      writer.int32(bytes.length).bytes(bytes);
    }
  }
  return writer.end().take();
}

/** Reads the text of a CommandComplete body. */
export function readCommandTag(buffer: Uint8Array, start: number, end: number): string {
  return decodeText(buffer, start, Math.max(start, end - 1));
}
