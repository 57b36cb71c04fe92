import assert from "node:assert/strict";
import { assert as houseAssert, AssertionError, unreachable } from "../../../src/base/assert.ts";

Deno.test("assert() lets a true condition pass and throws its message for a false one", () => {
  houseAssert(true, "never seen");
  assert.throws(
    () => houseAssert(false, "A server must stand in the list of its state"),
    (error) =>
      error instanceof AssertionError && error.name === "AssertionError" &&
      error.message === "A server must stand in the list of its state",
  );
});

Deno.test("unreachable() throws and names the case that was forgotten", () => {
  assert.throws(() => unreachable({ kind: "new" } as never), /\{"kind":"new"\}/);
});
