/** Sends made together by the kernel itself. */

import assert from "node:assert/strict";
import { median } from "../../../scripts/percentiles.ts";
import { FAMILY, Libc } from "../../../src/net/native/libc.ts";
import { SendRing } from "../../../src/net/native/send_ring.ts";
import { encodeIpAddress } from "../../../src/net/native/socket_address.ts";
import { textOf, utf8 } from "../../support/messages.ts";

const AGAIN = -11;
const BAD_DESCRIPTOR = -9;
const BROKEN_PIPE = -32;
const RESET = -104;

/** Nobody has this one. */
const NO_DESCRIPTOR = 1_000_000;

const ROUNDS = 500;

/** Bytes a round of ten sends: measuring itself allocates a little. */
const BUDGET_BYTES = 20;

/** Connections of which one end is a descriptor and the other the runtime's. */
class Sockets implements Disposable {
  readonly libc = Libc.open();
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open: { readonly descriptor: number; readonly conn: Deno.Conn }[] = [];

  async connect(): Promise<{ descriptor: number; conn: Deno.Conn }> {
    const { port } = this.#listener.addr as Deno.NetAddr;
    const descriptor = this.libc.socket(FAMILY.inet);
    this.libc.connect(descriptor, encodeIpAddress("127.0.0.1", port));
    const pair = { descriptor, conn: await this.#listener.accept() };
    this.#open.push(pair);
    return pair;
  }

  [Symbol.dispose](): void {
    for (const { conn, descriptor } of this.#open) {
      this.libc.close(descriptor);
      conn[Symbol.dispose]();
    }
    this.#listener.close();
    this.libc[Symbol.dispose]();
  }
}

async function readText(conn: Deno.Conn, byteCount: number): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(byteCount);
  while (text.length < byteCount) {
    const count = await conn.read(buffer);
    if (count === null) break;
    text += textOf(buffer.slice(0, count));
  }
  return text;
}

/** What a test has: a ring, the bytes that it sends parts of, and room for what comes of it. */
interface Opened {
  readonly sockets: Sockets;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly ring: SendRing;
  readonly results: Int32Array;
}

/** Registers a test. A kernel without io_uring, or that lets us have none, is nothing to be tried. */
function test(title: string, run: (opened: Opened) => Promise<void>): void {
  Deno.test({
    name: `SendRing of the kernel: ${title}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      using sockets = new Sockets();
      const bytes = new Uint8Array(new ArrayBuffer(65_536)).fill(120);
      using ring = sockets.libc.openSends(32, bytes);
      if (ring === undefined) return;
      assert.ok(ring instanceof SendRing);
      await run({ sockets, bytes, ring, results: new Int32Array(32) });
    },
  });
}

test("each of 32 connections gets what is its own, again and again", async ({ bytes, results, ring, sockets }) => {
  const pairs: { descriptor: number; conn: Deno.Conn }[] = [];
  for (let i = 0; i < 32; i++) pairs.push(await sockets.connect());
  for (let round = 0; round < 40; round++) {
    let end = 0;
    const texts = pairs.map((_, at) => `${round} for ${at}`.padEnd(100 + at, "."));
    for (const [at, text] of texts.entries()) {
      bytes.set(utf8(text), end);
      ring.put(pairs[at]!.descriptor, end, end += text.length);
    }
    ring.send(results);
    for (const [at, text] of texts.entries()) {
      assert.equal(results[at], text.length);
      assert.equal(await readText(pairs[at]!.conn, text.length), text);
    }
  }
});

test("what cannot be sent at once is not kept, and holds up nobody", async ({ bytes, results, ring, sockets }) => {
  const [full, other] = [await sockets.connect(), await sockets.connect()];
  let sentBytes = 0;
  let otherBytes = 0;
  while (results[0] !== AGAIN) {
    ring.put(full.descriptor, 0, bytes.length);
    ring.put(other.descriptor, 0, 1);
    ring.send(results);
    sentBytes += Math.max(results[0]!, 0);
    assert.equal(results[1], 1);
    otherBytes += 1;
  }
  assert.equal((await readText(other.conn, otherBytes)).length, otherBytes);
  assert.equal((await readText(full.conn, sentBytes)).length, sentBytes);
  ring.put(full.descriptor, 0, 5);
  ring.send(results);
  assert.equal(results[0], 5);
  assert.equal((await readText(full.conn, 5)).length, 5);
});

test("a peer that is gone and a descriptor that is none are told by errno, and no signal", async ({ results, ring, sockets }) => {
  const [gone, other] = [await sockets.connect(), await sockets.connect()];
  gone.conn.close();
  for (let i = 0; i < 1_000 && results[0]! >= 0; i++) {
    ring.put(gone.descriptor, 0, 5);
    ring.put(NO_DESCRIPTOR, 0, 5);
    ring.put(other.descriptor, i % 60, i % 60 + 1);
    ring.send(results);
    assert.deepEqual([...results.subarray(1, 3)], [BAD_DESCRIPTOR, 1]);
  }
  assert.ok([BROKEN_PIPE, RESET].includes(results[0]!), `${results[0]}`);
});

test("nothing is allocated", ({ results, ring }) => {
  const run = () => {
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < 10; i++) ring.put(NO_DESCRIPTOR, i * 100, i * 100 + 100);
      ring.send(results);
      if (results[9] !== BAD_DESCRIPTOR) throw new Error(`${results[9]}`);
    }
  };
  for (let i = 0; i < 30; i++) run();
  const growths: number[] = [];
  for (let i = 0; i < 21; i++) {
    const before = Deno.memoryUsage().heapUsed;
    run();
    growths.push((Deno.memoryUsage().heapUsed - before) / ROUNDS);
  }
  const growth = median(growths);
  assert.ok(Math.abs(growth) < BUDGET_BYTES, `${growth} bytes a round`);
  return Promise.resolve();
});

test("200 rings come and go, and leave neither descriptors nor memory", ({ bytes, sockets }) => {
  const counts = () => [
    [...Deno.readDirSync("/proc/self/fd")].length,
    Deno.readTextFileSync("/proc/self/maps").match(/io_uring/g)?.length ?? 0,
  ];
  const before = counts();
  const rings = Array.from({ length: 200 }, () => sockets.libc.openSends(32, bytes)!);
  assert.ok(counts()[0]! >= before[0]! + 200);
  for (const ring of rings) ring[Symbol.dispose]();
  assert.deepEqual(counts(), before);
  return Promise.resolve();
});
