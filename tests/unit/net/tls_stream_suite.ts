/**
 * What a stream does that goes over to TLS, whatever speaks it: one suite, run over each engine.
 * Near is the end that dialed and is the client, far is the server.
 *
 * That such a stream keeps the contract of every stream afterwards, `byte_stream_suite.ts` says.
 */

import assert from "node:assert/strict";
import { HOLD } from "../../../src/net/byte_stream.ts";
import { TlsHandshakeError } from "../../../src/net/tls.ts";
import { eventTurn, eventTurns } from "../../support/event_turn.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { identity } from "../../support/tls_material.ts";
import { pieces, readAll, untilTrue } from "./stream_pair.ts";
import { contexts } from "./tls_context_suite.ts";
import {
  outcomeOf,
  secure,
  startsOf,
  successful,
  type TlsSuiteOptions,
  type TlsTest,
  tlsTest,
} from "./tls_pair.ts";
import { verifying } from "./tls_verification_suite.ts";
import { onTheWire } from "./tls_wire_suite.ts";

/** Registers the suite for one network. */
export function tlsStreamSuite(options: TlsSuiteOptions): void {
  const { abilities } = options;
  const test = tlsTest(options);
  shaking(test);
  goingOver(test);
  closing(test);
  carrying(test);
  verifying(test, abilities);
  contexts(test, abilities);
  onTheWire(test);
}

function shaking(test: TlsTest): void {
  test("both ends are told the same version and cipher, as OpenSSL spells them", async (given) => {
    const { atFar, atNear, far, near } = await secure(given);
    assert.equal(atNear.version, "TLSv1.3");
    assert.match(atNear.cipher, /^TLS_[A-Z0-9_]+$/);
    for (const inUse of [atFar, near.tls!, far.tls!]) {
      assert.deepEqual([inUse.version, inUse.cipher], [atNear.version, atNear.cipher]);
    }
  });

  test("a stream is plain until TLS is spoken on it", async (given) => {
    const [near, far] = await given.pair.connectPlain();
    assert.deepEqual([near.tls, far.tls], [undefined, undefined]);
  });

  test("connections that have the same in use share what tells it", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const [again, farAgain] = await given.pair.connectPlain();
    await Promise.all([near.startTls(starts.near), far.startTls(starts.far)]);
    await Promise.all([again.startTls(starts.near), farAgain.startTls(starts.far)]);
    assert.equal(near.tls, again.tls);
    assert.equal(far.tls, farAgain.tls);
  });

  test("the best version is taken that both ends allow", async (given) => {
    const { atFar, atNear } = await secure(given, { near: { versions: ["TLSv1.2"] } });
    assert.deepEqual([atNear.version, atFar.version], ["TLSv1.2", "TLSv1.2"]);
    assert.match(atNear.cipher, /^ECDHE-ECDSA-[A-Z0-9-]+$/);
    assert.equal(atFar.cipher, atNear.cipher);
    const other = await secure(given, { far: { versions: ["TLSv1.2"] } });
    assert.equal(other.atNear.version, "TLSv1.2");
  });

  test("both ends ask for PostgreSQL's protocol, and have it", async (given) => {
    const { atFar, atNear } = await secure(given);
    assert.deepEqual([atNear.hasProtocol, atFar.hasProtocol], [true, true]);
  });

  test("one context serves many connections at once", async (given) => {
    const starts = startsOf(given, {});
    const pairs = [];
    for (let i = 0; i < 5; i++) pairs.push(await given.pair.connectPlain());
    await Promise.all(pairs.flatMap(([near, far]) => [
      near.startTls(starts.near),
      far.startTls(starts.far),
    ]));
    for (const [at, [near]] of pairs.entries()) {
      void near.write(Uint8Array.of(at), 0, 1);
      near.finishWriting();
    }
    for (const [at, [, far]] of pairs.entries()) {
      assert.deepEqual([...await readAll(far)], [at]);
    }
  });
}

