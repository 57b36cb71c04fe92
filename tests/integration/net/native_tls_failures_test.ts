/** What TLS on the native engine says when it fails, and that nothing is left of what has failed. */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import {
  type TlsContext,
  type TlsContextOptions,
  TlsHandshakeError,
  TlsSetupError,
} from "../../../src/net/tls.ts";
import { bundle, encryptedKey, pem } from "../../support/certificates.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { everySecond, FAULT, takesLittle } from "../../support/faulty_libc.ts";
import { textOf, utf8 } from "../../support/messages.ts";
import { identity, makeTlsMaterial, toClients, toServers } from "../../support/tls_material.ts";
import type { BothEnds } from "../../unit/net/tls_pair.ts";
import { Acceptor, connect, type NativeUnderTest, withEngine } from "./native_engine.ts";

const MATERIAL = makeTlsMaterial();
const { authority, client, expiredServer, otherAuthority, server } = MATERIAL;

/** How often each way to fail is gone between two looks at the memory. */
const ROUNDS = Number(Deno.env.get("SLUICE_TEST_TLS_ROUNDS") ?? 20);

/** Looks at the memory: others allocate, too, so the least that was added counts. */
const LOOKS = 4;

/** What so many rounds may leave uncollected; a connection of OpenSSL alone has some 10,000. */
const LEFT_BYTES = 120_000;

/** An engine with a listener, and what it has open. */
interface Given {
  readonly engine: NativeUnderTest;
  readonly acceptor: Acceptor;
}

function test(title: string, run: (given: Given) => Promise<void>): void {
  Deno.test({
    name: `native TLS: ${title}`,
    ignore: Deno.build.os !== "linux",
    fn: () =>
      withEngine(async (engine) => {
        await using acceptor = await Acceptor.open(engine);
        await run({ engine, acceptor });
      }),
  });
}

/** The contexts of both ends. */
function contextsOf({ engine }: Given, both: BothEnds): [near: TlsContext, far: TlsContext] {
  const near = engine.tls.makeContext(toServers(both.near));
  return [near, engine.tls.makeContext(toClients(server, both.far))];
}

/** What came of it: nothing to say, or why not. */
async function reasonOf(stream: ByteStream, context: TlsContext, name?: string): Promise<string> {
  try {
    const serverName = name === undefined ? {} : { serverName: name };
    const { isPeerVerified } = await stream.startTls({ context, ...serverName });
    return isPeerVerified ? "verified" : "not verified";
  } catch (error) {
    assert.ok(error instanceof TlsHandshakeError, String(error));
    stream.close();
    return error.message;
  }
}

/** What both ends say of a handshake. */
async function reasonsOf(
  given: Given,
  both: BothEnds,
  [near, far]: readonly [ByteStream, ByteStream],
): Promise<[near: string, far: string]> {
  const contexts = contextsOf(given, both);
  const reasons = await Promise.all([
    reasonOf(near, contexts[0], both.serverName),
    reasonOf(far, contexts[1]),
  ]);
  for (const context of contexts) context[Symbol.dispose]();
  if (reasons.every((reason) => reason.endsWith("verified"))) await converse(near, far);
  near.close();
  far.close();
  return reasons;
}

/** A word goes each way. */
async function converse(near: ByteStream, far: ByteStream): Promise<void> {
  for (const [from, to] of [[near, far], [far, near]] as const) {
    void from.write(utf8("word"), 0, 4);
    let received = "";
    for await (const chunk of to.chunks()) {
      received += textOf(chunk);
      break;
    }
    assert.equal(received, "word");
  }
}

/** The certificate of the client with a signature that is nobody's. */
function forged(): Uint8Array<ArrayBuffer> {
  const der = client.der.slice();
  der[der.length - 1]! ^= 1;
  return pem("CERTIFICATE", der);
}

const BELIEVED = { authorities: authority.certificate, verification: "authority" } as const;

