/**
 * Who gets in, on both sides of the pooler: every `auth_type` with every kind of stored secret, and
 * what the pooler answers to a server that asks for a password.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import postgresJs from "postgres";
import { configFor, type ConfigSection, serverOf } from "../support/toml_config.ts";
import { psql } from "../support/commands.ts";
import { ask, type LoginTarget, outcome } from "../support/logins.ts";
import { cstring, frontend, int32, join, utf8 } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { scramChallenge } from "../support/scram_challenge.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";

const PASSWORD = "s3cret of alice";

/** Roles of the server, each let in by its own method. */
const SERVER_METHODS = ["trust", "password", "md5", "scram-sha-256"] as const;

const shared = sharedPostgres({
  hba: SERVER_METHODS.map((method) => `host all by_${method.replaceAll("-", "_")} all ${method}`),
  async prepare(postgres) {
    for (const method of SERVER_METHODS) {
      const encryption = method === "md5" ? "md5" : "scram-sha-256";
      await postgres.sql(
        `set password_encryption = '${encryption}';
         create role by_${method.replaceAll("-", "_")} login password '${PASSWORD}'`,
      );
    }
  },
});

function md5Hash(password: string, user: string): string {
  return `md5${createHash("md5").update(password + user).digest("hex")}`;
}

/** The verifier that the server itself keeps for one of its roles. */
async function verifierOf(role: string): Promise<string> {
  const rows = await shared.get().sql(
    `select rolpassword from pg_authid where rolname = '${role}'`,
  );
  return String(rows[0]?.["rolpassword"]);
}

/** A pooler with one database, on which all clients are the superuser. */
async function startForClients(
  authType: string,
  users: Readonly<Record<string, ConfigSection>> = {},
): Promise<SluiceProcess> {
  const postgres = shared.get();
  const forced = { user: postgres.superuser, password: postgres.password };
  return await startSluice({
    config: configFor(postgres, {
      pooler: { auth_type: authType },
      databases: { app: { ...serverOf(postgres), dbname: "postgres", ...forced } },
      users,
    }),
  });
}

/** One user for each kind of secret, all with the same password. */
async function usersOfEveryKind(): Promise<Record<string, ConfigSection>> {
  return {
    plain: { password: PASSWORD },
    md5: { password: md5Hash(PASSWORD, "md5") },
    scram: { password: await verifierOf("by_scram_sha_256") },
    none: {},
  };
}

function target(sluice: SluiceProcess, user: string, password?: string): LoginTarget {
  const secret = password === undefined ? {} : { password };
  return { port: sluice.port, user, database: "app", ...secret };
}

function connectTo({ port }: SluiceProcess): Promise<TestClient> {
  return TestClient.connect({ hostname: "127.0.0.1", port });
}

const WRONG = "28P01 password authentication failed";
const WRONG_SASL = "28P01 SASL authentication failed";
/** Of those without a secret some are asked by the one way and some by the other, by machine. */
const WRONG_EITHER_WAY = "28P01, by MD5 or SCRAM";

/** What comes of the right password, by method and kind of secret. */
const OUTCOMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "plain": { plain: "in", md5: "in", scram: "in", none: WRONG, nobody: WRONG },
  "md5": {
    plain: "in",
    md5: "in",
    scram: "in",
    none: WRONG_EITHER_WAY,
    nobody: WRONG_EITHER_WAY,
  },
  "scram-sha-256": {
    plain: "in",
    md5: WRONG_SASL,
    scram: "in",
    none: WRONG_SASL,
    nobody: WRONG_SASL,
  },
};

for (const [authType, byUser] of Object.entries(OUTCOMES)) {
  Deno.test(`auth_type ${authType} lets in whose stored secret it can check, and nobody else`, async () => {
    await using sluice = await startForClients(authType, await usersOfEveryKind());
    for (const [user, expected] of Object.entries(byUser)) {
      const [right, wrong] = [
        await outcome(target(sluice, user, PASSWORD)),
        await outcome(target(sluice, user, `${PASSWORD}.`)),
      ];
      if (expected === WRONG_EITHER_WAY) {
        assert.ok(right === WRONG || right === WRONG_SASL, user);
        assert.equal(wrong, right, `${user} is always asked in the same way`);
        continue;
      }
      assert.equal(right, expected, user);
      const isSasl = authType === "scram-sha-256" || authType === "md5" && user === "scram";
      assert.equal(wrong, isSasl ? WRONG_SASL : WRONG, `${user} with a wrong password`);
    }
  });
}

