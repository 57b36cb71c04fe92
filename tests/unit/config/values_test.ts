/** Single values, in both notations. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { SettingSpec } from "../../../src/config/setting_spec.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import {
  type Dialect,
  formatValue,
  parseValue,
  type RawValue,
} from "../../../src/config/values.ts";

function specOf(name: string): SettingSpec {
  const spec = SETTINGS.find((candidate) => candidate.name === name);
  assert.ok(spec !== undefined, name);
  return spec;
}

function value(name: string, raw: RawValue, dialect: Dialect = "toml"): unknown {
  const parsed = parseValue(specOf(name), raw, dialect);
  return "problem" in parsed ? new Error(parsed.problem) : parsed.value;
}

function problem(name: string, raw: RawValue, dialect: Dialect = "toml"): string {
  const result = value(name, raw, dialect);
  assert.ok(result instanceof Error, `${name} = ${String(raw)} was accepted`);
  return result.message;
}

Deno.test("a time is seconds, with fractions, or a text with a unit", () => {
  const cases: [RawValue, number][] = [
    [15, 15_000],
    [0.25, 250],
    [0.001, 1],
    ["15s", 15_000],
    ["5min", 300_000],
    ["250ms", 250],
    ["1h", 3_600_000],
    ["1d", 86_400_000],
    ["1.5 s", 1500],
    ["500us", 0.5],
  ];
  for (const [raw, ms] of cases) assert.equal(value("server_idle_timeout", raw), ms, String(raw));
  assert.equal(value("tcp_user_timeout", 250), 250);
  assert.equal(value("tcp_user_timeout", "2s"), 2000);
});

Deno.test("a size is bytes or a text with a unit", () => {
  assert.equal(value("pkt_buf", 4096), 4096);
  assert.equal(value("pkt_buf", "64kB"), 65536);
  assert.equal(value("pkt_buf", "1MB"), 1048576);
  assert.equal(value("tcp_socket_buffer", "1GB"), 2 ** 30);
});

Deno.test("a text without a unit is a number in the INI only", () => {
  assert.equal(value("server_idle_timeout", "15", "ini"), 15_000);
  assert.equal(value("default_pool_size", "15", "ini"), 15);
  assert.match(problem("server_idle_timeout", "15"), /number of seconds or a text with a unit/);
  assert.match(problem("default_pool_size", "15"), /expected a whole number, found "15"/);
});

Deno.test("numbers of the INI may be hexadecimal and octal, as PgBouncer reads them", () => {
  assert.equal(value("max_client_conn", "0x10", "ini"), 16);
  assert.equal(value("max_client_conn", "010", "ini"), 8);
});

Deno.test("times of the INI may be written like fractions of C, as PgBouncer reads them", () => {
  assert.equal(value("server_idle_timeout", ".5", "ini"), 500);
  assert.equal(value("server_idle_timeout", "5.", "ini"), 5_000);
  assert.equal(value("server_idle_timeout", "1e3", "ini"), 1_000_000);
  assert.match(problem("server_idle_timeout", ".", "ini"), /number of seconds/);
});

Deno.test("a count below 0 in the INI is no limit, where 0 is none, and else refused", () => {
  assert.equal(value("max_db_connections", "-1", "ini"), 0);
  assert.match(problem("max_db_connections", -1), /from 0 to/);
  assert.match(problem("default_pool_size", "-1", "ini"), /from 0 to/);
});

Deno.test("a number that is out of range, broken or of the wrong kind is refused", () => {
  assert.match(problem("listen_port", 65536), /from 0 to 65535, found 65536/);
  assert.match(problem("listen_port", -1), /from 0 to 65535/);
  assert.match(problem("peer_id", 16384), /from 0 to 16383/);
  assert.match(problem("pkt_buf", 511), /from 512 to 1048576/);
  assert.match(problem("pkt_buf", "2MB"), /from 512 to 1048576, found "2MB"/);
  assert.match(problem("default_pool_size", 1.5), /whole number/);
  assert.match(problem("default_pool_size", 2 ** 31), /from 0 to 2147483647/);
  assert.match(problem("default_pool_size", NaN), /whole number/);
  assert.match(problem("query_timeout", Infinity), /number of seconds/);
  assert.match(problem("query_timeout", "5 parsecs"), /with a unit/);
  assert.match(problem("query_timeout", "5kB"), /with a unit/);
  assert.match(problem("query_timeout", true), /found true/);
  assert.match(problem("query_timeout", new Date(0)), /found a date/);
  assert.match(problem("query_timeout", [5]), /found an array/);
  assert.match(problem("query_timeout", { a: 5 }), /found a table/);
});

Deno.test("a boolean is true, false, 1 or 0, and in the INI also a word", () => {
  for (const raw of [true, 1]) assert.equal(value("log_stats", raw), true);
  for (const raw of [false, 0]) assert.equal(value("log_stats", raw), false);
  for (const raw of ["1", "on", "YES", "true"]) assert.equal(value("log_stats", raw, "ini"), true);
  for (const raw of ["0", "off", "no", "False"]) {
    assert.equal(value("log_stats", raw, "ini"), false);
  }
  assert.match(problem("log_stats", "yes"), /expected true or false/);
  assert.match(problem("log_stats", 2), /found 2/);
  for (const raw of ["2", "-1"]) assert.equal(value("log_stats", raw, "ini"), true);
  assert.equal(value("log_stats", "00", "ini"), false);
  assert.match(problem("log_stats", "2x", "ini"), /found "2x"/);
});

Deno.test("a word is one of those allowed, in the INI in any case", () => {
  assert.equal(value("pool_mode", "statement"), "statement");
  assert.equal(value("pool_mode", "Transaction", "ini"), "transaction");
  const allowed = /expected one of session, transaction, statement, found "Transaction"/;
  assert.match(problem("pool_mode", "Transaction"), allowed);
});

Deno.test("a word that looks like a number is asked for in quotes", () => {
  assert.equal(value("server_protocol", "3.0"), "3.0");
  assert.equal(value("server_protocol", "3.0", "ini"), "3.0");
  assert.match(problem("server_protocol", 3.2), /expected one of 3.2, 3.0, in quotes, found 3.2/);
});

Deno.test("a list is a text with commas or an array", () => {
  assert.deepEqual(value("listen_addr", "127.0.0.1, ::1"), ["127.0.0.1", "::1"]);
  assert.deepEqual(value("listen_addr", ["127.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
  assert.deepEqual(value("listen_addr", ""), []);
  assert.deepEqual(value("listen_addr", []), []);
  assert.match(problem("listen_addr", "a,,b"), /empty/);
  assert.deepEqual(value("listen_addr", ",a,, b,", "ini"), ["a", "b"]);
  assert.match(problem("listen_addr", ["a,b"]), /comma/);
  assert.match(problem("listen_addr", [1]), /array of texts/);
});

Deno.test("a mode is octal digits in quotes", () => {
  assert.equal(value("unix_socket_mode", "0770"), 0o770);
  assert.equal(value("unix_socket_mode", "700", "ini"), 0o700);
  assert.match(problem("unix_socket_mode", 0o770), /octal digits in quotes/);
  assert.match(problem("unix_socket_mode", "0888"), /octal/);
});

Deno.test("server_check_query tells the empty query from none", () => {
  assert.equal(value("server_check_query", "<empty>"), "");
  assert.equal(value("server_check_query", ""), undefined);
  assert.equal(value("server_check_query", "select 1"), "select 1");
});

Deno.test("a text that may be missing is missing when empty", () => {
  assert.equal(value("auth_file", ""), undefined);
  assert.equal(value("logfile", ""), "");
});

Deno.test("NUL bytes are refused everywhere", () => {
  for (const name of ["logfile", "listen_addr", "server_check_query"]) {
    assert.match(problem(name, "a\0b"), /NUL/);
  }
  assert.match(problem("listen_addr", ["a\0b"]), /NUL/);
});

Deno.test("a value that formatValue() printed is read back by the INI's rules", () => {
  const cases = fc.constantFrom(...SETTINGS).chain((spec) =>
    fc.tuple(fc.constant(spec), fc.oneof(fc.string(), fc.nat().map(String), choicesOf(spec)))
  );
  fc.assert(fc.property(cases, ([spec, text]) => {
    const parsed = parseValue(spec, text, "ini");
    if ("problem" in parsed) return;
    const again = parseValue(spec, formatValue(spec, parsed.value) ?? "", "ini");
    assert.deepEqual(again, parsed);
  }));
});

function choicesOf(spec: SettingSpec): fc.Arbitrary<string> {
  return fc.constantFrom(...(spec.choices ?? [spec.default ?? ""]));
}
