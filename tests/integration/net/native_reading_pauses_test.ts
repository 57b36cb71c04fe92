/** Streams of the native engine that are sent much: they pause in reading, and read into larger buffers. */

import assert from "node:assert/strict";
import type { Sink } from "../../../src/net/byte_stream.ts";
import { FLOW_BYTES, LARGE_BYTES, MIN_FLOW_BYTES } from "../../../src/net/native/native_stream.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { eventually, within } from "../../support/eventually.ts";
import { FAULT } from "../../support/faulty_libc.ts";
import { STREAM_OPTIONS } from "./native_engine.ts";
import { FLOOD_BYTES, LEAVINGS, type Pair, test, testTls, WORD } from "./native_stream_pair.ts";

/** More than the ordinary buffer takes, in one read. */
const PIECE = new Uint8Array(4 * STREAM_OPTIONS.receiveBytes);

/** So many of them that the next one finds a receiver that pauses. */
const PIECE_COUNT = Math.ceil(MIN_FLOW_BYTES / PIECE.length);

/**
 * Sends as many pieces, one after the other, as make the receiver pause, and a flood; answers how much
 * that was, and how much was read by the end.
 */
async function pumpMuch(
  { far, near }: Pair,
  answer: Sink = () => {},
): Promise<{ readonly sent: number; readonly read: number }> {
  let sent = 0;
  let read = 0;
  const loop = far.pump((buffer, length) => {
    read += length;
    return answer(buffer, length);
  });
  let isOver = false;
  const ended = loop.then(() => void (isOver = true));
  for (let i = 0; i < PIECE_COUNT; i++) {
    await near.write(PIECE, 0, PIECE.length);
    sent += PIECE.length;
    await eventually("the piece is read", () => isOver || read >= sent);
  }
  await near.write(new Uint8Array(FLOOD_BYTES), 0, FLOOD_BYTES);
  sent += FLOOD_BYTES;
  near.finishWriting();
  await within("all is read", ended);
  return { sent, read };
}

/** Has something done in the first pause. */
function inPause({ engine }: Pair, act: () => void): void {
  let isPaused = false;
  engine.libc.faults = {
    answer(call) {
      if (call === "setTimer") isPaused = true;
      if (!isPaused || call !== "wait") return undefined;
      engine.libc.faults = {};
      act();
      return undefined;
    },
  };
}

/** Has the next change of what is watched for refused. */
function failWatchOnce({ engine }: Pair): { isDue: boolean } {
  const fault = { isDue: true };
  engine.libc.faults = {
    answer(call) {
      if (call !== "watchFor" || !fault.isDue) return undefined;
      fault.isDue = false;
      return -FAULT.noMemory;
    },
  };
  return fault;
}

