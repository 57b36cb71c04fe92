/** What the settings say of TCP is what the kernel then says of the socket. */

import assert from "node:assert/strict";
import type { StreamOptions, TcpOptions } from "../../../src/net/network.ts";
import { FAMILY, Libc, LibcError } from "../../../src/net/native/libc.ts";
import { openSockets } from "../../../src/net/native/open_sockets.ts";
import { decodeEndpoint } from "../../../src/net/native/socket_address.ts";
import {
  isListening,
  pendingError,
  setDeferAccept,
  setTcpOptions,
} from "../../../src/net/native/socket_options.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { Acceptor, connect, NativeUnderTest, STREAM_OPTIONS } from "./native_engine.ts";

/** Source: tcp(7), socket(7). */
const OPTIONS = {
  noDelay: { level: 6, name: 1 },
  keepAlive: { level: 1, name: 9 },
  keepAliveIdle: { level: 6, name: 4 },
  keepAliveInterval: { level: 6, name: 5 },
  keepAliveCount: { level: 6, name: 6 },
  deferAccept: { level: 6, name: 9 },
  userTimeout: { level: 6, name: 18 },
  sendBuffer: { level: 1, name: 7 },
  receiveBuffer: { level: 1, name: 8 },
} as const;

type Values = Readonly<Record<keyof typeof OPTIONS, number>>;

/** Everything set, to values that no system has by itself. */
const ALL: TcpOptions = {
  keepAlive: true,
  keepAliveIdleMs: 61_000,
  keepAliveIntervalMs: 17_000,
  keepAliveCount: 4,
  userTimeoutMs: 12_345,
  socketBufferBytes: 40_000,
  deferAcceptSeconds: 0,
};

/** What the kernel says of a socket of which everything is set. It doubles the sizes of buffers. */
const ALL_VALUES: Omit<Values, "deferAccept"> = {
  noDelay: 1,
  keepAlive: 1,
  keepAliveIdle: 61,
  keepAliveInterval: 17,
  keepAliveCount: 4,
  userTimeout: 12_345,
  sendBuffer: 80_000,
  receiveBuffer: 80_000,
};

function valueOf(libc: Libc, descriptor: number, option: keyof typeof OPTIONS): number {
  const value = libc.option(descriptor, { ...OPTIONS[option], byteCount: 4 });
  assert.ok(value !== undefined, `The kernel tells ${option}`);
  return value.getInt32(0, true);
}

/** What the kernel says, but for what it may choose by itself on a connection. */
function valuesOf(libc: Libc, descriptor: number): Omit<Values, "deferAccept"> {
  const { deferAccept: _, ...values } = Object.fromEntries(
    Object.keys(OPTIONS).map((name) => {
      return [name, valueOf(libc, descriptor, name as keyof typeof OPTIONS)];
    }),
  ) as unknown as Values;
  return values;
}

/** The descriptors of this process whose own port this is: listeners, and connections. */
function descriptorsAt(libc: Libc, port: number): { listening: number[]; connected: number[] } {
  const all = [...openSockets(libc)]
    .filter(({ address }) => decodeEndpoint(address, 0).port === port)
    .map(({ descriptor }) => descriptor);
  return {
    listening: all.filter((descriptor) => isListening(libc, descriptor)),
    connected: all.filter((descriptor) => !isListening(libc, descriptor)),
  };
}

function onlyOne(descriptors: readonly number[]): number {
  assert.equal(descriptors.length, 1);
  return descriptors[0]!;
}

/** A socket that nobody has touched, and what is tried with it. */
function withSocket(run: (libc: Libc, descriptor: number) => void): void {
  using libc = Libc.open();
  const descriptor = libc.socket(FAMILY.inet);
  try {
    run(libc, descriptor);
  } finally {
    libc.close(descriptor);
  }
}

