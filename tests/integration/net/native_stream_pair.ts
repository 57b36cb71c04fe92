/**
 * Tests of one connection of the native engine, in plain text or in TLS: what they are given, what they
 * send, and how a peer leaves.
 */

import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { makeTlsMaterial, tlsOfBothEnds } from "../../support/tls_material.ts";
import { Acceptor, connect, type NativeUnderTest, withEngine } from "./native_engine.ts";

/** More than the buffers of a kernel hold between two ends on one machine. */
export const FLOOD_BYTES = 48 * 1024 * 1024;

const MATERIAL = makeTlsMaterial();

/** What is sent where it matters little what. */
export const WORD = new TextEncoder().encode("word");

/** Both ends of a connection, and the engine that they are of. */
export interface Pair {
  readonly engine: NativeUnderTest;
  readonly near: ByteStream;
  /** The one that is looked at. */
  readonly far: ByteStream;
}

/** Registers a test of one connection, of which nothing may be left. */
export function test(title: string, run: (pair: Pair) => Promise<void>): void {
  register(`NativeStream: ${title}`, run, () => Promise.resolve());
}

/** Likewise, of one that speaks TLS. */
export function testTls(title: string, run: (pair: Pair) => Promise<void>): void {
  register(`NativeStream in TLS: ${title}`, run, async ({ engine, far, near }) => {
    const ends = tlsOfBothEnds(engine.tls, MATERIAL);
    await Promise.all([near.startTls(ends.near), far.startTls(ends.far)]);
    for (const { context } of Object.values(ends)) context[Symbol.dispose]();
  });
}

function register(
  title: string,
  run: (pair: Pair) => Promise<void>,
  prepare: (pair: Pair) => Promise<void>,
): void {
  Deno.test(title, () =>
    withEngine(async (engine) => {
      await using acceptor = await Acceptor.open(engine);
      const [near, far] = await connect(engine, acceptor);
      await prepare({ engine, near, far });
      await run({ engine, near, far });
      near.close();
      far.close();
    }));
}

/** How a peer leaves. */
export const LEAVINGS: Readonly<Record<string, (pair: Pair) => Promise<void>>> = {
  "has finished": ({ near }) => Promise.resolve(near.finishWriting()),
  "has closed": ({ near }) => Promise.resolve(near.close()),
  async "has reset the connection"({ far, near }) {
    // Closing with bytes unread makes the kernel send a reset. The word may wait behind others.
    void far.write(WORD, 0, 4);
    await eventTurns();
    near.close();
  },
};
