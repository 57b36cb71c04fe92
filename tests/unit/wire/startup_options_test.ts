import assert from "node:assert/strict";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import { readStartupOptions } from "../../../src/wire/startup_options.ts";

function read(options: string): Record<string, string> {
  return Object.fromEntries(readStartupOptions(options));
}

Deno.test("readStartupOptions() reads the three forms of an assignment", () => {
  assert.deepEqual(read("-c a=1 -cb=2 --c=3"), { a: "1", b: "2", c: "3" });
});

Deno.test("readStartupOptions() takes blanks of any kind and number between switches", () => {
  assert.deepEqual(read("  -c\ta=1 \n --b=2 "), { a: "1", b: "2" });
  assert.deepEqual(read(""), {});
  assert.deepEqual(read(" \t "), {});
});

Deno.test("a blank that is not ASCII belongs to the value, as in PostgreSQL", () => {
  assert.deepEqual(read("-c a=x\u00a0y\u2003z"), { a: "x\u00a0y\u2003z" });
});

Deno.test("a backslash keeps the next character as it is", () => {
  assert.deepEqual(read("-c a=x\\ y -c b=\\\\ --c=\\a"), { a: "x y", b: "\\", c: "a" });
  assert.deepEqual(read("-c a=x\\"), { a: "x" }, "at the end there is nothing to keep");
});

Deno.test("a value may be empty or hold an equals sign", () => {
  assert.deepEqual(read("-c a= -c b=c=d"), { a: "", b: "c=d" });
});

Deno.test("a hyphen in a name is an underscore; one in a value stays", () => {
  assert.deepEqual(read("--statement-timeout=5-s"), { statement_timeout: "5-s" });
});

Deno.test("a parameter given twice has its last value", () => {
  assert.deepEqual(read("-c a=1 -c a=2"), { a: "2" });
});

Deno.test("readStartupOptions() refuses all other switches", () => {
  const refused = [
    "-c",
    "-c a",
    "-c =1",
    "--a",
    "--=1",
    "-F",
    "-W 5",
    "a=1",
    "-c a=1 b=2",
    "-",
    "--",
  ];
  for (const options of refused) {
    assert.throws(() => read(options), ProtocolError, options);
  }
});
