/** How tests bring two ends to TLS, and what came of it at each. */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import {
  type ClientTlsOptions,
  type ServerTlsOptions,
  type TlsEngine,
  type TlsHandshake,
  TlsHandshakeError,
  type TlsStart,
} from "../../../src/net/tls.ts";
import { join } from "../../support/messages.ts";
import { type TlsMaterial, toClients, toServers } from "../../support/tls_material.ts";
import { type NetworkUnderTest, Pair } from "./stream_pair.ts";

/** What an engine's TLS is able to do beyond what all can. */
export interface TlsAbilities {
  /** Versions below 1.2. */
  readonly oldVersions: boolean;
  /** Lists of revoked certificates. */
  readonly revocations: boolean;
  /** Telling a client why it is refused. */
  readonly alerts: boolean;
  /** Lists of ciphers and cipher suites. */
  readonly ciphers: boolean;
  /** Curves, and groups for Diffie-Hellman. */
  readonly curves: boolean;
}

/** What is tried. */
export interface TlsSuiteOptions {
  readonly name: string;
  readonly open: () => Promise<NetworkUnderTest>;
  readonly material: TlsMaterial;
  readonly abilities: TlsAbilities;
}

/** A pair that speaks no TLS yet, what speaks it, and certificates. */
export interface TlsPair {
  readonly pair: Pair;
  readonly engine: TlsEngine;
  readonly material: TlsMaterial;
}

/** Registers a test that is given its own. */
export type TlsTest = (title: string, run: (given: TlsPair) => Promise<void>) => void;

/** Registers tests of a suite. */
export function tlsTest({ material, name, open }: TlsSuiteOptions): TlsTest {
  return (title, run) =>
    Deno.test(`${name}: ${title}`, async () => {
      await using pair = await Pair.open(open);
      await run({ pair, engine: pair.under.network.tls, material });
    });
}

/** Where both ends come from: what near shows to far, and far to near. */
export interface BothEnds {
  readonly near?: Partial<ServerTlsOptions>;
  readonly far?: Partial<ClientTlsOptions>;
  readonly serverName?: string;
}

/** What came of a handshake at one end, whose stream is closed if nothing has. */
export type Outcome = TlsHandshake | TlsHandshakeError;

/** Goes over to TLS at one end, as an owner does: one that fails is closed. */
export async function outcomeOf(stream: ByteStream, start: TlsStart): Promise<Outcome> {
  try {
    return await stream.startTls(start);
  } catch (error) {
    assert.ok(error instanceof TlsHandshakeError, String(error));
    assert.notEqual(error.message, "");
    stream.close();
    return error;
  }
}

/** Both contexts: near is the client, far the server. */
export function startsOf(
  { engine, material }: TlsPair,
  { far, near, serverName }: BothEnds,
): { near: TlsStart; far: TlsStart } {
  const toServer = engine.makeContext(toServers(near));
  const toClient = engine.makeContext(toClients(material.server, far));
  return {
    near: { context: toServer, ...(serverName === undefined ? {} : { serverName }) },
    far: { context: toClient },
  };
}

/** Connects two ends, and shakes hands. */
export async function shake(given: TlsPair, both: BothEnds = {}) {
  const starts = startsOf(given, both);
  const [near, far] = await given.pair.connectPlain();
  const [nearOutcome, farOutcome] = await Promise.all([
    outcomeOf(near, starts.near),
    outcomeOf(far, starts.far),
  ]);
  return { near, far, nearOutcome, farOutcome };
}

/** Likewise, where nothing goes wrong. */
export async function secure(given: TlsPair, both: BothEnds = {}) {
  const { far, farOutcome, near, nearOutcome } = await shake(given, both);
  return {
    near,
    far,
    atNear: successful(nearOutcome),
    atFar: successful(farOutcome),
  };
}

/** What a handshake gave that has to have come about. */
export function successful(outcome: Outcome): TlsHandshake {
  if (outcome instanceof TlsHandshakeError) throw outcome;
  return outcome;
}

/** Two ends with somebody between them, who sees every byte and decides what becomes of it. */
export interface Tapped {
  readonly near: ByteStream;
  readonly far: ByteStream;
  /** The tap's end of near's connection. */
  readonly atNear: ByteStream;
  /** The tap's end of far's connection. */
  readonly atFar: ByteStream;
  readonly fromNear: RecordReader;
  readonly fromFar: RecordReader;
}

/** Makes two connections, between which nothing is passed on yet. */
export async function tap({ pair }: TlsPair): Promise<Tapped> {
  const [near, atNear] = await pair.connectPlain();
  const [atFar, far] = await pair.connectPlain();
  const fromNear = new RecordReader(atNear);
  return { near, far, atNear, atFar, fromNear, fromFar: new RecordReader(atFar) };
}

/** Type, version and length of a record. */
const HEAD_BYTES = 5;

/** Reads the records of TLS that come on a stream, without knowing what is in them. */
export class RecordReader {
  readonly #chunks: AsyncIterator<Uint8Array, void, void>;
  #held: Uint8Array = new Uint8Array(0);

  constructor(stream: ByteStream) {
    this.#chunks = stream.chunks();
  }

  /** A whole one. Reads no further than the chunk that it ends in. */
  async next(): Promise<Uint8Array> {
    for (;;) {
      const length = HEAD_BYTES + (this.#held[3]! << 8 | this.#held[4]!);
      if (this.#held.length >= HEAD_BYTES && this.#held.length >= length) {
        const record = this.#held.slice(0, length);
        this.#held = this.#held.subarray(length);
        return record;
      }
      const chunk = await this.#chunks.next();
      assert.ok(!chunk.done, "It ends within a record");
      this.#held = join(this.#held, chunk.value);
    }
  }
}

/** What a tap passes on; all of it if left out, and the end behind it. */
export type Forwarding = (chunk: Uint8Array) => Iterable<Uint8Array>;

/** Passes on what comes from one end to the other, until it ends. */
export async function forward(
  from: ByteStream,
  to: ByteStream,
  forwarding: Forwarding = (chunk) => [chunk],
): Promise<void> {
  for await (const chunk of from.chunks()) {
    for (const part of forwarding(chunk.slice())) await to.write(part, 0, part.length);
  }
  to.finishWriting();
}
