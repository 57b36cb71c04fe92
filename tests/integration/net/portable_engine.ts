/** The portable engine for the tests of networks. */

import assert from "node:assert/strict";
import type { Clock } from "../../../src/base/clock.ts";
import { Libc } from "../../../src/net/native/libc.ts";
import { finishIfNobodyWaits } from "../../../src/net/native/listening_descriptor.ts";
import { SocketPeerCredentials } from "../../../src/net/native/peer_credentials.ts";
import { PortableNetwork } from "../../../src/net/portable/portable_network.ts";
import type { EngineUnderTest } from "./socket_network_suite.ts";

/** Opens it, with timers of the clock. */
export async function openPortableEngine(clock: Clock): Promise<EngineUnderTest> {
  const libc = Deno.build.os === "linux" ? Libc.open() : undefined;
  return await Promise.resolve({
    network: new PortableNetwork({
      clock,
      peerCredentials: libc === undefined ? undefined : new SocketPeerCredentials(libc),
      finishIfQuiet: (listener) =>
        libc === undefined ? undefined : finishIfNobodyWaits(libc, listener),
      onAcceptError: (error) => assert.fail(String(error)),
      groupIdOf: () => Deno.gid()!,
    }),
    async [Symbol.asyncDispose]() {
      await Promise.resolve(libc?.[Symbol.dispose]());
    },
  });
}
