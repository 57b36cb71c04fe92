/**
 * TLS with real clients: every mode of psql against every mode of Sluice, client certificates of all
 * kinds, direct TLS, and logins bound to the connection.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { psqlWith } from "../support/commands.ts";
import { frontend } from "../support/messages.ts";
import { runSluice, type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { makeTlsMaterial } from "../support/tls_material.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";
import type { TestCertificate } from "../support/certificates.ts";

const MATERIAL = makeTlsMaterial();

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

const PASSWORD = "s3cret of alice";

const shared = sharedPostgres({
  async prepare(postgres) {
    await postgres.sql(`create role alice login password '${PASSWORD}'`);
  },
});

/** Files of the clients, which psql wants to be of nobody else. */
let clientDir = "";

Deno.test.beforeAll(async () => {
  clientDir = await Deno.makeTempDir({ prefix: "sluice-tls-" });
  const write = (name: string, bytes: Uint8Array) =>
    Deno.writeFile(join(clientDir, name), bytes, { mode: 0o600 });
  await write("ca.crt", MATERIAL.authority.certificate);
  for (const [name, { certificate, key }] of Object.entries(CERTIFICATES)) {
    await write(`${name}.crt`, certificate);
    await write(`${name}.key`, key);
  }
});

Deno.test.afterAll(async () => {
  await Deno.remove(clientDir, { recursive: true });
});

/** What clients show, by name; roles are named after what they are good for. */
const CERTIFICATES: Readonly<Record<string, TestCertificate>> = {
  good: MATERIAL.client,
  expired: MATERIAL.expiredClient,
  foreign: MATERIAL.otherClient,
  bobs: MATERIAL.authority.issue({ commonName: "bob" }),
};

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const FILES = {
  "own.crt": textOf(MATERIAL.server.certificate),
  "own.key": textOf(MATERIAL.server.key),
  "ca.crt": textOf(MATERIAL.authority.certificate),
};

/** The configuration with such a mode; alice is everything. */
function configOf(sslmode: string, pooler: ConfigSection = {}): string {
  return configFor(shared.get(), {
    pooler: {
      admin_users: "alice",
      unix_socket_dir: "{dir}",
      client_tls_sslmode: sslmode,
      client_tls_cert_file: "{dir}/own.crt",
      client_tls_key_file: "{dir}/own.key",
      ...(sslmode.startsWith("verify-") ? { client_tls_ca_file: "{dir}/ca.crt" } : {}),
      ...pooler,
    },
    users: { alice: { password: PASSWORD } },
  });
}

function start(sslmode: string, pooler: ConfigSection = {}): Promise<SluiceProcess> {
  return startSluice({ config: configOf(sslmode, pooler), files: FILES });
}

/** Has Sluice read its files again. */
async function reload(sluice: SluiceProcess): Promise<void> {
  const fromOffset = sluice.log().length;
  sluice.signal("SIGHUP");
  await sluice.waitForLog(/configuration reloaded/, { fromOffset });
}

/** How psql is to connect. */
interface Connection {
  readonly sslmode: string;
  readonly certificate?: string;
  readonly database?: string;
  readonly more?: string;
}

function psql(
  { port }: SluiceProcess,
  { certificate, database = "pgbouncer", more = "", sslmode }: Connection,
  sql: string,
) {
  const shown = certificate ?? "none";
  const target = `dbname=${database} sslmode=${sslmode} sslrootcert=${clientDir}/ca.crt ` +
    `sslcert=${clientDir}/${shown}.crt sslkey=${clientDir}/${shown}.key ${more}`;
  return psqlWith({ port, user: "alice", password: PASSWORD }, ["-At", "-d", target, "-c", sql]);
}

/** What comes of a connection: what it is protected by, or why it is none. */
async function outcome(sluice: SluiceProcess, connection: Connection): Promise<string> {
  // Others may be connected at the same moment.
  const name = `psql_${connection.sslmode.replace("-", "_")}`;
  const more = `${connection.more ?? ""} application_name=${name}`;
  const { code, stderr, stdout } = await psql(sluice, { ...connection, more }, "show clients");
  if (code === 0) {
    const own = stdout.split("\n").find((line) => line.includes(name));
    assert.ok(own !== undefined, stdout);
    return own.includes("|TLSv1.") ? "tls" : "plain";
  }
  return stderr.replace(/^psql: error: .*?failed: /s, "").trim();
}

