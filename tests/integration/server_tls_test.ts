/**
 * TLS to PostgreSQL itself, oldest and newest: what its pg_hba.conf demands or forbids, certificates
 * on both sides, bound logins, direct TLS, cancel requests and replication. What is spoken is looked
 * at in pg_stat_ssl: what Sluice believes is not proof.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Flavour } from "../../scripts/embedded_postgres.ts";
import { GuardedDir } from "../../scripts/guarded_process.ts";
import type { Postgres } from "../../scripts/postgres_fixture.ts";
import { psqlWith } from "../support/commands.ts";
import { show } from "../support/console.ts";
import { eventually } from "../support/eventually.ts";
import { frontend } from "../support/messages.ts";
import { outcome } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { makeTlsMaterial } from "../support/tls_material.ts";
import { turnOnTls } from "../support/tls_postgres.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";

const MATERIAL = makeTlsMaterial();

/** Of a name alone, so that the address is another's. */
const SERVER = MATERIAL.authority.issue({ commonName: "db", names: ["localhost"] });

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const FILES = {
  "ca.crt": textOf(MATERIAL.authority.certificate),
  "other.crt": textOf(MATERIAL.otherAuthority.certificate),
  "own.crt": textOf(MATERIAL.client.certificate),
  "own.key": textOf(MATERIAL.client.key),
  "stranger.crt": textOf(MATERIAL.otherClient.certificate),
  "stranger.key": textOf(MATERIAL.otherClient.key),
};

const HBA = [
  "hostssl all tls_only all trust",
  "hostnossl all plain_only all trust",
  "host all tls_only,plain_only all reject",
  "host all scrammed all scram-sha-256",
  "host all md5ed all md5",
  "host all trusted all trust",
  // The name in the certificate.
  "hostssl all alice all cert",
  "host all alice all reject",
  "hostssl replication all all trust",
];

const ROLES = `
  create role tls_only login; create role plain_only login; create role trusted login superuser;
  create role alice login;
  create role scrammed login password 'secret';
  set password_encryption = md5; create role md5ed login password 'secret'`;

const CA = { server_tls_ca_file: "{dir}/ca.crt" };
const OWN = { server_tls_cert_file: "{dir}/own.crt", server_tls_key_file: "{dir}/own.key" };
const STRANGER = {
  server_tls_cert_file: "{dir}/stranger.crt",
  server_tls_key_file: "{dir}/stranger.key",
};
const DIRECT = { server_tls_negotiation: "direct" };
const BOUND = { server_channel_binding: "require" };

/** What comes of it: whether TLS is spoken, or what is told or logged of why nothing is. */
type Case = readonly [user: string, mode: string, settings: ConfigSection, expected: unknown];

const NO_LINE = /no pg_hba.conf entry|rejects connection/;

