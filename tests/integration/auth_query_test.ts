/**
 * Users who are known to PostgreSQL alone: secrets from pg_authid, from pg_shadow and by a function,
 * and all that an attacker or an accident may do about it.
 */

import assert from "node:assert/strict";
import type { Flavour } from "../../scripts/embedded_postgres.ts";
import { type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { psql } from "../support/commands.ts";
import { type Client, logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { type ConfigSection, serverOf, tomlConfig } from "../support/toml_config.ts";
import { TestClient } from "../support/test_client.ts";

const PASSWORD = "s3cret";
const LOOKER = "its own secret";

const WRONG = "28P01 SASL authentication failed";
const CONFIG_ERROR = "XX000 bouncer config error";
const UNAVAILABLE = "08006 authentication is not available now";

/** A role that may look secrets up by a function, and by nothing else. */
const PREPARATION = `
  create role looker login password '${LOOKER}';
  create role super_looker superuser login password '${LOOKER}';
  create schema pooler;
  create function pooler.user_lookup(in wanted text, out name text, out secret text)
    returns record language sql security definer set search_path = pg_catalog as $$
      select usename, passwd from pg_shadow where usename = wanted
    $$;
  revoke all on function pooler.user_lookup(text) from public;
  grant usage on schema pooler to looker;
  grant execute on function pooler.user_lookup(text) to looker;
`;

const BY_FUNCTION: ConfigSection = {
  auth_user: "looker",
  auth_query: "SELECT * FROM pooler.user_lookup($1)",
  auth_dbname: "postgres",
};

const shared = sharedPostgres({ prepare: (postgres) => prepare(postgres) });

async function prepare(postgres: Postgres): Promise<void> {
  await postgres.sql(PREPARATION);
}

/** A role that nobody else has, with this clause behind its name. */
async function role(postgres: Postgres, clause = `password '${PASSWORD}'`): Promise<string> {
  const name = `r_${crypto.randomUUID().slice(0, 8)}`;
  await postgres.sql(`create role ${name} login ${clause}`);
  return name;
}

async function start(pooler: ConfigSection = {}, postgres = shared.get()): Promise<SluiceProcess> {
  return await startSluice({ config: configWith(pooler, postgres) });
}

function configWith(pooler: ConfigSection, postgres = shared.get()): string {
  return tomlConfig({
    pooler: {
      auth_type: "scram-sha-256",
      admin_users: "looker",
      server_login_retry: "1s",
      ...BY_FUNCTION,
      ...pooler,
    },
    databases: { "*": serverOf(postgres) },
    users: { looker: { password: LOOKER }, super_looker: { password: LOOKER } },
  });
}

function target(sluice: SluiceProcess, user: string, password = PASSWORD): LoginTarget {
  return { port: sluice.port, user, password };
}

/** Who a client is on its server, or why it is not. */
async function whoAmI(sluice: SluiceProcess, user: string, password?: string): Promise<unknown> {
  return await outcome(target(sluice, user, password), "select current_user::text");
}

/** Runs a query in the console. */
async function console(sluice: SluiceProcess, sql: string): Promise<Record<string, unknown>[]> {
  const client = await logIn({ ...target(sluice, "looker", LOOKER), database: "pgbouncer" });
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows;
  } finally {
    await client.end();
  }
}

/** As config.toml has it. */
const DEFAULT_QUERY =
  "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

/** Every source of secrets. */
const SOURCES: Readonly<Record<string, ConfigSection>> = {
  "the default query of a superuser, in pg_authid": { auth_user: "super_looker" },
  "pg_shadow": {
    auth_user: "super_looker",
    auth_query: "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1",
  },
  "a function with its owner's rights": BY_FUNCTION,
};

async function checkSources(postgres: Postgres): Promise<void> {
  const scram = await role(postgres);
  const md5User = `m_${crypto.randomUUID().slice(0, 8)}`;
  await postgres.sql(
    `set password_encryption = 'md5'; create role ${md5User} login password '${PASSWORD}'`,
  );
  const without = await role(postgres, "");
  const locked = await role(postgres, `password '${PASSWORD}' valid until '2001-01-01'`);
  for (const [source, settings] of Object.entries(SOURCES)) {
    const pooler = { auth_query: DEFAULT_QUERY, ...settings };
    await using sluice = await start(pooler, postgres);
    assert.equal(await whoAmI(sluice, scram), scram, source);
    assert.equal(await whoAmI(sluice, scram, "wrong"), WRONG, source);
    assert.equal(await whoAmI(sluice, without), WRONG, source);
    assert.equal(await whoAmI(sluice, "nobody"), WRONG, source);
    // Where the query does not look at the time, it is the server that refuses.
    const isLookedAt = pooler.auth_query === DEFAULT_QUERY;
    const expired = await whoAmI(sluice, locked);
    assert.match(
      String(expired),
      isLookedAt ? /SASL authentication failed/ : /server login failed/,
    );
    await using plain = await start({ ...pooler, auth_type: "plain" }, postgres);
    assert.equal(await whoAmI(plain, scram), scram, source);
    assert.equal(await whoAmI(plain, md5User), md5User, source);
    const wrong = "28P01 password authentication failed";
    assert.equal(await whoAmI(plain, md5User, "wrong"), wrong, source);
    assert.equal(await whoAmI(plain, "nobody"), wrong, source);
    assert.doesNotMatch(sluice.log() + plain.log(), /SCRAM-SHA-256\$|md5[0-9a-f]{32}|s3cret/);
  }
  await using md5 = await start({ auth_type: "md5" }, postgres);
  assert.equal(await whoAmI(md5, md5User), md5User);
  assert.equal(await whoAmI(md5, scram), scram);
}

const FLAVOURS: readonly (readonly [string, Flavour, boolean])[] = [
  ["PostgreSQL 18", "embedded", false],
  ["PostgreSQL 15", "debian", isMissing("postgresql-15")],
];

for (const [version, flavour, ignore] of FLAVOURS) {
  Deno.test({
    name: `${version}: users get in by MD5 and SCRAM secrets from every source, and nobody else`,
    ignore,
    async fn() {
      // By this method a role with a SCRAM secret is asked for SCRAM.
      await using postgres = await startPostgres({ flavour, hba: ["host all all all md5"] });
      await prepare(postgres);
      await checkSources(postgres);
    },
  });
}

Deno.test("a changed password counts at the second try, a dropped user gets in no more, a new one does", async () => {
  const postgres = shared.get();
  await using sluice = await start({ auth_cache_ttl: "1h" });
  const user = await role(postgres);
  assert.equal(await whoAmI(sluice, user), user);
  await postgres.sql(`alter role ${user} password 'changed'`);
  assert.equal(await whoAmI(sluice, user, "changed"), WRONG);
  assert.equal(await whoAmI(sluice, user, "changed"), user);
  assert.equal(await whoAmI(sluice, user), WRONG);
  await postgres.sql(`drop role ${user}`);
  assert.equal(await whoAmI(sluice, user, "changed"), WRONG);
  await postgres.sql(`create role ${user} login password 'reborn'`);
  // On a server that was there before; to PostgreSQL it is another role.
  assert.equal(await outcome(target(sluice, user, "reborn")), "in");
});

Deno.test("without a cache a changed password counts at once, and a dropped user is out", async () => {
  const postgres = shared.get();
  await using sluice = await start({ auth_cache_ttl: 0 });
  const user = await role(postgres);
  assert.equal(await whoAmI(sluice, user), user);
  await postgres.sql(`alter role ${user} valid until '2001-01-01'`);
  await using byDefault = await start({
    auth_user: "super_looker",
    auth_query: DEFAULT_QUERY,
    auth_cache_ttl: 0,
  });
  assert.equal(await whoAmI(byDefault, user), WRONG);
  await postgres.sql(`alter role ${user} password 'changed' valid until 'infinity'`);
  assert.equal(await whoAmI(byDefault, user, "changed"), user);
  await postgres.sql(`drop role ${user}`);
  assert.equal(await whoAmI(byDefault, user, "changed"), WRONG);
});

Deno.test({
  name: "names with quotes, blanks, umlauts and SQL in them are just names",
  ignore: isMissing("psql"),
  async fn() {
    const postgres = shared.get();
    await using sluice = await start();
    const names = [
      'it"s',
      "it's",
      "Zo\u00eb \u{1f511}",
      "x'; drop schema pooler cascade; --",
      "$1",
      "a\\b",
    ];
    for (const name of names) {
      await postgres.sql(
        `create role "${name.replaceAll('"', '""')}" login password '${PASSWORD}'`,
      );
      const to = { port: sluice.port, user: name, password: PASSWORD };
      const { stderr, stdout } = await psql(to, "select current_user");
      assert.deepEqual([stdout, stderr], [`${name}\n`, ""]);
    }
    // What is cut off to a name that exists is another name.
    const long = "l".repeat(63);
    await postgres.sql(`create role ${long} login password '${PASSWORD}'`);
    assert.equal(await whoAmI(sluice, long), long);
    assert.equal(await whoAmI(sluice, `${long}l`), WRONG);
    assert.equal(await whoAmI(sluice, "' or true --"), WRONG);
  },
});

Deno.test("a hundred users log in at once, by two servers that look them up", async () => {
  const postgres = shared.get();
  const users = Array.from({ length: 100 }, (_, i) => `many_${i}`);
  // Derived once: what is measured here is not PostgreSQL's key derivation.
  await postgres.sql(`
    create role first_of_many login password '${PASSWORD}';
    do $$ declare secret text := (select rolpassword from pg_authid where rolname = 'first_of_many');
    begin
      for i in 0..99 loop
        execute format('create role many_%s login password %L in role first_of_many', i, secret);
      end loop;
    end $$`);
  await using sluice = await start({ max_client_conn: 300, default_pool_size: 1 });
  const outcomes = await Promise.all(
    users.map((user, i) => whoAmI(sluice, user, i % 10 === 9 ? "wrong" : PASSWORD)),
  );
  assert.deepEqual(outcomes, users.map((user, i) => i % 10 === 9 ? WRONG : user));
  const rows = await postgres.sql("select 1 from pg_stat_activity where usename = 'looker'");
  assert.ok(rows.length >= 1 && rows.length <= 2, `${rows.length} servers look up`);
});

Deno.test("a client's search_path, on its own server or in its startup packet, does not steer the look-up", async () => {
  const postgres = shared.get();
  const user = await role(postgres);
  // The attacker may log in as the very role that looks up, and owns a schema with a false pg_shadow.
  await postgres.sql(`
    create schema evil authorization super_looker;
    create view evil.pg_shadow as select '${user}'::name as usename, 'stolen'::text as passwd`);
  await using sluice = await start({
    auth_user: "super_looker",
    // Not qualified: the search_path decides.
    auth_query: "SELECT usename, passwd FROM pg_shadow WHERE usename = $1",
    auth_cache_ttl: 0,
    pool_mode: "transaction",
  });
  const attackers: Client[] = [];
  for (let i = 0; i < 3; i++) {
    const attacker = await logIn(target(sluice, "super_looker", LOOKER));
    await attacker.query("set search_path = evil, pg_catalog");
    attackers.push(attacker);
  }
  const held = await Promise.all(attackers.map((attacker) => attacker.query("show search_path")));
  assert.equal(held[0]?.rows[0]?.search_path, "evil, pg_catalog");
  assert.equal(await whoAmI(sluice, user, "stolen"), WRONG);
  assert.equal(await whoAmI(sluice, user), user);
  for (
    const parameters of [{ search_path: "evil,pg_catalog" }, { options: "-c search_path=evil" }]
  ) {
    const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
    const login = { user, database: "postgres", password: "stolen", parameters };
    await assert.rejects(client.login(login), /SASL authentication failed/);
    client.close();
  }
  for (const attacker of attackers) await attacker.end();
});

Deno.test("a role without rights, or a query that is wrong, lets nobody in, and the log says why", async () => {
  const user = await role(shared.get());
  const faults: readonly (readonly [ConfigSection, RegExp])[] = [
    [
      { auth_query: DEFAULT_QUERY },
      /auth_query for user .*: permission denied for table pg_authid \(42501\)/,
    ],
    [{ auth_query: "SELECT passwd FROM pg_shadow WHERE usename = $1" }, /permission denied/],
    [{ auth_query: "SELECT $1::text" }, /expected 2 columns, not 1/],
    [{ auth_query: "SELECT $1::text, 'x' UNION ALL SELECT $1, 'y'" }, /expected one row/],
    [{ auth_query: "nonsense $1" }, /syntax error at or near "nonsense" \(42601\)/],
    [{ auth_dbname: "pgbouncer_not" }, /database "pgbouncer_not" does not exist/],
  ];
  for (const [settings, logged] of faults) {
    await using sluice = await start(settings);
    const expected = "auth_dbname" in settings ? UNAVAILABLE : CONFIG_ERROR;
    assert.equal(await whoAmI(sluice, user), expected, JSON.stringify(settings));
    await sluice.waitForLog(logged);
  }
});

Deno.test("while the server is down nobody is looked up, and as soon as it is back everybody is", async () => {
  await using postgres = await startPostgres();
  await prepare(postgres);
  await using sluice = await start({}, postgres);
  const user = await role(postgres);
  assert.equal(await whoAmI(sluice, user), user);
  const [other, newcomer] = [await role(postgres), await role(postgres)];
  await postgres.stop();
  // Those who ask first wait for the server; who comes after its failure is known is told at once.
  const waiting = whoAmI(sluice, other);
  await sluice.waitForLog(/postgres\/looker@.* closing because: connect failed/);
  assert.equal(await whoAmI(sluice, newcomer), UNAVAILABLE);
  await postgres.restart();
  assert.equal(await waiting, other);
  assert.equal(await whoAmI(sluice, newcomer), newcomer);
});

Deno.test("PAUSE holds look-ups, RESUME lets them go on; a reload in between asks anew", async () => {
  const postgres = shared.get();
  const [one, two] = [await role(postgres), await role(postgres)];
  await using sluice = await start();
  await console(sluice, "pause");
  const first = whoAmI(sluice, one);
  await sluice.waitForLog(new RegExp(`/${one}@.* login attempt`));
  await sluice.rewriteConfig(configWith({ auth_query: `${BY_FUNCTION["auth_query"]} limit 1` }));
  await console(sluice, "reload");
  const second = whoAmI(sluice, two);
  await sluice.waitForLog(new RegExp(`/${two}@.* login attempt`));
  await console(sluice, "resume");
  assert.equal(await first, one);
  assert.equal(await second, two);
  const queries = await postgres.sql(
    "select query from pg_stat_activity where usename = 'looker' and query like '%user_lookup%'",
  );
  assert.ok(
    queries.every(({ query }) => String(query).endsWith("limit 1")),
    "Of the new query only",
  );
});

Deno.test("the console shows the servers that look up, under auth_user's name, and no secret", async () => {
  const postgres = shared.get();
  await using sluice = await start({
    auth_dbname: "template1",
    auth_query: DEFAULT_QUERY,
    auth_user: "super_looker",
  });
  const user = await role(postgres);
  assert.equal(await whoAmI(sluice, user), user);
  const [pool] = (await console(sluice, "show pools")).filter((row) =>
    row["database"] === "template1"
  );
  assert.deepEqual([pool?.["user"], pool?.["sv_idle"]], ["super_looker", 1]);
  const [server] = (await console(sluice, "show servers")).filter((row) =>
    row["user"] === "super_looker"
  );
  assert.deepEqual([server?.["database"], server?.["state"]], ["template1", "idle"]);
  for (const sql of ["show users", "show config", "show databases", "show mem"]) {
    assert.doesNotMatch(JSON.stringify(await console(sluice, sql)), /SCRAM-SHA-256\$/, sql);
  }
  const refused = await outcome({ ...target(sluice, user), database: "pgbouncer" });
  assert.equal(refused, WRONG, "Nobody is looked up for the console");
});