const NO_TLS = "server does not support SSL, but SSL was required";
const REFUSED = "FATAL:  SSL required";

/** psql's mode by Sluice's. */
// deno-fmt-ignore
const TABLE: Readonly<Record<(typeof MODES)[number], readonly string[]>> = {
//                disable  allow    prefer   require verify-ca verify-full
  "disable":     ["plain", "plain", "plain", NO_TLS, NO_TLS,   NO_TLS],
  "allow":       ["plain", "plain", "tls",   "tls",  "tls",    "tls"],
  "prefer":      ["plain", "plain", "tls",   "tls",  "tls",    "tls"],
  "require":     [REFUSED, "tls",   "tls",   "tls",  "tls",    "tls"],
  "verify-ca":   [REFUSED, "tls",   "tls",   "tls",  "tls",    "tls"],
  "verify-full": [REFUSED, "tls",   "tls",   "tls",  "tls",    "tls"],
};

Deno.test({
  name: "every sslmode of psql meets every client_tls_sslmode as it meets PostgreSQL",
  ignore: isMissing("psql"),
  async fn() {
    await using sluice = await start("disable");
    for (const mode of MODES) {
      await sluice.rewriteConfig(configOf(mode));
      await reload(sluice);
      const row = await Promise.all(
        MODES.map((sslmode) => outcome(sluice, { sslmode, certificate: "good" })),
      );
      assert.deepEqual(row, TABLE[mode], mode);
    }
  },
});

Deno.test({
  name: "a client certificate lets in whom it names, as long as its authority is believed",
  ignore: isMissing("psql"),
  async fn() {
    const pooler = { auth_type: "cert", client_tls_ca_file: "{dir}/ca.crt" };
    await using sluice = await start("verify-full", pooler);
    const meet = async (certificate: string | undefined, expected: RegExp) => {
      const shown = certificate === undefined ? {} : { certificate };
      assert.match(await outcome(sluice, { sslmode: "verify-full", ...shown }), expected);
    };
    await meet("good", /^tls$/);
    await meet("bobs", /^FATAL: {2}certificate authentication failed$/);
    // Whether the alert is still read, or the end of the connection comes first, is chance.
    const ended = /alert|EOF detected|reset by peer|closed the connection unexpectedly/;
    for (const certificate of ["expired", "foreign", undefined]) {
      const fromOffset = sluice.log().length;
      await meet(certificate, ended);
      await sluice.waitForLog(/TLS handshake error: .*certificate/, { fromOffset });
    }
    // Who is not demanded to have one is told after the handshake.
    await sluice.rewriteConfig(configOf("require", pooler));
    await reload(sluice);
    await meet("good", /^tls$/);
    for (const certificate of ["bobs", "expired", "foreign", undefined]) {
      await meet(certificate, /^FATAL: {2}certificate authentication failed$/);
    }
    // An authority that is replaced is believed no longer.
    const other = textOf(MATERIAL.otherAuthority.certificate);
    await Deno.writeTextFile(join(sluice.dir, "ca.crt"), other, { create: false });
    await reload(sluice);
    await meet("good", /^FATAL: {2}certificate authentication failed$/);
  },
});

Deno.test({
  name: "psql binds its login to TLS, and gets whole what it asks for over it",
  ignore: isMissing("psql"),
  async fn() {
    await using sluice = await start("require", { auth_type: "scram-sha-256" });
    const connection = {
      sslmode: "verify-full",
      database: "postgres",
      more: "channel_binding=require",
    };
    const sql = "copy (select i, repeat('x', 50) from generate_series(1, 150000) i) to stdout";
    const { code, stderr, stdout } = await psql(sluice, connection, sql);
    assert.deepEqual([code, stderr], [0, ""]);
    const hash = createHash("md5");
    for (let i = 1; i <= 150_000; i++) hash.update(`${i}\t${"x".repeat(50)}\n`);
    assert.equal(createHash("md5").update(stdout).digest("hex"), hash.digest("hex"));
    assert.match(sluice.log(), /login attempt: db=postgres user=alice tls=TLSv1\.3\/TLS_/);
  },
});

