import assert from "node:assert/strict";
import { abortToSync, copyFail, query, terminate } from "../../../src/wire/frontend_messages.ts";
import { frontend } from "../../support/messages.ts";
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

Deno.test("copyFail() is one CopyFail message with its reason", () => {
  assert.deepEqual([...copyFail("why")], [...frontend.copyFail("why")]);
});

Deno.test("abortToSync() runs a ROLLBACK in the extended protocol and syncs", () => {
  const { messages } = walk([abortToSync()], ALL_INSPECTED);
  const texts = messages.map(({ bytes, type }) =>
    String.fromCharCode(type) + new TextDecoder().decode(bytes.subarray(5)).replaceAll("\0", " ")
  );
  assert.equal(texts.length, 4);
  assert.deepEqual(texts.map((text) => text[0]), ["P", "B", "E", "S"]);
  assert.equal(texts[0], "P ROLLBACK   ");
  assert.deepEqual(abortToSync(), abortToSync());
});
