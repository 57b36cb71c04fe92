/**
 * The native engine over a C library with faults: those that a kernel has at any time are not to be
 * noticed, and those that tell of want are told of, and leave nothing open.
 */

import assert from "node:assert/strict";
import { HeldClock, systemClock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { DialError, ListenError, type ServerAddress } from "../../../src/net/network.ts";
import { Libc, LibcError } from "../../../src/net/native/libc.ts";
import { NativeNetwork } from "../../../src/net/native/native_network.ts";
import { NoTls } from "../../../src/net/no_tls.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { eventually, within } from "../../support/eventually.ts";
import {
  atFirst,
  type CallName,
  everySecond,
  failingAt,
  FAULT,
  type Faults,
  FaultyLibc,
  givesLittle,
  takesLittle,
} from "../../support/faulty_libc.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { byteStreamSuite } from "../../unit/net/byte_stream_suite.ts";
import type { NetworkUnderTest } from "../../unit/net/stream_pair.ts";
import {
  Acceptor,
  connect,
  NativeUnderTest,
  socketCount,
  STREAM_OPTIONS,
  TCP,
} from "./native_engine.ts";

/** More than the buffers of a kernel hold between two ends on one machine. */
const FLOOD_BYTES = 24 * 1024 * 1024;

/** Kernel buffers so small that a flood byte by byte does not take long. */
const SMALL_BUFFERS = { ...SYSTEM_TCP, socketBufferBytes: 16_384 };

/** More than those hold. */
const SMALL_FLOOD_BYTES = 200_000;

/** What must not be noticed. */
interface Unnoticed {
  readonly name: string;
  readonly faults: () => Faults;
  /** Whether bytes are received one by one. */
  readonly isSlow?: boolean;
}

/** A peer that left, an interruption, nobody yet, and then the connection: at each accept. */
function acceptFaults(): Faults {
  const errnos = [FAULT.connectionAborted, FAULT.interrupted, FAULT.again];
  return {
    answer(call, count) {
      const errno = errnos[count % 4];
      return call === "accept" && errno !== undefined ? -errno : undefined;
    },
  };
}

const UNNOTICED: readonly Unnoticed[] = [
  { name: "send() that takes little", faults: () => ({ takes: takesLittle }) },
  {
    name: "send() that cannot, every second time",
    faults: () => everySecond(["send"], FAULT.again),
  },
  { name: "recv() that gives little", faults: () => ({ gives: givesLittle() }), isSlow: true },
  {
    name: "recv() that has nothing yet, every second time",
    faults: () => everySecond(["receive", "peek"], FAULT.again),
  },
  {
    name: "recv() that is interrupted, every second time",
    faults: () => everySecond(["receive"], FAULT.interrupted),
  },
  { name: "accept4() that is not ready", faults: acceptFaults },
  {
    name: "epoll_wait() that is interrupted, every second time",
    faults: () => everySecond(["wait", "waitApart"], FAULT.interrupted),
  },
  {
    name: "everything at once",
    faults: () => ({
      ...everySecond(["send", "receive", "peek", "accept"], FAULT.again),
      takes: takesLittle,
      gives: givesLittle(),
    }),
    isSlow: true,
  },
];

async function withFaults({ faults, isSlow = false }: Unnoticed): Promise<NetworkUnderTest> {
  const engine = await NativeUnderTest.open(faults());
  const before = engine.libc.open.size;
  return {
    network: engine.network,
    address: TCP,
    floodBytes: isSlow ? SMALL_FLOOD_BYTES : FLOOD_BYTES,
    tcp: isSlow ? SMALL_BUFFERS : SYSTEM_TCP,
    advance: (ms) => engine.timers.advance(ms),
    blackHole: () => Promise.resolve(undefined),
    async [Symbol.asyncDispose]() {
      assert.equal(engine.libc.open.size, before, "Every descriptor was given back");
      assert.deepEqual(engine.acceptErrors, []);
      await engine[Symbol.asyncDispose]();
      assert.equal(engine.libc.open.size, 0);
    },
  };
}

/** Registers a test that has an engine for itself, and checks that it leaves no socket open. */
function test(title: string, run: (engine: NativeUnderTest) => Promise<void>): void {
  Deno.test(title, async () => {
    await using engine = await NativeUnderTest.open();
    const before = engine.socketCount;
    await run(engine);
    await eventually("every socket is closed", () => engine.socketCount === before);
    assert.equal(engine.timers.timerCount, 0);
  });
}

function dial({ network }: NativeUnderTest, port: number, timeoutMs = 0): Promise<ByteStream> {
  const address = { kind: "tcp", host: "127.0.0.1", port } as const;
  return network.dial(address, { ...STREAM_OPTIONS, timeoutMs });
}

/** What an error is, so far as it is promised. */
function isConnectFailed(errno: number): (error: unknown) => boolean {
  return (error) =>
    error instanceof DialError && error.failure === "connect failed" &&
    error.cause instanceof LibcError && error.cause.errno === errno;
}

/** What accepting fails with that does not pass by itself at once. */
const WANTS: readonly number[] = [
  ...[FAULT.tooManyFiles, FAULT.tableFull, FAULT.noMemory, FAULT.noBufferSpace, FAULT.invalid],
];

/** What accepting fails with for one peer, which has left or never quite come. */
const OF_ONE_PEER: readonly number[] = [
  ...[FAULT.connectionAborted, FAULT.protocol, FAULT.notPermitted, FAULT.hostUnreachable],
];

function acceptTests(): void {
  for (const errno of WANTS) {
    test(`accepting pauses for a second after errno ${errno}, tells of it, and goes on`, async (engine) => {
      await using acceptor = await Acceptor.open(engine);
      engine.libc.faults = atFirst("accept", 2, errno);
      const accepting = acceptor.next();
      const near = await dial(engine, acceptor.port);
      for (const times of [1, 2]) {
        await eventually("the failure is told", () => engine.acceptErrors.length === times);
        const error = engine.acceptErrors.at(-1);
        assert.ok(error instanceof LibcError && error.errno === errno);
        assert.equal(engine.timers.timerCount, 1);
        engine.timers.advance(999);
        await eventTurns();
        assert.equal(engine.libc.callCount("accept"), times);
        engine.timers.advance(1);
      }
      const far = await within("the connection is accepted", accepting);
      assert.equal(engine.acceptErrors.length, 2);
      near.close();
      far.close();
    });
  }

  test("accepting that pauses is not woken by another connection", async (engine) => {
    await using acceptor = await Acceptor.open(engine);
    engine.libc.faults = atFirst("accept", 1, FAULT.tooManyFiles);
    const accepting = acceptor.next();
    const first = await dial(engine, acceptor.port);
    await eventually("the failure is told", () => engine.acceptErrors.length === 1);
    const second = await dial(engine, acceptor.port);
    await eventTurns();
    assert.equal(engine.libc.callCount("accept"), 1);
    engine.timers.advance(1_000);
    const streams = [await accepting, await acceptor.next(), first, second];
    for (const stream of streams) stream.close();
  });

  test("a listener that is closed while it pauses forgets its timer", async (engine) => {
    const acceptor = await Acceptor.open(engine);
    engine.libc.faults = atFirst("accept", 1, FAULT.tooManyFiles);
    const accepting = acceptor.accepted.next();
    const near = await dial(engine, acceptor.port);
    await eventually("the failure is told", () => engine.acceptErrors.length === 1);
    acceptor.listener.close();
    assert.equal((await accepting).done, true);
    assert.equal(engine.timers.timerCount, 0);
    near.close();
  });

  for (const errno of OF_ONE_PEER) {
    test(`peers that left before they were accepted cost only themselves (errno ${errno})`, async (engine) => {
      await using acceptor = await Acceptor.open(engine);
      // More than a burst: then others have their turn first.
      engine.libc.faults = atFirst("accept", 100, errno);
      const [near, far] = await connect(engine, acceptor);
      assert.deepEqual(engine.acceptErrors, []);
      assert.equal(engine.timers.timerCount, 0);
      near.close();
      far.close();
    });
  }

  test("a connection that cannot be watched is closed and told of; the next one is taken", async (engine) => {
    await using acceptor = await Acceptor.open(engine);
    const refused = await Deno.connect({ hostname: "127.0.0.1", port: acceptor.port });
    engine.libc.faults = {
      answer: (call) => call === "watch" && engine.acceptErrors.length === 0 ? -12 : undefined,
    };
    const accepting = acceptor.next();
    await eventually("the failure is told", () => engine.acceptErrors.length === 1);
    assert.equal(await refused.read(new Uint8Array(1)), null);
    refused.close();
    const near = await dial(engine, acceptor.port);
    (await accepting).close();
    near.close();
  });

  test("listen() that cannot set an option leaves nothing open", async (engine) => {
    engine.libc.faults = { answer: (call) => call === "setOption" ? -FAULT.invalid : undefined };
    await assert.rejects(engine.network.listen(TCP, () => STREAM_OPTIONS), ListenError);
  });

  test("listen() that cannot watch leaves nothing open", async (engine) => {
    engine.libc.faults = { answer: (call) => call === "watch" ? -FAULT.noMemory : undefined };
    await assert.rejects(engine.network.listen(TCP, () => STREAM_OPTIONS), ListenError);
  });

  test("options that the kernel refuses at a reload are told of once; accepting goes on", async (engine) => {
    let options = STREAM_OPTIONS;
    await using acceptor = await Acceptor.open(engine, { options: () => options });
    options = { ...STREAM_OPTIONS };
    engine.libc.faults = { answer: (call) => call === "setOption" ? -FAULT.invalid : undefined };
    for (let i = 0; i < 2; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: acceptor.port });
      (await acceptor.next()).close();
      conn.close();
    }
    assert.equal(engine.acceptErrors.length, 1);
  });
}

