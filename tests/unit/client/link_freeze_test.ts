import assert from "node:assert/strict";
import { LinkFreeze } from "../../../src/client/link_freeze.ts";

/** A freeze, and what became of the request that it holds. */
function hold() {
  const freeze = new LinkFreeze();
  const calls: string[] = [];
  freeze.holdRequest({
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

Deno.test("LinkFreeze.drop() forgets the request, and holds back nothing else any more", async () => {
  const { calls, freeze } = hold();
  freeze.drop();
  await freeze.thawed;
  assert.deepEqual(calls, ["let go"]);
});
