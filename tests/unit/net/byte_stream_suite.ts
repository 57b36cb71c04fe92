/**
 * What every network must do, whatever it is made of: one suite, run over each of them.
 *
 * It awaits what it asked for and never a time, so it holds for real sockets as for simulated ones.
 */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import {
  DialError,
  type DialFailure,
  type ListenAddress,
  ListenError,
  type ServerAddress,
} from "../../../src/net/network.ts";
import { eventTurn, eventTurns } from "../../support/event_turn.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { holding, pumping, writingInSinks } from "./pump_suite.ts";
import {
  type NetworkUnderTest,
  Pair,
  pieces,
  readAll,
  STREAM_OPTIONS,
  type Test,
} from "./stream_pair.ts";

/** What is tried. */
export interface SuiteOptions {
  readonly name: string;
  readonly open: () => Promise<NetworkUnderTest>;
}

/** A host name that can never be found: RFC 2606. */

/** Registers the suite for one network. */
export function byteStreamSuite({ name, open }: SuiteOptions): void {
  const test = (title: string, run: (pair: Pair) => Promise<void>) =>
    Deno.test(`${name}: ${title}`, async () => {
      await using pair = await Pair.open(open);
      await run(pair);
    });
  writing(test);
  reading(test);
  pumping(test);
  writingInSinks(test);
  holding(test);
  ending(test);
  listening(test);
  dialing(test);
}

function writing(test: Test): void {
  test("several writes arrive in the order in which they were made", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = pieces(40);
    const writes = sent.map((piece) => near.write(piece, 0, piece.length));
    near.finishWriting();
    assert.deepEqual(await readAll(far), join(...sent));
    await Promise.all(writes);
  });

  test("a write sends the part of the buffer it was given", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("0123456789"), 3, 6);
    await near.write(utf8("ignored"), 4, 4);
    near.finishWriting();
    assert.equal(textOf(await readAll(far)), "345");
  });

  test("what was written may be overwritten once the write is done with it", async (pair) => {
    const [near, far] = await pair.connect();
    const received = readAll(far);
    const buffer = new Uint8Array(10_000);
    for (let value = 1; value <= 20; value++) {
      buffer.fill(value);
      await near.write(buffer, 0, buffer.length);
    }
    buffer.fill(0);
    near.finishWriting();
    const all = await received;
    assert.equal(all.length, 200_000);
    for (let at = 0; at < all.length; at += 1_000) {
      assert.equal(all[at], 1 + Math.floor(at / 10_000));
    }
  });

  test("a write answers with a promise that waits for a peer that does not read", async (pair) => {
    const [near, far] = await pair.connect();
    const flood = new Uint8Array(pair.under.floodBytes);
    let isDone = false;
    const writing = near.write(flood, 0, flood.length);
    assert.ok(writing instanceof Promise);
    const done = writing.then(() => {
      isDone = true;
    });
    await eventTurns(50);
    assert.equal(isDone, false);
    let receivedCount = 0;
    for await (const chunk of far.chunks()) {
      receivedCount += chunk.length;
      if (receivedCount === flood.length) break;
    }
    await done;
  });

  test("finishWriting() lets what was written before it arrive, and receiving go on", async (pair) => {
    const [near, far] = await pair.connect();
    const flood = new Uint8Array(pair.under.floodBytes).fill(7);
    void near.write(flood, 0, flood.length);
    near.finishWriting();
    assert.equal((await readAll(far)).length, flood.length);
    const answer = utf8("still here");
    await far.write(answer, 0, answer.length);
    far.finishWriting();
    assert.equal(textOf(await readAll(near)), "still here");
  });

  test("a write after the peer has closed never rejects, and the stream ends", async (pair) => {
    const [near, far] = await pair.connect();
    far.close();
    const reading = readAll(near);
    const some = utf8("nobody will read this");
    for (let i = 0; i < 20; i++) await near.write(some, 0, some.length);
    assert.equal((await reading).length, 0);
    await near.write(some, 0, some.length);
  });

  test("a write that waits settles when the peer closes", async (pair) => {
    const [near, far] = await pair.connect();
    const flood = new Uint8Array(pair.under.floodBytes);
    const writing = near.write(flood, 0, flood.length);
    const reading = readAll(near);
    far.close();
    await writing;
    assert.equal((await reading).length, 0);
  });

  test("a write that waits settles when the stream is closed here", async (pair) => {
    const [near] = await pair.connect();
    const flood = new Uint8Array(pair.under.floodBytes);
    const first = near.write(flood, 0, flood.length);
    const second = near.write(flood, 0, 10);
    near.close();
    await first;
    await second;
  });

  test("a write after close() answers nothing", async (pair) => {
    const [near] = await pair.connect();
    near.close();
    assert.equal(near.write(utf8("late"), 0, 4), undefined);
  });

  test("finishWriting() after close() and after the peer has gone does nothing", async (pair) => {
    const [near, far] = await pair.connect();
    far.close();
    assert.equal((await readAll(near)).length, 0);
    near.finishWriting();
    near.close();
    near.finishWriting();
  });
}

