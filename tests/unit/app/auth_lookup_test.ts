/** Users whose secret is looked up: who gets in, what is asked, and what happens when it cannot be. */

import assert from "node:assert/strict";
import { md5Secret } from "../../../src/auth/md5.ts";
import { scramVerifier } from "../auth/auth_support.ts";
import {
  BY_MD5,
  CONFIG_ERROR,
  EVE,
  IN,
  lookers,
  lookUp,
  openWorld,
  outcome,
  SECTIONS,
  SLOWLY,
  STRANGER,
  UNAVAILABLE,
  withApp,
  WRONG,
} from "./auth_lookup_fixture.ts";

for (const method of ["plain", "md5", "scram-sha-256"]) {
  Deno.test(`AuthLookUp lets a user in by ${method} whose secret a database knows, and no other`, async () => {
    await using world = await openWorld({ pooler: `auth_type = "${method}"` });
    const wrong = method === "scram-sha-256" ? "FATAL 28P01: SASL authentication failed" : WRONG;
    assert.equal(await outcome(world), IN);
    assert.equal(await outcome(world, { password: "wrong" }), wrong);
    assert.equal(await outcome(world, { user: "nobody" }), wrong);
    assert.deepEqual(world.postgres.lookedUp, ["eve", "nobody"]);
  });
}

Deno.test("AuthLookUp asks nothing of users whom the configuration knows", async () => {
  await using world = await openWorld();
  world.postgres.secrets.set("ada", [["ada", "another"]]);
  assert.equal(await outcome(world, { user: "ada", password: "secret" }), IN);
  assert.equal(await outcome(world, { user: "ada", password: "another" }), WRONG);
  assert.deepEqual(lookers(world), []);
});

Deno.test("AuthLookUp asks nothing where there is no auth_user, or everybody is let in", async () => {
  await using without = await openWorld({ pooler: 'auth_user = ""' });
  assert.equal(await outcome(without), WRONG);
  assert.deepEqual(lookers(without), []);
  await using any = await openWorld({
    pooler: 'auth_type = "any"',
    sections: '[databases.app]\nhost = "127.0.0.1"\nuser = "bob"\n',
  });
  assert.equal(await outcome(any), IN);
  assert.deepEqual(lookers(any), []);
});

Deno.test("AuthLookUp does not let anybody into the console", async () => {
  await using world = await openWorld({ pooler: 'admin_users = "eve"' });
  assert.equal(await outcome(world, { database: "pgbouncer" }), WRONG);
  assert.deepEqual(lookers(world), []);
});

Deno.test("AuthLookUp asks by trust too, where a user has to exist", async () => {
  await using world = await openWorld({ pooler: 'auth_type = "trust"' });
  assert.equal(await outcome(world), IN);
  const refused = await outcome(world, { user: "nobody" });
  assert.equal(refused, 'FATAL 28000: "trust" authentication failed');
});

Deno.test("AuthLookUp sends the name as a bound value, whatever is in it", async () => {
  await using world = await openWorld();
  for (const user of ["o'brien", '"; drop table x; --', "$1", "Zoë \u{1f511}", "a\\'b"]) {
    world.postgres.secrets.set(user, [[user, "evening"]]);
    assert.equal(await outcome(world, { user }), IN, user);
    assert.equal(world.postgres.lookedUp.at(-1), user);
  }
  const statements = new Set(lookers(world).flatMap(({ ran }) => ran.map(({ sql }) => sql)));
  assert.deepEqual([...statements], ["look up $1"]);
});

Deno.test("AuthLookUp takes the database's own auth_user, auth_query and auth_dbname before the global ones", async () => {
  await using world = await openWorld({
    pooler: 'auth_dbname = "people"\nauth_query = "error 42501 not for anybody"',
    sections: withApp(`auth_user = "finder"
auth_query = "look up $1"
auth_dbname = "own"
[databases.other]
host = "127.0.0.1"
[users.finder]
password = "finding"
`),
  });
  assert.equal(await outcome(world), IN);
  assert.equal(await outcome(world, { database: "other" }), CONFIG_ERROR);
  const asked = world.postgres.backends.map(({ database, user }) => `${database}/${user}`);
  assert.deepEqual(asked, ["own/finder", "app/eve", "people/looker"]);
});

