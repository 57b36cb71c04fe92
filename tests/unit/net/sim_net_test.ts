/** The simulated network keeps the contract of every network, however it cuts and delays. */

import assert from "node:assert/strict";
import type { ListenAddress, ServerAddress } from "../../../src/net/network.ts";
import { eventTurn, eventTurns } from "../../support/event_turn.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { type Chunking, SimNetwork, type WriteAnswers } from "../../support/sim_net.ts";
import { byteStreamSuite } from "./byte_stream_suite.ts";
import type { NetworkUnderTest } from "./stream_pair.ts";
import { tlsStreamSuite } from "./tls_stream_suite.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { makeTlsMaterial, tlsOfBothEnds } from "../../support/tls_material.ts";

const TCP: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 0, backlog: 16 };

const UNIX: ListenAddress = {
  kind: "unix",
  path: "/sockets/.s.PGSQL.6432",
  port: 6432,
  mode: 0o777,
  group: undefined,
};

const MATERIAL = makeTlsMaterial();

interface Manner {
  readonly address: ListenAddress;
  readonly chunking: Chunking;
  readonly writeAnswers: WriteAnswers;
  readonly seed: number;
  readonly speaksTls?: boolean;
}

function simulated({ address, chunking, seed, speaksTls, writeAnswers }: Manner): NetworkUnderTest {
  const clock = new FakeClock();
  const network = new SimNetwork({
    random: new SeededRandom(seed),
    clock,
    chunking,
    writeAnswers,
    bufferBytes: 8_192,
    isAutomatic: true,
  });
  const lost: ServerAddress = { kind: "tcp", host: "10.0.0.1", port: 5432 };
  network.obstruct(lost, "black hole");
  network.obstruct({ kind: "tcp", host: "nobody.invalid", port: 5432 }, "unknown host");
  return {
    network,
    address,
    floodBytes: 100_000,
    ...(speaksTls === true ? { tls: () => tlsOfBothEnds(network.tls, MATERIAL) } : {}),
    advance: (ms) => clock.advance(ms),
    blackHole: () => Promise.resolve(lost),
    [Symbol.asyncDispose]: () => network.runUntilIdle(),
  };
}

const MANNERS: readonly (readonly [name: string, manner: Manner])[] = [
  ["simulated TCP, whole chunks", {
    ...{ address: TCP, chunking: "whole", writeAnswers: "at_once", seed: 1 },
  }],
  ["simulated TCP, cut anywhere", {
    ...{ address: TCP, chunking: "random", writeAnswers: "either", seed: 2 },
  }],
  ["simulated TCP, cut anywhere, writes answered later", {
    ...{ address: TCP, chunking: "random", writeAnswers: "later", seed: 3 },
  }],
  ["simulated unix socket", {
    ...{ address: UNIX, chunking: "random", writeAnswers: "either", seed: 4 },
  }],
  ["simulated TLS, cut anywhere", {
    ...{ address: TCP, chunking: "random", writeAnswers: "either", seed: 5, speaksTls: true },
  }],
  ["simulated TLS, whole chunks", {
    ...{ address: TCP, chunking: "whole", writeAnswers: "at_once", seed: 6, speaksTls: true },
  }],
];

for (const [name, manner] of MANNERS) {
  byteStreamSuite({ name, open: () => Promise.resolve(simulated(manner)) });
}

for (const [name, manner] of MANNERS) {
  if (manner.speaksTls !== true) continue;
  tlsStreamSuite({
    name: `${name}, from plain text`,
    open: () => Promise.resolve(simulated(manner)),
    material: MATERIAL,
    abilities: { oldVersions: true, revocations: true, alerts: false, ciphers: true, curves: true },
  });
}

const STREAM_OPTIONS = { receiveBytes: 100, maxBusyReads: 0, tcp: SYSTEM_TCP };

/** Two ends of a network that moves by steps only. */
async function steppedPair(seed: number, chunking: Chunking = "random") {
  const clock = new FakeClock();
  const network = new SimNetwork({ random: new SeededRandom(seed), clock, chunking });
  const listener = await network.listen(TCP, () => STREAM_OPTIONS);
  const accepted = listener.connections().next();
  const dialing = network.dial(listener.address, { ...STREAM_OPTIONS, timeoutMs: 0 });
  await network.runUntilIdle();
  const near = await dialing;
  const far = (await accepted).value!;
  return { network, listener, near, far };
}

Deno.test("SimNetwork moves nothing without step()", async () => {
  const { far, near, network, listener } = await steppedPair(1, "whole");
  let received = 0;
  const pumping = far.pump((_buffer, length) => {
    received += length;
  });
  assert.equal(near.write(new Uint8Array(10), 0, 10), undefined);
  await eventTurns();
  assert.equal(received, 0);
  assert.equal(network.step(), true);
  await eventTurn();
  assert.equal(received, 10);
  assert.equal(network.step(), false);
  near.close();
  listener.close();
  await network.runUntilIdle();
  await pumping;
  far.close();
});

/** The lengths of the chunks in which a text of 500 bytes arrives. */
async function cutsOf(seed: number): Promise<number[]> {
  const { far, near, network } = await steppedPair(seed);
  const cuts: number[] = [];
  const pumping = far.pump((_buffer, length) => {
    cuts.push(length);
  });
  void near.write(new Uint8Array(500), 0, 500);
  near.close();
  await network.runUntilIdle();
  await pumping;
  return cuts;
}

Deno.test("SimNetwork repeats a run from its seed, and another seed runs another way", async () => {
  assert.deepEqual(await cutsOf(11), await cutsOf(11));
  assert.notDeepEqual(await cutsOf(11), await cutsOf(12));
});

Deno.test("SimStream.reset() loses what was under way and ends both directions", async () => {
  const { far, near, network } = await steppedPair(1, "whole");
  void near.write(new Uint8Array(50), 0, 50);
  near.reset();
  const reading = far.pump(() => assert.fail("It was lost"));
  await network.runUntilIdle();
  await reading;
  far.write(new Uint8Array(1), 0, 1);
  assert.equal(far.isClosed, true);
});

Deno.test("SimStream spoils bytes that were only borrowed", async () => {
  const { far, near, network } = await steppedPair(1, "whole");
  let kept: Uint8Array = new Uint8Array();
  const pumping = far.pump((buffer, length) => {
    kept = buffer.subarray(0, length);
    assert.deepEqual([...kept], [1, 2, 3]);
  });
  void near.write(new Uint8Array([1, 2, 3]), 0, 3);
  await network.runUntilIdle();
  assert.deepEqual([...kept], [0xdd, 0xdd, 0xdd]);
  near.close();
  await network.runUntilIdle();
  await pumping;
});

Deno.test("SimStream.stall() keeps bytes back until unstall()", async () => {
  const { far, near, network } = await steppedPair(1, "whole");
  let received = 0;
  const pumping = far.pump((_buffer, length) => {
    received += length;
  });
  network.connections[0]!.acceptor.stall();
  void near.write(new Uint8Array(3), 0, 3);
  await network.runUntilIdle();
  assert.equal(received, 0);
  network.connections[0]!.acceptor.unstall();
  await network.runUntilIdle();
  assert.equal(received, 3);
  near.close();
  await network.runUntilIdle();
  await pumping;
});

Deno.test("SimNetwork.connections forgets a connection when both ends are closed", async () => {
  const { far, near, network } = await steppedPair(1);
  assert.equal(network.connections.length, 1);
  near.close();
  far.close();
  await network.runUntilIdle();
  assert.equal(network.connections.length, 0);
});