function reading(test: Test): void {
  test("chunks() and then pump() together give every byte once", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const received: Uint8Array[] = [];
    let count = 0;
    for await (const chunk of far.chunks()) {
      received.push(chunk.slice());
      count += chunk.length;
      if (count > 1_000) break;
    }
    await far.pump((buffer, length) => {
      received.push(buffer.slice(0, length));
    });
    assert.deepEqual(join(...received), sent);
  });

  test("an iterator of chunks() that is left standing does not keep pump() from going on", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("first"), 0, 5);
    const iterator = far.chunks();
    let first = "";
    while (first.length < 5) {
      const next = await iterator.next();
      assert.ok(!next.done);
      first += textOf(next.value);
    }
    await near.write(utf8("second"), 0, 6);
    near.finishWriting();
    let second = "";
    await far.pump((buffer, length) => {
      second += textOf(buffer.slice(0, length));
    });
    assert.deepEqual([first, second], ["first", "second"]);
  });

  test("leaving chunks() early closes nothing", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("x"), 0, 1);
    for await (const _chunk of far.chunks()) break;
    assert.equal(far.isClosed, false);
    await far.write(utf8("y"), 0, 1);
    far.finishWriting();
    assert.equal(textOf(await readAll(near)), "y");
  });

  test("a sink's promise holds the loop, and its bytes stay until it settles", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const received: Uint8Array[] = [];
    let isHeld = false;
    await far.pump(async (buffer, length) => {
      assert.equal(isHeld, false);
      isHeld = true;
      await eventTurns(5);
      received.push(buffer.slice(0, length));
      isHeld = false;
    });
    assert.deepEqual(join(...received), sent);
  });

  test("pump() rejects with what the sink throws, at once or later", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("x"), 0, 1);
    const atOnce = far.pump(() => {
      throw new RangeError("at once");
    });
    await assert.rejects(atOnce, /at once/);
    await near.write(utf8("y"), 0, 1);
    await assert.rejects(far.pump(() => Promise.reject(new RangeError("later"))), /later/);
    assert.equal(far.isClosed, false);
  });

  test("watch() tells of a peer that leaves while a sink holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    const gate = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const pumping = far.pump(() => {
      far.watch((_buffer, length) => length === 0 && ended.resolve());
      return gate.promise;
    });
    await near.write(utf8("x"), 0, 1);
    near.close();
    await ended.promise;
    gate.resolve();
    await pumping;
  });

  test("watch() shows what comes next, once, and keeps it for the loop", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    const received: Uint8Array[] = [];
    const shown: Uint8Array[] = [];
    let isWatched = false;
    const gate = Promise.withResolvers<void>();
    const looked = Promise.withResolvers<void>();
    const pumping = far.pump(async (buffer, length) => {
      if (!isWatched) {
        isWatched = true;
        far.watch((buffer, length) => {
          shown.push(buffer.slice(0, length));
          looked.resolve();
        });
        far.watch(() => assert.fail("It is looking ahead already"));
        await gate.promise;
      }
      received.push(buffer.slice(0, length));
    });
    await near.write(utf8("x"), 0, 1);
    await eventTurns();
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    await looked.promise;
    await eventTurns();
    gate.resolve();
    await pumping;
    assert.deepEqual(join(...received), join(utf8("x"), sent));
    assert.deepEqual(shown, [received[1]]);
  });

  test("watch() shows nothing once the loop has gone on", async (pair) => {
    const [near, far] = await pair.connect();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      if (calls > 1) return;
      far.watch(() => assert.fail("The loop has gone on"));
      return eventTurn();
    });
    await near.write(utf8("x"), 0, 1);
    await eventTurns();
    while (calls === 0) await eventTurn();
    await eventTurns(5);
    await near.write(utf8("y"), 0, 1);
    near.finishWriting();
    await pumping;
    assert.equal(calls, 2);
  });

  test("watch() does nothing while the loop reads, and tells of a close here", async (pair) => {
    const [near, far] = await pair.connect();
    const pumping = far.pump(() => {
      const ended = Promise.withResolvers<void>();
      far.watch((_buffer, length) => length === 0 && ended.resolve());
      far.close();
      return ended.promise;
    });
    far.watch(() => assert.fail("The loop reads"));
    await near.write(utf8("x"), 0, 1);
    await pumping;
    far.watch(() => assert.fail("It is closed"));
  });

  test("both ends can send a flood to each other at the same time", async (pair) => {
    const [near, far] = await pair.connect();
    const flood = new Uint8Array(pair.under.floodBytes);
    for (const end of [near, far]) {
      void end.write(flood, 0, flood.length);
      end.finishWriting();
    }
    const [here, there] = await Promise.all([readAll(near), readAll(far)]);
    assert.deepEqual([here.length, there.length], [flood.length, flood.length]);
  });
}

