/** Where a server's TLS begins directly, and what its certificate is good for. */

import assert from "node:assert/strict";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import type { TlsHandshake } from "../../../src/net/tls.ts";
import {
  type ServerTls,
  ServerTlsError,
  startServerTls,
  tlsFactsOf,
} from "../../../src/server/server_tls.ts";
import { ECDSA_SHA384, ED25519 } from "../auth/certificates.ts";

function handshake(changes: Partial<TlsHandshake>): TlsHandshake {
  return {
    version: "TLSv1.3",
    cipher: "TLS_AES_256_GCM_SHA384",
    hasProtocol: true,
    peerCertificate: undefined,
    isPeerVerified: false,
    ...changes,
  };
}

const DIRECT: ServerTls = {
  use: "require",
  negotiation: "direct",
  context: { peer: "server", [Symbol.dispose]() {} },
  serverName: "db.example",
  hold: () => ({ [Symbol.dispose]() {} }),
};

Deno.test("a server that takes TLS directly has to agree on the protocol", async () => {
  const streamWith = (hasProtocol: boolean) =>
    ({ startTls: () => Promise.resolve(handshake({ hasProtocol })) }) as Partial<
      ByteStream
    > as ByteStream;
  assert.ok((await startServerTls(streamWith(true), DIRECT)).hasProtocol);
  await assert.rejects(startServerTls(streamWith(false), DIRECT), (error) => {
    assert.ok(error instanceof ServerTlsError);
    assert.equal(error.failure, "handshake");
    assert.match(error.message, /established without ALPN protocol negotiation extension$/);
    return true;
  });
});

Deno.test("a login is bound to the certificate that the server shows, if that allows it", () => {
  const of = (peerCertificate: Uint8Array<ArrayBuffer> | undefined) =>
    tlsFactsOf(handshake({ peerCertificate })).endPoint;
  assert.deepEqual(of(ECDSA_SHA384.der), ECDSA_SHA384.endPoint);
  assert.equal(of(ED25519.der), undefined);
  assert.equal(of(undefined), undefined);
  assert.throws(() => of(new Uint8Array(10)), ServerTlsError);
});