Deno.test("AuthLookUp gives its servers nothing that a client sent, and logs in as auth_user by its own secret", async () => {
  await using world = await openWorld({
    sections: withApp(`user = "forced"
password = "of the forced"
timezone = "Asia/Tokyo"
client_encoding = "LATIN1"
`),
    postgres: { auth: "md5", users: { looker: "looking", forced: "of the forced" } },
  });
  const parameters = {
    search_path: "evil",
    application_name: "evil",
    client_encoding: "SQL_ASCII",
    options: "-c search_path=evil",
  };
  assert.equal(await outcome(world, { parameters }), IN);
  assert.deepEqual(Object.fromEntries(lookers(world)[0]!.asked), {
    user: "looker",
    database: "app",
    timezone: "Asia/Tokyo",
    client_encoding: "UTF8",
  });
});

Deno.test("AuthLookUp is not reached by what clients set on their servers", async () => {
  await using world = await openWorld();
  world.postgres.secrets.set("looker", [["looker", "looking"]]);
  // Logs in as the very user that looks up: even so the servers are not the same.
  const client = await world.login({ user: "looker", password: "looking" });
  await client.query("set search_path = 'evil'");
  assert.equal(await outcome(world), IN);
  const [asker] = world.postgres.backends.filter(({ lookedUp }) => lookedUp.length > 0);
  assert.notEqual(asker?.parameters.get("search_path"), "evil");
  assert.deepEqual(asker?.ran.map(({ sql }) => sql), ["look up $1"]);
  client.close();
});

