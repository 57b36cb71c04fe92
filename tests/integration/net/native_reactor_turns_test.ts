/** The reactor by itself: how long it keeps the thread, and when the runtime has its turn. */

import assert from "node:assert/strict";
import { EVENT } from "../../../src/net/native/libc.ts";
import { settle } from "../../support/fake_clock.ts";
import { ReactorWorld, type ScriptedHandler, test } from "./reactor_world.ts";

test("blocks the thread for a millisecond at most, and yields it after a slice", async (world) => {
  world.add(5);
  await world.wake(world.event(5));
  assert.equal(world.turn.yieldCount, 0);
  const startMs = world.base.nowMs();
  world.turn.take();
  assert.deepEqual(world.libc.timeouts, [1, 1]);
  assert.equal(world.base.nowMs() - startMs, 2);
  assert.equal(world.turn.yieldCount, 1);
  await world.rest();
});

/** The descriptor by which a world's runtime is called. */
const CALL = 50;

/** Brings a world with something to wait for to where it keeps the thread, and the runtime can be called. */
async function keepThread(world: ReactorWorld): Promise<ScriptedHandler> {
  world.turn.callDescriptor = CALL;
  const handler = world.add(5);
  await world.wake(world.event(5));
  return handler;
}

test("blocks the thread for five milliseconds when all is calm and the runtime can be heard", async (world) => {
  await keepThread(world);
  world.turn.take();
  assert.deepEqual(world.libc.timeouts, [5, 5, 5, 5]);
  assert.equal(world.turn.yieldCount, 1, "The runtime has its turn though it was not called");
  await world.rest();
});

test("the runtime is heard only while the thread is kept: at rest it hears by itself", async (world) => {
  await keepThread(world);
  assert.equal(world.libc.interests.get(CALL)!.events, EVENT.in | EVENT.edgeTriggered);
  await world.rest();
  assert.equal(world.libc.interests.get(CALL), undefined);
  await world.wake(world.event(5));
  assert.notEqual(world.libc.interests.get(CALL), undefined);
  await world.rest();
});

test("a runtime that cannot be heard is given its turns as often as ever", async (world) => {
  world.libc.refused.add(CALL);
  await keepThread(world);
  world.turn.take();
  assert.deepEqual(world.libc.timeouts, [1, 1]);
  await world.rest();
});

test("a call gives the runtime its turn at once, and it may have more to do: waits are short for a while", async (world) => {
  const handler = await keepThread(world);
  world.libc.batches.push([world.event(CALL), world.event(5)]);
  world.turn.take();
  assert.deepEqual([world.turn.yieldCount, handler.told.length], [1, 2]);
  world.libc.batches.push([world.event(5)]);
  world.turn.take();
  assert.deepEqual(world.libc.timeouts, [5, 1, 1, 1]);
  // Once more than twenty milliseconds have passed all is calm again.
  world.base.advance(20);
  world.libc.batches.push([world.event(5)]);
  world.turn.take();
  world.turn.take();
  assert.equal(world.libc.timeouts.at(-1), 5);
  await world.rest();
});

test("calls of the runtime are no traffic: they do not keep a reactor from its rest", async (world) => {
  const handler = await keepThread(world);
  for (let i = 0; !world.libc.isApart; i++) {
    assert.ok(i < 100, "It comes to rest");
    world.libc.batches.push([world.event(CALL)]);
    world.base.advance(1);
    world.turn.take();
    await settle();
  }
  world.libc.batches.length = 0;
  assert.equal(handler.told.length, 1);
});

test("a sink that holds a chunk may be waiting for anything: waits are short", async (world) => {
  await keepThread(world);
  world.reactor.beginHold();
  world.turn.take();
  await settle();
  assert.deepEqual(world.libc.timeouts, [1, 1]);
  world.reactor.endHold();
  world.turn.take();
  await settle();
  assert.equal(world.libc.timeouts.at(-1), 5);
  await world.rest();
});

test("no timer of the pooler's clock comes late for a calm wait", async (world) => {
  await keepThread(world);
  let firedAtMs = 0;
  const dueAtMs = world.clock.nowMs() + 3;
  world.clock.startTimer(3, () => firedAtMs = world.clock.nowMs());
  world.turn.take();
  assert.deepEqual(world.libc.timeouts, [3]);
  world.turn.take();
  assert.equal(firedAtMs, dueAtMs);
  await world.rest();
});

/** Events one after another, each of which takes so long; none once the runtime has had its turn. */
function bringEvents(world: ReactorWorld, handler: ScriptedHandler, eachMs: number): void {
  handler.onEventsDo = () => {
    world.base.advance(eachMs);
    const goesOn = world.turn.yieldCount === 0 && handler.told.length < 100;
    if (goesOn) world.libc.batches.push([world.event(5)]);
  };
  world.libc.batches.push([world.event(5)]);
}

