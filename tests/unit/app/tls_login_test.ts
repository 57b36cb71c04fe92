/** What certificates and TLS have to do with who may log in, with a whole pooler in memory. */

import assert from "node:assert/strict";
import { frontend, readReport, textOf } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { scramFirst } from "../../support/scram_challenge.ts";
import type { TestClient } from "../../support/test_client.ts";
import { scramVerifier } from "../auth/auth_support.ts";
import { TestAuthority, type TestCertificate } from "../../support/certificates.ts";
import { makeTlsMaterial } from "../../support/tls_material.ts";
import {
  connectByTls,
  openTlsWorld,
  outcomeByTls,
  TLS_FILES,
  tlsFiles,
  type TlsWorldOptions,
} from "../../support/tls_world.ts";

const MATERIAL = makeTlsMaterial();

const ADAS = MATERIAL.authority.issue({ commonName: "ada" });

const FAILED = "FATAL 28000: certificate authentication failed";

const WITH_CERT = 'auth_type = "cert"\n';

/** A pooler that has these rules. */
function worldWith(
  hba: string,
  { ident, ...options }: TlsWorldOptions & { ident?: string } = {},
): Promise<PoolerWorld> {
  const files = { "hba.conf": hba, ...(ident === undefined ? {} : { "ident.conf": ident }) };
  const lines = 'auth_type = "hba"\nauth_hba_file = "hba.conf"\n';
  return openTlsWorld(MATERIAL, {
    sslmode: "allow",
    hasAuthority: true,
    pooler: ident === undefined ? lines : `${lines}auth_ident_file = "ident.conf"\n`,
    files,
    ...options,
  });
}

function outcome(
  world: PoolerWorld,
  certificate?: TestCertificate,
  login: Partial<typeof ADA> = {},
): Promise<string> {
  const shown = certificate === undefined ? {} : { certificate };
  return outcomeByTls(world, { ...ADA, ...login }, shown);
}

// --- certificates ---

Deno.test("auth_type cert lets in by a certificate of the user, and by nothing else", async () => {
  await using world = await openTlsWorld(MATERIAL, {
    sslmode: "allow",
    hasAuthority: true,
    pooler: WITH_CERT,
  });
  const { authority, otherAuthority } = MATERIAL;
  assert.equal(await outcome(world, ADAS, { password: "" }), "in");
  const cases = [
    [undefined, "the client has shown no certificate"],
    [authority.issue({ commonName: "eve" }), 'the certificate is of "eve"'],
    [authority.issue({ commonName: "Ada" }), 'the certificate is of "Ada"'],
    [authority.issue({ commonName: "x,CN=ada" }), 'the certificate is of "x,CN=ada"'],
    [authority.issue({ commonName: "ada\0" }), "the certificate's common name holds a zero byte"],
    [authority.issue({ commonName: "" }), "the certificate has no common name"],
    [authority.issue({ commonName: "ada", isExpired: true }), "the certificate is not verified"],
    [otherAuthority.issue({ commonName: "ada" }), "the certificate is not verified"],
  ] as const;
  for (const [certificate, reason] of cases) {
    assert.equal(await outcome(world, certificate), FAILED, reason);
    assert.ok(world.hasLogged(`certificate authentication failed (${reason}`), reason);
  }
  assert.equal(await world.outcome(), FAILED, "in plain text");
});

Deno.test("auth_type cert needs a user that exists, as all that asks for no password", async () => {
  await using world = await openTlsWorld(MATERIAL, { sslmode: "verify-full", pooler: WITH_CERT });
  const eve = MATERIAL.authority.issue({ commonName: "eve" });
  assert.equal(await outcome(world, eve, { user: "eve" }), FAILED);
  assert.ok(world.hasLogged("certificate authentication failed (no such user)"));
});

Deno.test("HBA method cert goes by the ident map that its line names", async () => {
  await using world = await worldWith("hostssl all all all cert map=staff\n", {
    ident: "staff /^(.*)@example$ \\1\nother eve ada\n",
  });
  const issue = (commonName: string) => MATERIAL.authority.issue({ commonName });
  assert.equal(await outcome(world, issue("ada@example")), "in");
  for (const name of ["ada", "bob@example", "eve"]) {
    assert.equal(await outcome(world, issue(name)), FAILED, name);
  }
  assert.equal(await world.outcome(), "FATAL 28000: no authentication method is found");
});

Deno.test("hostssl and hostnossl are told apart by what is spoken", async () => {
  await using world = await worldWith(
    "hostssl app all all scram-sha-256\nhostnossl app all all reject\nhost other all all trust\n",
  );
  assert.equal(await outcome(world), "in");
  assert.equal(await world.outcome(), "FATAL 28000: login rejected");
  const other = { database: "other", password: "" };
  assert.equal(await outcome(world, undefined, other), "in");
  assert.equal(await world.outcome(other), "in");
});