function pausingTests(test: typeof testTls): void {
  test("who is sent much pauses, and gets all of it", async (pair) => {
    const { read, sent } = await pumpMuch(pair);
    assert.equal(read, sent);
    assert.ok(pair.engine.libc.callCount("setTimer") > 0);
  });

  test("who is sent little now and then does not pause", async (pair) => {
    let sent = 0;
    let read = 0;
    const loop = pair.far.pump((_buffer, length) => void (read += length));
    for (let i = 0; i <= PIECE_COUNT; i++) {
      for (const bytes of [PIECE, WORD]) {
        await pair.near.write(bytes, 0, bytes.length);
        sent += bytes.length;
        await eventually("all is there", () => read === sent);
      }
    }
    pair.near.finishWriting();
    await loop;
    assert.equal(pair.engine.libc.callCount("setTimer"), 0);
  });

  test("who is not let pause reads on", async (pair) => {
    pair.engine.libc.faults = {
      answer: (call) => call === "setTimer" ? -FAULT.noMemory : undefined,
    };
    const { read, sent } = await pumpMuch(pair);
    assert.equal(read, sent);
    assert.ok(pair.engine.libc.callCount("setTimer") > 0);
  });

  test("who is sent much, each time in answer to something, does not pause", async (pair) => {
    const { engine, far, near } = pair;
    let asked = 0;
    let read = 0;
    const asking = near.pump((_buffer, length) => void (asked += length));
    const answers = far.pump((_buffer, length) => void (read += length));
    for (let i = 1; i <= PIECE_COUNT + 1; i++) {
      await far.write(WORD, 0, 4);
      await eventually("the question is there", () => asked === 4 * i);
      await near.write(PIECE, 0, PIECE.length);
      await eventually("the answer is there", () => read === i * PIECE.length);
    }
    far.finishWriting();
    near.finishWriting();
    await Promise.all([asking, answers]);
    assert.equal(engine.libc.callCount("setTimer"), 0);
  });

  test("who cannot be watched for less does not pause", async (pair) => {
    const fault = failWatchOnce(pair);
    const { read, sent } = await pumpMuch(pair);
    assert.deepEqual([read, fault.isDue], [sent, false]);
  });

  test("ends when it cannot be watched again after a pause", async (pair) => {
    const { engine, near } = pair;
    inPause(pair, () => {
      failWatchOnce(pair);
      near.close();
    });
    await pumpMuch(pair);
    assert.deepEqual(engine.errors.splice(0).map(String), [
      "LibcError: Cannot allocate memory (os error 12)",
    ]);
  });

  test("waits for room in a pause, and nothing is lost", async (pair) => {
    const { far, near } = pair;
    inPause(pair, () => void far.write(new Uint8Array(FLOOD_BYTES), 0, FLOOD_BYTES));
    let count = 0;
    const back = near.pump((_buffer, length) => void (count += length));
    const { read, sent } = await pumpMuch(pair);
    assert.equal(read, sent);
    far.finishWriting();
    await within("all has come back", back);
    assert.equal(count, FLOOD_BYTES);
  });

  for (const [leaving, leave] of Object.entries(LEAVINGS)) {
    test(`ends when the peer ${leaving} in a pause`, async (pair) => {
      inPause(pair, () => void leave(pair));
      await pumpMuch(pair);
      assert.ok(pair.engine.libc.callCount("setTimer") > 0);
    });
  }

  test("is closed in its pause, and hears nothing more", async (pair) => {
    const { far } = pair;
    inPause(pair, () => far.close());
    await pumpMuch(pair, () => assert.equal(far.isClosed, false));
    assert.ok(pair.engine.libc.callCount("setTimer") > 0);
    await eventTurns();
  });
}

function flowTests(): void {
  test("reads into larger buffers the more comes that nobody asked for", async (pair) => {
    const sizes: number[] = [];
    let at = 0;
    await pumpMuch(pair, (buffer, length) => {
      if (sizes.at(-1) !== buffer.length && at < MIN_FLOW_BYTES + PIECE.length) {
        sizes.push(buffer.length);
      }
      at += length;
    });
    assert.deepEqual(sizes, [STREAM_OPTIONS.receiveBytes, LARGE_BYTES, FLOW_BYTES]);
  });

  test("a flow is no longer served at a time for its larger buffers", async (pair) => {
    const { engine } = pair;
    let most = 0;
    let inRound = 0;
    engine.libc.faults = {
      answer(call) {
        if (call === "wait" || call === "waitApart") inRound = 0;
        return undefined;
      },
    };
    await pumpMuch(pair, (_buffer, length) => {
      inRound += length;
      most = Math.max(most, inRound);
    });
    // Its event and the turn that it asks for then; the last read of each may go beyond the limit.
    assert.ok(
      most <= 2 * (STREAM_OPTIONS.maxBusyReads * LARGE_BYTES + FLOW_BYTES),
      `${most} bytes`,
    );
  });
}

if (Deno.build.os === "linux") {
  pausingTests(test);
  pausingTests(testTls);
  flowTests();
}