/** What a dial may run into, call by call. */
const DIAL_FAULTS: readonly (readonly [call: CallName, errno: number])[] = [
  ["socket", FAULT.tooManyFiles],
  ["setOption", FAULT.invalid],
  ["connect", FAULT.connectionRefused],
  ["connect", FAULT.again],
  ["watch", FAULT.noMemory],
];

function dialTests(): void {
  for (const [call, errno] of DIAL_FAULTS) {
    test(`dial() whose ${call}() fails with errno ${errno} gives: connect failed`, async (engine) => {
      await using acceptor = await Acceptor.open(engine);
      engine.libc.faults = { answer: (name) => name === call ? -errno : undefined };
      await assert.rejects(dial(engine, acceptor.port, 1_000), isConnectFailed(errno));
    });
  }

  test("dial() that is given up while it connects leaves nothing open", async (engine) => {
    const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
    const { port } = full.addr as Deno.NetAddr;
    const fillers = [await dial(engine, port), await dial(engine, port)];
    const abort = new AbortController();
    const address = { kind: "tcp", host: "127.0.0.1", port } as const;
    const options = { ...STREAM_OPTIONS, timeoutMs: 60_000, signal: abort.signal };
    const dialings = [engine.network.dial(address, options), dial(engine, port, 60_000)];
    const refusals = dialings.map((dialing) =>
      assert.rejects(
        dialing,
        (error) => error instanceof DialError && error.failure === "connect timeout",
      )
    );
    await eventually("both connect", () => engine.libc.callCount("connect") === 4 + 1);
    abort.abort();
    await refusals[0];
    engine.timers.advance(60_000);
    await refusals[1];
    for (const stream of fillers) stream.close();
    full.close();
  });

  test("dial() of a name goes where the system says", async (engine) => {
    await using acceptor = await Acceptor.open(engine);
    const address = { kind: "tcp", host: "localhost", port: acceptor.port } as const;
    const dialing = engine.network.dial(address, { ...STREAM_OPTIONS, timeoutMs: 0 });
    const far = await acceptor.next();
    const near = await dialing;
    assert.equal(near.remote.port, acceptor.port);
    near.close();
    far.close();
  });

  test("dial() of an address that cannot be one gives: connect failed", async (engine) => {
    const path = `/${"p".repeat(200)}`;
    const addresses: readonly ServerAddress[] = [
      { kind: "unix", path, port: 5432 },
      { kind: "tcp", host: "fe80::1%no-such-interface", port: 5432 },
    ];
    for (const address of addresses) {
      const dialing = engine.network.dial(address, { ...STREAM_OPTIONS, timeoutMs: 0 });
      await assert.rejects(dialing, (error) => {
        assert.ok(error instanceof DialError, String(error));
        assert.equal(error.failure, "connect failed");
        return true;
      });
    }
  });
}

