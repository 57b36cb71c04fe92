/**
 * Logins by LDAP against Debian's slapd: in both modes, over all three kinds of connection, and what
 * comes of it where names, certificates or servers are bad. The name of the database chooses the line.
 */

import assert from "node:assert/strict";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { BlackHole } from "../support/black_hole.ts";
import { logIn, outcome } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { SEARCHER, Slapd } from "../support/slapd.ts";
import { SluiceFolder } from "../support/sluice_command.ts";
import { serverOf, tomlConfig } from "../support/toml_config.ts";

const ignore = isMissing("slapd", "openssl");

const ADA = { uid: "ada", mail: "both@example.net", password: "ada's pässword" };
const BOB = { uid: "bob", mail: "both@example.net", password: "b0b" };
const EVE = { uid: "eve", mail: "eve@example.net", password: "eve" };
const ODD = { uid: "o\\,dd", mail: "odd@example.net", password: "odd" };

const FAILED = "28000 LDAP authentication failed";
const NOT_NOW = "08006 authentication is not available now";

const shared = sharedPostgres({
  isWanted: !ignore,
  hba: ["host all ada all password"],
  async prepare(postgres) {
    await postgres.sql(`create role ada login password '${ADA.password.replace("'", "''")}'`);
  },
});

const running: {
  slapd?: Slapd;
  hole?: BlackHole;
  sluice?: SluiceProcess;
  stack?: AsyncDisposableStack;
} = {};

/** The lines, by database. */
function rules({ port, tlsPort }: Slapd, hole: BlackHole): Readonly<Record<string, string>> {
  const search =
    `ldapbasedn="dc=example,dc=net" ldapbinddn="${SEARCHER.dn}" "ldapbindpasswd=${SEARCHER.password}"`;
  const at = (servers: string, its = port) => `ldapserver="${servers}" ldapport=${its}`;
  const simple = 'ldapprefix="uid=" ldapsuffix=",dc=example,dc=net"';
  return {
    simple: `${at("127.0.0.1")} ${simple}`,
    search: `${at("127.0.0.1")} ${search}`,
    filter: `${at("127.0.0.1")} ${search} ldapsearchfilter="(&(sn=$username)(mail=*))"`,
    mail: `${at("127.0.0.1")} ${search} ldapsearchattribute=mail`,
    url: `ldapurl="ldaps://localhost:${tlsPort}/dc=example,dc=net?uid?sub" ${
      search.slice(search.indexOf("ldapbinddn"))
    }`,
    starttls: `${at("localhost")} ${search} ldaptls=1`,
    ldaps: `${at("localhost", tlsPort)} ldapscheme=ldaps ${simple}`,
    wrongname: `${at("127.0.0.1", tlsPort)} ldapscheme=ldaps ${simple}`,
    wrongtls: `${at("127.0.0.1")} ldaptls=1 ${simple}`,
    plainport: `${at("localhost")} ldapscheme=ldaps ${simple}`,
    searcher: `${at("127.0.0.1")} ${search.replace("s3archer", "another")}`,
    second: `${at("127.0.0.2 127.0.0.1")} ${simple}`,
    down: `${at("127.0.0.1", freePort())} ${simple}`,
    silent: `${at("127.0.0.1", hole.port)} ${simple}`,
    typed: `${at("127.0.0.1")} ${simple}`,
  };
}

if (!ignore) {
  Deno.test.beforeAll(async () => {
    await using stack = new AsyncDisposableStack();
    const slapd = stack.use(await Slapd.start([ADA, BOB, EVE, ODD]));
    const hole = stack.use(await BlackHole.make());
    const sluice = stack.use(await startPooler(rules(slapd, hole), slapd.authority));
    Object.assign(running, { slapd, hole, sluice, stack: stack.move() });
  });
  Deno.test.afterAll(async () => await running.stack?.disposeAsync());
}

async function startPooler(
  lines: Readonly<Record<string, string>>,
  authority: string | undefined,
): Promise<SluiceProcess> {
  const postgres = shared.get();
  const hba = Object.entries(lines).map(([database, options]) =>
    `host ${database} all all ldap ${options}\n`
  );
  const { password, superuser } = postgres;
  const forced = { ...serverOf(postgres), dbname: "postgres", user: superuser, password };
  return await startSluice({
    config: tomlConfig({
      pooler: {
        auth_type: "hba",
        auth_hba_file: "{dir}/hba.conf",
        auth_file: "{dir}/users.txt",
        ...(authority === undefined ? {} : { auth_ldap_ca_file: "{dir}/ca.pem" }),
      },
      databases: { "*": forced, typed: { ...serverOf(postgres), dbname: "postgres" } },
    }),
    files: {
      "hba.conf": hba.join(""),
      "users.txt": ["ada", "bob", "o,dd", "*", "a)(uid=*", "both@example.net"].map((user) =>
        `"${user}" ""\n`
      ).join(""),
      ...(authority === undefined ? {} : { "ca.pem": authority }),
    },
  });
}

