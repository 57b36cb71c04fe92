/**
 * What every network must do, whatever it is made of: one suite, run over each of them.
 *
 * It awaits what it asked for and never a time, so it holds for real sockets as for simulated ones.
 */

import assert from "node:assert/strict";
import { type ByteStream, HOLD } from "../../../src/net/byte_stream.ts";
import {
  DialError,
  type DialFailure,
  type ListenAddress,
  type Listener,
  ListenError,
  type Network,
  type ServerAddress,
  type StreamOptions,
  type TcpOptions,
} from "../../../src/net/network.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

/** One network to be tried, made anew for each test. */
export interface NetworkUnderTest extends AsyncDisposable {
  readonly network: Network;
  /** Where the suite may listen. */
  readonly address: ListenAddress;
  /** Bytes that are more than all buffers between two ends can hold. */
  readonly floodBytes: number;
  /** How TCP connections are set up; as the system has them if left out. */
  readonly tcp?: TcpOptions;
  /** Lets a time pass on the network's clock. */
  advance(ms: number): void;
  /** An address at which nobody ever answers; undefined where there can be none. */
  blackHole(): Promise<ServerAddress | undefined>;
}

/** What is tried. */
export interface SuiteOptions {
  readonly name: string;
  readonly open: () => Promise<NetworkUnderTest>;
}

const STREAM_OPTIONS: StreamOptions = { receiveBytes: 4_096, maxBusyReads: 5, tcp: SYSTEM_TCP };

/** Turns in which everything that is on its way has long arrived. */
const MANY_TURNS = 20;

/** Far more turns than anything takes that works. */
const MAX_TURNS = 1_000_000;

/** A host name that can never be found: RFC 2606. */
const UNKNOWN_HOST = "nobody.invalid";

/** Two connected ends, and what is needed to make more. */
class Pair implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #accepted: AsyncIterator<ByteStream, void, void>;
  readonly #streams: ByteStream[] = [];

  constructor(readonly under: NetworkUnderTest, listener: Listener) {
    this.#listener = listener;
    this.#accepted = listener.connections();
  }

  static async open(open: () => Promise<NetworkUnderTest>): Promise<Pair> {
    const under = await open();
    const options = { ...STREAM_OPTIONS, tcp: under.tcp ?? SYSTEM_TCP };
    return new Pair(under, await under.network.listen(under.address, () => options));
  }

  get listener(): Listener {
    return this.#listener;
  }

  async connect(
    options: Partial<StreamOptions> = {},
  ): Promise<[near: ByteStream, far: ByteStream]> {
    const dialing = this.under.network.dial(this.#listener.address, {
      ...STREAM_OPTIONS,
      tcp: this.under.tcp ?? SYSTEM_TCP,
      ...options,
      timeoutMs: 60_000,
    });
    const accepted = await this.#accepted.next();
    assert.ok(!accepted.done);
    const near = await dialing;
    this.#streams.push(near, accepted.value);
    return [near, accepted.value];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.#streams) stream.close();
    this.#listener.close();
    // Ends the accept loop, so that nothing of it is left.
    await this.#accepted.next();
    await this.under[Symbol.asyncDispose]();
  }
}

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
  holding(test);
  ending(test);
  listening(test);
  dialing(test);
}

type Test = (title: string, run: (pair: Pair) => Promise<void>) => void;

