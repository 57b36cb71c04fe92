/** What contexts are made of, and refused for: see `tls_stream_suite.ts`. */

import assert from "node:assert/strict";
import { type TlsContextOptions, TlsHandshakeError, TlsSetupError } from "../../../src/net/tls.ts";
import { bundle, encryptedKey } from "../../support/certificates.ts";
import { textOf, utf8 } from "../../support/messages.ts";
import { identity, toClients, toServers } from "../../support/tls_material.ts";
import { readAll } from "./stream_pair.ts";
import {
  type BothEnds,
  outcomeOf,
  secure,
  shake,
  startsOf,
  successful,
  type TlsAbilities,
  type TlsPair,
  type TlsTest,
} from "./tls_pair.ts";

/** What `makeContext()` takes and refuses, and what disposing does. */
export function contexts(test: TlsTest, abilities: TlsAbilities): void {
  living(test);
  inOneFile(test);
  refusing(test);
  believingNobody(test);
  refusingWhatCannotBe(test, abilities);
  if (abilities.oldVersions) oldVersions(test);
  if (abilities.ciphers) choosingCiphers(test);
}

function living(test: TlsTest): void {
  test("connections go on after their context was disposed of", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    await Promise.all([near.startTls(starts.near), far.startTls(starts.far)]);
    starts.near.context[Symbol.dispose]();
    starts.far.context[Symbol.dispose]();
    starts.far.context[Symbol.dispose]();
    await near.write(utf8("on"), 0, 2);
    near.finishWriting();
    assert.equal(textOf(await readAll(far)), "on");
  });

  test("a handshake that was begun goes on after its context was disposed of", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    const shaking = [outcomeOf(near, starts.near), outcomeOf(far, starts.far)];
    starts.near.context[Symbol.dispose]();
    starts.far.context[Symbol.dispose]();
    for (const outcome of await Promise.all(shaking)) successful(outcome);
  });

  test("a context that was disposed of begins nothing", async (given) => {
    const starts = startsOf(given, {});
    const [near, far] = await given.pair.connectPlain();
    for (const [stream, start] of [[near, starts.near], [far, starts.far]] as const) {
      start.context[Symbol.dispose]();
      await assert.rejects(async () => await stream.startTls(start));
      stream.close();
    }
  });

  test("a key may be wiped once its context is made", async (given) => {
    const { client, server } = given.material;
    const { engine, material: { authority } } = given;
    const [serverKey, clientKey] = [server.key.slice(), client.key.slice()];
    const authorities = authority.certificate;
    const context = engine.makeContext(
      toClients(server, { key: serverKey, authorities, verification: "required" }),
    );
    const toServer = engine.makeContext(toServers({ ...identity(client), key: clientKey }));
    serverKey.fill(0);
    clientKey.fill(0);
    const [near, far] = await given.pair.connectPlain();
    const shaking = outcomeOf(near, { context: toServer });
    assert.equal(successful(await outcomeOf(far, { context })).isPeerVerified, true);
    successful(await shaking);
  });
}

function inOneFile(test: TlsTest): void {
  test("a certificate and its key may be in one file, in any order", async (given) => {
    const { certificate, key } = given.material.server;
    for (const file of [bundle(certificate, key), bundle(key, certificate)]) {
      const { atNear } = await secure(given, {
        far: { certificateChain: file, key: file.slice() },
      });
      assert.deepEqual(atNear.peerCertificate, given.material.server.der);
    }
  });
}

/** What is no good, and what the message has to be about. */
function badOptions(
  { authority, client, server }: TlsPair["material"],
): readonly (readonly [options: TlsContextOptions, about: RegExp])[] {
  const nonsense = utf8("nonsense");
  const { certificateChain, key } = identity(server);
  const torn = utf8(textOf(server.certificate).replace(/(.{10})\n(.{40})/, "$1\n"));
  const empty = new Uint8Array(0);
  return [
    [toClients(server, { key: client.key }), /key/i],
    [toClients(server, { key: nonsense }), /key/i],
    [toClients(server, { key: empty }), /key/i],
    [toClients(server, { key: encryptedKey(server, "secret") }), /key/i],
    [toClients(server, { certificateChain: nonsense }), /certificate/i],
    [toClients(server, { certificateChain: empty }), /certificate/i],
    [toClients(server, { certificateChain: torn }), /certificate/i],
    [toClients(server, { certificateChain: undefined, key: undefined }), /certificate/i],
    [toClients(server, { authorities: nonsense }), /authorit/i],
    [toClients(server, { authorities: empty }), /authorit/i],
    [toServers({ certificateChain, key: client.key }), /key/i],
    [toServers({ certificateChain, key: undefined }), /key/i],
    [toServers({ certificateChain: undefined, key }), /certificate/i],
    [toServers({ authorities: torn }), /authorit/i],
    [toServers({ authorities: authority.certificate.slice(0, 100) }), /authorit/i],
  ];
}