Deno.test("auth_type trust lets in every user it knows, and asks for nothing", async () => {
  await using sluice = await startForClients("trust", await usersOfEveryKind());
  for (const user of ["plain", "md5", "scram"]) {
    assert.equal(await outcome(target(sluice, user)), "in", user);
  }
  assert.equal(await outcome(target(sluice, "nobody")), '28000 "trust" authentication failed');
});

Deno.test("auth_type any lets in everybody to a database with a forced user, and to no other", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { auth_type: "any" },
      databases: {
        app: {
          ...serverOf(postgres),
          dbname: "postgres",
          user: "postgres",
          password: postgres.password,
        },
        other: { ...serverOf(postgres), dbname: "postgres" },
      },
    }),
  });
  assert.equal(await outcome(target(sluice, "anybody"), "select current_user"), "postgres");
  const refused = await outcome({ ...target(sluice, "anybody"), database: "other" });
  assert.equal(refused, "XX000 bouncer config error");
});

Deno.test("an empty password is refused as such", async () => {
  for (const [authType, text] of [["plain", "\0"], ["md5", "\0"]] as const) {
    await using sluice = await startForClients(authType, { plain: { password: PASSWORD } });
    const client = await connectTo(sluice);
    await client.send(frontend.startup({ user: "plain", database: "app" }));
    assert.equal((await client.receive())?.type, "R");
    await client.send(frontend.password(utf8(text)));
    const { errors } = await client.result();
    assert.deepEqual(errors, [{
      severity: "FATAL",
      sqlstate: "28P01",
      message: "empty password returned by client",
    }]);
    client.close();
  }
});

Deno.test("an unknown user is asked like a known one, with a salt that stays the same", async () => {
  await using sluice = await startForClients("scram-sha-256", { plain: { password: PASSWORD } });
  const known = await scramChallenge(await connectTo(sluice), "plain");
  const unknown = await scramChallenge(await connectTo(sluice), "nobody");
  assert.match(known, /^s=[A-Za-z0-9+/]{22}==,i=4096$/);
  assert.match(unknown, /^s=[A-Za-z0-9+/]{22}==,i=4096$/);
  assert.notEqual(known, unknown);
  assert.equal(await scramChallenge(await connectTo(sluice), "plain"), known);
  assert.equal(await scramChallenge(await connectTo(sluice), "nobody"), unknown);
});

Deno.test("a SASL mechanism that was not offered is refused", async () => {
  await using sluice = await startForClients("scram-sha-256", { plain: { password: PASSWORD } });
  const client = await connectTo(sluice);
  await client.send(frontend.startup({ user: "plain", database: "app" }));
  await client.receive();
  await client.send(frontend.password(join(cstring("SCRAM-SHA-256-PLUS"), int32(-1))));
  const { errors } = await client.result();
  assert.equal(errors[0]?.sqlstate, "08P01");
  assert.match(errors[0]?.message ?? "", /invalid SASL authentication mechanism/);
  client.close();
});

Deno.test("whether a database exists is told only to whom has logged in", async () => {
  await using sluice = await startForClients("scram-sha-256", { plain: { password: PASSWORD } });
  const nowhere = (password: string) =>
    outcome({ ...target(sluice, "plain", password), database: "nowhere" });
  assert.equal(await nowhere("wrong"), WRONG_SASL);
  assert.equal(await nowhere(PASSWORD), "3D000 no such database: nowhere");
});

Deno.test("the log says why a login was refused; the client hears the same in every case", async () => {
  await using sluice = await startForClients("scram-sha-256", await usersOfEveryKind());
  for (const user of ["plain", "nobody", "md5"]) {
    assert.equal(await outcome(target(sluice, user, "wrong")), WRONG_SASL);
  }
  await sluice.waitForLog(/ app\/plain@.*wrong password/);
  await sluice.waitForLog(/ app\/nobody@.*no such user/);
  await sluice.waitForLog(/ app\/md5@.*MD5/);
});

Deno.test("fifty SCRAM logins at once all succeed, those with a wrong password all fail", async () => {
  await using sluice = await startForClients("scram-sha-256", await usersOfEveryKind());
  const logins = Array.from({ length: 50 }, (_, i) => {
    const user = i % 2 === 0 ? "plain" : "scram";
    return outcome(target(sluice, user, i % 5 === 4 ? "wrong" : PASSWORD));
  });
  const outcomes = await Promise.all(logins);
  const expected = outcomes.map((_, i) => i % 5 === 4 ? WRONG_SASL : "in");
  assert.deepEqual(outcomes, expected);
});