/** What goes wrong, and what each end says. */
const FAILURES: Readonly<Record<string, readonly [BothEnds, near: string, far: string]>> = {
  "an authority that nobody has heard of": [
    { near: { ...BELIEVED, authorities: otherAuthority.certificate } },
    "certificate verify failed (unable to get local issuer certificate)",
    "tlsv1 alert unknown ca",
  ],
  "nobody to believe": [
    { near: { verification: "authority" } },
    "certificate verify failed (unable to get local issuer certificate)",
    "tlsv1 alert unknown ca",
  ],
  "a certificate that has expired": [
    { near: BELIEVED, far: identity(expiredServer) },
    "certificate verify failed (certificate has expired)",
    "sslv3 alert certificate expired",
  ],
  "a certificate that was revoked": [
    { near: { ...BELIEVED, revocations: authority.revoke(server) } },
    "certificate verify failed (certificate revoked)",
    "sslv3 alert certificate revoked",
  ],
  "a list of revoked certificates that is another authority's": [
    { near: { ...BELIEVED, revocations: otherAuthority.revoke(server) } },
    "certificate verify failed (unable to get certificate CRL)",
    "tlsv1 alert unknown ca",
  ],
  "another name": [
    { near: { ...BELIEVED, verification: "name" }, serverName: "other.example" },
    "certificate verify failed (hostname mismatch)",
    "sslv3 alert bad certificate",
  ],
  "another address": [
    { near: { ...BELIEVED, verification: "name" }, serverName: "127.0.0.2" },
    "certificate verify failed (IP address mismatch)",
    "sslv3 alert bad certificate",
  ],
  "a star that would stand for two labels": [
    { near: { ...BELIEVED, verification: "name" }, serverName: "two.labels.wild.example" },
    "certificate verify failed (hostname mismatch)",
    "sslv3 alert bad certificate",
  ],
  "a star that would stand for a part of a label": [
    {
      near: { ...BELIEVED, verification: "name" },
      far: identity(authority.issue({ commonName: "db", names: ["d*.wild.example"] })),
      serverName: "db.wild.example",
    },
    "certificate verify failed (hostname mismatch)",
    "sslv3 alert bad certificate",
  ],
  "no name at all": [
    { near: { ...BELIEVED, verification: "name" } },
    "the server has no name that its certificate could be of",
    "the peer has closed the connection",
  ],
  "versions that do not meet": [
    { near: { versions: ["TLSv1.2"] }, far: { versions: ["TLSv1.3"] } },
    "tlsv1 alert protocol version",
    "unsupported protocol",
  ],
  "ciphers that do not meet": [
    {
      near: { versions: ["TLSv1.2"], ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" },
      far: { ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" },
    },
    "sslv3 alert handshake failure",
    "no shared cipher",
  ],
  "no certificate where one is required, in TLS 1.2": [
    {
      near: { versions: ["TLSv1.2"] },
      far: { authorities: authority.certificate, verification: "required" },
    },
    "sslv3 alert handshake failure",
    "peer did not return a certificate",
  ],
  // In TLS 1.3 a client is done before its certificate is looked at.
  "no certificate where one is required": [
    { far: { authorities: authority.certificate, verification: "required" } },
    "not verified",
    "peer did not return a certificate",
  ],
  "a certificate with a signature that is nobody's": [
    {
      near: { certificateChain: forged(), key: client.key },
      far: { authorities: authority.certificate, verification: "required" },
    },
    "not verified",
    "certificate verify failed (certificate signature failure)",
  ],
  "such a certificate where none is required": [
    {
      near: { certificateChain: forged(), key: client.key },
      far: { authorities: authority.certificate, verification: "optional" },
    },
    "not verified",
    "not verified",
  ],
  "a certificate that all is right with": [
    {
      near: { ...BELIEVED, ...identity(client), verification: "name" },
      far: { authorities: authority.certificate, verification: "optional" },
      serverName: "localhost",
    },
    "verified",
    "verified",
  ],
};

function wordTests(): void {
  for (const [title, [both, near, far]] of Object.entries(FAILURES)) {
    test(`${title}: both ends say what is so`, async (given) => {
      const ends = await connect(given.engine, given.acceptor);
      assert.deepEqual(await reasonsOf(given, both, ends), [near, far]);
    });
  }

  test("a chain that is longer than all buffers is shown whole", async (given) => {
    const certificateChain = bundle(
      server.certificate,
      ...Array.from({ length: 250 }, () => authority.certificate),
    );
    const streams = await connect(given.engine, given.acceptor);
    const reasons = await reasonsOf(given, { near: BELIEVED, far: { certificateChain } }, streams);
    assert.deepEqual(reasons, ["verified", "not verified"]);
  });

  test("a chain that is longer than what may wait fails, where the kernel takes little", async (given) => {
    const { libc } = given.engine;
    const certificateChain = bundle(
      client.certificate,
      ...Array.from({ length: 500 }, () => authority.certificate),
    );
    const streams = await connect(given.engine, given.acceptor);
    libc.faults = { takes: takesLittle, ...everySecond(["send"], FAULT.again) };
    const both = {
      near: { certificateChain, key: client.key.slice() },
      far: { authorities: authority.certificate, verification: "required" },
    } as const;
    const [near] = await reasonsOf(given, both, streams);
    assert.equal(near, "the peer takes nothing");
  });

  test("a failed handshake harms no other, of which there are many at once", async (given) => {
    const expected = Object.values(FAILURES).map(([, near, far]) => [near, far]);
    const pairs = [];
    for (const [both] of Object.values(FAILURES)) {
      pairs.push([both, await connect(given.engine, given.acceptor)] as const);
    }
    const reasons = await Promise.all(pairs.map(([both, ends]) => reasonsOf(given, both, ends)));
    assert.deepEqual(reasons, expected);
  });

  test("a stream for which TLS cannot begin sends nothing in plain text", async (given) => {
    const [near, far] = await connect(given.engine, given.acceptor);
    const [context] = contextsOf(given, {});
    context[Symbol.dispose]();
    await assert.rejects(near.startTls({ context }), TlsHandshakeError);
    void near.write(utf8("secret"), 0, 6);
    near.finishWriting();
    near.close();
    assert.equal((await far.chunks().next()).done, true);
    far.close();
  });

  test("a client that speaks something else is told of in words", async (given) => {
    for (
      const [said, reason] of [
        ["GET / HTTP/1.1\r\n\r\n", "http request"],
        ["\0\0\0\x08\x04\xd2\x16\x2f", "wrong version number"],
        ["", "the peer has closed the connection"],
      ] as const
    ) {
      const [near, far] = await connect(given.engine, given.acceptor);
      const [, context] = contextsOf(given, {});
      const failing = reasonOf(far, context);
      const bytes = Uint8Array.from(said, (character) => character.charCodeAt(0));
      await near.write(bytes, 0, bytes.length);
      near.finishWriting();
      assert.equal(await failing, reason);
      near.close();
    }
  });

  test("the name of a server is sent to it, and an address is not", async (given) => {
    for (const [serverName, isSent] of [["db.example", true], ["127.0.0.1", false]] as const) {
      const [near, far] = await connect(given.engine, given.acceptor);
      const [context] = contextsOf(given, {});
      const shaking = reasonOf(near, context, serverName);
      const hello = (await far.chunks().next()).value!;
      assert.equal(textOf(hello).includes(serverName), isSent);
      far.close();
      assert.equal(await shaking, "the peer has closed the connection");
    }
  });
}

/** What cannot be set up, and what is said of it. */
function unusable(): readonly (readonly [TlsContextOptions, RegExp])[] {
  const nonsense = utf8("nonsense");
  return [
    [toClients(server, { key: client.key }), /^The key is not that .*key values mismatch/],
    [toClients(server, { key: nonsense }), /^The key cannot be read/],
    [toClients(server, { key: encryptedKey(server, "x") }), /^The key is encrypted/],
    [toClients(server, { certificateChain: nonsense }), /^There is no PEM in the certificate file/],
    [toClients(server, { certificateChain: undefined }), /^There is no certificate/],
    [toClients(server, { revocations: nonsense }), /^There is no PEM in the list of revoked/],
    [toClients(server, { ciphers: "none" }), /^No cipher is known in "none"/],
    [toClients(server, { cipherSuites: "none" }), /^An unknown cipher suite .* is in "none"/],
    [toClients(server, { curves: "none" }), /^An unknown curve is in "none"/],
    [toClients(server, { versions: ["TLSv1.1"] }), /^TLSv1.1 would need ciphers with @SECLEVEL=0/],
    [toServers({ versions: [] }), /^No version of TLS is allowed/],
  ];
}

function setupTests(): void {
  test("what cannot be set up is told of in an operator's words", async (given) => {
    const { engine } = given;
    for (const [options, words] of unusable()) {
      const matches = (error: unknown) =>
        error instanceof TlsSetupError && words.test(error.message);
      assert.throws(() => engine.tls.makeContext(options), matches, String(words));
    }
    // It is forgotten.
    const ends = await connect(engine, given.acceptor);
    assert.deepEqual(await reasonsOf(given, {}, ends), ["not verified", "not verified"]);
  });

  test("the engine's name is OpenSSL's", ({ engine }) => {
    assert.match(engine.tls.name, /^OpenSSL 3\.\d+\.\d+/);
    return Promise.resolve();
  });
}

const MALLINFO2 = { struct: Array(10).fill("usize") } as const;

/** Bytes that C has allocated and not freed. */
function allocatedBytes(): number {
  const libc = Deno.dlopen("libc.so.6", { mallinfo2: { parameters: [], result: MALLINFO2 } });
  const figures = new BigUint64Array(libc.symbols.mallinfo2().buffer);
  libc.close();
  // uordblks, the eighth.
  return Number(figures[7]);
}

/** Ways in which connections end before anything has come of them. */
const WAYS: Readonly<
  Record<string, (pair: { near: ByteStream; far: ByteStream }, contexts: Contexts) => Promise<void>>
> = {
  async "closed right away"({ far, near }, contexts) {
    const shaking = [reasonOf(near, contexts.toServers), reasonOf(far, contexts.toClients)];
    near.close();
    far.close();
    await Promise.all(shaking);
  },
  async "half open"({ far, near }, contexts) {
    const failing = reasonOf(far, contexts.toClients);
    await near.write(Uint8Array.of(0x16, 3, 1, 1, 0), 0, 5);
    await eventTurns();
    far.close();
    await failing;
  },
  async "refused"({ far, near }, contexts) {
    await Promise.all([reasonOf(near, contexts.doubting), reasonOf(far, contexts.toClients)]);
  },
  async "garbage"({ far, near }, contexts) {
    const failing = reasonOf(far, contexts.toClients);
    await near.write(utf8("nonsense, and more of it"), 0, 24);
    await failing;
  },
  async "used and closed, bytes on their way,"({ far, near }, contexts) {
    await Promise.all([reasonOf(near, contexts.toServers), reasonOf(far, contexts.toClients)]);
    await converse(near, far);
    // Less than a buffer: the runtime's memory is not looked at here.
    void near.write(new Uint8Array(1_000), 0, 1_000);
  },
};

interface Contexts {
  readonly toServers: TlsContext;
  readonly toClients: TlsContext;
  /** To servers, none of which is believed. */
  readonly doubting: TlsContext;
}

function leakTests(): void {
  for (const [way, run] of Object.entries(WAYS)) {
    test(`connections that are ${way} leave nothing in memory`, async (given) => {
      const [toServers, toClients] = contextsOf(given, {});
      const [doubting] = contextsOf(given, { near: { verification: "authority" } });
      const contexts = { toServers, toClients, doubting };
      const round = async () => {
        const [near, far] = await connect(given.engine, given.acceptor);
        await run({ near, far }, contexts);
        near.close();
        far.close();
      };
      await round();
      const open = given.engine.libc.open.size;
      const left: number[] = [];
      for (let look = 0; look < LOOKS; look++) {
        const before = allocatedBytes();
        for (let i = 0; i < ROUNDS; i++) await round();
        left.push(allocatedBytes() - before);
      }
      assert.equal(given.engine.libc.open.size, open);
      assert.ok(Math.min(...left) < LEFT_BYTES, `${left} bytes, each after ${ROUNDS} rounds`);
    });
  }
}

wordTests();
setupTests();
leakTests();