/** Calls that fail for want of something, or because the peer has gone. */
const WANTING: readonly CallName[] = ["socket", "setOption", "connect", "accept", "watch"];
const BREAKING: readonly CallName[] = ["receive", "send"];
const OPENING: readonly CallName[] = ["socket", "connect", "epoll", "counter", "watch"];

/** Accepts, dials, and sends a word there and back. Returns what came back, if that much went well. */
async function converse(engine: NativeUnderTest): Promise<string> {
  await using acceptor = await Acceptor.open(engine);
  const serving = (async () => {
    for await (const far of acceptor.accepted) {
      await far.pump((buffer, length) => far.write(buffer, 0, length));
      far.close();
    }
  })();
  try {
    const near = await dial(engine, acceptor.port, 60_000);
    await near.write(new TextEncoder().encode("hello"), 0, 5);
    near.finishWriting();
    let answer = "";
    for await (const chunk of near.chunks()) answer += new TextDecoder().decode(chunk);
    near.close();
    return answer;
  } finally {
    acceptor.listener.close();
    await serving;
  }
}

/** Runs a conversation of which one call fails. Returns whether one did, and how it ended. */
async function failOnce(
  n: number,
  { calls, errno }: { calls: readonly CallName[]; errno: number },
): Promise<{ hasFailed: boolean; ending: string }> {
  await using engine = await NativeUnderTest.open();
  const before = engine.libc.open.size;
  const socketsBefore = engine.socketCount;
  const faults = failingAt(n, calls, errno);
  engine.libc.faults = faults;
  const conversation = converse(engine).catch((error: unknown) => {
    assert.ok(
      error instanceof DialError || error instanceof LibcError || error instanceof ListenError,
      String(error),
    );
    return error.name;
  });
  const turning = { isOver: false };
  const ended = conversation.finally(() => turning.isOver = true);
  await eventually(`the conversation ends whose call ${n} fails`, () => {
    // Accepting may have paused.
    engine.timers.advance(engine.acceptErrors.length > 0 ? 1_000 : 0);
    return turning.isOver;
  });
  const ending = await ended;
  assert.equal(engine.libc.open.size, before, `Call ${n}: every descriptor was given back`);
  assert.equal(engine.socketCount, socketsBefore);
  assert.equal(engine.timers.timerCount, 0);
  return { hasFailed: faults.hasFailed, ending };
}

