import assert from "node:assert/strict";
import { BodyReader } from "../../../src/wire/body_reader.ts";
import {
  errorResponse,
  noticeResponse,
  readErrorResponse,
} from "../../../src/wire/error_response.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";

function read(body: Uint8Array): PgError {
  return readErrorResponse(new BodyReader(body, 0, body.length));
}

function fields(...texts: string[]): Uint8Array {
  return new TextEncoder().encode(texts.map((text) => `${text}\0`).join("") + "\0");
}

Deno.test("errorResponse() writes severity twice, SQLSTATE and message, ended by a zero byte", () => {
  const bytes = errorResponse(new PgError("28P01", "password authentication failed"));
  assert.equal(String.fromCharCode(bytes[0]!), "E");
  assert.equal(new DataView(bytes.buffer).getInt32(1), bytes.length - 1);
  assert.equal(
    new TextDecoder().decode(bytes.subarray(5)),
    "SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0",
  );
});

Deno.test("noticeResponse() differs from errorResponse() in its type byte alone", () => {
  const notice = new PgError("00000", "client being queued", { severity: "NOTICE" });
  const [n, e] = [noticeResponse(notice), errorResponse(notice)];
  assert.equal(String.fromCharCode(n[0]!), "N");
  assert.deepEqual(n.subarray(1), e.subarray(1));
});

Deno.test("readErrorResponse() reads back what was written", () => {
  const errors = [
    new PgError("53300", "no more connections allowed (max_client_conn)"),
    new PgError("57014", "é", { severity: "ERROR", detail: "more", hint: "do\nthis" }),
    new PgError("00000", "", { severity: "NOTICE", detail: "" }),
  ];
  for (const error of errors) {
    const back = read(errorResponse(error).subarray(5));
    for (const name of ["sqlstate", "message", "severity", "detail", "hint"] as const) {
      assert.equal(back[name], error[name], name);
    }
  }
});

Deno.test("a zero byte in a text is shown as a blank: it would end the field", () => {
  const error = new PgError("08P01", "a\0b", { detail: "\0", hint: "c\0" });
  const back = read(errorResponse(error).subarray(5));
  assert.deepEqual([back.message, back.detail, back.hint], ["a b", " ", "c "]);
});

Deno.test("readErrorResponse() takes the severity that is not translated", () => {
  assert.equal(read(fields("SFATALE", "VFATAL", "C57P01", "Marrêt")).severity, "FATAL");
  assert.equal(read(fields("SPANIC", "C57P01", "Mm")).severity, "PANIC", "before PostgreSQL 9.6");
  assert.equal(read(fields("SFEHLER", "C57P01", "Mm")).severity, "ERROR");
});

Deno.test("readErrorResponse() puts plain words in place of fields that are missing", () => {
  const error = read(fields());
  assert.equal(error.sqlstate, "XX000");
  assert.equal(error.message, "error without a message");
  assert.equal(error.severity, "ERROR");
});

Deno.test("readErrorResponse() puts an SQLSTATE in place of what is none", () => {
  for (const code of ["5", "", "57014 ", "abcde", "5".repeat(2_000)]) {
    assert.equal(read(fields(`C${code}`)).sqlstate, "XX000", code);
  }
  assert.equal(read(fields("C57P01")).sqlstate, "57P01");
});

Deno.test("readErrorResponse() skips fields it does not know", () => {
  const error = read(fields("SERROR", "C42601", "Msyntax error", "P8", "Fscan.l", "L1244", "xnew"));
  assert.equal(error.sqlstate, "42601");
});

Deno.test("readErrorResponse() refuses a body that is not a list of fields", () => {
  const whole = fields("SERROR", "C42601", "Mm");
  for (let end = 0; end < whole.length; end++) {
    assert.throws(() => read(whole.subarray(0, end)), ProtocolError, `cut at ${end}`);
  }
});
