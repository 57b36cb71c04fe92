import assert from "node:assert/strict";
import { LinkFreeze } from "../../../src/client/link_freeze.ts";
import { eventTurn } from "../../support/event_turn.ts";

/** A freeze, and what became of the request that it holds. */
function hold(sending?: Promise<void>) {
  const freeze = new LinkFreeze();
  const calls: string[] = [];
  freeze.holdRequest(sending, {
    goOn: () => void calls.push("go on"),
    letGo: () => void calls.push("let go"),
  });
  return { freeze, calls };
}

Deno.test("LinkFreeze goes on with what it holds at the thaw, once", () => {
  const { calls, freeze } = hold();
  assert.deepEqual(calls, []);
  freeze.thaw();
  freeze.thaw();
  assert.deepEqual(calls, ["go on"]);
});

for (const end of ["thaw", "drop"] as const) {
  Deno.test(`LinkFreeze.${end}() waits for what is still being sent, whichever comes first`, async () => {
    const called = [end === "thaw" ? "go on" : "let go"];
    for (const isEndFirst of [true, false]) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const { calls, freeze } = hold(promise);
      assert.equal(freeze.isSending, true);
      if (isEndFirst) freeze[end]();
      await eventTurn();
      assert.deepEqual(calls, []);
      resolve();
      await eventTurn();
      assert.deepEqual([freeze.isSending, calls], [false, isEndFirst ? called : []]);
      freeze[end]();
      assert.deepEqual(calls, called);
    }
  });
}

Deno.test("LinkFreeze.drop() forgets the request, and holds back nothing else any more", async () => {
  const { calls, freeze } = hold();
  freeze.drop();
  await freeze.thawed;
  assert.deepEqual(calls, ["let go"]);
});
