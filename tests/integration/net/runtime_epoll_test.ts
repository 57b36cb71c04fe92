/** The epoll at which the runtime of this process waits. */

import assert from "node:assert/strict";
import { systemRandom } from "../../../src/base/random.ts";
import { EVENT, EventList, FAMILY, Libc } from "../../../src/net/native/libc.ts";
import { descriptorOf } from "../../../src/net/native/listening_descriptor.ts";
import { openSockets } from "../../../src/net/native/open_sockets.ts";
import { runtimeEpoll } from "../../../src/net/native/runtime_epoll.ts";
import { RuntimeTurn } from "../../../src/net/native/runtime_turn.ts";
import { decodeEndpoint, encodeIpAddress } from "../../../src/net/native/socket_address.ts";
import { isListening } from "../../../src/net/native/socket_options.ts";
import { STREAM_OPTIONS, TCP, withEngine } from "./native_engine.ts";

/** Longer than any machine takes; a wait that is ended does not take it. */
const LIMIT_MS = 10_000;

/** A listener of the runtime's, the runtime's epoll, and an epoll that watches it. */
function openWatched() {
  using stack = new DisposableStack();
  const libc = stack.use(Libc.open());
  const listener = stack.use(Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const outer = libc.epoll();
  stack.defer(() => libc.close(outer));
  const found = runtimeEpoll(libc, listener);
  assert.ok(found !== undefined, "The runtime's epoll is found");
  libc.watch(outer, found, { events: EVENT.in | EVENT.edgeTriggered, token: 7 });
  const { port } = listener.addr as Deno.NetAddr;
  return { libc, listener, outer, port, events: new EventList(4), resources: stack.move() };
}

Deno.test("the runtime's epoll tells of what happens to the runtime's sockets while the thread is kept", async () => {
  const { events, libc, listener, outer, port, resources } = openWatched();
  using _resources = resources;
  const accepting = listener.accept();
  while (libc.wait(outer, events, 0) > 0) continue;
  const client = libc.socket(FAMILY.inet);
  libc.connect(client, encodeIpAddress("127.0.0.1", port));
  assert.equal(libc.wait(outer, events, LIMIT_MS), 1);
  assert.equal(events.token(0), 7);
  using _accepted = await accepting;
  libc.close(client);
});

Deno.test("the runtime's epoll tells of threads of the runtime that have done their work", async () => {
  const { events, libc, outer, resources } = openWatched();
  using _resources = resources;
  using turn = await RuntimeTurn.open(libc, systemRandom());
  const salt = new Uint8Array(16);
  const password = await crypto.subtle.importKey("raw", salt, "PBKDF2", false, ["deriveBits"]);
  const method = { name: "PBKDF2", hash: "SHA-256", salt, iterations: 1_000_000 };
  const deriving = crypto.subtle.deriveBits(method, password, 256);
  // It begins with a turn of the runtime.
  await new Promise<void>((resolve) => turn.yield(resolve));
  while (libc.wait(outer, events, 0) > 0) continue;
  assert.equal(libc.wait(outer, events, LIMIT_MS), 1);
  await deriving;
});

Deno.test("somebody else's epoll watches no more after runtimeEpoll() than before", () => {
  using libc = Libc.open();
  const foreign = libc.epoll();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  // Else those that come after the runtime's would not be asked.
  libc.unwatch(runtimeEpoll(libc, listener)!, descriptorOf(libc, listener)!);
  assert.equal(runtimeEpoll(libc, listener), undefined);
  const client = libc.socket(FAMILY.inet);
  libc.connect(client, encodeIpAddress("127.0.0.1", (listener.addr as Deno.NetAddr).port));
  assert.equal(libc.wait(foreign, new EventList(4), 0), 0);
  for (const descriptor of [client, foreign]) libc.close(descriptor);
});

Deno.test("runtimeEpoll() of a listener that is closed is not found", () => {
  using libc = Libc.open();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  assert.equal(runtimeEpoll(libc, listener), undefined);
});

Deno.test("a connection to a listener of the engine does not call the runtime, which would not accept it", async () => {
  const { libc, listener: own, resources } = openWatched();
  using _resources = resources;
  const epoll = runtimeEpoll(libc, own)!;
  await withEngine(async (engine) => {
    const listener = await engine.network.listen(TCP, () => STREAM_OPTIONS);
    const { port } = listener.address as { port: number };
    const bound = [...openSockets(libc)].filter(({ address, descriptor }) =>
      isListening(libc, descriptor) && decodeEndpoint(address, 0).port === port
    );
    assert.equal(bound.length, 1);
    const { descriptor } = bound[0]!;
    const interest = { events: EVENT.edgeTriggered, token: 0 };
    assert.equal(libc.watch(epoll, descriptor, interest), 0, "The runtime does not watch it");
    libc.unwatch(epoll, descriptor);
    await listener.close();
  });
});