const CASES:
  readonly (readonly [database: string, user: string, password: string, said: string])[] = [
    ["simple", "ada", ADA.password, "in"],
    ["simple", "ada", "wrong", FAILED],
    ["simple", "ada", "", "28P01 empty password returned by client"],
    ["simple", "nobody", "x", FAILED],
    ["simple", "eve", EVE.password, FAILED], // in the directory, and not known to Sluice
    ["simple", "o,dd", ODD.password, "in"],
    ["search", "ada", ADA.password, "in"],
    ["search", "bob", ADA.password, FAILED],
    ["search", "nobody", "x", FAILED],
    ["search", "*", ADA.password, FAILED],
    ["search", "a)(uid=*", ADA.password, FAILED],
    ["search", "ada", "x".repeat(9_000), FAILED],
    ["filter", "ada", ADA.password, "in"],
    ["mail", "both@example.net", ADA.password, FAILED], // two entries
    ["url", "bob", BOB.password, "in"],
    ["url", "bob", "wrong", FAILED],
    ["starttls", "ada", ADA.password, "in"],
    ["starttls", "ada", "wrong", FAILED],
    ["ldaps", "ada", ADA.password, "in"],
    ["wrongname", "ada", ADA.password, NOT_NOW],
    ["wrongtls", "ada", ADA.password, NOT_NOW],
    ["plainport", "ada", ADA.password, NOT_NOW],
    ["searcher", "ada", ADA.password, NOT_NOW],
    ["second", "ada", ADA.password, "in"],
    ["down", "ada", ADA.password, NOT_NOW],
    ["silent", "ada", ADA.password, NOT_NOW],
    ["typed", "ada", ADA.password, "in"], // PostgreSQL asks for the password itself
  ];

Deno.test({
  name: "a login by LDAP leads where PostgreSQL's would, and no secret gets into the log",
  ignore,
  async fn(t) {
    const { port } = running.sluice!;
    // All at once: a directory that does not answer holds nobody else up.
    const said = CASES.map(([database, user, password]) =>
      outcome({ port, database, user, password })
    );
    for (const [i, [database, user, password, expected]] of CASES.entries()) {
      const name = `${database} as ${user} with ${password.slice(0, 20)}: ${expected}`;
      await t.step(name, async () => assert.equal(await said[i], expected));
    }
    const log = running.sluice!.log();
    for (const { password } of [ADA, SEARCHER]) assert.equal(log.includes(password), false);
    assert.match(log, /LDAP user "nobody" does not exist/);
    assert.match(log, /LDAP user "both@example.net" is not unique/);
    assert.match(log, /ldap: 127.0.0.1:\d+: connecting: no answer within 3 s/);
    assert.match(log, /ldap: 127.0.0.1:\d+: connecting: [^\n]*(altnames|not valid for name)/i);
    assert.equal(/internal error/.test(log), false);
  },
});

Deno.test({
  name: "without auth_ldap_ca_file a certificate of an unknown authority is not taken",
  ignore,
  async fn() {
    const { starttls } = rules(running.slapd!, running.hole!);
    await using sluice = await startPooler({ starttls: starttls! }, undefined);
    const ada = { port: sluice.port, database: "starttls", user: "ada", password: ADA.password };
    assert.equal(await outcome(ada), NOT_NOW);
    assert.match(sluice.log(), /connecting: [^\n]*certificate/);
  },
});

Deno.test("sluice check and sluice hba say where users are looked for, without the password", async () => {
  const options = "ldapserver=a ldapbasedn=dc=x ldapbinddn=cn=s ldapbindpasswd=hunter2";
  await using folder = await SluiceFolder.make({
    "c.toml": tomlConfig({
      pooler: { auth_type: "ldap", auth_ldap_options: options, auth_hba_file: "{dir}/hba.conf" },
    }),
    "hba.conf": `host all all all ldap ${options} ldaptls=1\nlocal all all pam\n`,
  });
  const search = 'search (uid=$username) in "dc=x" (sub)';
  const checked = await folder.run(["check", "c.toml"]);
  assert.match(checked.stdout, /\nauth_ldap_options: ldap:\/\/a:389, search /);
  const ask = (...more: string[]) =>
    folder.run(["hba", "c.toml", "--user=ada", "--database=app", ...more]);
  const asked = await ask("--address=10.0.0.1");
  assert.ok(asked.stdout.includes(`method ldap ldap://a:389 by StartTLS, ${search}, by `));
  assert.match((await ask()).stdout, /method pam pamservice=pgbouncer, by /);
  for (const { stdout } of [checked, asked]) assert.equal(stdout.includes("hunter2"), false);
});

Deno.test({
  name: "many logins by LDAP at once are all let in",
  ignore,
  async fn() {
    const { port } = running.sluice!;
    const ada = { port, database: "search", user: "ada", password: ADA.password };
    const clients = await Promise.all(Array.from({ length: 40 }, () => logIn(ada)));
    await Promise.all(clients.map((client) => client.end()));
    assert.equal(clients.length, 40);
  },
});
