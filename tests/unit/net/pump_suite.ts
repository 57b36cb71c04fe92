/** What the loop that hands chunks to a sink must do in every network: see `byte_stream_suite.ts`. */

import assert from "node:assert/strict";
import { type ByteStream, HOLD } from "../../../src/net/byte_stream.ts";
import { eventTurn, eventTurns } from "../../support/event_turn.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { pieces, readAll, type Test, untilTrue } from "./stream_pair.ts";

/** What pump() does with what it is given first, and with what its sink does. */
export function pumping(test: Test): void {
  test("pump() hands over what it is given first before what comes", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("then"), 0, 4);
    near.finishWriting();
    await eventTurns();
    const received: string[] = [];
    await far.pump((buffer, length) => {
      received.push(textOf(buffer.slice(0, length)));
    }, utf8("first"));
    assert.equal(received[0], "first");
    assert.equal(received.join(""), "firstthen");
  });

  test("pump() hands over what it is given first though nothing comes", async (pair) => {
    const [near, far] = await pair.connect();
    const received = Promise.withResolvers<string>();
    const pumping = far.pump((buffer, length) => {
      received.resolve(textOf(buffer.slice(0, length)));
    }, utf8("first"));
    assert.equal(await received.promise, "first");
    near.close();
    await pumping;
  });

  test("pump() hands over what it is given first, also after the end", async (pair) => {
    const [near, far] = await pair.connect();
    near.finishWriting();
    assert.equal((await readAll(far)).length, 0);
    let received = "";
    await far.pump((buffer, length) => {
      received += textOf(buffer.slice(0, length));
    }, utf8("first"));
    assert.equal(received, "first");
  });

  test("pump() hands over nothing in place of nothing", async (pair) => {
    const [near, far] = await pair.connect();
    const pumping = far.pump(() => assert.fail("Nothing was sent"), new Uint8Array(0));
    await eventTurns();
    near.close();
    await pumping;
  });

  test("a promise for what pump() is given first holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("then"), 0, 4);
    near.finishWriting();
    const gate = Promise.withResolvers<void>();
    const received: string[] = [];
    const first = utf8("first");
    const pumping = far.pump((buffer, length) => {
      received.push(textOf(buffer.slice(0, length)));
      return received.length === 1 ? gate.promise : undefined;
    }, first);
    await eventTurns();
    assert.deepEqual(received, ["first"]);
    gate.resolve();
    await pumping;
    assert.equal(received.join(""), "firstthen");
    assert.equal(textOf(first), "first");
  });

  test("pump() rejects with what the sink throws at what it is given first", async (pair) => {
    const [near, far] = await pair.connect();
    const sink = () => {
      throw new RangeError("at once");
    };
    await assert.rejects(far.pump(sink, utf8("first")), /at once/);
    await near.write(utf8("x"), 0, 1);
    near.finishWriting();
    assert.equal(textOf(await readAll(far)), "x");
  });

  test("pump() rejects with what a sink throws that has closed the stream", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("x"), 0, 1);
    const pumping = far.pump(() => {
      far.close();
      throw new RangeError("after close()");
    });
    await assert.rejects(pumping, /after close/);
  });

  test("pump() rejects with what a sink throws later that has closed the stream", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("x"), 0, 1);
    const pumping = far.pump(async () => {
      await eventTurn();
      far.close();
      throw new RangeError("after close()");
    });
    await assert.rejects(pumping, /after close/);
  });

  test("a sink may write to the connection that it reads", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    const echoing = far.pump((buffer, length) => far.write(buffer, 0, length));
    const echo = readAll(near);
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    await echoing;
    far.finishWriting();
    assert.deepEqual(await echo, sent);
  });
}

