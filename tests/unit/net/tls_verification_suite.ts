/** Who is believed, and what is told of it: see `tls_stream_suite.ts`. */

import assert from "node:assert/strict";
import { type ServerTlsOptions, TlsHandshakeError } from "../../../src/net/tls.ts";
import type { TestCertificate } from "../../support/certificates.ts";
import { identity, type TlsMaterial } from "../../support/tls_material.ts";
import { readAll } from "./stream_pair.ts";
import { secure, shake, type TlsAbilities, type TlsPair, type TlsTest } from "./tls_pair.ts";

/** What both roles verify. */
export function verifying(test: TlsTest, abilities: TlsAbilities): void {
  verifyingServers(test);
  verifyingNames(test);
  verifyingClients(test, abilities);
  if (abilities.revocations) revoking(test);
}

type Whose = keyof TlsMaterial & ("server" | "otherServer" | "expiredServer" | "chained");

/** Server's certificate, its name, and for each kind of verification whether it is refused. */
const SERVERS: readonly (readonly [
  title: string,
  server: Whose,
  name: string,
  refused: readonly ServerTlsOptions["verification"][],
])[] = [
  ["the right certificate", "server", "db.example", []],
  ["one that leads to its authority by way of another", "chained", "db.example", []],
  ["one of another authority", "otherServer", "db.example", ["authority", "name"]],
  ["one that has expired", "expiredServer", "db.example", ["authority", "name"]],
  ["one of another name", "server", "other.example", ["name"]],
];

function verifyingServers(test: TlsTest): void {
  for (const [title, whose, serverName, refused] of SERVERS) {
    test(`a server that shows ${title} is verified as the context says`, async (given) => {
      for (const verification of ["none", "authority", "name"] as const) {
        const isRefused = refused.includes(verification);
        await expectServer(given, { whose, serverName, verification, isRefused });
      }
    });
  }

  test("a server that shows a certificate signed by itself is believed if that is", async (given) => {
    const { authority, otherAuthority } = given.material;
    for (const [believed, isRefused] of [[authority, false], [otherAuthority, true]] as const) {
      const { nearOutcome } = await shake(given, {
        near: { authorities: believed.certificate, verification: "authority" },
        far: identity(authority.itself()),
      });
      assert.equal(nearOutcome instanceof TlsHandshakeError, isRefused);
    }
  });

  test("a server whose certificate is not looked at still has one to show", async (given) => {
    const { atNear } = await secure(given);
    assert.deepEqual(atNear.peerCertificate, given.material.server.der);
    assert.equal(atNear.isPeerVerified, false);
  });
}

async function expectServer(
  given: TlsPair,
  { isRefused, serverName, verification, whose }: {
    whose: Whose;
    serverName: string;
    verification: ServerTlsOptions["verification"];
    isRefused: boolean;
  },
): Promise<void> {
  const { material } = given;
  const server = material[whose];
  const { far, farOutcome, nearOutcome } = await shake(given, {
    near: { authorities: material.authority.certificate, verification },
    far: identity(server),
    serverName,
  });
  assert.equal(nearOutcome instanceof TlsHandshakeError, isRefused, `${verification}`);
  if (nearOutcome instanceof TlsHandshakeError) {
    // Some look at the certificate when the handshake is over.
    if (!(farOutcome instanceof TlsHandshakeError)) assert.equal((await readAll(far)).length, 0);
    return;
  }
  assert.deepEqual(nearOutcome.peerCertificate, server.der);
  const leads = whose === "server" || whose === "chained";
  assert.equal(nearOutcome.isPeerVerified, leads, `${verification}`);
}

/** What a server is called, and whether that is among its names. */
const NAMES: readonly (readonly [name: string, isTheirs: boolean])[] = [
  ["db.example", true],
  ["DB.Example", true],
  ["a.wild.example", true],
  ["a.b.wild.example", false],
  ["wild.example", false],
  ["127.0.0.1", true],
  ["127.0.0.2", false],
  ["::1", false],
];