/** A pooler whose clients need no password, for roles whose secret is known here as `secrets` say. */
async function startForServers(
  secrets: Readonly<Record<string, string>>,
  pooler: ConfigSection = {},
  postgres: Postgres = shared.get(),
): Promise<SluiceProcess> {
  const users = Object.entries(secrets).map(([name, password]) => [name, { password }] as const);
  return await startSluice({
    config: configFor(postgres, { pooler, users: Object.fromEntries(users) }),
  });
}

const WRONG_TYPE = "28000 server login failed: wrong password type";

/** Logs in as `user` and answers whom the server takes it for, or the error. */
async function whoAmI(sluice: SluiceProcess, user: string, password?: string): Promise<unknown> {
  const secret = password === undefined ? {} : { password };
  return await outcome({ port: sluice.port, user, ...secret }, "select current_user::text");
}

Deno.test("a plain secret answers a server that asks for a password, MD5 or SCRAM, and one that does not", async () => {
  const roles = ["by_trust", "by_password", "by_md5", "by_scram_sha_256"];
  await using sluice = await startForServers(
    Object.fromEntries(roles.map((role) => [role, PASSWORD])),
  );
  for (const role of roles) assert.equal(await whoAmI(sluice, role), role);
});

Deno.test("an MD5 secret answers a server that asks for MD5, and none that asks for more", async () => {
  const roles = ["by_trust", "by_password", "by_md5", "by_scram_sha_256"];
  await using sluice = await startForServers(
    Object.fromEntries(roles.map((role) => [role, md5Hash(PASSWORD, role)])),
  );
  assert.equal(await whoAmI(sluice, "by_trust"), "by_trust");
  assert.equal(await whoAmI(sluice, "by_md5"), "by_md5");
  assert.equal(await whoAmI(sluice, "by_password"), WRONG_TYPE);
  assert.equal(await whoAmI(sluice, "by_scram_sha_256"), WRONG_TYPE);
});

Deno.test("the SCRAM keys of a client's own login open the server that has the same verifier", async () => {
  const role = "by_scram_sha_256";
  await using sluice = await startForServers(
    { [role]: await verifierOf(role) },
    { auth_type: "scram-sha-256", pool_mode: "session", default_pool_size: 3 },
  );
  assert.equal(await whoAmI(sluice, role, PASSWORD), role);
  const several = Array.from({ length: 3 }, () => whoAmI(sluice, role, PASSWORD));
  assert.deepEqual(await Promise.all(several), [role, role, role]);
});

Deno.test("a SCRAM verifier of another salt opens no server, nor does one without a client's login", async () => {
  const role = "by_scram_sha_256";
  const foreign = await verifierOf("by_password");
  await using other = await startForServers({ [role]: foreign }, { auth_type: "scram-sha-256" });
  assert.equal(await whoAmI(other, role, PASSWORD), WRONG_TYPE);
  await using trusting = await startForServers({ [role]: await verifierOf(role) });
  assert.equal(await whoAmI(trusting, role), WRONG_TYPE);
});

Deno.test("a forced user and password hold for all clients of the database", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { auth_type: "scram-sha-256" },
      databases: {
        app: {
          ...serverOf(postgres),
          dbname: "postgres",
          user: "by_scram_sha_256",
          password: PASSWORD,
        },
      },
      users: {
        alice: { password: "alice's own" },
        // Known here by another secret than the one the server asks for.
        by_scram_sha_256: { password: "the client's" },
      },
    }),
  });
  for (const [user, password] of [["alice", "alice's own"], ["by_scram_sha_256", "the client's"]]) {
    const asked = ask(target(sluice, user!, password), "select current_user::text");
    assert.equal(await asked, "by_scram_sha_256");
  }
});