function everyCallTests(): void {
  for (
    const [calls, errno, endings] of [
      // A pause in accepting is over at last.
      [WANTING, FAULT.tooManyFiles, ["ListenError", "DialError", "hello", ""]],
      [BREAKING, FAULT.connectionReset, ["", "hello"]],
    ] as const
  ) {
    Deno.test(`each call that fails, one after the other, leaves nothing open (errno ${errno})`, async () => {
      let n = 1;
      for (;; n++) {
        const { hasFailed, ending } = await failOnce(n, { calls, errno });
        if (!hasFailed) {
          assert.equal(ending, "hello");
          break;
        }
        assert.ok((endings as readonly string[]).includes(ending), ending);
      }
      assert.ok(n > 4, "Several calls were tried");
    });
  }

  Deno.test("opening the engine leaves nothing open whichever call fails", async () => {
    using library = Libc.open();
    const before = socketCount(library);
    for (let n = 1;; n++) {
      const faults = failingAt(n, OPENING, FAULT.tooManyFiles);
      const libc = new FaultyLibc(library, faults);
      const opening = NativeNetwork.open({
        libc,
        tls: new NoTls(),
        clock: new HeldClock(systemClock()),
        random: systemRandom(),
        onAcceptError: (error) => assert.fail(String(error)),
        onError: (error) => assert.fail(String(error)),
        groupIdOf: () => 0,
      });
      const network = await opening.catch((error: unknown) => error);
      if (network instanceof NativeNetwork) await network[Symbol.asyncDispose]();
      else assert.ok(network instanceof LibcError);
      assert.deepEqual([...libc.open], [], `Call ${n}: every descriptor was given back`);
      await eventually(
        `every socket is closed after call ${n} failed`,
        () => socketCount(library) === before,
      );
      if (!faults.hasFailed) break;
    }
  });
}

if (Deno.build.os === "linux") {
  for (const unnoticed of UNNOTICED) {
    byteStreamSuite({ name: `native, ${unnoticed.name}`, open: () => withFaults(unnoticed) });
  }
  acceptTests();
  dialTests();
  everyCallTests();
}