const CASES: readonly Case[] = [
  ["trusted", "disable", {}, false],
  ["trusted", "allow", {}, false],
  ["trusted", "prefer", {}, true],
  ["trusted", "require", {}, true],
  ["trusted", "verify-ca", CA, true],
  ["trusted", "verify-full", { ...CA, host: "localhost" }, true],
  ["tls_only", "disable", {}, NO_LINE],
  ["tls_only", "allow", {}, true],
  ["tls_only", "prefer", {}, true],
  ["plain_only", "allow", {}, false],
  ["plain_only", "prefer", {}, false],
  ["plain_only", "require", {}, NO_LINE],
  ["alice", "require", OWN, true],
  ["alice", "require", {}, /connection requires a valid client certificate/],
  ["scrammed", "require", BOUND, true],
  ["scrammed", "prefer", { server_channel_binding: "disable" }, true],
  ["md5ed", "require", BOUND, /but not supported by server's authentication request/],
  ["trusted", "require", BOUND, /server authenticated client without channel binding/],
  ["trusted", "require", { server_tls_protocols: "tlsv1.2" }, true],
];

/** What is not told but logged, since the next attempt may be another. */
const UNREACHABLE: readonly Case[] = [
  ["trusted", "verify-ca", { server_tls_ca_file: "{dir}/other.crt" }, /TLS handshake failed: /],
  ["trusted", "verify-full", CA, /TLS handshake failed: /],
  // In TLS 1.3 it is told when the handshake is over.
  ["trusted", "require", STRANGER, /TLS handshake failed: .*unknown ?ca/i],
  // And then libpq does not do without, either: see below.
  ["trusted", "prefer", STRANGER, /TLS handshake failed: .*unknown ?ca/i],
];

const DIRECT_SETTINGS = { ...CA, ...DIRECT, host: "localhost" };

const DIRECT_CASE: Case = ["trusted", "verify-full", DIRECT_SETTINGS, true];

/** Before version 17. */
const NO_DIRECT_CASE: Case = ["trusted", "verify-full", DIRECT_SETTINGS, /TLS handshake failed: /];

const IS_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

function configOf(postgres: Postgres, cases: readonly Case[]): string {
  const databases = cases.map(([user, mode, settings], at) => {
    const { host, port } = postgres;
    const server = { host, port, dbname: "postgres", user, server_tls_sslmode: mode };
    const password = user === "scrammed" || user === "md5ed" ? { password: "secret" } : {};
    return [`d${at}`, { ...server, ...password, ...settings }];
  });
  return configFor(postgres, {
    databases: Object.fromEntries(databases),
    users: { trusted: { password: "x" } },
  });
}

async function checkCases(sluice: SluiceProcess, cases: readonly Case[]): Promise<void> {
  for (const [at, [user, mode, settings, expected]] of cases.entries()) {
    const target = { port: sluice.port, user: "trusted", database: `d${at}` };
    const came = await outcome(target, IS_TLS);
    const which = `${user} ${mode} ${JSON.stringify(settings)}`;
    if (expected instanceof RegExp) assert.match(String(came), expected, which);
    else assert.equal(came, expected, which);
  }
}

const VERSIONS: readonly [flavour: Flavour, hasDirect: boolean][] = [
  ["embedded", true],
  ["debian", false],
];

for (const [flavour, hasDirect] of VERSIONS) {
  const ignore = flavour === "debian" && isMissing("postgresql-15");
  const shared = sharedPostgres({
    flavour,
    hba: HBA,
    isWanted: !ignore,
    async prepare(postgres) {
      await postgres.sql(ROLES);
      await turnOnTls(postgres, {
        server: SERVER,
        authority: MATERIAL.authority.certificate,
      });
    },
  });

  Deno.test({
    name: `PostgreSQL (${flavour}) is spoken to as the mode says and it demands`,
    ignore,
    async fn() {
      const unreachable = [...UNREACHABLE, ...(hasDirect ? [] : [NO_DIRECT_CASE])];
      const cases = [...CASES, ...(hasDirect ? [DIRECT_CASE] : []), ...unreachable];
      const config = configOf(shared.get(), cases);
      await using sluice = await startSluice({ config, files: FILES });
      await checkCases(sluice, cases.slice(0, -unreachable.length));
      for (let at = cases.length - unreachable.length; at < cases.length; at++) {
        const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
        await client.send(frontend.startup({ user: "trusted", database: `d${at}` }));
        const { source } = cases[at]![3] as RegExp;
        await sluice.waitForLog(new RegExp(`d${at}/trusted@.* closing because: ${source}`, "i"));
        client.close();
      }
      const servers = await show({ port: sluice.port, password: shared.get().password }, "servers");
      const shown = servers.find(({ database }) => database === "d3")?.["tls"];
      assert.match(String(shown), /^TLSv1.3\/TLS_/);
    },
  });

  Deno.test({
    name: `PostgreSQL (${flavour}) is asked to cancel, and replicates, over TLS`,
    ignore,
    async fn() {
      const settings = hasDirect ? { ...CA, ...DIRECT, host: "localhost" } : { ...CA };
      const mode = hasDirect ? "verify-full" : "verify-ca";
      const postgres = shared.get();
      const config = configOf(postgres, [["trusted", mode, settings, true]]);
      await using sluice = await startSluice({ config, files: FILES });
      const login = { user: "trusted", database: "d0" };
      const address = { hostname: "127.0.0.1", port: sluice.port };
      const client = await TestClient.connect(address);
      await client.login(login);
      await client.send(frontend.query("select pg_sleep(600)"));
      // A cancel request that comes before the query begins does nothing.
      await eventually("the query is under way", async () => {
        const sleeping = "select from pg_stat_activity where wait_event = 'PgSleep'";
        return (await postgres.sql(sleeping)).length === 1;
      });
      const requester = await TestClient.connect(address);
      await requester.send(frontend.cancelRequest(client.cancelKey!));
      await requester.receiveUntilEnd();
      const { errors } = await client.result();
      assert.deepEqual(errors.map(({ sqlstate }) => sqlstate), ["57014"]);
      const walSender = await TestClient.connect(address);
      await walSender.login({ ...login, parameters: { replication: "database" } });
      assert.equal((await walSender.query("IDENTIFY_SYSTEM")).rows.length, 1);
      const rows = await postgres.sql(
        "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'trusted'",
      );
      assert.deepEqual(rows.map(({ ssl }) => ssl), [true, true]);
      for (const each of [client, requester, walSender]) each.close();
    },
  });

  Deno.test({
    name:
      `PostgreSQL (${flavour}) that refuses a certificate has libpq, preferring TLS, give up as well`,
    ignore: ignore || isMissing("psql"),
    async fn() {
      const { host, port } = shared.get();
      await using dir = await GuardedDir.make("libpq-", undefined);
      for (const name of ["stranger.crt", "stranger.key"] as const) {
        await Deno.writeTextFile(join(dir.path, name), FILES[name], { mode: 0o600 });
      }
      const own = `sslcert=${dir.path}/stranger.crt sslkey=${dir.path}/stranger.key`;
      const outcomes: Record<string, string> = {};
      for (const version of ["TLSv1.2", "TLSv1.3"]) {
        const versions = `ssl_min_protocol_version=${version} ssl_max_protocol_version=${version}`;
        const where = `host=${host} port=${port} user=trusted dbname=postgres sslmode=prefer`;
        const to = { host, port, user: "trusted" };
        const args = ["-d", `${where} ${versions} ${own}`, "-Atc", IS_TLS];
        const { stderr, stdout } = await psqlWith(to, args);
        outcomes[version] = stdout.trim() || /tlsv1 alert unknown ca/.exec(stderr)?.[0] || stderr;
      }
      // Before TLS 1.3 it is the handshake that fails.
      assert.deepEqual(outcomes, { "TLSv1.2": "f", "TLSv1.3": "tlsv1 alert unknown ca" });
    },
  });
}
