/** PgBouncer's connection strings; the cases were tried with PgBouncer 1.18. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseConnectionString } from "../../../src/config/connection_string.ts";

function pairs(text: string): unknown {
  const parsed = parseConnectionString(text);
  return "problem" in parsed ? parsed.problem : parsed.pairs;
}

Deno.test("parseConnectionString() takes blanks around = and between pairs", () => {
  const expected = [["host", "a"], ["port", "5"]];
  assert.deepEqual(pairs("host=a port=5"), expected);
  assert.deepEqual(pairs("  host =  a \t port= 5  "), expected);
  assert.deepEqual(pairs(""), []);
});

Deno.test("parseConnectionString() reads quoted values, in which two quotes are one", () => {
  assert.deepEqual(pairs("a='x y' b='it''s' c=''''"), [["a", "x y"], ["b", "it's"], ["c", "'"]]);
});

Deno.test("parseConnectionString() takes a backslash as it is", () => {
  assert.deepEqual(pairs(String.raw`a='\n' b=c:\d e='\'`), [["a", "\\n"], ["b", "c:\\d"], [
    "e",
    "\\",
  ]]);
});

Deno.test("parseConnectionString() skips the blank after =, as PgBouncer does", () => {
  assert.deepEqual(pairs("dbname= host=x"), [["dbname", "host=x"]]);
});

Deno.test("parseConnectionString() refuses what PgBouncer refuses, without showing values", () => {
  assert.match(String(pairs("host")), /an "=" or a key is missing/);
  assert.match(String(pairs("host=x ; comment")), /an "=" or a key is missing/);
  assert.match(String(pairs("=x")), /key is missing/);
  assert.match(String(pairs("a=")), /expected a value of "a"/);
  assert.match(String(pairs("a=''")), /expected a value of "a"/);
  assert.match(String(pairs("password='secret")), /^a closing ' is missing after the value of/);
  assert.match(String(pairs("a='x'b=y")), /expected a blank/);
});

Deno.test("parseConnectionString() reads back any quoted value", () => {
  fc.assert(fc.property(fc.string({ minLength: 1 }), (value) => {
    const text = `a='${value.replaceAll("'", "''")}' b=c`;
    assert.deepEqual(pairs(text), [["a", value], ["b", "c"]]);
  }));
});

Deno.test("parseConnectionString() gives pairs or a problem for any text", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("a", "=", "'", " ", "\\") }), (text) => {
    const parsed = parseConnectionString(text);
    assert.ok(
      "problem" in parsed || parsed.pairs.every(([key, value]) => key !== "" && value !== ""),
    );
  }));
});
