import assert from "node:assert/strict";
import { Backend, Frontend, typeTable } from "../../../src/wire/message_type.ts";

Deno.test("typeTable() marks the types listed and no others", () => {
  const table = typeTable([Backend.ReadyForQuery, Backend.ErrorResponse, 0, 255]);
  const marked = [...table.entries()].filter(([, mark]) => mark === 1).map(([type]) => type);
  assert.deepEqual(marked, [0, Backend.ErrorResponse, Backend.ReadyForQuery, 255]);
  assert.equal(table.length, 256);
});

Deno.test("no two messages of one direction have the same type byte", () => {
  for (const types of [Frontend, Backend]) {
    const bytes = Object.values(types);
    assert.equal(new Set(bytes).size, bytes.length);
  }
});
