/** Streams of the native engine: how they end, whatever the moment, and what they hold meanwhile. */

import assert from "node:assert/strict";
import { HeldClock, systemClock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { ClientSession, type SessionDesk } from "../../../src/client/client_session.ts";
import { defaultSettings } from "../../../src/config/validate.ts";
import { Logger } from "../../../src/log/logger.ts";
import { type ByteStream, HOLD, type Sink } from "../../../src/net/byte_stream.ts";
import type { BufferShelf } from "../../../src/net/native/buffer_pool.ts";
import { FAMILY, Libc } from "../../../src/net/native/libc.ts";
import {
  FLOW_BYTES,
  LARGE_BYTES,
  MAX_WAITING_WRITES,
  NativeStream,
} from "../../../src/net/native/native_stream.ts";
import { Reactor } from "../../../src/net/native/reactor.ts";
import { RuntimeTurn } from "../../../src/net/native/runtime_turn.ts";
import { encodeIpAddress } from "../../../src/net/native/socket_address.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { eventually, within } from "../../support/eventually.ts";
import { FAULT } from "../../support/faulty_libc.ts";
import { frontend } from "../../support/messages.ts";
import { Acceptor, NativeUnderTest, STREAM_OPTIONS, withEngine } from "./native_engine.ts";
import { FLOOD_BYTES, LEAVINGS, type Pair, test, testTls, WORD } from "./native_stream_pair.ts";

/** What is under way when the peer leaves, and how that is brought to its end. */
interface Scene {
  /** The receive loop. */
  readonly loop: Promise<unknown>;
  readonly writes: readonly Promise<void>[];
  /** Lets the loop go on that is held. */
  readonly letGo?: () => void;
}

/** Writes more than fits. */
function flood(far: ByteStream): Promise<void>[] {
  const first = far.write(new Uint8Array(FLOOD_BYTES), 0, FLOOD_BYTES);
  const second = far.write(WORD, 0, 4);
  assert.ok(first instanceof Promise && second instanceof Promise);
  return [first, second];
}

async function countBytes(stream: ByteStream): Promise<number> {
  let count = 0;
  for await (const chunk of stream.chunks()) count += chunk.length;
  return count;
}

/** Runs a pump whose sink answers so, and waits until it has been handed a word. */
async function pumpWord({ far, near }: Pair, sink: Sink): Promise<Scene> {
  let calls = 0;
  const loop = far.pump((buffer, length) => {
    calls += 1;
    return sink(buffer, length);
  });
  await near.write(WORD, 0, 4);
  await eventually("the word is handed over", () => calls > 0);
  return { loop, writes: [] };
}

/** When a peer may leave. */
const MOMENTS: Readonly<Record<string, (pair: Pair) => Promise<Scene>>> = {
  "before the first byte, in pump()": ({ far }) =>
    Promise.resolve({ loop: far.pump(() => assert.fail("Nothing came")), writes: [] }),

  "before the first byte, in chunks()": ({ far }) =>
    Promise.resolve({ loop: countBytes(far), writes: [] }),

  "before anybody reads": ({ far }) => {
    const gate = Promise.withResolvers<void>();
    const loop = gate.promise.then(() => countBytes(far));
    return Promise.resolve({ loop, writes: [], letGo: gate.resolve });
  },

  "between two chunks, in pump()": (pair) => pumpWord(pair, () => {}),

  async "between two chunks, in chunks()"({ far, near }) {
    const iterator = far.chunks();
    await near.write(WORD, 0, 4);
    await iterator.next();
    const gate = Promise.withResolvers<void>();
    const loop = gate.promise.then(async () => {
      while (!(await iterator.next()).done);
    });
    return { loop, writes: [], letGo: gate.resolve };
  },

  async "while a promise holds the loop"(pair) {
    const gate = Promise.withResolvers<void>();
    return { ...await pumpWord(pair, () => gate.promise), letGo: gate.resolve };
  },

  async "while HOLD holds the loop"(pair) {
    return { ...await pumpWord(pair, () => HOLD), letGo: () => pair.far.resume() };
  },

  async "while HOLD holds the loop that looks ahead"(pair) {
    const looked = Promise.withResolvers<void>();
    const scene = await pumpWord(pair, () => {
      pair.far.watch((_buffer, length) => length === 0 && looked.resolve());
      return HOLD;
    });
    // It is let go when the look has told of the end, and not before.
    const loop = looked.promise.then(() => pair.far.resume()).then(() => scene.loop);
    return { loop, writes: [] };
  },

  "while a write waits, in pump()": ({ far }) =>
    Promise.resolve({ loop: far.pump(() => assert.fail("Nothing came")), writes: flood(far) }),

  "while a write waits, in chunks()": ({ far }) =>
    Promise.resolve({ loop: countBytes(far), writes: flood(far) }),

  async "while a write waits and HOLD holds the loop"(pair) {
    const scene = await pumpWord(pair, () => HOLD);
    return { ...scene, writes: flood(pair.far), letGo: () => pair.far.resume() };
  },

  async "while the sink's own write holds the loop"(pair) {
    let writes: Promise<void>[] = [];
    const scene = await pumpWord(pair, () => {
      writes = flood(pair.far);
      return writes[1];
    });
    return { ...scene, writes };
  },
};

function leavingTests(test: typeof testTls): void {
  for (const [moment, prepare] of Object.entries(MOMENTS)) {
    for (const [leaving, leave] of Object.entries(LEAVINGS)) {
      // A peer that has only finished may read on: its writer waits as long as it wants.
      const isHeldByWrite = moment.includes("own write") && leaving === "has finished";
      test(`ends when the peer ${leaving} ${moment}`, async (pair) => {
        const { far, near } = pair;
        const { letGo, loop, writes } = await prepare(pair);
        await leave(pair);
        await eventTurns();
        letGo?.();
        if (isHeldByWrite) near.close();
        await within("the loop ends", loop);
        if (leaving === "has finished") far.close();
        await within("the writers are answered", Promise.all(writes));
        assert.equal(await within("it stays ended", countBytes(far)), 0);
        assert.equal(await far.write(WORD, 0, 4), undefined);
      });
    }
  }
}

function writingTests(): void {
  test("sends what a sink has written though the sink closes it then", async (pair) => {
    await pumpWord(pair, () => {
      void pair.far.write(WORD, 0, 4);
      pair.far.close();
    });
    assert.equal(await countBytes(pair.near), 4);
  });

  test("ends when it cannot wait for room for the rest of what a sink has written", async (pair) => {
    const { engine, far } = pair;
    const { loop } = await pumpWord(pair, () => {
      engine.libc.faults = {
        takes: () => 1,
        answer: (call) => call === "watchFor" ? -FAULT.noMemory : undefined,
      };
      void far.write(WORD, 0, 4);
    });
    await within("the loop ends", loop);
    assert.deepEqual(engine.errors.splice(0).map(String), [
      "LibcError: Cannot allocate memory (os error 12)",
    ]);
  });

  test("ends when more writes wait than may, and answers them all", async ({ far }) => {
    const loop = far.pump(() => assert.fail("Nothing came"));
    const writes = flood(far);
    for (let i = writes.length; i < MAX_WAITING_WRITES; i++) writes.push(far.write(WORD, 0, 4)!);
    await eventTurns();
    let isEnded = false;
    void loop.then(() => isEnded = true);
    await eventTurns();
    assert.equal(isEnded, false);
    const last = far.write(WORD, 0, 4);
    await within("the loop ends", loop);
    await within("the writers are answered", Promise.all([...writes, last]));
    assert.equal(far.write(WORD, 0, 4), undefined);
  });

  test("ends when more writes wait than may while a sink holds and looks ahead", async (pair) => {
    const { engine, far } = pair;
    const { loop } = await pumpWord(pair, () => {
      far.watch(() => {});
      return HOLD;
    });
    const writes = flood(far);
    for (let i = writes.length; i <= MAX_WAITING_WRITES; i++) writes.push(far.write(WORD, 0, 4)!);
    await within("the writers are answered", Promise.all(writes));
    await eventually("it has looked", () => engine.libc.callCount("peek") > 0);
    far.resume();
    await within("the loop ends", loop, 3_000).finally(() => far.close());
  });

  test("reads the last words of a peer that takes nothing any more", async ({ far, near }) => {
    await far.write(WORD, 0, 4);
    await near.write(WORD, 0, 4);
    await eventTurns();
    near.close();
    await eventTurns();
    for (let i = 0; i < 3; i++) await far.write(WORD, 0, 4);
    assert.ok([0, 4].includes(await within("the stream ends", countBytes(far))));
  });
}

function lookingTests(): void {
  test("watch() is not told of an end when its look is interrupted", async (pair) => {
    const { engine, far, near } = pair;
    const shown: number[] = [];
    const { loop } = await pumpWord(pair, () => {
      if (shown.length === 0) far.watch((_buffer, length) => shown.push(length));
      return shown.length === 0 ? HOLD : undefined;
    });
    let isFirst = true;
    engine.libc.faults = {
      answer(call) {
        if (call !== "peek" || !isFirst) return undefined;
        isFirst = false;
        return -FAULT.interrupted;
      },
    };
    await near.write(WORD, 0, 4);
    await eventually("something is shown", () => shown.length > 0);
    near.finishWriting();
    far.resume();
    await loop;
    assert.deepEqual(shown, [4]);
  });
}

/** Counts the buffers of a shelf that are out. */
function countLoans(shelf: BufferShelf): { count: number } {
  const loans = { count: 0 };
  const take = shelf.take.bind(shelf);
  const give = shelf.give.bind(shelf);
  shelf.take = () => {
    loans.count += 1;
    return take();
  };
  shelf.give = (buffer) => {
    loans.count -= 1;
    give(buffer);
  };
  return loans;
}

/** A stream on a reactor of its own, whose peer is the runtime's; and how many buffers it has. */
async function withBuffers(
  run: (stream: NativeStream, peer: Deno.Conn, loans: { count: number }) => Promise<void>,
): Promise<void> {
  using libc = Libc.open();
  using turn = await RuntimeTurn.open(libc, systemRandom());
  const clock = new HeldClock(systemClock());
  const onError = (error: unknown) => assert.fail(String(error));
  await using reactor = new Reactor({ libc, clock, turn, onError });
  const loans = countLoans(reactor.buffers.shelf(STREAM_OPTIONS.receiveBytes));
  const large = countLoans(reactor.buffers.shelf(LARGE_BYTES));
  const flow = countLoans(reactor.buffers.shelf(FLOW_BYTES));
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const descriptor = libc.socket(FAMILY.inet);
  libc.connect(descriptor, encodeIpAddress("127.0.0.1", port));
  using peer = await listener.accept();
  const stream = new NativeStream({
    libc,
    reactor,
    descriptor,
    options: STREAM_OPTIONS,
    remote: { host: "127.0.0.1", port },
    isUnix: false,
    unixPort: 0,
  });
  await run(stream, peer, loans);
  stream.close();
  assert.deepEqual([loans.count, large.count, flow.count], [0, 0, 0]);
}

function bufferTests(): void {
  Deno.test("NativeStream: has touched what its sink needs, from the pump on", () =>
    withBuffers(async (stream) => {
      const touched: string[] = [];
      const needed = { touch: () => touched.push("own"), touchRest: () => touched.push("rest") };
      stream.touch();
      stream.touchRest();
      const loop = stream.pump(() => {}, undefined, needed);
      stream.touch();
      assert.deepEqual(touched, ["own"]);
      stream.touchRest();
      assert.deepEqual(touched, ["own", "rest"]);
      stream.close();
      await loop;
    }));

  Deno.test("NativeStream: a connection that waits has no buffer", () =>
    withBuffers(async (stream, peer, loans) => {
      let received = 0;
      const loop = stream.pump((_buffer, length) => {
        assert.equal(loans.count, 1);
        received += length;
      });
      assert.equal(loans.count, 0);
      for (let i = 1; i <= 3; i++) {
        await peer.write(WORD);
        await eventually("the word is handed over", () => received === 4 * i);
        assert.equal(loans.count, 0);
      }
      stream.close();
      await loop;
    }));

  Deno.test("NativeStream: a sink that holds keeps its buffer, by promise or by HOLD", () =>
    withBuffers(async (stream, peer, loans) => {
      let calls = 0;
      const gate = Promise.withResolvers<void>();
      const loop = stream.pump(() => {
        calls += 1;
        return calls === 1 ? HOLD : gate.promise;
      });
      await peer.write(WORD);
      await eventually("the first word is handed over", () => calls === 1);
      await eventTurns();
      assert.equal(loans.count, 1);
      stream.resume();
      assert.equal(loans.count, 0);
      await peer.write(WORD);
      await eventually("the second word is handed over", () => calls === 2);
      assert.equal(loans.count, 1);
      gate.resolve();
      await eventually("the buffer is given back", () => loans.count === 0);
      stream.close();
      await loop;
    }));

  Deno.test("NativeStream: a sink that throws, closes or holds to the end keeps no buffer", () =>
    withBuffers(async (stream, peer, loans) => {
      await peer.write(WORD);
      const throwing = stream.pump(() => {
        throw new RangeError("sink");
      });
      await assert.rejects(throwing, /sink/);
      assert.equal(loans.count, 0);
      await peer.write(WORD);
      await assert.rejects(stream.pump(() => Promise.reject(new RangeError("later"))), /later/);
      assert.equal(loans.count, 0);
      let calls = 0;
      const held = stream.pump(() => {
        calls += 1;
        return HOLD;
      });
      await peer.write(WORD);
      await eventually("the word is handed over", () => calls === 1);
      stream.close();
      assert.equal(loans.count, 1);
      stream.resume();
      await held;
    }));

  Deno.test("NativeStream: what a login was lent comes back from a client that is gone before it is let in", () =>
    withBuffers(async (stream, peer, loans) => {
      let lent = -1;
      const desk: SessionDesk = {
        settings: () => defaultSettings({ logDisconnections: false }),
        proxyRule: () => "off",
        tlsOffer: () => ({ tls: undefined, isRequired: false }),
        logIn(session) {
          lent = loans.count;
          session.hangUp();
          return Promise.resolve(undefined);
        },
        cancel: () => Promise.resolve(),
        ...{ noteMove() {}, noteIdle() {}, noteEnd() {}, forget() {} },
      };
      const clock = systemClock();
      const log = new Logger({ clock, processId: 1, sink: { write() {} }, verbosity: 0 });
      const session = new ClientSession({ id: 1, stream, clock, log, desk });
      await peer.write(frontend.startup({ user: "ada", database: "app" }));
      await session.run();
      assert.deepEqual([lent, loans.count], [1, 0]);
    }));

  Deno.test("NativeStream: what pump() is given first takes no buffer, and a look gives its own back", () =>
    withBuffers(async (stream, peer, loans) => {
      let calls = 0;
      const loop = stream.pump(() => {
        calls += 1;
        return calls === 1 ? HOLD : undefined;
      }, WORD);
      assert.deepEqual([calls, loans.count], [1, 0]);
      const looked = Promise.withResolvers<void>();
      stream.watch(() => looked.resolve());
      await peer.write(WORD);
      await looked.promise;
      await eventTurns();
      assert.equal(loans.count, 0);
      stream.resume();
      await eventually("the word is handed over", () => calls === 2);
      assert.equal(loans.count, 0);
      stream.close();
      await loop;
    }));

  Deno.test("NativeStream: chunks() keeps a buffer until the next chunk is asked for", () =>
    withBuffers(async (stream, peer, loans) => {
      const iterator = stream.chunks();
      await peer.write(WORD);
      const first = await iterator.next();
      assert.ok(!first.done);
      assert.deepEqual([...first.value], [...WORD]);
      assert.equal(loans.count, 1);
      const second = iterator.next();
      await eventTurns();
      assert.equal(loans.count, 0);
      await peer.write(WORD);
      await second;
      assert.equal(loans.count, 1);
      await iterator.return!();
      assert.equal(loans.count, 0);
    }));

  Deno.test("NativeStream: what chunks() has lent comes back when a pump begins", () =>
    withBuffers(async (stream, peer, loans) => {
      await peer.write(WORD);
      await stream.chunks().next();
      assert.equal(loans.count, 1);
      const loop = stream.pump(() => {});
      assert.equal(loans.count, 0);
      stream.close();
      await loop;
    }));
}

/** So many connections, of which so many at a time. */
const CONNECTIONS = { total: 10_000, batch: 100 } as const;

function manyTests(): void {
  Deno.test("10,000 connections come and go, and leave nothing behind", async () => {
    await using engine = await NativeUnderTest.open();
    const before = engine.libc.open.size;
    const socketsBefore = engine.socketCount;
    const acceptor = await Acceptor.open(engine);
    const ended: Promise<number>[] = [];
    const serving = (async () => {
      for await (const far of acceptor.accepted) {
        ended.push(countBytes(far).finally(() => far.close()));
      }
    })();
    const visit = async (i: number) => {
      const options = { ...STREAM_OPTIONS, timeoutMs: 0 };
      const near = await engine.network.dial(acceptor.listener.address, options);
      await near.write(WORD, 0, 4);
      if (i % 2 === 0) near.finishWriting();
      else near.close();
      if (i % 2 === 0) assert.equal(await countBytes(near), 0);
      near.close();
    };
    for (let i = 0; i < CONNECTIONS.total; i += CONNECTIONS.batch) {
      await Promise.all(Array.from({ length: CONNECTIONS.batch }, (_, at) => visit(i + at)));
    }
    await eventually("all are accepted", () => ended.length === CONNECTIONS.total);
    const counts = await within("all streams end", Promise.all(ended));
    assert.ok(counts.every((count) => count === 4));
    acceptor.listener.close();
    await serving;
    assert.equal(engine.libc.open.size, before);
    assert.equal(engine.socketCount, socketsBefore);
  });

  Deno.test("a loop over connections() that is left early keeps no connection that was not taken", () =>
    withEngine(async (engine) => {
      const acceptor = await Acceptor.open(engine);
      const options = { ...STREAM_OPTIONS, timeoutMs: 0 };
      const dialed: ByteStream[] = [];
      for (let i = 0; i < 3; i++) {
        dialed.push(await engine.network.dial(acceptor.listener.address, options));
      }
      for await (const far of acceptor.accepted) {
        far.close();
        break;
      }
      const ended = dialed.map(async (near) => {
        for await (const _chunk of near.chunks()) assert.fail("Nobody has sent anything");
      });
      await within("all are closed, those that were not taken, too", Promise.all(ended));
      acceptor.listener.close();
      for (const near of dialed) near.close();
    }));
}

if (Deno.build.os === "linux") {
  leavingTests(test);
  leavingTests(testTls);
  writingTests();
  lookingTests();
  bufferTests();
  manyTests();
}
