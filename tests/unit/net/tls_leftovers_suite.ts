/**
 * What is left of connections that end badly, which is nothing. The engines' own; that no descriptor
 * and no read stays behind, Deno's sanitizers see in all tests.
 */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { heapInUse } from "../../support/garbage.ts";
import { utf8 } from "../../support/messages.ts";
import { readAll } from "./stream_pair.ts";
import {
  type BothEnds,
  outcomeOf,
  startsOf,
  type TlsPair,
  type TlsSuiteOptions,
  tlsTest,
} from "./tls_pair.ts";

/** Rounds before and while it is measured. */
const ROUNDS = 60;

/** What a round may leave, on the average: less than the least object of a connection. */
const MAX_BYTES = 4_000;

/** How a connection ends, and what both ends bring to it. */
type Ending = readonly [
  title: string,
  both: BothEnds,
  run: (ends: Ends, starts: ReturnType<typeof startsOf>) => Promise<void>,
];

interface Ends {
  readonly near: ByteStream;
  readonly far: ByteStream;
}

const ENDINGS: readonly Ending[] = [
  ["a client that says half of its hello and leaves", {}, async ({ far, near }, starts) => {
    const shaking = outcomeOf(far, starts.far);
    await near.write(Uint8Array.of(0x16, 3, 1, 0, 200, 1), 0, 6);
    near.close();
    await shaking;
  }],
  ["a client that never says anything", {}, async ({ far }, starts) => {
    const shaking = outcomeOf(far, starts.far);
    far.close();
    await shaking;
  }],
  ["a server that answers in plain text", {}, async ({ far, near }, starts) => {
    const shaking = outcomeOf(near, starts.near);
    await far.write(utf8("E\0\0\0\x10SFATAL\0C08P01\0\0"), 0, 20);
    far.finishWriting();
    await shaking;
  }],
  [
    "versions that do not meet",
    { near: { versions: ["TLSv1.2"] }, far: { versions: ["TLSv1.3"] } },
    shakeOnly,
  ],
  ["a client that leaves without a word", {}, async ({ far, near }, starts) => {
    await shakeOnly({ near, far }, starts);
    await near.write(utf8("SELECT 1"), 0, 8);
    near.close();
    await readAll(far);
    await far.write(utf8("late"), 0, 4);
  }],
];

/** Registers the suite for one network. */
export function tlsLeftoversSuite(options: TlsSuiteOptions): void {
  const test = tlsTest(options);
  for (const [title, both, run] of ENDINGS) {
    test(`nothing is left of ${title}`, async (given) => {
      const starts = startsOf(given, both);
      await repeat(given, (ends) => run(ends, starts));
      const before = heapInUse();
      await repeat(given, (ends) => run(ends, starts));
      const growth = (heapInUse() - before) / ROUNDS;
      assert.ok(growth < MAX_BYTES, `${growth} bytes a connection`);
    });
  }
}

async function shakeOnly({ far, near }: Ends, starts: ReturnType<typeof startsOf>): Promise<void> {
  await Promise.all([outcomeOf(near, starts.near), outcomeOf(far, starts.far)]);
}

async function repeat({ pair }: TlsPair, run: (ends: Ends) => Promise<void>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const [near, far] = await pair.connectPlain();
    await run({ near, far });
    pair.forget(near);
    pair.forget(far);
  }
  await eventTurns();
}
