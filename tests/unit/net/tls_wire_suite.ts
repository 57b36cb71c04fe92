/** What TLS does with what really comes, and how it ends: see `tls_stream_suite.ts`. */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { TlsHandshakeError } from "../../../src/net/tls.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { pieces, readAll } from "./stream_pair.ts";
import {
  forward,
  outcomeOf,
  type RecordReader,
  startsOf,
  successful,
  tap,
  type Tapped,
  type TlsPair,
  type TlsTest,
} from "./tls_pair.ts";

/** What comes in place of a record: a startup packet, and an error in plain text. */
const PLAIN: readonly Uint8Array[] = [
  Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47),
  utf8("E\0\0\0\x10SFATAL\0C08P01\0\0"),
  new Uint8Array(2_000).fill(0xff),
];

/** What is said on the wire, seen by somebody between both ends. */
export function onTheWire(test: TlsTest): void {
  garbled(test);
  cut(test);
  ended(test);
}

function garbled(test: TlsTest): void {
  test("plain text in place of a handshake ends it, whichever side one is", async (given) => {
    const starts = startsOf(given, {});
    for (const plain of PLAIN) {
      for (const side of [0, 1] as const) {
        const ends = await given.pair.connectPlain();
        const start = side === 0 ? starts.near : starts.far;
        const failing = assert.rejects(ends[side].startTls(start), TlsHandshakeError);
        await ends[1 - side]!.write(plain, 0, plain.length);
        // Some wait for more before they know.
        ends[1 - side]!.finishWriting();
        await failing;
        ends[side].close();
      }
    }
  });

  test("garbage between records ends the stream", async (given) => {
    for (const plain of PLAIN) {
      const tapped = await tappedTls(given);
      const { atFar, far, near } = tapped;
      await near.write(utf8("whole"), 0, 5);
      await passOn(tapped);
      for await (const chunk of far.chunks()) {
        assert.equal(textOf(chunk), "whole");
        break;
      }
      await atFar.write(plain, 0, plain.length);
      atFar.finishWriting();
      assert.equal((await readAll(far)).length, 0);
      await far.write(utf8("late"), 0, 4);
      end(tapped);
    }
  });

  test("a record that was changed on the way ends the stream and gives nothing", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, far, fromNear, near } = tapped;
    await near.write(utf8("SELECT 1"), 0, 8);
    const record = await fromNear.next();
    record[record.length - 1]! ^= 1;
    await sendRecord(atFar, record);
    assert.equal(textOf(await readAll(far)), "");
    end(tapped);
  });
}

function cut(test: TlsTest): void {
  test("records may come byte by byte", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, atNear, far, near } = tapped;
    const sent = join(...pieces(6));
    await near.write(sent, 0, sent.length);
    near.finishWriting();
    void forward(atNear, atFar, single);
    assert.deepEqual(await readAll(far), sent);
    end(tapped);
  });

  test("a handshake that stops anywhere waits, and ends when it is closed", async (given) => {
    for (const allowed of [0, 1, 5, 100, 300]) {
      const starts = startsOf(given, {});
      const tapped = await tap(given);
      let left = allowed;
      void forward(tapped.atNear, tapped.atFar);
      void forward(tapped.atFar, tapped.atNear, (chunk) => {
        const part = chunk.subarray(0, left);
        left -= part.length;
        return part.length === 0 ? [] : [part];
      });
      let settledCount = 0;
      const shaking = [outcomeOf(tapped.near, starts.near), outcomeOf(tapped.far, starts.far)];
      for (const outcome of shaking) void outcome.then(() => settledCount += 1);
      await eventTurns(30);
      assert.equal(settledCount, 0);
      tapped.near.close();
      tapped.far.close();
      for (const outcome of shaking) assert.ok(await outcome instanceof TlsHandshakeError);
      end(tapped);
    }
  });

  test("a handshake that is cut off anywhere ends", async (given) => {
    for (const allowed of [1, 5, 50, 100]) {
      const starts = startsOf(given, {});
      const [near, atNear] = await given.pair.connectPlain();
      const [atFar, far] = await given.pair.connectPlain();
      const shaking = [outcomeOf(near, starts.near), outcomeOf(far, starts.far)];
      for await (const chunk of atNear.chunks()) {
        await atFar.write(chunk, 0, Math.min(allowed, chunk.length));
        break;
      }
      atFar.close();
      atNear.close();
      for (const outcome of await Promise.all(shaking)) {
        assert.ok(outcome instanceof TlsHandshakeError);
      }
    }
  });

  test("a record that is cut off gives nothing and ends the stream", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, far, fromNear, near } = tapped;
    await near.write(utf8("SELECT 1"), 0, 8);
    await sendRecord(atFar, (await fromNear.next()).slice(0, -1));
    atFar.finishWriting();
    assert.equal(textOf(await readAll(far)), "");
    end(tapped);
  });
}

