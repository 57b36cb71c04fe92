import assert from "node:assert/strict";
import { nextTurn } from "../../../src/base/turn.ts";

Deno.test("nextTurn() resolves after everybody else who is ready has run", async () => {
  const order: string[] = [];
  const others = (async () => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    order.push("another");
  })();
  await nextTurn();
  order.push("back");
  await others;
  assert.deepEqual(order, ["another", "back"]);
});
