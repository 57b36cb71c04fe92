import assert from "node:assert/strict";
import { eventTurn } from "../../support/event_turn.ts";

Deno.test("eventTurn() returns after a chain of promises has run", async () => {
  let steps = 0;
  const chain = async () => {
    for (let i = 0; i < 100; i++) {
      await Promise.resolve();
      steps += 1;
    }
  };
  const running = chain();
  await eventTurn();
  assert.equal(steps, 100);
  await running;
});