function ended(test: TlsTest): void {
  test("finishWriting() is said within TLS, too", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, atNear, far, near } = tapped;
    near.finishWriting();
    const said = await readAll(atNear);
    assert.ok(said.length > 0);
    // Without the end of the connection below: that of TLS is enough.
    await atFar.write(said, 0, said.length);
    assert.equal((await readAll(far)).length, 0);
    end(tapped);
  });

  test("who hears that the peer has finished may still send, and is heard", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, atNear, far, near } = tapped;
    near.finishWriting();
    void forward(atNear, atFar);
    assert.equal((await readAll(far)).length, 0);
    const answer = join(...pieces(20));
    void far.write(answer, 0, answer.length);
    far.finishWriting();
    void forward(atFar, atNear);
    assert.deepEqual(await readAll(near), answer);
    end(tapped);
  });

  test("a connection that ends without a word within TLS ends the stream", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, far, near } = tapped;
    await near.write(utf8("SELECT 1"), 0, 8);
    await passOn(tapped);
    atFar.finishWriting();
    assert.equal(textOf(await readAll(far)), "SELECT 1");
    // Writing is still possible, or does nothing.
    await far.write(utf8("answer"), 0, 6);
    far.finishWriting();
    end(tapped);
  });

  test("a connection that is broken off ends the stream, here and at who writes", async (given) => {
    const tapped = await tappedTls(given);
    const { atFar, far } = tapped;
    const reading = readAll(far);
    const flood = new Uint8Array(given.pair.under.floodBytes);
    const writing = far.write(flood, 0, flood.length);
    atFar.close();
    assert.equal((await reading).length, 0);
    await writing;
    end(tapped);
  });
}

function* single(chunk: Uint8Array): Generator<Uint8Array> {
  for (const byte of chunk) yield Uint8Array.of(byte);
}

/** Both ends after their handshake; from then on nothing is passed on but by the test. */
async function tappedTls(given: TlsPair): Promise<Tapped> {
  const starts = startsOf(given, {});
  const tapped = await tap(given);
  const { atFar, atNear, far, fromFar, fromNear, near } = tapped;
  let isOver = false;
  const pass = async (from: RecordReader, to: ByteStream) => {
    while (!isOver) await sendRecord(to, await from.next());
  };
  const passing = [pass(fromNear, atFar), pass(fromFar, atNear)];
  const outcomes = await Promise.all([outcomeOf(near, starts.near), outcomeOf(far, starts.far)]);
  for (const outcome of outcomes) successful(outcome);
  // What is still to be said on the handshake's behalf comes before this.
  await Promise.all([exchange(near, far), exchange(far, near)]);
  isOver = true;
  // The loops are waiting for one record more.
  await Promise.all([exchange(near, far), exchange(far, near), ...passing]);
  return tapped;
}

async function exchange(from: ByteStream, to: ByteStream): Promise<void> {
  await from.write(Uint8Array.of(1), 0, 1);
  for await (const _chunk of to.chunks()) break;
}

/** Passes on the record in which near's next write is. */
async function passOn({ atFar, fromNear }: Tapped): Promise<void> {
  await sendRecord(atFar, await fromNear.next());
}

async function sendRecord(to: ByteStream, record: Uint8Array): Promise<void> {
  await to.write(record, 0, record.length);
}

function end({ atFar, atNear, far, near }: Tapped): void {
  for (const stream of [near, far, atNear, atFar]) stream.close();
}