function verifyingNames(test: TlsTest): void {
  test("a server's name is looked for among names, patterns and addresses", async (given) => {
    for (const [serverName, isTheirs] of NAMES) {
      const { nearOutcome } = await shake(given, {
        near: { authorities: given.material.authority.certificate, verification: "name" },
        serverName,
      });
      assert.equal(!(nearOutcome instanceof TlsHandshakeError), isTheirs, serverName);
    }
  });

  test("without a name to verify nobody is believed", async (given) => {
    const { nearOutcome } = await shake(given, {
      near: { authorities: given.material.authority.certificate, verification: "name" },
    });
    assert.ok(nearOutcome instanceof TlsHandshakeError);
  });

  test("where no name is verified, there may be none or any", async (given) => {
    const { authority } = given.material;
    for (const serverName of [undefined, "any.example", "with_underscore", "10.0.0.1"]) {
      const near = { authorities: authority.certificate, verification: "authority" } as const;
      const { atNear } = await secure(given, {
        near,
        ...(serverName === undefined ? {} : { serverName }),
      });
      assert.equal(atNear.isPeerVerified, true);
    }
  });
}

type WhoseClient = keyof TlsMaterial & ("client" | "otherClient" | "expiredClient");

/** What a client shows, and whether that leads to the authority. */
const CLIENTS: readonly (readonly [whose: WhoseClient | undefined, isVerified: boolean])[] = [
  [undefined, false],
  ["client", true],
  ["otherClient", false],
  ["expiredClient", false],
];

function verifyingClients(test: TlsTest, { alerts }: TlsAbilities): void {
  test("a client that is not asked shows no certificate", async (given) => {
    const { atFar } = await secure(given, { near: identity(given.material.client) });
    assert.equal(atFar.peerCertificate, undefined);
    assert.equal(atFar.isPeerVerified, false);
  });

  for (const [whose, isVerified] of CLIENTS) {
    const shown = whose === undefined ? "no certificate" : `the certificate "${whose}"`;

    test(`a client that shows ${shown} is let in where that is optional, and told of`, async (given) => {
      const certificate = whose === undefined ? undefined : given.material[whose];
      const { atFar, far, near } = await secure(given, clientShows(given, certificate, "optional"));
      assert.deepEqual(atFar.peerCertificate, certificate?.der);
      assert.equal(atFar.isPeerVerified, isVerified);
      near.finishWriting();
      assert.equal((await readAll(far)).length, 0);
    });

    test(`a client that shows ${shown} is ${isVerified ? "let in" : "refused"} where one is required`, async (given) => {
      const certificate = whose === undefined ? undefined : given.material[whose];
      const shaken = await shake(given, clientShows(given, certificate, "required"));
      assert.equal(shaken.farOutcome instanceof TlsHandshakeError, !isVerified);
      if (!(shaken.farOutcome instanceof TlsHandshakeError)) {
        assert.deepEqual(shaken.farOutcome.peerCertificate, certificate?.der);
        assert.equal(shaken.farOutcome.isPeerVerified, true);
        return;
      }
      // In TLS 1.3 a client is done before it is refused.
      assert.equal((await readAll(shaken.near)).length, 0);
      if (alerts) assert.match(shaken.near.tlsFailure!, /alert.* (required|unknown ca|expired)$/);
    });
  }
}

function clientShows(
  { material }: TlsPair,
  certificate: TestCertificate | undefined,
  verification: "optional" | "required",
) {
  return {
    near: certificate === undefined ? {} : identity(certificate),
    far: { authorities: material.authority.certificate, verification },
  };
}

function revoking(test: TlsTest): void {
  test("a server whose certificate was revoked is refused, and others are not", async (given) => {
    const { authority, client, server } = given.material;
    for (const [revoked, isRefused] of [[server, true], [client, false]] as const) {
      const revocations = authority.revoke(revoked);
      const { nearOutcome } = await shake(given, {
        near: { authorities: authority.certificate, revocations, verification: "authority" },
      });
      assert.equal(nearOutcome instanceof TlsHandshakeError, isRefused);
    }
  });

  test("a client whose certificate was revoked is refused, or told of as not verified", async (given) => {
    const { authority, client } = given.material;
    const near = identity(client);
    const far = { authorities: authority.certificate, revocations: authority.revoke(client) };
    const { farOutcome } = await shake(given, {
      near,
      far: { ...far, verification: "required" },
    });
    assert.ok(farOutcome instanceof TlsHandshakeError);
    const { atFar } = await secure(given, { near, far: { ...far, verification: "optional" } });
    assert.equal(atFar.isPeerVerified, false);
  });
}