function writing(test: Test): void {
  test("several writes arrive in the order in which they were made", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = pieces(40);
    const writes = sent.map((piece) => near.write(piece, 0, piece.length));
    near.finishWriting();
    assert.deepEqual(await readAll(far), join(sent));
    await Promise.all(writes);
  });

  test("a write sends the part of the buffer it was given", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("0123456789"), 3, 6);
    await near.write(bytes("ignored"), 4, 4);
    near.finishWriting();
    assert.equal(text(await readAll(far)), "345");
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
    for (let i = 0; i < 50; i++) await eventTurn();
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
    const answer = bytes("still here");
    await far.write(answer, 0, answer.length);
    far.finishWriting();
    assert.equal(text(await readAll(near)), "still here");
  });

  test("a write after the peer has closed never rejects, and the stream ends", async (pair) => {
    const [near, far] = await pair.connect();
    far.close();
    const reading = readAll(near);
    const some = bytes("nobody will read this");
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
    assert.equal(near.write(bytes("late"), 0, 4), undefined);
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
    const sent = join(pieces(30));
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
    assert.deepEqual(join(received), sent);
  });

  test("an iterator of chunks() that is left standing does not keep pump() from going on", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("first"), 0, 5);
    const iterator = far.chunks();
    let first = "";
    while (first.length < 5) {
      const next = await iterator.next();
      assert.ok(!next.done);
      first += text(next.value);
    }
    await near.write(bytes("second"), 0, 6);
    near.finishWriting();
    let second = "";
    await far.pump((buffer, length) => {
      second += text(buffer.slice(0, length));
    });
    assert.deepEqual([first, second], ["first", "second"]);
  });

  test("leaving chunks() early closes nothing", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("x"), 0, 1);
    for await (const _chunk of far.chunks()) break;
    assert.equal(far.isClosed, false);
    await far.write(bytes("y"), 0, 1);
    far.finishWriting();
    assert.equal(text(await readAll(near)), "y");
  });

  test("a sink's promise holds the loop, and its bytes stay until it settles", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const received: Uint8Array[] = [];
    let isHeld = false;
    await far.pump(async (buffer, length) => {
      assert.equal(isHeld, false);
      isHeld = true;
      for (let i = 0; i < 5; i++) await eventTurn();
      received.push(buffer.slice(0, length));
      isHeld = false;
    });
    assert.deepEqual(join(received), sent);
  });

  test("pump() rejects with what the sink throws, at once or later", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("x"), 0, 1);
    const atOnce = far.pump(() => {
      throw new RangeError("at once");
    });
    await assert.rejects(atOnce, /at once/);
    await near.write(bytes("y"), 0, 1);
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
    await near.write(bytes("x"), 0, 1);
    near.close();
    await ended.promise;
    gate.resolve();
    await pumping;
  });

  test("watch() shows what comes next, once, and keeps it for the loop", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(pieces(30));
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
    await near.write(bytes("x"), 0, 1);
    for (let i = 0; i < 20; i++) await eventTurn();
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    await looked.promise;
    for (let i = 0; i < 20; i++) await eventTurn();
    gate.resolve();
    await pumping;
    assert.deepEqual(join(received), join([bytes("x"), sent]));
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
    await near.write(bytes("x"), 0, 1);
    for (let i = 0; i < 20; i++) await eventTurn();
    while (calls === 0) await eventTurn();
    for (let i = 0; i < 5; i++) await eventTurn();
    await near.write(bytes("y"), 0, 1);
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
    await near.write(bytes("x"), 0, 1);
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

function pumping(test: Test): void {
  test("pump() hands over what it is given first before what comes", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("then"), 0, 4);
    near.finishWriting();
    await turns();
    const received: string[] = [];
    await far.pump((buffer, length) => {
      received.push(text(buffer.slice(0, length)));
    }, bytes("first"));
    assert.equal(received[0], "first");
    assert.equal(received.join(""), "firstthen");
  });

  test("pump() hands over what it is given first though nothing comes", async (pair) => {
    const [near, far] = await pair.connect();
    const received = Promise.withResolvers<string>();
    const pumping = far.pump((buffer, length) => {
      received.resolve(text(buffer.slice(0, length)));
    }, bytes("first"));
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
      received += text(buffer.slice(0, length));
    }, bytes("first"));
    assert.equal(received, "first");
  });

  test("pump() hands over nothing in place of nothing", async (pair) => {
    const [near, far] = await pair.connect();
    const pumping = far.pump(() => assert.fail("Nothing was sent"), new Uint8Array(0));
    await turns();
    near.close();
    await pumping;
  });

  test("a promise for what pump() is given first holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("then"), 0, 4);
    near.finishWriting();
    const gate = Promise.withResolvers<void>();
    const received: string[] = [];
    const first = bytes("first");
    const pumping = far.pump((buffer, length) => {
      received.push(text(buffer.slice(0, length)));
      return received.length === 1 ? gate.promise : undefined;
    }, first);
    await turns();
    assert.deepEqual(received, ["first"]);
    gate.resolve();
    await pumping;
    assert.equal(received.join(""), "firstthen");
    assert.equal(text(first), "first");
  });

  test("pump() rejects with what the sink throws at what it is given first", async (pair) => {
    const [near, far] = await pair.connect();
    const sink = () => {
      throw new RangeError("at once");
    };
    await assert.rejects(far.pump(sink, bytes("first")), /at once/);
    await near.write(bytes("x"), 0, 1);
    near.finishWriting();
    assert.equal(text(await readAll(far)), "x");
  });

  test("pump() rejects with what a sink throws that has closed the stream", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("x"), 0, 1);
    const pumping = far.pump(() => {
      far.close();
      throw new RangeError("after close()");
    });
    await assert.rejects(pumping, /after close/);
  });

  test("pump() rejects with what a sink throws later that has closed the stream", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("x"), 0, 1);
    const pumping = far.pump(async () => {
      await eventTurn();
      far.close();
      throw new RangeError("after close()");
    });
    await assert.rejects(pumping, /after close/);
  });

  test("a sink may write to the connection that it reads", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(pieces(30));
    const echoing = far.pump((buffer, length) => far.write(buffer, 0, length));
    const echo = readAll(near);
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    await echoing;
    far.finishWriting();
    assert.deepEqual(await echo, sent);
  });
}