/** Connects by TLS without having asked for it. */
async function connectDirectly(
  { port }: SluiceProcess,
  alpnProtocols: string[],
): Promise<TestClient> {
  const caCerts = [FILES["ca.crt"]];
  const conn = await Deno.connectTls({ hostname: "localhost", port, caCerts, alpnProtocols });
  try {
    await conn.handshake();
  } catch (error) {
    conn.close();
    throw error;
  }
  return new TestClient(conn);
}

Deno.test("direct TLS is served to who asks for PostgreSQL's protocol, and to nobody else", async () => {
  await using sluice = await start("require");
  const login = { user: "alice", database: "pgbouncer", password: PASSWORD };
  const direct = await connectDirectly(sluice, ["postgresql"]);
  await direct.login(login);
  assert.match((await direct.query("show clients")).rows[0]![17]!, /^TLSv1\.3\//);
  direct.close();
  const silent = await connectDirectly(sluice, []);
  await assert.rejects(silent.login(login));
  silent.close();
  await assert.rejects(connectDirectly(sluice, ["http/1.1"]));
  await sluice.waitForLog(/direct TLS connection without ALPN/);
});

for (const engine of ["auto", "portable"]) {
  Deno.test(`io_engine ${engine}: a cancel request over TLS ends with close_notify, whatever came of it`, async () => {
    await using sluice = await start("require", { io_engine: engine });
    using plain = await Deno.connect({ hostname: "127.0.0.1", port: sluice.port });
    await plain.write(frontend.sslRequest());
    const answer = new Uint8Array(1);
    assert.equal(await plain.read(answer), 1);
    assert.equal(textOf(answer), "S");
    const canceler = await Deno.startTls(plain, {
      hostname: "localhost",
      caCerts: [textOf(MATERIAL.authority.certificate)],
    });
    await canceler.write(frontend.cancelRequest(new Uint8Array(8)));
    // Without close_notify this rejects.
    assert.equal(await canceler.read(answer), null);
    canceler.close();
  });
}

Deno.test("sluice check sets TLS up, and says what is wrong with it or until when it is good", async () => {
  const check = async (files: Readonly<Record<string, string>>, pooler: ConfigSection = {}) => {
    const { code, stderr, stdout } = await runSluice({
      config: configOf("verify-ca", pooler),
      args: ["check"],
      files,
    });
    return { code, text: `${stdout}${stderr}`.replaceAll(/\/\S*\//g, "") };
  };
  const good = await check(FILES);
  assert.equal(good.code, 0);
  assert.match(good.text, /^client_tls_cert_file own.crt: the certificate expires in \d+ days/m);
  const bad = await check({ ...FILES, "own.key": textOf(MATERIAL.client.key) });
  assert.equal(bad.code, 2);
  assert.match(bad.text, /TLS setup failed: .*client_tls_key_file own.key.*: .*key/);
  const unknown = await check(FILES, { client_tls_ciphers: "nonsense" });
  assert.match(unknown.text, /^TLS setup failed: client_tls_ciphers nonsense: /);
  const missing = await check({ "own.key": FILES["own.key"], "own.crt": FILES["own.crt"] });
  assert.equal(
    missing.text,
    "TLS setup failed: client_tls_ca_file ca.crt: No such file or directory\n",
  );
});

Deno.test({
  name: "a key that root alone may read is found out by sluice check and at start, not by a reload",
  ignore: Deno.uid() !== 0 || Deno.build.os !== "linux",
  async fn() {
    const config = configOf("require", { user: "nobody" });
    for (const args of [["check"], []]) {
      const { code, stderr } = await runSluice({ config, args, files: FILES, uid: 0 });
      assert.equal(code, 2);
      assert.match(stderr, /^TLS setup failed: client_tls_key_file \S+: Permission denied$/m);
    }
  },
});
