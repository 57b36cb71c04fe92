/**
 * ErrorResponse and NoticeResponse, to and from `PgError`. Pure.
 * Source: PostgreSQL, "Error and Notice Message Fields".
 */

import { BodyReader } from "./body_reader.ts";
import { Backend } from "./message_type.ts";
import { MessageWriter } from "./message_writer.ts";
import { PgError, type Severity } from "./pg_error.ts";
import { SQLSTATE } from "./sqlstate.ts";

const FIELD = {
  severity: 0x53, // S
  severityNonlocalized: 0x56, // V
  sqlstate: 0x43, // C
  message: 0x4d, // M
  detail: 0x44, // D
  hint: 0x48, // H
  position: 0x50, // P
  routine: 0x52, // R
} as const;

const SEVERITIES: readonly string[] = [
  "ERROR",
  "FATAL",
  "PANIC",
  "WARNING",
  "NOTICE",
  "LOG",
  "INFO",
  "DEBUG",
];

/** Builds the ErrorResponse that says `error`. */
export function errorResponse(error: PgError): Uint8Array<ArrayBuffer> {
  return report(Backend.ErrorResponse, error);
}

/** Builds the NoticeResponse that says `notice`. */
export function noticeResponse(notice: PgError): Uint8Array<ArrayBuffer> {
  return report(Backend.NoticeResponse, notice);
}

function report(type: number, error: PgError): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter().begin(type)
    .int8(FIELD.severity).cstring(error.severity)
    .int8(FIELD.severityNonlocalized).cstring(error.severity)
    .int8(FIELD.sqlstate).cstring(error.sqlstate)
    .int8(FIELD.message).cstring(withoutZeros(error.message));
  if (error.detail !== undefined) writer.int8(FIELD.detail).cstring(withoutZeros(error.detail));
  if (error.hint !== undefined) writer.int8(FIELD.hint).cstring(withoutZeros(error.hint));
  if (error.position !== undefined) {
    writer.int8(FIELD.position).cstring(withoutZeros(error.position));
  }
  if (error.routine !== undefined) {
    writer.int8(FIELD.routine).cstring(withoutZeros(error.routine));
  }
  return writer.int8(0).end().take();
}

/** A zero byte would end the field early and make the rest of the message unreadable. */
function withoutZeros(text: string): string {
  return text.replaceAll("\0", " ");
}

/** What drivers take for an SQLSTATE. */
const SQLSTATE_FORM = /^[0-9A-Z]{5}$/;

/**
 * Reads the body of an ErrorResponse or NoticeResponse. A field missing from a message of an old
 * or odd server gets a plain stand-in, and so does an SQLSTATE that is none: others are told it, too.
 * @throws {ProtocolError} If the body is not a list of fields.
 */
export function readErrorResponse(reader: BodyReader): PgError {
  const fields = new Map<number, string>();
  for (let code = reader.int8(); code !== 0; code = reader.int8()) {
    fields.set(code, reader.cstring());
  }
  const severity = fields.get(FIELD.severityNonlocalized) ?? fields.get(FIELD.severity);
  const detail = fields.get(FIELD.detail);
  const hint = fields.get(FIELD.hint);
  const position = fields.get(FIELD.position);
  const routine = fields.get(FIELD.routine);
  const sqlstate = fields.get(FIELD.sqlstate) ?? "";
  return new PgError(
    SQLSTATE_FORM.test(sqlstate) ? sqlstate : SQLSTATE.internalError,
    fields.get(FIELD.message) ?? "error without a message",
    {
      severity: SEVERITIES.includes(severity ?? "") ? severity as Severity : "ERROR",
      ...(detail === undefined ? {} : { detail }),
      ...(hint === undefined ? {} : { hint }),
      ...(position === undefined ? {} : { position }),
      ...(routine === undefined ? {} : { routine }),
    },
  );
}
