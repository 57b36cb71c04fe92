/** The reactor by itself: whom it tells of what, and in which order. */

import assert from "node:assert/strict";
import { EVENT } from "../../../src/net/native/libc.ts";
import type { BatchSender } from "../../../src/net/native/send_batch.ts";
import { settle } from "../../support/fake_clock.ts";
import { type ReactorWorld, type ScriptedHandler, test } from "./reactor_world.ts";

test("waits apart as soon as there is something to wait for, and not before", async (world) => {
  await settle();
  assert.equal(world.libc.isApart, false);
  world.add(5);
  assert.equal(world.libc.isApart, true);
  world.add(6);
  assert.equal(world.libc.apartCount, 1);
});

test("registers for edges, each registration with a token of its own", async (world) => {
  const first = world.add(5, EVENT.in | EVENT.peerFinished);
  const second = world.add(6);
  const interest = world.libc.interests.get(5)!;
  assert.equal(interest.events, EVENT.in | EVENT.peerFinished | EVENT.edgeTriggered);
  assert.equal(interest.token, first.token);
  assert.notEqual(first.token, second.token);
  world.reactor.watchFor(5, EVENT.out);
  assert.deepEqual(world.libc.interests.get(5), {
    events: EVENT.out | EVENT.edgeTriggered,
    token: first.token,
  });
  world.reactor.release(5);
  assert.notEqual(world.add(5).token, first.token);
  assert.throws(() => world.add(6), /one owner/);
  await settle();
});

test("tells each of what happened to it", async (world) => {
  const [a, b] = [world.add(5), world.add(6)];
  await world.wake(world.event(6, EVENT.out), world.event(5), world.event(6, EVENT.hangUp));
  assert.deepEqual([a.told, b.told], [[EVENT.in], [EVENT.out, EVENT.hangUp]]);
});

test("with 200 connections, of three events or more all are touched, in two steps, before the first is told of", async (world) => {
  const order: string[] = [];
  for (let descriptor = 8; descriptor <= 204; descriptor++) world.add(descriptor);
  const handlers = [5, 6, 7].map((descriptor) => {
    const handler = world.add(descriptor);
    // Of those that have nothing to touch nobody takes notice.
    if (descriptor === 7) return handler;
    handler.touch = () => order.push(`touch ${descriptor}`);
    handler.touchRest = () => order.push(`rest ${descriptor}`);
    handler.onEventsDo = () => order.push(`tell ${descriptor}`);
    return handler;
  });
  await world.wake(world.event(5), world.event(7), world.event(6));
  assert.deepEqual(order, ["touch 5", "touch 6", "rest 5", "rest 6", "tell 5", "tell 6"]);
  assert.deepEqual(handlers[2]!.told, [EVENT.in]);
  order.length = 0;
  await world.rest();
  await world.wake(world.event(5), world.event(6));
  assert.deepEqual(order, ["tell 5", "tell 6"]);
  order.length = 0;
  await world.rest();
  // Twice, as what is closed may be.
  for (let i = 0; i < 2; i++) world.reactor.release(204);
  world.add(204);
  await world.wake(world.event(5), world.event(7), world.event(6));
  assert.equal(order.length, 6);
  order.length = 0;
  await world.rest();
  world.reactor.release(204);
  await world.wake(world.event(5), world.event(7), world.event(6));
  assert.deepEqual(order, ["tell 5", "tell 6"]);
});

test("an event of a descriptor that was closed earlier in the same batch reaches nobody", async (world) => {
  const [a, b] = [world.add(5), world.add(6)];
  a.onEventsDo = () => world.reactor.release(6);
  await world.wake(world.event(5), world.event(6));
  assert.deepEqual([a.told.length, b.told.length], [1, 0]);
});

test("an event of a descriptor that closed itself reaches nobody", async (world) => {
  const a = world.add(5);
  a.onEventsDo = () => world.reactor.release(5);
  await world.wake(world.event(5), world.event(5, EVENT.hangUp));
  assert.deepEqual(a.told, [EVENT.in]);
});

