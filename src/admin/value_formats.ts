/**
 * Values in the formats of the extended protocol: parameters as they come, results as they are asked
 * for. In binary there are whole numbers and texts, which is all that the console has.
 */

import { decodeText } from "../wire/body_reader.ts";
import { dataRow, type ResultColumn } from "../wire/backend_messages.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { OID, type ShownRow, type ShownValue } from "./result_set.ts";

/** Format codes. Source: PostgreSQL, "Formats and Format Codes". */
export const FORMAT = { text: 0, binary: 1 } as const;

const NUMERIC_BASE = 10_000n;

/** Stands in the place of the sign. */
const NUMERIC_NEGATIVE = 0x4000;

/** OIDs whose binary format is the text itself; 705 is the type `unknown`. */
const TEXT_OIDS: readonly number[] = [OID.unknown, OID.text, OID.varchar, 705];

/**
 * The format of each of `count` values: none given means text, one given holds for all.
 * @throws {PgError} If as many are given as fit no rule, or one that there is not.
 */
export function formatsOf(codes: readonly number[], count: number): number[] {
  const isKnown = codes.every((code) => code === FORMAT.text || code === FORMAT.binary);
  if (!isKnown || codes.length > 1 && codes.length !== count) {
    throw new PgError(SQLSTATE.protocolViolation, "bad format codes", { severity: "ERROR" });
  }
  return Array.from({ length: count }, (_, at) => codes[at] ?? codes[0] ?? FORMAT.text);
}

/**
 * A parameter as text.
 * @throws {PgError} If its type is not read in binary, or the bytes are none of its type.
 */
export function readParameter(bytes: Uint8Array, format: number, oid: number): string {
  if (format === FORMAT.text || TEXT_OIDS.includes(oid)) {
    if (!bytes.includes(0)) return decodeText(bytes, 0, bytes.length);
    throw new PgError(
      SQLSTATE.characterNotInRepertoire,
      "invalid byte sequence in a parameter: 0x00",
      { severity: "ERROR" },
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (oid === OID.int2 && bytes.length === 2) return String(view.getInt16(0));
  if (oid === OID.int4 && bytes.length === 4) return String(view.getInt32(0));
  if (oid === OID.int8 && bytes.length === 8) return String(view.getBigInt64(0));
  throw new PgError(
    SQLSTATE.featureNotSupported,
    `parameters of type ${oid} are not read in binary by the admin console`,
    { severity: "ERROR" },
  );
}

/** A row in the formats asked for. */
export function rowIn(
  columns: readonly ResultColumn[],
  formats: readonly number[],
  row: ShownRow,
): Uint8Array {
  return dataRow(row.map((value, at) => encoded(value, columns[at]!.oid, formats[at]!)));
}

function encoded(value: ShownValue, oid: number, format: number): string | Uint8Array | null {
  if (value === undefined) return null;
  if (format === FORMAT.text) return String(value);
  switch (oid) {
    case OID.int4:
      return new MessageWriter(4).int32(Number(value)).take();
    case OID.int8:
      return binaryInt8(BigInt(value));
    case OID.numeric:
      return binaryNumeric(BigInt(value));
    default:
      return String(value);
  }
}

function binaryInt8(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, value);
  return bytes;
}

/** Of a whole number. Source: PostgreSQL, `numeric_send()`: digits of base 10,000. */
function binaryNumeric(value: bigint): Uint8Array {
  const digits: number[] = [];
  for (let rest = value < 0n ? -value : value; rest > 0n; rest /= NUMERIC_BASE) {
    digits.unshift(Number(rest % NUMERIC_BASE));
  }
  const sign = value < 0n ? NUMERIC_NEGATIVE : 0;
  const writer = new MessageWriter(8 + digits.length * 2).int16(digits.length)
    .int16(Math.max(0, digits.length - 1)).int16(sign).int16(0);
  for (const digit of digits) writer.int16(digit);
  return writer.take();
}