function goingOver(test: TlsTest): void {
  test("what was received already is taken for the start of the handshake", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const shaking = near.startTls(starts.near);
    for await (const chunk of far.chunks()) {
      assert.equal(chunk[0], 0x16);
      const received = chunk.slice();
      const accepting = far.startTls({ ...starts.far, received });
      // The loan is over.
      received.fill(0);
      successful(await accepting);
      break;
    }
    await shaking;
    await near.write(utf8("SELECT 1"), 0, 8);
    near.finishWriting();
    assert.equal(textOf(await readAll(far)), "SELECT 1");
  });

  test("a loop over chunks() that was begun in plain text goes on in TLS, at both ends", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const serving = (async () => {
      const seen: string[] = [];
      for await (const chunk of far.chunks()) {
        seen.push(textOf(chunk));
        if (seen.length > 1) continue;
        await far.write(utf8("S"), 0, 1);
        await far.startTls(starts.far);
      }
      return seen.join("|");
    })();
    await near.write(utf8("?"), 0, 1);
    const asking = (async () => {
      const seen: string[] = [];
      for await (const chunk of near.chunks()) {
        seen.push(textOf(chunk));
        if (seen.length > 1) continue;
        await near.startTls(starts.near);
        await near.write(utf8("SELECT 1"), 0, 8);
        near.finishWriting();
      }
      return seen.join("|");
    })();
    const served = await serving;
    assert.equal(served.replaceAll("|", ""), "?SELECT 1");
    far.finishWriting();
    assert.equal(await asking, "S");
  });

  test("what a client sends right behind its handshake is not lost", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const sent = join(...pieces(30));
    const sending = near.startTls(starts.near).then(async () => {
      await near.write(sent, 0, sent.length);
      near.finishWriting();
    });
    await far.startTls(starts.far);
    assert.deepEqual(await readAll(far), sent);
    await sending;
  });

  test("what a server sends right behind its handshake is not lost", async (given) => {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const starts = startsOf(given, { near: { versions: [version] } });
      const [near, far] = await given.pair.connectPlain();
      const sent = join(...pieces(30));
      const sending = far.startTls(starts.far).then(async () => {
        await far.write(sent, 0, sent.length);
        far.finishWriting();
      });
      await near.startTls(starts.near);
      assert.deepEqual(await readAll(near), sent);
      await sending;
    }
  });

  test("versions that do not meet fail at both ends", async (given) => {
    const starts = startsOf(given, {
      near: { versions: ["TLSv1.2"] },
      far: { versions: ["TLSv1.3"] },
    });
    const [near, far] = await given.pair.connectPlain();
    const outcomes = await Promise.all([outcomeOf(near, starts.near), outcomeOf(far, starts.far)]);
    for (const outcome of outcomes) assert.ok(outcome instanceof TlsHandshakeError);
    assert.deepEqual([near.tls, far.tls], [undefined, undefined]);
  });
}

function closing(test: TlsTest): void {
  test("close() during the handshake ends it, whichever side one is", async (given) => {
    const starts = startsOf(given, {});
    for (const side of [0, 1] as const) {
      const stream = (await given.pair.connectPlain())[side];
      const shaking = stream.startTls(side === 0 ? starts.near : starts.far);
      const failing = assert.rejects(shaking, TlsHandshakeError);
      await eventTurns();
      stream.close();
      await failing;
      assert.equal(stream.isClosed, true);
      assert.equal((await readAll(stream)).length, 0);
    }
  });

  test("close() right behind startTls() ends the handshake", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const failing = [near.startTls(starts.near), far.startTls(starts.far)]
      .map((shaking) => assert.rejects(shaking, TlsHandshakeError));
    near.close();
    far.close();
    await Promise.all(failing);
  });

  test("startTls() on a stream that is closed fails", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    near.close();
    await assert.rejects(near.startTls(starts.near), TlsHandshakeError);
    await assert.rejects(far.startTls(starts.far), TlsHandshakeError);
  });

  test("a peer that leaves before or in the middle of the handshake ends it", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const failing = assert.rejects(near.startTls(starts.near), TlsHandshakeError);
    far.close();
    await failing;
    const [again, farAgain] = await given.pair.connectPlain();
    const shaking = again.startTls(starts.near);
    const failed = assert.rejects(shaking, TlsHandshakeError);
    for await (const _chunk of farAgain.chunks()) break;
    farAgain.close();
    await failed;
  });

  test("a peer that only finishes writing in place of a handshake ends it", async (given) => {
    const starts = startsOf(given, {});
    for (const side of [0, 1] as const) {
      const ends = await given.pair.connectPlain();
      const failing = assert.rejects(
        ends[side].startTls(side === 0 ? starts.near : starts.far),
        TlsHandshakeError,
      );
      ends[1 - side]!.finishWriting();
      await failing;
    }
  });

  test("close() tells a peer that reads, and what was sent before arrives", async (given) => {
    const { far, near } = await secure(given);
    await near.write(utf8("farewell"), 0, 8);
    near.close();
    assert.equal(textOf(await readAll(far)), "farewell");
    await far.write(utf8("late"), 0, 4);
    far.finishWriting();
  });
}