Deno.test("the keys of a client's SCRAM login are the client's: a forced user never logs in by them", async () => {
  const postgres = shared.get();
  const server = { ...serverOf(postgres), dbname: "postgres" };
  const [forcedUser, own] = ["by_scram_sha_256", "her own secret"];
  await postgres.sql(`create role alice_of_scram login password '${own}'`);
  const alice = { password: await verifierOf("alice_of_scram") };
  for (const first of ["forced", "own"]) {
    await using sluice = await startSluice({
      config: configFor(postgres, {
        pooler: { auth_type: "scram-sha-256", pool_mode: "session" },
        databases: {
          forced: { ...server, user: forcedUser, password: PASSWORD },
          own: server,
          bare: { ...server, user: forcedUser },
        },
        users: {
          alice_of_scram: alice,
          [forcedUser]: { password: await verifierOf(forcedUser) },
        },
      }),
    });
    const who = async (database: string) =>
      await outcome(
        { port: sluice.port, user: "alice_of_scram", database, password: own },
        "select current_user::text",
      );
    const expected: Record<string, string> = { forced: forcedUser, own: "alice_of_scram" };
    const second = first === "own" ? "forced" : "own";
    for (const database of [first, second]) {
      assert.equal(await who(database), expected[database], `${database}, ${first} first`);
    }
    // Several at once, so that new servers are logged in to with what is known now.
    const again = Array.from({ length: 6 }, (_, n) => n % 2 === 0 ? first : second);
    assert.deepEqual(await Promise.all(again.map(who)), again.map((name) => expected[name]));
    // Of the forced user there is a verifier only, and nobody has logged in by that name.
    assert.equal(await who("bare"), WRONG_TYPE);
    await sluice.waitForLog(
      /the stored SCRAM verifier is of use only after a client has logged in/,
    );
  }
});

Deno.test({
  name: "PostgreSQL 15 is logged in to by MD5 and SCRAM",
  ignore: isMissing("postgresql-15"),
  async fn() {
    await using postgres = await startPostgres({
      flavour: "debian",
      hba: ["host all by_md5 all md5"],
    });
    await postgres.sql(`create role by_scram login password '${PASSWORD}'`);
    await postgres.sql(
      `set password_encryption = 'md5'; create role by_md5 login password '${PASSWORD}'`,
    );
    const secrets = { by_scram: PASSWORD, by_md5: md5Hash(PASSWORD, "by_md5") };
    await using sluice = await startForServers(secrets, {}, postgres);
    assert.equal(await whoAmI(sluice, "by_scram"), "by_scram");
    assert.equal(await whoAmI(sluice, "by_md5"), "by_md5");
  },
});

Deno.test({
  name: "names and passwords need not be ASCII",
  ignore: isMissing("psql"),
  async fn() {
    const postgres = shared.get();
    // A name to be quoted, and a password that SCRAM has to normalize.
    const [name, password] = ['Zo\u00eb "the" 1st', "p\u00e4ss\u00a0w\u00f6rd \u2168 \u{1f511}"];
    await postgres.sql(
      `create role "${name.replaceAll('"', '""')}" login password '${password}'`,
    );
    for (const authType of ["plain", "md5", "scram-sha-256"]) {
      await using sluice = await startSluice({
        config: configFor(postgres, {
          pooler: { auth_type: authType },
          users: { [name]: { password } },
        }),
      });
      const to = { port: sluice.port, user: name, password };
      const { stderr, stdout } = await psql(to, "select current_user");
      assert.deepEqual([stdout, stderr], [`${name}\n`, ""], authType);
    }
  },
});

Deno.test({
  name: "psql logs in by password, MD5 and SCRAM",
  ignore: isMissing("psql"),
  async fn() {
    for (const authType of ["plain", "md5", "scram-sha-256"]) {
      await using sluice = await startForClients(authType, { plain: { password: PASSWORD } });
      const to = { port: sluice.port, user: "plain", database: "app" };
      const { code, stdout, stderr } = await psql({ ...to, password: PASSWORD }, "select 'in'");
      assert.deepEqual([code, stdout, stderr], [0, "in\n", ""], authType);
      const refused = await psql({ ...to, password: "wrong" }, "select 'in'");
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /FATAL: {2}(password|SASL) authentication failed/);
    }
  },
});

Deno.test("npm:postgres logs in by password, MD5 and SCRAM", async () => {
  for (const authType of ["plain", "md5", "scram-sha-256"]) {
    await using sluice = await startForClients(authType, { plain: { password: PASSWORD } });
    const to = { host: "127.0.0.1", port: sluice.port, user: "plain", database: "app", max: 1 };
    const sql = postgresJs({ ...to, password: PASSWORD });
    assert.deepEqual([...await sql`select 'in' as x`], [{ x: "in" }], authType);
    await sql.end();
    const stranger = postgresJs({ ...to, password: "wrong" });
    await assert.rejects(stranger`select 1`, { code: "28P01" });
    await stranger.end();
  }
});
