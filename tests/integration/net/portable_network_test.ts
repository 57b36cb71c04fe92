/** The portable engine over real sockets of this machine. */

import assert from "node:assert/strict";
import { Libc } from "../../../src/net/native/libc.ts";
import { SocketPeerCredentials } from "../../../src/net/native/peer_credentials.ts";
import { PortableNetwork } from "../../../src/net/portable/portable_network.ts";
import { socketNetworkSuite } from "./socket_network_suite.ts";

socketNetworkSuite("portable", async (clock) => {
  const libc = Deno.build.os === "linux" ? Libc.open() : undefined;
  return await Promise.resolve({
    network: new PortableNetwork({
      clock,
      peerCredentials: libc === undefined ? undefined : new SocketPeerCredentials(libc),
      onAcceptError: (error) => assert.fail(String(error)),
      groupIdOf: () => Deno.gid()!,
    }),
    async [Symbol.asyncDispose]() {
      await Promise.resolve(libc?.[Symbol.dispose]());
    },
  });
});