test("an event of a descriptor whose number was given out again reaches nobody", async (world) => {
  const [a, old] = [world.add(5), world.add(6)];
  const stale = world.event(6, EVENT.hangUp);
  let young: ScriptedHandler | undefined;
  a.onEventsDo = () => {
    world.reactor.release(6);
    young ??= world.add(6);
  };
  await world.wake(world.event(5), stale);
  assert.deepEqual([old.told, young?.told], [[], []]);
  // Nor does it in a later batch; one of its own does.
  await world.rest();
  await world.wake(stale, world.event(6));
  assert.deepEqual([old.told, young?.told], [[], [EVENT.in]]);
});

test("a handler that is handed over is watched anew", async (world) => {
  const old = world.add(5, EVENT.out);
  world.reactor.release(5, "handing_over");
  assert.equal(world.libc.interests.has(5), false);
  const young = world.add(5);
  await world.wake(world.event(5));
  assert.deepEqual([old.told, young.told], [[], [EVENT.in]]);
});

test("the wake-up counter, and descriptors nobody knows, are told to nobody", async (world) => {
  const a = world.add(5);
  const unknown = { descriptor: 77, token: a.token, events: EVENT.in };
  await world.wake({ descriptor: 101, token: 0, events: EVENT.in }, unknown, world.event(5));
  assert.equal(a.told.length, 1);
  assert.deepEqual(world.errors, []);
});

test("clients that are served come between readers, however many of those there are", async (world) => {
  const [crowd, served] = [world.add(5), world.add(6)];
  const order: string[] = [];
  served.onEventsDo = () => order.push("served");
  crowd.onEventsDo = () => {
    for (let i = 0; i < 100; i++) {
      world.reactor.letRead({ onRead: () => order.push("reader") });
    }
  };
  for (let i = 0; i < 10; i++) world.libc.batches.push([world.event(6)]);
  await world.wake(world.event(5));
  await world.rest();
  assert.equal(order.filter((who) => who === "reader").length, 100, "All of them get on");
  const first = order.slice(0, 30);
  assert.equal(first.filter((who) => who === "served").length, 10, first.join(" "));
});

test("waits for no event while a reader waits for its turn", async (world) => {
  const a = world.add(5);
  let readCount = 0;
  a.onEventsDo = () => {
    for (let i = 0; i < 600; i++) world.reactor.letRead({ onRead: () => readCount += 1 });
  };
  await world.wake(world.event(5));
  world.turn.take();
  await settle();
  const waits = world.libc.timeouts.indexOf(1);
  assert.ok(waits >= 250, `after ${waits} rounds`);
  assert.equal(readCount, 600);
});

test("a reader that becomes ready at rest gets its turn all the same", async (world) => {
  world.add(5);
  let readCount = 0;
  for (let i = 0; i < 10; i++) world.reactor.letRead({ onRead: () => readCount += 1 });
  for (let i = 0; i < 10; i++) world.turn.take();
  await settle();
  assert.equal(readCount, 10);
});

test("a handler that throws stops nobody else, and onError is told", async (world) => {
  const [a, b] = [world.add(5), world.add(6)];
  const [inEvents, inTurn] = [new Error("events"), new Error("turn")];
  a.onEventsDo = () => {
    world.reactor.again(a);
    world.reactor.again(b);
    throw inEvents;
  };
  a.onTurnDo = () => {
    throw inTurn;
  };
  await world.wake(world.event(5), world.event(6));
  assert.deepEqual(world.errors, [inEvents, inTurn]);
  assert.deepEqual([b.told.length, b.turns], [1, 1]);
  // And the reactor goes on.
  a.onEventsDo = () => {};
  await world.rest();
  await world.wake(world.event(5));
  assert.equal(a.told.length, 2);
});

test("a reader that throws stops nobody else, and onError is told", async (world) => {
  const a = world.add(5);
  const mistake = new Error("read");
  let readCount = 0;
  const fail = () => {
    throw mistake;
  };
  const readTwice = () => {
    world.reactor.letRead({ onRead: fail });
    world.reactor.letRead({ onRead: () => readCount += 1 });
  };
  a.onEventsDo = readTwice;
  await world.wake(world.event(5));
  assert.deepEqual([world.errors, readCount], [[mistake], 1]);
  // And the reactor goes on, at rest too.
  await world.rest();
  readTwice();
  world.turn.take();
  await settle();
  assert.deepEqual([world.errors, readCount], [[mistake, mistake], 2]);
  await world.wake(world.event(5));
  assert.deepEqual([world.errors.length, readCount], [3, 3]);
});

