/** Faults of a kernel that the native engine must not let anybody notice, and engines that have them. */

import assert from "node:assert/strict";
import {
  everySecond,
  FAULT,
  type Faults,
  givesLittle,
  takesLittle,
} from "../../support/faulty_libc.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import type { NetworkUnderTest } from "../../unit/net/stream_pair.ts";
import { NativeUnderTest, TCP } from "./native_engine.ts";

/** More than the buffers of a kernel hold between two ends on one machine. */
const FLOOD_BYTES = 24 * 1024 * 1024;

/** Kernel buffers so small that a flood byte by byte does not take long. */
const SMALL_BUFFERS = { ...SYSTEM_TCP, socketBufferBytes: 16_384 };

/** More than those hold. */
const SMALL_FLOOD_BYTES = 200_000;

/** What must not be noticed. */
export interface Unnoticed {
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

export const UNNOTICED: readonly Unnoticed[] = [
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
    name: "io_uring that is not to be had",
    faults: () => ({ answer: (call) => call === "openSends" ? -FAULT.notPermitted : undefined }),
  },
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

/** An engine with faults, which leaves nothing open. */
export async function withFaults(
  { faults = () => ({}), isSlow = false }: Partial<Unnoticed>,
): Promise<NetworkUnderTest> {
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
