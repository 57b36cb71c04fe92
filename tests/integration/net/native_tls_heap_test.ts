/**
 * The allocation budget of TLS on the native engine: a chunk that is one record is sent, received and
 * looked at without a byte of JavaScript's heap.
 *
 * Two channels talk to each other through memory in place of sockets; OpenSSL is the real one.
 */

import assert from "node:assert/strict";
import { median } from "../../../scripts/percentiles.ts";
import type { LibcCalls } from "../../../src/net/native/libc.ts";
import { LibSsl } from "../../../src/net/native/libssl.ts";
import { TlsBuffers, type TlsChannel } from "../../../src/net/native/tls_channel.ts";
import { NativeTlsContext } from "../../../src/net/native/tls_context.ts";
import { HandshakeUnderWay } from "../../../src/net/native/tls_handshake.ts";
import { makeTlsMaterial, toClients, toServers } from "../../support/tls_material.ts";

const NEAR = 0;
const FAR = 1;

const AGAIN = -11;

/** Bytes a chunk: measuring itself allocates a little. */
const BUDGET_BYTES = 2;

const CHUNKS = 2_000;

/** Two sockets that are each other's peer, with room for a flight of a handshake. */
class MemoryLibc {
  readonly #inbox = [new Uint8Array(65_536), new Uint8Array(65_536)] as const;
  readonly #counts = [0, 0];

  send(descriptor: number, buffer: Uint8Array, start: number, end: number): number {
    const peer = 1 - descriptor as 0 | 1;
    const inbox = this.#inbox[peer];
    let count = this.#counts[peer]!;
    // By hand: a part of an array would be an object.
    for (let at = start; at < end; at++) inbox[count++] = buffer[at]!;
    this.#counts[peer] = count;
    return end - start;
  }

  receive(descriptor: number, buffer: Uint8Array): number {
    const count = this.#counts[descriptor]!;
    if (count === 0) return AGAIN;
    const inbox = this.#inbox[descriptor as 0 | 1];
    for (let at = 0; at < count; at++) buffer[at] = inbox[at]!;
    this.#counts[descriptor] = 0;
    return count;
  }

  close = () => {};
  finishSending = () => 0;
}

/** Two channels after their handshake. */
async function pairOf(libssl: LibSsl): Promise<{ near: TlsChannel; far: TlsChannel }> {
  const material = makeTlsMaterial();
  const buffers = new TlsBuffers();
  using toServer = new NativeTlsContext(libssl, buffers, toServers());
  using toClient = new NativeTlsContext(libssl, buffers, toClients(material.server));
  const libc = new MemoryLibc() as unknown as LibcCalls;
  const near = toServer.newChannel(libc, NEAR, undefined);
  const far = toClient.newChannel(libc, FAR, undefined);
  const shaking = [near, far].map((channel) => new HandshakeUnderWay({ libc, libssl, channel }));
  for (const handshake of shaking) handshake.begin();
  for (const handshake of [...shaking, ...shaking]) handshake.step();
  for (const handshake of shaking) handshake.settle();
  await Promise.all(shaking.map(({ outcome }) => outcome));
  return { near, far };
}

/** Sends, looks at and receives so many chunks. */
function exchange(near: TlsChannel, far: TlsChannel, buffer: Uint8Array): void {
  for (let i = 0; i < CHUNKS; i++) {
    if (near.send(buffer, 0, 200) !== 200) throw new Error("Not sent");
    if (far.peek(buffer, buffer.length) !== 200) throw new Error("Not seen");
    if (far.receive(buffer, buffer.length) !== 200) throw new Error("Not received");
    if (far.receive(buffer, buffer.length) !== AGAIN) throw new Error("Received twice");
  }
}

Deno.test({
  name: "a chunk in TLS allocates nothing on the native engine",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using libssl = LibSsl.open();
    const { far, near } = await pairOf(libssl);
    const buffer = new Uint8Array(new ArrayBuffer(4_096));
    // The compiler allocates, too, until it is done with what is hot.
    for (let i = 0; i < 30; i++) exchange(near, far, buffer);
    const growths: number[] = [];
    for (let i = 0; i < 21; i++) {
      const before = Deno.memoryUsage().heapUsed;
      exchange(near, far, buffer);
      growths.push((Deno.memoryUsage().heapUsed - before) / CHUNKS);
    }
    near.close();
    far.close();
    const growth = median(growths);
    assert.ok(Math.abs(growth) < BUDGET_BYTES, `${growth} bytes a chunk`);
  },
});