test("the clock is held while events and turns are handed out, and by no round for longer", async (world) => {
  const a = world.add(5);
  const seen: boolean[] = [];
  const look = () => {
    const before = world.clock.nowMs();
    world.base.advance(0.25);
    seen.push(world.clock.nowMs() === before);
  };
  a.onEventsDo = () => {
    look();
    world.reactor.again(a);
    throw new Error("a handler's");
  };
  a.onTurnDo = () => {
    look();
    throw new Error("a turn's");
  };
  await world.wake(world.event(5));
  assert.deepEqual(seen, [true, true]);
  assert.equal(world.clock.nowMs(), world.base.nowMs());
  world.libc.batches.push([world.event(5)]);
  world.turn.take();
  assert.deepEqual(seen, [true, true, true, true]);
  assert.equal(world.clock.nowMs(), world.base.nowMs());
  assert.equal(world.errors.length, 4);
  await world.rest();
});

test("again() gives a turn after all others that are ready, once", async (world) => {
  const order: string[] = [];
  const [a, b] = [world.add(5), world.add(6)];
  a.onEventsDo = () => {
    order.push("a");
    world.reactor.again(a);
  };
  b.onEventsDo = () => order.push("b");
  a.onTurnDo = () => order.push("a again");
  await world.wake(world.event(5), world.event(6));
  await world.rest();
  assert.deepEqual(order, ["a", "b", "a again"]);
});

test("again() within a turn is for the next round, with others' events between", async (world) => {
  const order: string[] = [];
  const [a, b] = [world.add(5), world.add(6)];
  a.onEventsDo = () => world.reactor.again(a);
  a.onTurnDo = () => {
    order.push("a again");
    if (a.turns < 3) world.reactor.again(a);
  };
  b.onEventsDo = () => order.push("b");
  await world.wake(world.event(5));
  assert.deepEqual(order, ["a again"]);
  world.libc.batches.push([world.event(6)], [world.event(6)]);
  world.turn.take();
  assert.deepEqual(order, ["a again", "b", "a again", "b", "a again"]);
  // Whoever has work left is not kept waiting for events.
  assert.deepEqual(world.libc.timeouts.slice(0, 3), [0, 0, 1]);
  await world.rest();
});

test("again() while nobody but another thread waits gives a turn all the same", async (world) => {
  const a = world.add(5);
  assert.equal(world.libc.isApart, true);
  world.reactor.again(a);
  assert.equal(a.turns, 0);
  world.turn.take();
  assert.equal(a.turns, 1);
  assert.equal(world.libc.isApart, true);
  await settle();
});

test("again() while another thread waits gives one turn in each turn of the runtime", async (world) => {
  const a = world.add(5);
  a.onTurnDo = () => world.reactor.again(a);
  world.reactor.again(a);
  const turns: number[] = [];
  for (let i = 0; i < 5; i++) {
    world.turn.take();
    turns.push(a.turns);
  }
  a.onTurnDo = () => {};
  world.turn.take();
  assert.deepEqual(turns, [1, 2, 3, 4, 5]);
  await settle();
});

test("again() before another thread wakes is served by the round that follows", async (world) => {
  const a = world.add(5);
  world.reactor.again(a);
  await world.wake(world.event(5));
  assert.deepEqual([a.told.length, a.turns], [1, 1]);
  await world.rest();
  assert.equal(a.turns, 1);
});

test("needTurn() lets promises go on, those that follow too, before the thread is blocked again", async (world) => {
  const a = world.add(5);
  const waits: number[] = [];
  a.onEventsDo = () => {
    world.reactor.needTurn();
    void (async () => {
      // As deep as the promises of a login.
      for (let i = 0; i < 20; i++) await undefined;
      waits.push(world.libc.timeouts.length);
    })();
  };
  await world.wake();
  world.libc.batches.push([world.event(5)]);
  world.turn.take();
  await settle();
  assert.deepEqual(waits, [1]);
  assert.ok(world.libc.timeouts.length > 1, "And then it goes on by itself");
  await world.rest();
});