function refusing(test: TlsTest): void {
  test("what is no good is refused when a context is made, and said", async (given) => {
    await Promise.resolve();
    for (const [at, [options, about]] of badOptions(given.material).entries()) {
      const refused = (error: unknown) => {
        assert.ok(error instanceof TlsSetupError, `${at}: ${error}`);
        assert.match(error.message, about, `${at}`);
        return true;
      };
      assert.throws(() => given.engine.makeContext(options), refused, `${at}`);
    }
  });
}

function believingNobody(test: TlsTest): void {
  test("who believes nobody lets nobody pass that is to be verified", async (given) => {
    const { client } = given.material;
    const verified: BothEnds[] = [
      { near: { verification: "authority" } },
      { near: { verification: "name" }, serverName: "db.example" },
      { near: identity(client), far: { verification: "required" } },
    ];
    for (const both of verified) {
      try {
        const { farOutcome, nearOutcome } = await shake(given, both);
        const refusing = both.far === undefined ? nearOutcome : farOutcome;
        assert.ok(refusing instanceof TlsHandshakeError);
      } catch (error) {
        // Better: before anybody has come.
        assert.ok(error instanceof TlsSetupError, String(error));
      }
    }
    const optional = { near: identity(client), far: { verification: "optional" } } as const;
    const { atFar } = await secure(given, optional);
    assert.deepEqual(atFar.peerCertificate, client.der);
    assert.equal(atFar.isPeerVerified, false);
  });
}

function refusingWhatCannotBe(test: TlsTest, abilities: TlsAbilities): void {
  test("what cannot be honoured is refused when a context is made", async (given) => {
    await Promise.resolve();
    const { authority, server } = given.material;
    const refused: TlsContextOptions[] = [];
    if (!abilities.oldVersions) {
      refused.push(toClients(server, { versions: ["TLSv1", "TLSv1.1", "TLSv1.2"] }));
      refused.push(toServers({ versions: ["TLSv1.1"] }));
    }
    if (!abilities.ciphers) {
      refused.push(toClients(server, { ciphers: "HIGH" }), toServers({ ciphers: "HIGH" }));
      refused.push(toClients(server, { cipherSuites: "TLS_AES_128_GCM_SHA256" }));
    }
    if (!abilities.curves) {
      refused.push(toClients(server, { curves: "X25519" }), toClients(server, { dhGroup: "none" }));
      refused.push(toClients(server, { dhGroup: "legacy" }));
    }
    if (!abilities.revocations) {
      refused.push(toServers({ revocations: authority.revoke(server) }));
    }
    for (const options of refused) {
      assert.throws(() => given.engine.makeContext(options), TlsSetupError);
    }
  });

  if (abilities.ciphers) {
    test("lists in which nothing is known are refused when a context is made", async (given) => {
      await Promise.resolve();
      const { server } = given.material;
      for (
        const options of [
          toClients(server, { ciphers: "nonsense" }),
          toClients(server, { cipherSuites: "nonsense" }),
          toClients(server, { curves: "nonsense" }),
          toServers({ ciphers: "nonsense" }),
        ]
      ) {
        assert.throws(() => given.engine.makeContext(options), TlsSetupError);
      }
    });
  }
}

function oldVersions(test: TlsTest): void {
  test("old versions are spoken where they are allowed", async (given) => {
    // OpenSSL 3 has no signature for them at a higher level.
    const ciphers = "DEFAULT:@SECLEVEL=0";
    for (const version of ["TLSv1", "TLSv1.1"] as const) {
      const both = { versions: [version], ciphers };
      const { atFar, atNear } = await secure(given, { near: both, far: both });
      assert.deepEqual([atNear.version, atFar.version], [version, version]);
    }
    const { farOutcome } = await shake(given, { near: { versions: ["TLSv1.1"], ciphers } });
    assert.ok(farOutcome instanceof TlsHandshakeError);
  });
}

function choosingCiphers(test: TlsTest): void {
  test("ciphers are taken from the lists, one for TLS 1.3 and one below", async (given) => {
    const cipherSuites = "TLS_AES_128_GCM_SHA256";
    const { atFar } = await secure(given, { near: { cipherSuites } });
    assert.equal(atFar.cipher, cipherSuites);
    const ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
    const below = await secure(given, { near: { versions: ["TLSv1.2"] }, far: { ciphers } });
    assert.equal(below.atNear.cipher, ciphers);
  });
}
