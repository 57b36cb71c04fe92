/** The native engine without faults, whose timers a test turns. */

import assert from "node:assert/strict";
import { HeldClock, systemClock } from "../../../src/base/clock.ts";
import type { Clock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Libc } from "../../../src/net/native/libc.ts";
import { NativeNetwork } from "../../../src/net/native/native_network.ts";
import { NativeTls } from "../../../src/net/native/native_tls.ts";
import type { EngineUnderTest } from "./socket_network_suite.ts";

/** Opens an engine whose timers are the clock's. */
export async function openNative(clock: Clock): Promise<EngineUnderTest> {
  const libc = Libc.open();
  const tls = NativeTls.open();
  const network = await NativeNetwork.open({
    libc,
    tls,
    // Slices are real time, whatever the timers of the test are.
    clock: new HeldClock({
      ...systemClock(),
      startTimer: (delayMs, fire) => clock.startTimer(delayMs, fire),
    }),
    random: systemRandom(),
    onAcceptError: (error) => assert.fail(String(error)),
    onError: (error) => assert.fail(String(error)),
    groupIdOf: () => Deno.gid()!,
  });
  return {
    network,
    async [Symbol.asyncDispose]() {
      await network[Symbol.asyncDispose]();
      tls[Symbol.dispose]();
      libc[Symbol.dispose]();
    },
  };
}