function ending(test: Test): void {
  test("reading ends when the peer finishes, and again when it is tried once more", async (pair) => {
    const [near, far] = await pair.connect();
    near.finishWriting();
    assert.equal((await readAll(far)).length, 0);
    assert.equal((await readAll(far)).length, 0);
    assert.equal(far.isClosed, false);
  });

  test("reading ends without an error when the peer breaks the connection off", async (pair) => {
    const [near, far] = await pair.connect();
    // Closing with bytes unread makes a kernel answer with a reset.
    await near.write(utf8("unread"), 0, 6);
    await eventTurns(10);
    far.close();
    assert.equal((await readAll(near)).length, 0);
    await near.write(utf8("late"), 0, 4);
  });

  test("close() ends a pump() that waits, here and at the peer", async (pair) => {
    const [near, far] = await pair.connect();
    const here = near.pump(() => assert.fail("Nothing was sent"));
    const there = far.pump(() => assert.fail("Nothing was sent"));
    near.close();
    await here;
    await there;
    assert.equal(near.isClosed, true);
  });

  test("close() inside a sink ends the pump after it", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    let calls = 0;
    await far.pump(() => {
      calls += 1;
      far.close();
    });
    assert.equal(calls, 1);
  });

  test("close() inside a loop over chunks() ends the loop", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    let count = 0;
    for await (const _chunk of far.chunks()) {
      count += 1;
      far.close();
    }
    assert.equal(count, 1);
  });

  test("close() may be called twice, and reading afterwards ends at once", async (pair) => {
    const [near] = await pair.connect();
    near.close();
    near.close();
    assert.equal(near.isClosed, true);
    assert.equal((await readAll(near)).length, 0);
    await near.pump(() => assert.fail("Nothing was sent"));
  });

  test("what was sent before close() arrives at a peer that reads", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(utf8("farewell"), 0, 8);
    near.close();
    assert.equal(textOf(await readAll(far)), "farewell");
  });
}

function listening(test: Test): void {
  test("both ends know their addresses", async (pair) => {
    const [near, far] = await pair.connect();
    const { address } = pair.listener;
    const isUnix = address.kind === "unix";
    assert.deepEqual([near.isUnix, far.isUnix], [isUnix, isUnix]);
    assert.equal(near.remote.port, address.port);
    assert.equal(far.local.port, address.port);
    assert.equal(near.remote.host, isUnix ? "unix" : "127.0.0.1");
    assert.equal(far.remote.host, isUnix ? "unix" : "127.0.0.1");
    if (!isUnix) assert.equal(far.remote.port, near.local.port);
    if (!isUnix) assert.notEqual(address.port, 0);
  });

  test("an address can be listened on once", async (pair) => {
    const again = pair.under.network.listen(pair.listener.address, () => STREAM_OPTIONS);
    await assert.rejects(again, ListenError);
  });

  test("several connections of one listener are independent", async (pair) => {
    const [nearA, farA] = await pair.connect();
    const [nearB, farB] = await pair.connect();
    farA.close();
    await nearB.write(utf8("b"), 0, 1);
    nearB.finishWriting();
    assert.equal(textOf(await readAll(farB)), "b");
    assert.equal((await readAll(nearA)).length, 0);
  });

  test("a closed listener ends its loop, keeps its connections and refuses new ones", async (pair) => {
    const [near, far] = await pair.connect();
    const { address } = pair.listener;
    pair.listener.close();
    pair.listener.close();
    await near.write(utf8("on"), 0, 2);
    near.finishWriting();
    assert.equal(textOf(await readAll(far)), "on");
    await assert.rejects(dial(pair.under, address), isDialError("connect failed"));
  });

  test("a loop over connections() that waits ends when the listener is closed", async (pair) => {
    const { network } = pair.under;
    const address = otherAddress(pair.under.address);
    const listener = await network.listen(address, () => STREAM_OPTIONS);
    const waiting = (async () => {
      for await (const _stream of listener.connections()) assert.fail("Nobody connects");
    })();
    await eventTurn();
    listener.close();
    await waiting;
  });
}

function dialing(test: Test): void {
  test("an address at which nobody listens gives: connect failed", async (pair) => {
    const address = otherAddress(pair.under.address);
    const listener = await pair.under.network.listen(address, () => STREAM_OPTIONS);
    const dialed = listener.address;
    listener.close();
    for await (const _stream of listener.connections()) assert.fail("It is closed");
    await assert.rejects(dial(pair.under, dialed), isDialError("connect failed"));
  });

  test("an address that does not answer gives: connect timeout", async (pair) => {
    const address = await pair.under.blackHole();
    if (address === undefined) return;
    const dialing = dial(pair.under, address);
    const refused = assert.rejects(dialing, isDialError("connect timeout"));
    await eventTurns(10);
    pair.under.advance(60_000);
    await refused;
  });
}

function dial({ network }: NetworkUnderTest, address: ServerAddress): Promise<ByteStream> {
  return network.dial(address, { ...STREAM_OPTIONS, timeoutMs: 60_000 });
}

function isDialError(failure: DialFailure): (error: unknown) => boolean {
  return (error) => error instanceof DialError && error.failure === failure;
}

/** A second address beside the one under test. */
function otherAddress(address: ListenAddress): ListenAddress {
  return address.kind === "tcp" ? address : { ...address, path: `${address.path}.other` };
}
