import assert from "node:assert/strict";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { SQLSTATE } from "../../../src/wire/sqlstate.ts";

Deno.test("PgError is FATAL unless it is told otherwise, and has no detail or hint by itself", () => {
  const error = new PgError(SQLSTATE.tooManyConnections, "no more connections allowed");
  assert.equal(error.severity, "FATAL");
  assert.equal(error.sqlstate, "53300");
  assert.equal(error.message, "no more connections allowed");
  assert.equal(error.detail, undefined);
  assert.equal(error.hint, undefined);
  assert.ok(error instanceof Error);
});

Deno.test("PgError keeps the fields it is given", () => {
  const error = new PgError("57014", "canceled", { severity: "ERROR", detail: "d", hint: "h" });
  assert.deepEqual([error.severity, error.detail, error.hint], ["ERROR", "d", "h"]);
});

Deno.test("ProtocolError is told apart from PgError by its class and name", () => {
  const error = new ProtocolError("bad packet header");
  assert.ok(!(error instanceof PgError));
  assert.equal(String(error), "ProtocolError: bad packet header");
});

Deno.test("every SQLSTATE has five characters and a name of its own", () => {
  const codes = Object.values(SQLSTATE);
  for (const code of codes) assert.match(code, /^[0-9A-Z]{5}$/);
  assert.equal(new Set(codes).size, codes.length);
});
