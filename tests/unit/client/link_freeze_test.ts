import assert from "node:assert/strict";
import { LinkFreeze } from "../../../src/client/link_freeze.ts";
import { eventTurn } from "../../support/event_turn.ts";

Deno.test("LinkFreeze lets go what it holds at the thaw, once", () => {
  const freeze = new LinkFreeze();
  let count = 0;
  freeze.holdRequest(undefined, () => count += 1);
  assert.equal(count, 0);
  freeze.thaw();
  freeze.thaw();
  assert.equal(count, 1);
});

Deno.test("LinkFreeze waits for what is still being sent, whichever comes first", async () => {
  for (const isThawFirst of [true, false]) {
    const freeze = new LinkFreeze();
    const { promise, resolve } = Promise.withResolvers<void>();
    let count = 0;
    freeze.holdRequest(promise, () => count += 1);
    assert.equal(freeze.isSending, true);
    if (isThawFirst) freeze.thaw();
    await eventTurn();
    assert.equal(count, 0);
    resolve();
    await eventTurn();
    assert.deepEqual([freeze.isSending, count], [false, isThawFirst ? 1 : 0]);
    freeze.thaw();
    assert.equal(count, 1);
  }
});

Deno.test("LinkFreeze.drop() forgets the request, and holds back nothing else any more", async () => {
  const freeze = new LinkFreeze();
  let count = 0;
  freeze.holdRequest(undefined, () => count += 1);
  freeze.drop();
  await freeze.thawed;
  assert.equal(count, 0);
});