/** Whoever sends a word. */
class WordSender implements BatchSender {
  isInBatch = false;
  readonly #world: ReactorWorld;

  constructor(world: ReactorWorld) {
    this.#world = world;
  }

  /** Returns whether it is sent later, with others. */
  send(): boolean {
    return this.#world.reactor.sends.take(this, 5, new Uint8Array(4), 0, 4);
  }

  onTakenInPart(): void {
    assert.fail("All is taken");
  }
}

test("what events send goes out at the end of their round, and what is sent after it at once", async (world) => {
  const [a, b] = [world.add(5), world.add(6)];
  const sender = new WordSender(world);
  const sentAfter: number[] = [];
  world.libc.onSend = () => sentAfter.push(b.told.length);
  a.onEventsDo = () => assert.equal(sender.send(), true);
  await world.wake(world.event(5), world.event(6));
  assert.deepEqual(sentAfter, [1]);
  assert.equal(sender.send(), false);
  world.libc.batches.push([world.event(5), world.event(6)]);
  world.turn.take();
  assert.deepEqual(sentAfter, [1, 2]);
  assert.equal(sender.send(), false);
  await world.rest();
});

test("a sender that throws when it is told at the end of a round stops nobody", async (world) => {
  const a = world.add(5);
  const sender = new WordSender(world);
  const mistake = new Error("told");
  sender.onTakenInPart = () => {
    throw mistake;
  };
  a.onEventsDo = () => assert.equal(sender.send(), true);
  world.libc.send = () => 1;
  await world.wake(world.event(5));
  assert.deepEqual(world.errors, [mistake]);
  await world.rest();
  await world.wake(world.event(5));
  assert.equal(a.told.length, 2);
});

test("while a sink holds by promise, promises go on after each round", async (world) => {
  const a = world.add(5);
  const rounds: number[] = [];
  world.reactor.beginHold();
  a.onEventsDo = () => {
    void Promise.resolve().then(() => rounds.push(world.libc.timeouts.length));
  };
  await world.wake(world.event(5));
  world.libc.batches.push([world.event(5)], [world.event(5)]);
  world.turn.take();
  await settle();
  assert.deepEqual(rounds, [0, 1, 2]);
  world.reactor.endHold();
  await world.rest();
});

test("waits apart when nothing has happened for a while, and a new event wakes it", async (world) => {
  const a = world.add(5);
  await world.wake(world.event(5));
  const startMs = world.base.nowMs();
  await world.rest();
  const quietMs = world.base.nowMs() - startMs;
  assert.ok(quietMs > 20 && quietMs < 25, `after ${quietMs} ms`);
  assert.equal(world.libc.apartCount, 2);
  const waits = world.libc.timeouts.length;
  world.turn.take();
  await settle();
  assert.equal(world.libc.timeouts.length, waits, "It costs nothing");
  await world.wake(world.event(5));
  assert.equal(a.told.length, 2);
  world.turn.take();
  assert.ok(world.libc.timeouts.length > waits);
  await world.rest();
});

test("does not rest while somebody has work left", async (world) => {
  const a = world.add(5);
  a.onTurnDo = () => {
    world.base.advance(1);
    if (a.turns < 60) world.reactor.again(a);
  };
  world.reactor.again(a);
  await world.wake();
  await world.rest();
  assert.equal(a.turns, 60);
  assert.equal(world.libc.apartCount, 2);
});

test("a wait apart that fails is made again", async (world) => {
  const a = world.add(5);
  world.libc.wake("failed");
  await settle();
  await world.rest();
  assert.equal(world.libc.apartCount, 2);
  await world.wake(world.event(5));
  assert.equal(a.told.length, 1);
});

for (
  const moment of ["unused", "at rest", "in a slice", "in the runtime's turn", "with work left"]
) {
  test(`is disposed of ${moment}: nobody hears anything any more`, async (world) => {
    if (moment === "unused") return;
    const a = world.add(5);
    if (moment === "at rest") return;
    await world.wake(world.event(5));
    if (moment === "with work left") world.reactor.again(a);
    if (moment === "in the runtime's turn") world.turn.take();
    a.onEventsDo = () => assert.fail("It is over");
    a.onTurnDo = () => assert.fail("It is over");
    world.libc.batches.push([world.event(5)]);
  });
}