/** What HOLD and resume() do. */
export function holding(test: Test): void {
  test("HOLD holds the loop, and the sink's bytes stay, until resume()", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const received: Uint8Array[] = [];
    let held: { buffer: Uint8Array; length: number } | undefined;
    const pumping = far.pump((buffer, length) => {
      assert.equal(held, undefined);
      held = { buffer, length };
      return HOLD;
    });
    let isDone = false;
    const done = pumping.then(() => isDone = true);
    while (!isDone) {
      await eventTurns(3);
      if (held === undefined) continue;
      received.push(held.buffer.slice(0, held.length));
      held = undefined;
      far.resume();
    }
    await done;
    assert.deepEqual(join(...received), sent);
  });

  test("resume() before the sink answers HOLD lets the loop go on", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const received: Uint8Array[] = [];
    await far.pump((buffer, length) => {
      received.push(buffer.slice(0, length));
      far.resume();
      return HOLD;
    });
    assert.deepEqual(join(...received), sent);
  });

  test("resume() while nothing is held is not remembered", async (pair) => {
    const [near, far] = await pair.connect();
    far.resume();
    const { pumping, seen } = pumpHeld(far);
    far.resume();
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => seen.calls === 1);
    await near.write(utf8("b"), 0, 1);
    await eventTurns();
    assert.equal(seen.calls, 1);
    // Two at once are one.
    far.resume();
    far.resume();
    await untilTrue(() => seen.calls === 2);
    await near.write(utf8("c"), 0, 1);
    await eventTurns();
    assert.equal(seen.calls, 2);
    far.close();
    far.resume();
    await pumping;
  });

  test("resume() goes on soon, not at once", async (pair) => {
    const [near, far] = await pair.connect();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      return calls === 1 ? HOLD : undefined;
    });
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => calls === 1);
    await near.write(utf8("b"), 0, 1);
    await eventTurns();
    far.resume();
    assert.equal(calls, 1);
    await untilTrue(() => calls === 2);
    near.close();
    await pumping;
  });

  test("resume() does not let a loop go that a promise holds", async (pair) => {
    const [near, far] = await pair.connect();
    const gate = Promise.withResolvers<void>();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      far.resume();
      return gate.promise;
    });
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => calls === 1);
    await near.write(utf8("b"), 0, 1);
    far.resume();
    await eventTurns();
    assert.equal(calls, 1);
    near.finishWriting();
    gate.resolve();
    await pumping;
    assert.equal(calls, 2);
  });

  test("HOLD for what pump() is given first holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("then"), 0, 4);
    near.finishWriting();
    const received: string[] = [];
    const pumping = far.pump((buffer, length) => {
      received.push(textOf(buffer.slice(0, length)));
      return received.length === 1 ? HOLD : undefined;
    }, utf8("first"));
    await eventTurns();
    assert.deepEqual(received, ["first"]);
    far.resume();
    await pumping;
    assert.equal(received.join(""), "firstthen");
  });

  test("close() while HOLD holds ends the pump once it is resumed", async (pair) => {
    const [near, far] = await pair.connect();
    const { pumping, seen } = pumpHeld(far);
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => seen.calls === 1);
    far.close();
    far.resume();
    await pumping;
    assert.equal(seen.calls, 1);
  });

  test("close() within a sink that answers HOLD ends the pump once it is resumed", async (pair) => {
    const [near, far] = await pair.connect();
    const { pumping, seen } = pumpHeld(far, () => far.close());
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => seen.calls === 1);
    far.resume();
    await pumping;
    assert.equal(seen.calls, 1);
  });

  test("a peer that leaves while HOLD holds is noticed once it is resumed", async (pair) => {
    const [near, far] = await pair.connect();
    const { pumping, seen } = pumpHeld(far);
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => seen.calls === 1);
    near.close();
    await eventTurns();
    far.resume();
    await pumping;
    assert.equal(seen.calls, 1);
  });

  test("watch() tells of a peer that leaves while HOLD holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    const ended = Promise.withResolvers<void>();
    const pumping = far.pump(() => {
      far.watch((_buffer, length) => length === 0 && ended.resolve());
      return HOLD;
    });
    await near.write(utf8("x"), 0, 1);
    near.close();
    await ended.promise;
    far.resume();
    await pumping;
  });

  test("watch() while HOLD holds shows what comes next and keeps it", async (pair) => {
    const [near, far] = await pair.connect();
    const looked = Promise.withResolvers<string>();
    const received: string[] = [];
    const pumping = far.pump((buffer, length) => {
      received.push(textOf(buffer.slice(0, length)));
      return received.length === 1 ? HOLD : undefined;
    });
    await near.write(utf8("a"), 0, 1);
    await untilTrue(() => received.length === 1);
    far.watch((buffer, length) => looked.resolve(textOf(buffer.slice(0, length))));
    await near.write(utf8("b"), 0, 1);
    assert.equal(await looked.promise, "b");
    near.finishWriting();
    far.resume();
    await pumping;
    assert.deepEqual(received, ["a", "b"]);
  });
}

