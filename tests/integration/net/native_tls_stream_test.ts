/** How a stream of the native engine goes over to TLS, and leaves: what only the socket can tell. */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { eventually } from "../../support/eventually.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { makeTlsMaterial, tlsOfBothEnds } from "../../support/tls_material.ts";
import { Acceptor, connect, NativeUnderTest } from "./native_engine.ts";

const MATERIAL = makeTlsMaterial();

/** What a test is given. */
interface Given {
  readonly engine: NativeUnderTest;
  readonly ends: ReturnType<typeof tlsOfBothEnds>;
  connect(): Promise<[near: ByteStream, far: ByteStream]>;
}

function test(title: string, run: (given: Given) => Promise<void>): void {
  Deno.test({
    name: `NativeStream in TLS: ${title}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using engine = await NativeUnderTest.open();
      await using acceptor = await Acceptor.open(engine);
      const streams: ByteStream[] = [];
      const ends = tlsOfBothEnds(engine.tls, MATERIAL);
      await run({
        engine,
        ends,
        async connect() {
          const pair = await connect(engine, acceptor);
          streams.push(...pair);
          return pair;
        },
      });
      for (const stream of streams) stream.close();
      for (const { context } of Object.values(ends)) context[Symbol.dispose]();
    },
  });
}

/** All that a stream receives, as text, while it grows. */
function textFrom(stream: ByteStream): { text: string } {
  const received = { text: "" };
  void stream.pump((buffer, length) => {
    received.text += textOf(buffer.slice(0, length));
  });
  return received;
}

/** What "word" takes in TLS 1.3: besides itself its type, and a tag. */
const WORD_RECORD_BYTES = 4 + 1 + 16;

/** Bytes in the last record of TLS, if that is whole. */
function lastRecordBytes(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let count: number | undefined;
  while (at + 5 <= bytes.length) {
    count = view.getUint16(at + 3);
    at += 5 + count;
  }
  return at === bytes.length ? count : undefined;
}

test("bytes that came with the end of the handshake are read, though nothing follows", async (given) => {
  const [near, atNear] = await given.connect();
  const [atFar, far] = await given.connect();
  const held: Uint8Array[] = [];
  let hasHello = false;
  void atNear.pump((buffer, length) => {
    if (hasHello) held.push(buffer.slice(0, length));
    else void atFar.write(buffer.slice(0, length), 0, length);
    hasHello = true;
  });
  void atFar.pump((buffer, length) => atNear.write(buffer, 0, length));
  const accepting = far.startTls(given.ends.far);
  await near.startTls(given.ends.near);
  await near.write(utf8("word"), 0, 4);
  await eventually("all of it is held", () => lastRecordBytes(join(...held)) === WORD_RECORD_BYTES);
  const flight = join(...held);
  void atFar.write(flight, 0, flight.length);
  await accepting;
  const received = textFrom(far);
  await eventually("the word is read", () => received.text === "word");
});

test("what is written during the handshake is dropped, and harms nothing", async (given) => {
  const [near, far] = await given.connect();
  const shaking = [near.startTls(given.ends.near), far.startTls(given.ends.far)];
  assert.equal(near.write(utf8("early"), 0, 5), undefined);
  near.finishWriting();
  await Promise.all(shaking);
  await near.write(utf8("late"), 0, 4);
  const received = textFrom(far);
  await eventually("only that is read", () => received.text === "late");
});

test("close() says so within TLS, once", async (given) => {
  const calls = () => given.engine.libc.callCount("send");
  for (const isFinished of [false, true]) {
    const [near, far] = await given.connect();
    await Promise.all([near.startTls(given.ends.near), far.startTls(given.ends.far)]);
    const before = calls();
    if (isFinished) near.finishWriting();
    near.close();
    assert.equal(calls(), before + 1);
  }
});