test("under load the runtime has its turn after twenty milliseconds when all is calm", async (world) => {
  const handler = await keepThread(world);
  bringEvents(world, handler, 0.5);
  const startMs = world.base.nowMs();
  world.turn.take();
  assert.equal(world.turn.yieldCount, 1);
  assert.equal(world.base.nowMs() - startMs, 22, "At the end of the slice and of the event");
  assert.equal(world.loopLag.histogram.maxUs, 500, "What the events took");
  await world.rest();
});

test("under load the runtime has its turn after five milliseconds if promises have run", async (world) => {
  const handler = await keepThread(world);
  bringEvents(world, handler, 0.5);
  world.reactor.needTurn();
  const startMs = world.base.nowMs();
  world.turn.take();
  for (let i = 0; i < 100 && world.turn.yieldCount === 0; i++) await Promise.resolve();
  assert.equal(world.turn.yieldCount, 1);
  assert.equal(world.base.nowMs() - startMs, 6, "At the end of a slice");
  await world.rest();
});

test("under load no timer of the pooler's clock comes later than the end of a slice", async (world) => {
  const handler = await keepThread(world);
  const startMs = world.base.nowMs();
  world.clock.startTimer(2, () => {});
  bringEvents(world, handler, 0.5);
  world.turn.take();
  assert.equal(world.turn.yieldCount, 1);
  assert.equal(world.base.nowMs() - startMs, 4);
  await world.rest();
});

test("under load a slice is the last one before the runtime's turn if anybody has more to do", async (world) => {
  const handler = await keepThread(world);
  bringEvents(world, handler, 0.5);
  handler.onTurnDo = () => {
    if (world.turn.yieldCount === 0) world.reactor.again(handler);
  };
  world.reactor.again(handler);
  const startMs = world.base.nowMs();
  world.turn.take();
  assert.equal(world.turn.yieldCount, 1);
  assert.equal(world.base.nowMs() - startMs, 2);
  await world.rest();
});

test("a calm wait is no lag, but what kept the thread before it is", async (world) => {
  const handler = await keepThread(world);
  world.turn.take();
  const { histogram } = world.loopLag;
  assert.equal(histogram.maxUs, 0, "Twenty milliseconds in which nothing happened");
  handler.onEventsDo = () => world.base.advance(7);
  world.libc.batches.push([world.event(5)]);
  world.turn.take();
  assert.equal(histogram.maxUs, 5_500);
  await world.rest();
});

test("what a calm wait takes longer than it was to is lag: nobody had the thread", async (world) => {
  await keepThread(world);
  world.libc.overrunMs = 14;
  world.turn.take();
  world.libc.overrunMs = 0;
  world.turn.take();
  assert.equal(world.loopLag.histogram.maxUs, 14_000);
  await world.rest();
});

test("a turn that disposes of the reactor when it would come to rest leaves nobody waiting", async () => {
  const world = new ReactorWorld();
  const handler = await keepThread(world);
  let disposing: Promise<void> | undefined;
  world.libc.batches.push([world.event(5)]);
  handler.onEventsDo = () => world.reactor.again(handler);
  handler.onTurnDo = () => {
    if (handler.turns === 1) {
      world.base.advance(30);
      world.reactor.again(handler);
    } else disposing = world[Symbol.asyncDispose]();
  };
  world.turn.take();
  assert.equal(world.libc.apartCount, 1, "Only before");
  await disposing;
});

test("a slice ends in time though events never do", async (world) => {
  const a = world.add(5);
  a.onEventsDo = () => {
    world.base.advance(0.5);
    world.libc.batches.push([world.event(5)]);
  };
  await world.wake(world.event(5));
  world.turn.take();
  assert.equal(world.turn.yieldCount, 1);
  assert.ok(a.told.length <= 6, `${a.told.length}`);
  // After the runtime's turn it goes on.
  const before = a.told.length;
  world.turn.take();
  assert.ok(a.told.length > before);
  a.onEventsDo = () => {};
  await world.rest();
});

test("each slice is noted with how late it comes, whoever had the thread", async (world) => {
  world.add(5).onEventsDo = () => world.base.advance(12);
  await world.wake(world.event(5));
  world.turn.take();
  await settle();
  const { histogram } = world.loopLag;
  assert.deepEqual([histogram.count, histogram.maxUs], [1, 12_000], "a handler");
  // The slice has ended 0.5 ms after its time, since waits last a millisecond.
  world.base.advance(20);
  world.turn.take();
  await settle();
  assert.deepEqual([histogram.count, histogram.maxUs], [2, 20_500], "the runtime");
  await world.rest();
  assert.equal(histogram.maxUs, 20_500);
  world.base.advance(60_000);
  await world.wake();
  await world.rest();
  assert.equal(histogram.maxUs, 20_500, "Rest is not lag");
});