function carrying(test: TlsTest): void {
  test("bytes that wait within TLS are held back by HOLD, and need no more from the peer", async (given) => {
    const { far, near } = await secure(given);
    // One record, of which one chunk is a part.
    const sent = join(...pieces(18)).subarray(0, 14_000);
    void near.write(sent, 0, sent.length);
    const received: Uint8Array[] = [];
    let count = 0;
    const pumping = far.pump((buffer, length) => {
      received.push(buffer.slice(0, length));
      count += length;
      return HOLD;
    });
    for (let seen = 0; count < sent.length; seen++) {
      await untilTrue(() => received.length > seen);
      await eventTurns(3);
      assert.equal(received.length, seen + 1);
      far.resume();
    }
    assert.deepEqual(join(...received), sent);
    near.close();
    far.resume();
    await pumping;
  });

  test("watch() shows what waits within TLS, and keeps it", async (given) => {
    const { far, near } = await secure(given);
    const sent = join(...pieces(18)).subarray(0, 14_000);
    const received: Uint8Array[] = [];
    const looked = Promise.withResolvers<Uint8Array>();
    const pumping = far.pump((buffer, length) => {
      received.push(buffer.slice(0, length));
      if (received.length > 1) return;
      far.watch((buffer, length) => looked.resolve(buffer.slice(0, length)));
      return HOLD;
    });
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    const shown = await looked.promise;
    far.resume();
    await pumping;
    assert.deepEqual(shown, received[1]);
    assert.deepEqual(join(...received), sent);
  });

  test("a peer that does not read holds who writes, and loses nothing", async (given) => {
    const { far, near } = await secure(given);
    const { floodBytes } = given.pair.under;
    const piece = new Uint8Array(16_000).fill(7);
    let writtenCount = 0;
    const writing = (async () => {
      while (writtenCount < floodBytes) {
        await near.write(piece, 0, piece.length);
        writtenCount += piece.length;
      }
      near.finishWriting();
    })();
    await untilAtRest(() => writtenCount);
    assert.ok(writtenCount < floodBytes, `${writtenCount} bytes were taken`);
    assert.equal((await readAll(far)).length, Math.ceil(floodBytes / piece.length) * piece.length);
    await writing;
  });

  test("certificates at both ends carry bytes as none do", async (given) => {
    const { material } = given;
    const { far, near } = await secure(given, {
      near: { ...identity(material.client), authorities: material.authority.certificate },
      far: { authorities: material.authority.certificate, verification: "required" },
    });
    const sent = join(...pieces(30));
    void near.write(sent, 0, sent.length);
    near.finishWriting();
    assert.deepEqual(await readAll(far), sent);
    far.finishWriting();
    assert.equal((await readAll(near)).length, 0);
  });
}

/** Waits until a count has not grown for as long as growing takes at the worst. */
async function untilAtRest(count: () => number): Promise<void> {
  let seen = -1;
  for (let turns = 0; turns < 500; turns++) {
    if (count() !== seen) turns = 0;
    seen = count();
    await eventTurn();
  }
}