function settingTests(): void {
  Deno.test("setTcpOptions() sets what it is told", () =>
    withSocket((libc, descriptor) => {
      setTcpOptions(libc, descriptor, ALL);
      assert.deepEqual(valuesOf(libc, descriptor), ALL_VALUES);
    }));

  Deno.test("setTcpOptions() leaves to the system what is 0, and never delays", () =>
    withSocket((libc, descriptor) => {
      const before = valuesOf(libc, descriptor);
      assert.equal(before.noDelay, 0);
      setTcpOptions(libc, descriptor, SYSTEM_TCP);
      assert.deepEqual(valuesOf(libc, descriptor), { ...before, noDelay: 1 });
      setTcpOptions(libc, descriptor, { ...SYSTEM_TCP, keepAlive: true });
      assert.deepEqual(valuesOf(libc, descriptor), { ...before, noDelay: 1, keepAlive: 1 });
    }));

  Deno.test("setTcpOptions() turns keep-alive off again, and then sets nothing of it", () =>
    withSocket((libc, descriptor) => {
      const before = valuesOf(libc, descriptor);
      setTcpOptions(libc, descriptor, { ...SYSTEM_TCP, keepAlive: true });
      setTcpOptions(libc, descriptor, { ...ALL, keepAlive: false, socketBufferBytes: 0 });
      const expected = { ...before, noDelay: 1, userTimeout: 12_345 };
      assert.deepEqual(valuesOf(libc, descriptor), expected);
    }));

  Deno.test("setTcpOptions() rounds up to whole seconds: a little is not nothing", () =>
    withSocket((libc, descriptor) => {
      setTcpOptions(libc, descriptor, { ...ALL, keepAliveIdleMs: 1, keepAliveIntervalMs: 1_001 });
      assert.equal(valueOf(libc, descriptor, "keepAliveIdle"), 1);
      assert.equal(valueOf(libc, descriptor, "keepAliveInterval"), 2);
    }));

  Deno.test("setTcpOptions() and setDeferAccept() throw what the kernel refuses", () =>
    withSocket((libc, descriptor) => {
      const tooMany = { ...ALL, keepAliveCount: 1_000 };
      assert.throws(() => setTcpOptions(libc, descriptor, tooMany), LibcError);
      assert.throws(() => setTcpOptions(libc, -1, ALL), LibcError);
      assert.throws(() => setDeferAccept(libc, -1, 1), LibcError);
    }));

  Deno.test("setDeferAccept() sets seconds, and 0 turns it off", () =>
    withSocket((libc, descriptor) => {
      setDeferAccept(libc, descriptor, 30);
      // Counted in retransmissions, whose times add up to no less.
      assert.ok(valueOf(libc, descriptor, "deferAccept") >= 30);
      setDeferAccept(libc, descriptor, 0);
      assert.equal(valueOf(libc, descriptor, "deferAccept"), 0);
    }));

  Deno.test("pendingError() is 0 where there is none", () =>
    withSocket((libc, descriptor) => {
      assert.equal(pendingError(libc, descriptor) === 0, true);
    }));
}

/** Registers a test that has an engine for itself. */
function test(title: string, run: (engine: NativeUnderTest) => Promise<void>): void {
  Deno.test(title, async () => {
    await using engine = await NativeUnderTest.open();
    await run(engine);
  });
}

function engineTests(): void {
  test("a listener has the options, and what it accepts inherits them", async (engine) => {
    const options = { ...STREAM_OPTIONS, tcp: ALL };
    await using acceptor = await Acceptor.open(engine, { options: () => options });
    const [near, far] = await connect(engine, acceptor);
    const { connected, listening } = descriptorsAt(engine.library, acceptor.port);
    assert.deepEqual(valuesOf(engine.library, onlyOne(listening)), ALL_VALUES);
    assert.deepEqual(valuesOf(engine.library, onlyOne(connected)), ALL_VALUES);
    near.close();
    far.close();
  });

  test("a dialed connection has its own options", async (engine) => {
    await using acceptor = await Acceptor.open(engine);
    const [near, far] = await connect(engine, acceptor, ALL);
    const dialed = onlyOne(descriptorsAt(engine.library, near.local.port).connected);
    const accepted = onlyOne(descriptorsAt(engine.library, acceptor.port).connected);
    assert.deepEqual(valuesOf(engine.library, dialed), ALL_VALUES);
    const values = valuesOf(engine.library, accepted);
    assert.deepEqual([values.keepAlive, values.userTimeout, values.noDelay], [0, 0, 1]);
    near.close();
    far.close();
  });

  test("a listener that defers hands a connection over when its first bytes have come", async (engine) => {
    const tcp = { ...SYSTEM_TCP, deferAcceptSeconds: 30 };
    const options = { ...STREAM_OPTIONS, tcp };
    await using acceptor = await Acceptor.open(engine, { options: () => options });
    const listening = onlyOne(descriptorsAt(engine.library, acceptor.port).listening);
    assert.ok(valueOf(engine.library, listening, "deferAccept") >= 30);
    const dialOptions = { ...STREAM_OPTIONS, timeoutMs: 0 };
    const silent = await engine.network.dial(acceptor.listener.address, dialOptions);
    const speaking = await engine.network.dial(acceptor.listener.address, dialOptions);
    await speaking.write(new Uint8Array(1), 0, 1);
    const far = await acceptor.next();
    assert.equal(far.remote.port, speaking.local.port);
    for (const stream of [silent, speaking, far]) stream.close();
  });

  test("a reload applies to connections accepted later", async (engine) => {
    let options: StreamOptions = STREAM_OPTIONS;
    await using acceptor = await Acceptor.open(engine, { options: () => options });
    const timeouts: number[] = [];
    const accept = async () => {
      const [near, far] = await connect(engine, acceptor);
      const accepted = onlyOne(descriptorsAt(engine.library, acceptor.port).connected);
      timeouts.push(valueOf(engine.library, accepted, "userTimeout"));
      near.close();
      far.close();
    };
    await accept();
    options = { ...STREAM_OPTIONS, tcp: { ...SYSTEM_TCP, userTimeoutMs: 1_000 } };
    await accept();
    await accept();
    options = { ...STREAM_OPTIONS, tcp: { ...SYSTEM_TCP, userTimeoutMs: 2_000 } };
    await accept();
    await accept();
    assert.deepEqual(timeouts, [0, 1_000, 1_000, 2_000, 2_000]);
  });
}

if (Deno.build.os === "linux") {
  settingTests();
  engineTests();
}
