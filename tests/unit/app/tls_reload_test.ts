/** What a start and a reload make of the files of TLS, with a whole pooler in memory. */

import assert from "node:assert/strict";
import { TlsSetupError } from "../../../src/net/tls.ts";
import { TestAuthority } from "../../support/certificates.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";
import { makeTlsMaterial } from "../../support/tls_material.ts";
import {
  clientContext,
  connectByTls,
  openTlsWorld,
  outcomeByTls,
  TLS_FILES,
  tlsFiles,
  tlsLines,
} from "../../support/tls_world.ts";

const MATERIAL = makeTlsMaterial();

const NEXT_AUTHORITY = new TestAuthority("Next");
const NEXT = NEXT_AUTHORITY.issue({ commonName: "next" });

const DAY_MS = 86_400_000;

/** Whether a new connection is shown the certificate. */
async function isShown(world: PoolerWorld, certificate: Uint8Array): Promise<boolean> {
  const client = await world.connect();
  try {
    await client.requestTls(clientContext());
    return client.shownCertificate!.every((byte, at) => byte === certificate[at]);
  } finally {
    client.close();
    await world.settle();
  }
}

async function assertAlive(client: TestClient): Promise<void> {
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
}

Deno.test("a pooler whose files are no good does not start, and says which and why", async () => {
  const files = { ...tlsFiles(MATERIAL), [TLS_FILES.key]: NEXT.key };
  await assert.rejects(openTlsWorld(MATERIAL, { tlsFiles: files }), (error) => {
    assert.ok(error instanceof TlsSetupError);
    const { certificate, key } = TLS_FILES;
    const where = `client_tls_cert_file ${certificate}, client_tls_key_file ${key}`;
    assert.equal(
      error.message,
      `TLS setup failed: ${where}: The key is not that of the certificate`,
    );
    return true;
  });
  await assert.rejects(openTlsWorld(MATERIAL, { tlsFiles: {} }), {
    message: /^TLS setup failed: client_tls_cert_file own.crt: No such file or directory\n/,
  });
});

Deno.test("RELOAD takes over files whose content has changed, and old connections go on", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { tlsFiles: files });
  const old = await connectByTls(world);
  await old.login(ADA);
  files[TLS_FILES.certificate] = NEXT.certificate;
  files[TLS_FILES.key] = NEXT.key;
  assert.ok(await isShown(world, MATERIAL.server.der), "not before a reload");
  assert.equal(await world.pooler.reload(), true);
  assert.ok(await isShown(world, NEXT.der));
  await assertAlive(old);
  old.close();
});

Deno.test("a handshake under way when a reload comes goes on as it began", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { tlsFiles: files });
  const client = await world.connect();
  const asked = client.requestTls(clientContext());
  files[TLS_FILES.certificate] = NEXT.certificate;
  files[TLS_FILES.key] = NEXT.key;
  await Promise.all([asked, world.pooler.reload()]);
  await client.login(ADA);
  await assertAlive(client);
  client.close();
});

Deno.test("RELOAD of a bad file changes nothing at all, and says so", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { tlsFiles: files });
  files[TLS_FILES.key] = NEXT.key;
  const pooler = `${tlsLines({})}max_client_conn = 7`;
  assert.equal(await world.reload({ pooler }), false);
  assert.ok(world.hasLogged("TLS setup failed: client_tls_cert_file own.crt, client_tls_key_file"));
  assert.ok(world.hasLogged("reload failed, nothing has been changed"));
  assert.equal(world.pooler.live.settings.maxClientConn, 100);
  assert.ok(await isShown(world, MATERIAL.server.der));
});

Deno.test("RELOAD that fails for another reason leaves TLS as it was", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { tlsFiles: files });
  world.failReloads(new Error("no log file"));
  files[TLS_FILES.certificate] = NEXT.certificate;
  files[TLS_FILES.key] = NEXT.key;
  assert.equal(await world.pooler.reload(), false);
  assert.ok(await isShown(world, MATERIAL.server.der));
});