/** A loop that is held at every call of its sink, which does `within` first. */
function pumpHeld(stream: ByteStream, within?: () => void) {
  const seen = { calls: 0 };
  const pumping = stream.pump(() => {
    seen.calls += 1;
    within?.();
    return HOLD;
  });
  return { pumping, seen };
}

/** Has a sink of `far` do something, once. */
async function inSink(
  [near, far]: readonly [ByteStream, ByteStream],
  act: () => void,
): Promise<void> {
  const hasActed = Promise.withResolvers<void>();
  void far.pump(() => {
    act();
    hasActed.resolve();
  });
  await near.write(utf8("!"), 0, 1);
  await hasActed.promise;
}

/** What a sink writes: an engine may put that off to the end of its round. */
export function writingInSinks(test: Test): void {
  test("what a sink writes arrives in the order in which it was written, long or short", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = [7, 300, 401, 4_096, 4_097, 1, 30_000, 9].map((length, at) =>
      new Uint8Array(length).fill(at)
    );
    await inSink([near, far], () => {
      for (const piece of sent) void far.write(piece, 0, piece.length);
      far.finishWriting();
    });
    assert.deepEqual(await readAll(near), join(...sent));
  });

  test("what a sink has written may be overwritten at once", async (pair) => {
    const [near, far] = await pair.connect();
    const buffer = utf8("as it was");
    let answer: void | Promise<void>;
    await inSink([near, far], () => {
      answer = far.write(buffer, 0, buffer.length);
      if (answer === undefined) buffer.fill(0);
      far.finishWriting();
    });
    await answer!;
    assert.equal(textOf(await readAll(near)), "as it was");
  });

  test("what a sink writes to many others arrives at each of them", async (pair) => {
    const pairs: [ByteStream, ByteStream][] = [];
    for (let i = 0; i < 70; i++) pairs.push(await pair.connect());
    await inSink(pairs[0]!, () => {
      for (const [at, [, far]] of pairs.entries()) {
        void far.write(utf8(`for ${at}`), 0, `for ${at}`.length);
        far.finishWriting();
      }
    });
    for (const [at, [near]] of pairs.entries()) {
      assert.equal(textOf(await readAll(near)), `for ${at}`);
    }
  });

  test("a sink that writes more than is taken is told to wait, and all of it arrives in order", async (pair) => {
    const [near, far] = await pair.connect();
    const sent: Uint8Array[] = [];
    const waiting: Promise<void>[] = [];
    void far.pump(() => {
      for (let i = 0; i < 30 && waiting.length === 0; i++) {
        const piece = new Uint8Array(1_000 + sent.length % 3_000).fill(sent.length);
        sent.push(piece);
        const answer = far.write(piece, 0, piece.length);
        if (answer !== undefined) waiting.push(answer);
      }
    });
    while (waiting.length === 0) {
      await near.write(utf8("x"), 0, 1);
      await eventTurn();
    }
    far.finishWriting();
    assert.deepEqual(await readAll(near), join(...sent));
    await waiting[0];
  });
}
