import assert from "node:assert/strict";
import { query, terminate } from "../../../src/wire/frontend_messages.ts";
import { ALL_INSPECTED, walk } from "../../support/walk.ts";

Deno.test("query() is one Query message, ended by a zero byte", () => {
  const { messages } = walk([query("SELECT 'é'")], ALL_INSPECTED);
  assert.equal(messages.length, 1);
  assert.equal(String.fromCharCode(messages[0]!.type), "Q");
  assert.equal(new TextDecoder().decode(messages[0]!.bytes.subarray(5)), "SELECT 'é'\0");
});

Deno.test("query() gives bytes of their own each time", () => {
  const first = query("SELECT 1");
  const copy = first.slice();
  query("SELECT 2");
  assert.deepEqual(first, copy);
});

Deno.test("terminate() is one Terminate message", () => {
  assert.deepEqual([...terminate()], [0x58, 0, 0, 0, 4]);
});