Deno.test("RELOAD turns TLS on, demands it, and turns it off again", async () => {
  const tls = tlsFiles(MATERIAL);
  await using world = await PoolerWorld.open({ tlsFiles: tls });
  const answer = async () => {
    const client = await world.connect();
    const answer = await client.requestTls(clientContext());
    client.close();
    return answer;
  };
  assert.equal(await answer(), "N");
  assert.equal(await world.reload({ pooler: tlsLines({ sslmode: "require" }) }), true);
  assert.equal(await answer(), "S");
  assert.equal(await world.outcome(), "FATAL 08P01: SSL required");
  const secure = await connectByTls(world);
  await secure.login(ADA);
  assert.equal(await world.reload({}), true);
  assert.equal(await answer(), "N");
  assert.equal(await world.outcome(), "in");
  await assertAlive(secure);
  secure.close();
});

Deno.test("RELOAD of another authority refuses who was let in by the old one", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { sslmode: "verify-full", tlsFiles: files });
  const shown = { certificate: MATERIAL.client };
  assert.equal(await outcomeByTls(world, ADA, shown), "in");
  files[TLS_FILES.authority] = NEXT_AUTHORITY.certificate;
  assert.equal(await world.pooler.reload(), true);
  assert.notEqual(await outcomeByTls(world, ADA, shown), "in");
  assert.ok(world.hasLogged("TLS handshake error: unknown certificate authority"));
  assert.equal(await outcomeByTls(world, ADA, { certificate: NEXT }), "in");
});

Deno.test("RELOAD of a list that revokes a certificate refuses it", async () => {
  const files: ReturnType<typeof tlsFiles> = {
    ...tlsFiles(MATERIAL),
    "ca.crl": MATERIAL.authority.revoke(),
  };
  await using world = await openTlsWorld(MATERIAL, {
    sslmode: "verify-full",
    tlsFiles: files,
    pooler: 'client_tls_crl_file = "ca.crl"\n',
  });
  const shown = { certificate: MATERIAL.client };
  assert.equal(await outcomeByTls(world, ADA, shown), "in");
  files["ca.crl"] = MATERIAL.authority.revoke(MATERIAL.client);
  assert.equal(await world.pooler.reload(), true);
  assert.notEqual(await outcomeByTls(world, ADA, shown), "in");
  assert.ok(world.hasLogged("TLS handshake error: certificate revoked"));
});

Deno.test("RELOAD DRY tells which files hold something else, and changes nothing", async () => {
  const files = tlsFiles(MATERIAL);
  await using world = await openTlsWorld(MATERIAL, { tlsFiles: files });
  assert.deepEqual(await world.pooler.planReload(), []);
  files[TLS_FILES.certificate] = NEXT.certificate;
  files[TLS_FILES.key] = NEXT.key;
  const change = (setting: string, path: string) => ({
    kind: "tls_file",
    name: setting,
    before: path,
    after: `${path} (changed)`,
    effect: "at once",
  });
  assert.deepEqual(await world.pooler.planReload(), [
    change("client_tls_cert_file", TLS_FILES.certificate),
    change("client_tls_key_file", TLS_FILES.key),
  ]);
  assert.ok(await isShown(world, MATERIAL.server.der));
  files[TLS_FILES.key] = MATERIAL.server.key;
  await assert.rejects(world.pooler.planReload(), { message: "Cannot reload: see the log" });
});

Deno.test("a certificate that expires soon is warned of at start, by a reload, and once a day", async () => {
  const files = tlsFiles(MATERIAL);
  const startMs = new FakeClock().wallMs();
  const useOneFor = (days: number) => {
    const notAfter = new Date(startMs + days * DAY_MS);
    const own = MATERIAL.authority.issue({ commonName: "soon", notAfter });
    files[TLS_FILES.certificate] = own.certificate;
    files[TLS_FILES.key] = own.key;
  };
  useOneFor(31);
  await using world = await openTlsWorld(MATERIAL, { tlsFiles: files });
  const warnings = () =>
    world.log.filter((line) => line.includes("client_tls_cert_file own.crt: the certificate "))
      .map((line) => line.replace(/^.*the certificate /, ""));
  const passADay = async () => {
    world.clock.advance(DAY_MS);
    world.pooler.janitor.sweep();
    await world.settle();
  };
  assert.deepEqual(warnings(), []);
  await passADay();
  assert.deepEqual(warnings(), ["expires in 29 days, on 2026-12-23"]);
  world.pooler.janitor.sweep();
  assert.equal(warnings().length, 1);
  useOneFor(2);
  assert.equal(await world.pooler.reload(), true);
  assert.equal(warnings()[1], "expires in 0 days, on 2026-11-24");
  await passADay();
  assert.equal(warnings()[2], "expired 0 days ago, on 2026-11-24");
});