/** What is answered, what the client hears, and what the log says. */
const ANSWERS:
  readonly (readonly [string, readonly (readonly (string | null)[])[], string, RegExp?])[] = [
    ["NULL for a secret", [["eve", null]], STRANGER],
    ["an empty secret", [["eve", ""]], STRANGER],
    ["NULL for a name", [[null, "evening"]], STRANGER, /ERROR .*null user name/],
    ["another name", [["Eve", "evening"]], STRANGER, /ERROR .*another user's name/],
    ["two rows", [["eve", "evening"], ["eve", "evening"]], CONFIG_ERROR, /ERROR .*one row/],
  ];

for (const [what, rows, expected, logged] of ANSWERS) {
  Deno.test(`AuthLookUp lets nobody in by ${what}: ${expected}`, async () => {
    await using world = await openWorld();
    world.postgres.secrets.set("eve", rows);
    assert.equal(await outcome(world), expected);
    const errors = world.log.filter((line) => line.includes("auth_query for"));
    assert.equal(errors.length, logged === undefined ? 0 : 1);
    if (logged !== undefined) assert.match(errors[0]!, logged);
    assert.equal(world.log.some((line) => line.includes("evening")), false);
    // The server is as good as new.
    assert.equal(lookers(world)[0]?.isClosed, false);
  });
}

const QUERIES: readonly (readonly [string, string, RegExp])[] = [
  ["rows 1 'x'", CONFIG_ERROR, /expected 2 columns, not 1/],
  ["rows 0 'x'", CONFIG_ERROR, /expected 2 columns, not 1/],
  ["raise notice 'x'", CONFIG_ERROR, /expected 2 columns, not 0/],
  ["nonsense", CONFIG_ERROR, /: syntax error: nonsense \(42601\)/],
  ["error 42501 permission denied", CONFIG_ERROR, /permission denied \(42501\)/],
  ["copy t to stdout 1 'x'", UNAVAILABLE, /unknown pkt from server/],
  ["misbehave fatal", UNAVAILABLE, /terminating connection/],
  ["misbehave close", UNAVAILABLE, /server conn crashed/],
  ["misbehave garbage", UNAVAILABLE, /auth_query for user "eve": /],
];

for (const [query, expected, logged] of QUERIES) {
  Deno.test(`AuthLookUp refuses the login where auth_query is ${query}, and the log says why`, async () => {
    await using world = await openWorld({ pooler: `auth_query = "${query}"` });
    assert.equal(await outcome(world), expected);
    assert.match(world.log.find((line) => line.includes("auth_query for")) ?? "", logged);
  });
}

Deno.test("AuthLookUp takes a name that the database cannot spell for nobody's", async () => {
  await using world = await openWorld({ pooler: 'auth_query = "error 22P05 no equivalent"' });
  assert.equal(await outcome(world), STRANGER);
});

Deno.test("AuthLookUp tells of an auth_dbname that is not there, or disabled", async () => {
  const databases = SECTIONS.replace('"*"', "app");
  await using missing = await openWorld({ pooler: 'auth_dbname = "people"', sections: databases });
  assert.equal(await outcome(missing), CONFIG_ERROR);
  assert.ok(missing.hasLogged('there is no database "people" to look users up in'));
  await using disabled = await openWorld({ pooler: 'auth_dbname = "people"' });
  disabled.pooler.operations.disable("people");
  const refused = await outcome(disabled);
  assert.equal(refused, 'FATAL 57P03: authentication database "people" is disabled');
});

Deno.test("AuthLookUp does not tell whether a database exists, and asks nothing where there is none", async () => {
  await using world = await openWorld({ sections: SECTIONS.replace('"*"', "app") });
  assert.equal(await outcome(world, { database: "nowhere" }), STRANGER);
  assert.deepEqual(lookers(world), []);
});

Deno.test("AuthLookUp asks for no name that is longer than any may be", async () => {
  await using world = await openWorld();
  assert.equal(await outcome(world, { user: "é".repeat(64) }), STRANGER);
  assert.deepEqual(lookers(world), []);
  assert.equal(await outcome(world, { user: "e".repeat(127) }), STRANGER);
  assert.equal(world.postgres.lookedUp.length, 1);
});

for (
  const [bytes, expected, logged] of [
    [65_530, IN, undefined],
    [65_531, CONFIG_ERROR, "the secret is too long"],
    [140_000, UNAVAILABLE, "auth_query for user"],
  ] as const
) {
  Deno.test(`AuthLookUp meets a secret of ${bytes} bytes: ${expected}`, async () => {
    await using world = await openWorld({ pooler: 'auth_type = "trust"' });
    world.postgres.secrets.set("eve", [["eve", "x".repeat(bytes)]]);
    assert.equal(await outcome(world), expected);
    if (logged !== undefined) assert.ok(world.hasLogged(logged));
  });
}

Deno.test("AuthLookUp has strangers asked as those who were found are, whatever auth_file holds", async () => {
  const verifier = await scramVerifier("evening");
  await using world = await openWorld();
  // The configuration has plain secrets only, whose users are asked for MD5.
  assert.equal(await outcome(world, { user: "nobody" }), STRANGER, "as PostgreSQL keeps them");
  world.postgres.secrets.set("eve", [["eve", verifier]]);
  assert.equal(await outcome(world, { password: "wrong" }), STRANGER);
  assert.equal(await outcome(world, { user: "nobody" }), STRANGER);
  assert.equal(await outcome(world, { user: "nobody", database: "pgbouncer" }), WRONG);
  await using old = await openWorld();
  assert.equal(await outcome(old), IN);
  assert.equal(await outcome(old, { user: "nobody" }), WRONG, "none of them has a verifier");
});

Deno.test("AuthLookUp lets nobody in by rules that a reload has replaced while he waited", async () => {
  const rejects = { "hba.conf": "host all eve all reject\nhost all all all md5\n" };
  const pooler = `auth_type = "hba"\nauth_hba_file = "hba.conf"\n${SLOWLY}`;
  await using world = await openWorld({
    pooler,
    files: { "hba.conf": "host all all all trust\n" },
  });
  const ended = (await world.connect()).outcome(EVE);
  await world.settle();
  assert.deepEqual(world.postgres.lookedUp, ["eve"]);
  assert.ok(await world.reload(lookUp({ pooler, files: rejects })));
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(await ended, "FATAL 28000: login rejected");
  assert.equal(await outcome(world), "FATAL 28000: login rejected");
  assert.deepEqual(world.postgres.lookedUp, ["eve"], "nobody is looked up who is rejected");
});

Deno.test("AuthLookUp finds users who replicate, and their own servers log in by what was found", async () => {
  await using world = await openWorld({
    pooler: 'auth_type = "hba"\nauth_hba_file = "hba.conf"\nauth_cache_ttl = 0',
    files: { "hba.conf": "host replication eve all md5\nhost logical eve all md5\n" },
    postgres: BY_MD5,
  });
  world.postgres.secrets.set("eve", [["eve", md5Secret("evening", "eve")]]);
  const physical = { database: "replication", parameters: { replication: "true" } };
  const logical = { database: "logical", parameters: { replication: "database" } };
  for (const [count, login] of [physical, logical].entries()) {
    assert.equal(await outcome(world, login), IN);
    assert.equal(await outcome(world, { ...login, password: "wrong" }), WRONG);
    const own = world.postgres.backends.filter(({ user }) => user === "eve");
    assert.equal(own.length, count + 1, "who failed has opened none");
  }
  const asked = world.postgres.lookedUp.length;
  assert.match(await outcome(world, { database: "replication" }), /no authentication method/);
  assert.equal(world.postgres.lookedUp.length, asked);
});
