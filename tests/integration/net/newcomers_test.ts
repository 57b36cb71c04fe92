/** Turning newcomers away from one of two listeners at a port. */

import assert from "node:assert/strict";
import { ADDRESS_BYTES, Libc } from "../../../src/net/native/libc.ts";
import {
  finishIfNobodyWaits,
  openWithDescriptor,
} from "../../../src/net/native/listening_descriptor.ts";
import { hearOut, turnAwayNewcomers } from "../../../src/net/native/newcomers.ts";
import {
  isListening,
  setDeferAccept,
  waitingCount,
} from "../../../src/net/native/socket_options.ts";
import { eventually } from "../../support/eventually.ts";

/** So many that each listener would get some of them. */
const CLIENTS = 20;

function listen(port: number): Deno.TcpListener {
  return Deno.listen({ hostname: "127.0.0.1", port, reusePort: true });
}

/** A listener at a port that is free. */
async function listenWithDescriptor(
  libc: Libc,
): Promise<{ descriptor: number; listener: Deno.TcpListener }> {
  const { descriptor, opened } = await openWithDescriptor(libc, () => {
    const listener = listen(0);
    return Promise.resolve({ listener, [Symbol.dispose]: () => listener.close() });
  });
  return { descriptor, listener: opened.listener };
}

Deno.test({
  name: "turnAwayNewcomers() leaves a port to the other listener, and refuses nobody",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using libc = Libc.open();
    const { descriptor, listener } = await listenWithDescriptor(libc);
    const { port } = listener.addr;
    assert.equal(waitingCount(libc, descriptor), 0);
    const early = await Deno.connect({ hostname: "127.0.0.1", port });
    assert.equal(waitingCount(libc, descriptor), 1);
    assert.equal(turnAwayNewcomers(libc, descriptor), true);
    const other = listen(port);
    const abort = new AbortController();
    const conns: Deno.Conn[] = [early];
    let refusedCount = 0;
    const dials = Array.from(
      { length: CLIENTS },
      () =>
        Deno.connect({ hostname: "127.0.0.1", port, signal: abort.signal }).then(
          (conn) => void conns.push(conn),
          () => refusedCount += 1,
        ),
    );
    await eventually("some come to the other", () => conns.length > 1);
    const accepted = [await listener.accept(), await other.accept()];
    await early.write(Uint8Array.of(7));
    const byte = new Uint8Array(1);
    assert.equal(await accepted[0]!.read(byte), 1, "who was there before is not held up");
    assert.equal(refusedCount, 0);
    abort.abort();
    await Promise.all(dials);
    assert.ok(refusedCount > 0, "those who would have come to it still waited");
    assert.equal(conns.length - 1 + refusedCount, CLIENTS);
    for (const each of [...conns, ...accepted, listener, other]) each.close();
  },
});

Deno.test({
  name: "hearOut() lets a client go on that was half connected when newcomers were turned away",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using libc = Libc.open();
    const { descriptor, listener } = await listenWithDescriptor(libc);
    // Such a connection is not made before its first bytes have come.
    setDeferAccept(libc, descriptor, 1);
    const client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    assert.equal(waitingCount(libc, descriptor), 0);
    turnAwayNewcomers(libc, descriptor);
    await client.write(Uint8Array.of(1));
    await eventually("it is connected", () => waitingCount(libc, descriptor) === 1);
    const accepted = libc.accept(descriptor, new Uint8Array(ADDRESS_BYTES));
    hearOut(libc, accepted);
    await client.write(Uint8Array.of(2));
    const received: number[] = [];
    const buffer = new Uint8Array(8);
    await eventually("both bytes have come", () => {
      const count = libc.receive(accepted, buffer, buffer.length);
      if (count > 0) received.push(...buffer.subarray(0, count));
      return received.length === 2;
    });
    assert.deepEqual(received, [1, 2]);
    libc.close(accepted);
    client.close();
    listener.close();
  },
});

Deno.test({
  name: "finishIfNobodyWaits() has a socket listen no more, though it is being accepted from",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using libc = Libc.open();
    const { descriptor, listener } = await listenWithDescriptor(libc);
    const client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    assert.equal(finishIfNobodyWaits(libc, listener), false, "the client waits");
    const accepted = await listener.accept();
    assert.equal(isListening(libc, descriptor), true);
    const accepting = listener.accept().catch(() => "over");
    assert.equal(finishIfNobodyWaits(libc, listener), true);
    listener.close();
    assert.equal(isListening(libc, descriptor), false, "not in the next turn of the runtime only");
    assert.equal(await accepting, "over");
    for (const each of [client, accepted]) each.close();
  },
});
