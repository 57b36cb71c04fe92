import assert from "node:assert/strict";
import { HOLD, type SinkAnswer } from "../../../src/net/byte_stream.ts";
import { SinkHold } from "../../../src/net/sink_hold.ts";
import { settle } from "../../support/fake_clock.ts";

const SOME = new Uint8Array([1, 2, 3]);

/** Calls a sink that gives this answer, or what this function answers. */
function call(hold: SinkHold, answer: () => SinkAnswer): void | Promise<void> {
  return hold.call(answer, SOME, SOME.length);
}

/** Whether a promise has settled once everything that is ready has run. */
async function isSettled(promise: Promise<void>): Promise<boolean> {
  let settled = false;
  void promise.then(() => settled = true);
  await settle();
  return settled;
}

Deno.test("SinkHold.call() hands over the buffer and its length", () => {
  let seen: unknown[] = [];
  const sink = (buffer: Uint8Array, length: number) => {
    seen = [buffer, length];
  };
  assert.equal(new SinkHold().call(sink, SOME, 2), undefined);
  assert.deepEqual(seen, [SOME, 2]);
});

Deno.test("SinkHold.call() passes a sink's promise on as it is", () => {
  const promise = Promise.resolve();
  assert.equal(call(new SinkHold(), () => promise), promise);
});

Deno.test("SinkHold.call() throws what the sink throws, and the next call works", () => {
  const hold = new SinkHold();
  assert.throws(() =>
    call(hold, () => {
      throw new RangeError("sink");
    }), /sink/);
  assert.equal(call(hold, () => {}), undefined);
});

Deno.test("SinkHold.end() ends a hold, once it was called for", async () => {
  const hold = new SinkHold();
  const held = call(hold, () => HOLD);
  assert.ok(held instanceof Promise);
  assert.equal(await isSettled(held), false);
  hold.end();
  assert.equal(await isSettled(held), true);
  hold.end();
});

Deno.test("SinkHold.end() within the sink makes its HOLD none", () => {
  const hold = new SinkHold();
  const answer = call(hold, () => {
    hold.end();
    return HOLD;
  });
  assert.equal(answer, undefined);
});

Deno.test("SinkHold.end() before a call is not remembered", async () => {
  const hold = new SinkHold();
  hold.end();
  const held = call(hold, () => HOLD);
  assert.ok(held instanceof Promise);
  assert.equal(await isSettled(held), false);
  hold.end();
  await held;
});

Deno.test("SinkHold.end() ends only the hold that lasts, not the next", async () => {
  const hold = new SinkHold();
  const first = call(hold, () => HOLD);
  hold.end();
  await first;
  const second = call(hold, () => HOLD);
  assert.ok(second instanceof Promise);
  assert.equal(await isSettled(second), false);
  hold.end();
  await second;
});

Deno.test("SinkHold.end() does not touch a sink's promise", async () => {
  const hold = new SinkHold();
  const gate = Promise.withResolvers<void>();
  const held = call(hold, () => gate.promise);
  assert.ok(held instanceof Promise);
  hold.end();
  assert.equal(await isSettled(held), false);
  gate.resolve();
  await held;
});