Deno.test("clientcert asks for a certificate besides what the method asks for", async () => {
  await using world = await worldWith(
    "hostssl app all all scram-sha-256 clientcert=verify-ca\n" +
      "hostssl full all all scram-sha-256 clientcert=verify-full\n",
  );
  const bobs = MATERIAL.authority.issue({ commonName: "bob" });
  const full = { database: "full" };
  const wrong = { password: "wrong" };
  const refused = "FATAL 28P01: SASL authentication failed";
  assert.equal(await outcome(world, bobs), "in");
  assert.equal(await outcome(world, bobs, wrong), refused);
  assert.equal(await outcome(world), FAILED);
  assert.equal(await outcome(world, MATERIAL.otherClient), FAILED);
  assert.equal(await outcome(world, ADAS, full), "in");
  assert.equal(await outcome(world, ADAS, { ...full, ...wrong }), refused);
  assert.equal(await outcome(world, bobs, full), FAILED);
});

Deno.test("a pooler that could not check certificates does not start by rules that want them", async () => {
  const where = 'config.toml: auth_type is "cert", and ';
  await assert.rejects(PoolerWorld.open({ pooler: WITH_CERT }), {
    message: `${where}"client_tls_sslmode" is "disable"`,
  });
  await assert.rejects(openTlsWorld(MATERIAL, { pooler: WITH_CERT }), {
    message: `${where}"client_tls_ca_file" is not set`,
  });
  for (const rule of ["cert", "md5 clientcert=verify-ca"]) {
    const hba = `host all all all md5\nhostssl all all all ${rule}\n`;
    await assert.rejects(worldWith(hba, { hasAuthority: false }), {
      message: 'hba.conf:2: Client certificates cannot be checked: "client_tls_ca_file" is not set',
    });
  }
});

Deno.test("SET does not make the console ask for certificates that cannot be checked", async () => {
  await using world = await openTlsWorld(MATERIAL, { pooler: 'admin_users = "ada"' });
  const console = await connectByTls(world);
  await console.login({ ...ADA, database: "pgbouncer" });
  const detail = async (sql: string) => (await console.query(sql)).errors[0]?.detail;
  assert.equal(
    await detail("set auth_type = 'cert'"),
    'auth_type "cert": "client_tls_ca_file" is not set',
  );
  assert.equal(
    await detail("set client_tls_sslmode = 'allow'"),
    "Settings for TLS are taken over by RELOAD: change them in the configuration file",
  );
  console.close();
});

// --- channel binding ---

const SCRAM = 'auth_type = "scram-sha-256"\n';

Deno.test("a login over TLS is bound to it, by who demands that and by who may", async () => {
  for (const authType of ["scram-sha-256", "md5"]) {
    const verifier = await scramVerifier("secret");
    await using world = await openTlsWorld(MATERIAL, {
      pooler: `auth_type = "${authType}"\n`,
      sections: `[databases.app]\nhost = "127.0.0.1"\n[users.ada]\npassword = "${verifier}"\n`,
    });
    for (const channelBinding of ["require", "prefer", "disable"] as const) {
      assert.equal(await outcomeByTls(world, { ...ADA, channelBinding }), "in", channelBinding);
    }
    const wrong = { ...ADA, password: "wrong", channelBinding: "require" } as const;
    assert.equal(await outcomeByTls(world, wrong), "FATAL 28P01: SASL authentication failed");
  }
});

Deno.test("SCRAM-SHA-256-PLUS is offered over TLS alone", async () => {
  await using world = await openTlsWorld(MATERIAL, { sslmode: "allow", pooler: SCRAM });
  const offered = async (client: TestClient) => {
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    const names = textOf((await client.receive())!.body.subarray(4));
    client.close();
    return names.split("\0").filter((name) => name !== "");
  };
  assert.deepEqual(await offered(await world.connect()), ["SCRAM-SHA-256"]);
  assert.deepEqual(
    await offered(await connectByTls(world)),
    ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"],
  );
});

Deno.test("a client that believes that no binding was offered, is refused: somebody has hidden it", async () => {
  await using world = await openTlsWorld(MATERIAL, { pooler: SCRAM });
  const client = await connectByTls(world);
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await client.receive();
  await client.send(scramFirst("y,,n=,r=abcdefghijklmnop"));
  const { body, type } = (await client.receive())!;
  assert.equal(type, "E");
  const { message, sqlstate } = readReport(body);
  assert.deepEqual([sqlstate, message], ["28000", "SCRAM channel binding negotiation error"]);
  client.close();
});

Deno.test("a login is bound to the certificate that was shown, though another is in force by now", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { pooler: SCRAM, tlsFiles: files });
  const early = await connectByTls(world);
  await world.settle();
  const { certificate, key } = new TestAuthority("Next").issue({ commonName: "next" });
  files[TLS_FILES.certificate] = certificate;
  files[TLS_FILES.key] = key;
  assert.equal(await world.pooler.reload(), true);
  await early.login({ ...ADA, channelBinding: "require" });
  early.close();
  assert.equal(await outcomeByTls(world, { ...ADA, channelBinding: "require" }), "in");
});