function holding(test: Test): void {
  test("HOLD holds the loop, and the sink's bytes stay, until resume()", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(pieces(30));
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
      await turns(3);
      if (held === undefined) continue;
      received.push(held.buffer.slice(0, held.length));
      held = undefined;
      far.resume();
    }
    await done;
    assert.deepEqual(join(received), sent);
  });

  test("resume() before the sink answers HOLD lets the loop go on", async (pair) => {
    const [near, far] = await pair.connect();
    const sent = join(pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const received: Uint8Array[] = [];
    await far.pump((buffer, length) => {
      received.push(buffer.slice(0, length));
      far.resume();
      return HOLD;
    });
    assert.deepEqual(join(received), sent);
  });

  test("resume() while nothing is held is not remembered", async (pair) => {
    const [near, far] = await pair.connect();
    far.resume();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      return HOLD;
    });
    far.resume();
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => calls === 1);
    await near.write(bytes("b"), 0, 1);
    await turns();
    assert.equal(calls, 1);
    // Two at once are one.
    far.resume();
    far.resume();
    await untilTrue(() => calls === 2);
    await near.write(bytes("c"), 0, 1);
    await turns();
    assert.equal(calls, 2);
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
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => calls === 1);
    await near.write(bytes("b"), 0, 1);
    await turns();
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
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => calls === 1);
    await near.write(bytes("b"), 0, 1);
    far.resume();
    await turns();
    assert.equal(calls, 1);
    near.finishWriting();
    gate.resolve();
    await pumping;
    assert.equal(calls, 2);
  });

  test("HOLD for what pump() is given first holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    await near.write(bytes("then"), 0, 4);
    near.finishWriting();
    const received: string[] = [];
    const pumping = far.pump((buffer, length) => {
      received.push(text(buffer.slice(0, length)));
      return received.length === 1 ? HOLD : undefined;
    }, bytes("first"));
    await turns();
    assert.deepEqual(received, ["first"]);
    far.resume();
    await pumping;
    assert.equal(received.join(""), "firstthen");
  });

  test("close() while HOLD holds ends the pump once it is resumed", async (pair) => {
    const [near, far] = await pair.connect();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      return HOLD;
    });
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => calls === 1);
    far.close();
    far.resume();
    await pumping;
    assert.equal(calls, 1);
  });

  test("close() within a sink that answers HOLD ends the pump once it is resumed", async (pair) => {
    const [near, far] = await pair.connect();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      far.close();
      return HOLD;
    });
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => calls === 1);
    far.resume();
    await pumping;
    assert.equal(calls, 1);
  });

  test("a peer that leaves while HOLD holds is noticed once it is resumed", async (pair) => {
    const [near, far] = await pair.connect();
    let calls = 0;
    const pumping = far.pump(() => {
      calls += 1;
      return HOLD;
    });
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => calls === 1);
    near.close();
    await turns();
    far.resume();
    await pumping;
    assert.equal(calls, 1);
  });

  test("watch() tells of a peer that leaves while HOLD holds the loop", async (pair) => {
    const [near, far] = await pair.connect();
    const ended = Promise.withResolvers<void>();
    const pumping = far.pump(() => {
      far.watch((_buffer, length) => length === 0 && ended.resolve());
      return HOLD;
    });
    await near.write(bytes("x"), 0, 1);
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
      received.push(text(buffer.slice(0, length)));
      return received.length === 1 ? HOLD : undefined;
    });
    await near.write(bytes("a"), 0, 1);
    await untilTrue(() => received.length === 1);
    far.watch((buffer, length) => looked.resolve(text(buffer.slice(0, length))));
    await near.write(bytes("b"), 0, 1);
    assert.equal(await looked.promise, "b");
    near.finishWriting();
    far.resume();
    await pumping;
    assert.deepEqual(received, ["a", "b"]);
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
    await near.write(bytes("unread"), 0, 6);
    for (let i = 0; i < 10; i++) await eventTurn();
    far.close();
    assert.equal((await readAll(near)).length, 0);
    await near.write(bytes("late"), 0, 4);
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
    const sent = join(pieces(30));
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
    const sent = join(pieces(30));
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
    await near.write(bytes("farewell"), 0, 8);
    near.close();
    assert.equal(text(await readAll(far)), "farewell");
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
    await nearB.write(bytes("b"), 0, 1);
    nearB.finishWriting();
    assert.equal(text(await readAll(farB)), "b");
    assert.equal((await readAll(nearA)).length, 0);
  });

  test("a closed listener ends its loop, keeps its connections and refuses new ones", async (pair) => {
    const [near, far] = await pair.connect();
    const { address } = pair.listener;
    pair.listener.close();
    pair.listener.close();
    await near.write(bytes("on"), 0, 2);
    near.finishWriting();
    assert.equal(text(await readAll(far)), "on");
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
    for (let i = 0; i < 10; i++) await eventTurn();
    pair.under.advance(60_000);
    await refused;
  });

  test("a host without an address gives: server DNS lookup failed", async (pair) => {
    if (pair.under.address.kind === "unix") return;
    const address: ServerAddress = { kind: "tcp", host: UNKNOWN_HOST, port: 5432 };
    await assert.rejects(dial(pair.under, address), isDialError("server DNS lookup failed"));
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

/** Pieces of growing length, of which each byte tells where it belongs. */
function pieces(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => new Uint8Array(1 + at * 97).fill(at));
}

/** Lets everything arrive that is on its way. */
async function turns(count = MANY_TURNS): Promise<void> {
  for (let i = 0; i < count; i++) await eventTurn();
}

/** Lets the network work until something has come true. */
async function untilTrue(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < MAX_TURNS, "It does not come true");
    await eventTurn();
  }
}

async function readAll(stream: ByteStream): Promise<Uint8Array> {
  const received: Uint8Array[] = [];
  for await (const chunk of stream.chunks()) received.push(chunk.slice());
  return join(received);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function text(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}
