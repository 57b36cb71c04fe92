/** Users whose secret is looked up: who gets in, what is asked, and what happens when it cannot be. */

import assert from "node:assert/strict";
import { UserCredential } from "../../../src/auth/credential.ts";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import { md5Secret } from "../../../src/auth/md5.ts";
import { Secret } from "../../../src/base/secret.ts";
import { scramVerifier } from "../auth/auth_support.ts";
import { backend as say } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import { type LoginOptions, LoginRefused, type TestClient } from "../../support/test_client.ts";

const LINES = `auth_type = "md5"
auth_user = "looker"
auth_query = "look up $1"`;

const SECTIONS = `
[databases."*"]
host = "127.0.0.1"
[users.ada]
password = "secret"
[users.looker]
password = "looking"
`;

const EVE: LoginOptions = { user: "eve", database: "app", password: "evening" };

const IN = "in";
const WRONG = "FATAL 28P01: password authentication failed";
/** Where nobody was found yet, users are taken to have verifiers, as PostgreSQL keeps them. */
const STRANGER = "FATAL 28P01: SASL authentication failed";
const CONFIG_ERROR = "FATAL XX000: bouncer config error";
const UNAVAILABLE = "FATAL 08006: authentication is not available now";

/** A world in which eve's secret can be looked up. */
async function openWorld({ pooler = "", ...rest }: WorldOptions = {}): Promise<PoolerWorld> {
  const lines = `${pooler}\n${LINES}`.split("\n");
  const names = new Set<string>();
  const own = lines.filter((line) => {
    const name = line.split("=")[0]!.trim();
    const isNew = !names.has(name);
    names.add(name);
    return isNew || name === "";
  });
  const world = await PoolerWorld.open({ sections: SECTIONS, ...rest, pooler: own.join("\n") });
  world.postgres.secrets.set("eve", [["eve", "evening"]]);
  return world;
}

async function attempt(client: TestClient, login: LoginOptions): Promise<string> {
  try {
    await client.login(login);
    return IN;
  } catch (error) {
    if (!(error instanceof LoginRefused)) throw error;
    return error.message;
  } finally {
    client.close();
  }
}

/** How a login ends. */
async function outcome(world: PoolerWorld, login: Partial<LoginOptions> = {}): Promise<string> {
  const ended = attempt(await world.connect(), { ...EVE, ...login });
  await world.settle();
  return await ended;
}

/** The servers that look secrets up, as backends. */
function lookers(world: PoolerWorld) {
  return world.postgres.backends.filter(({ user }) => user === "looker");
}

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
    sections: `${SECTIONS}
[databases.app]
host = "127.0.0.1"
auth_user = "finder"
auth_query = "look up $1"
auth_dbname = "own"
[databases.other]
host = "127.0.0.1"
[users.finder]
password = "finding"
`,
  });
  assert.equal(await outcome(world), IN);
  assert.equal(await outcome(world, { database: "other" }), CONFIG_ERROR);
  const asked = world.postgres.backends.map(({ database, user }) => `${database}/${user}`);
  assert.deepEqual(asked, ["own/finder", "app/eve", "people/looker"]);
});

Deno.test("AuthLookUp gives its servers nothing that a client sent, and logs in as auth_user by its own secret", async () => {
  await using world = await openWorld({
    sections: `${SECTIONS}
[databases.app]
host = "127.0.0.1"
user = "forced"
password = "of the forced"
timezone = "Asia/Tokyo"
client_encoding = "LATIN1"
`,
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

Deno.test("AuthLookUp closes a server that a query leaves in a transaction", async () => {
  await using world = await openWorld({ pooler: 'auth_query = "begin"' });
  assert.equal(await outcome(world), CONFIG_ERROR);
  assert.equal(lookers(world)[0]?.isClosed, true);
});

Deno.test("AuthLookUp uses a secret again for auth_cache_ttl, and asks each time where that is 0", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 5" });
  await outcome(world);
  await world.advance(4_900);
  await outcome(world);
  assert.equal(world.postgres.lookedUp.length, 1);
  await world.advance(200);
  await outcome(world);
  assert.equal(world.postgres.lookedUp.length, 2);
  await using without = await openWorld({ pooler: "auth_cache_ttl = 0" });
  for (let i = 0; i < 3; i++) assert.equal(await outcome(without), IN);
  assert.equal(without.postgres.lookedUp.length, 3);
});

Deno.test("AuthLookUp finds a changed password at the second try at the latest", async () => {
  await using world = await openWorld();
  await outcome(world);
  world.postgres.secrets.set("eve", [["eve", "changed"]]);
  assert.equal(await outcome(world, { password: "changed" }), WRONG);
  assert.equal(await outcome(world, { password: "changed" }), IN);
  assert.equal(await outcome(world), WRONG);
});

Deno.test("AuthLookUp does not remember who was not found", async () => {
  await using world = await openWorld();
  world.postgres.secrets.delete("eve");
  assert.equal(await outcome(world), STRANGER);
  world.postgres.secrets.set("eve", [["eve", "evening"]]);
  assert.equal(await outcome(world), IN);
  world.postgres.secrets.delete("eve");
  await world.advance(10_000);
  assert.equal(await outcome(world), WRONG);
});

Deno.test("AuthLookUp asks once for a user who logs in many times at once", async () => {
  await using world = await openWorld({
    pooler: 'auth_query = "look up $1 slowly"\nauth_cache_ttl = 0',
  });
  const same = await Promise.all(Array.from({ length: 20 }, () => world.connect()));
  const ended = same.map((client) => attempt(client, EVE));
  await world.settle();
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual(new Set(await Promise.all(ended)), new Set([IN]));
  assert.deepEqual(world.postgres.lookedUp, ["eve"]);
});

Deno.test("AuthLookUp asks once for each of many users, by a few servers", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 0" });
  const users = Array.from({ length: 50 }, (_, i) => `user${i}`);
  for (const user of users) world.postgres.secrets.set(user, [[user, `secret of ${user}`]]);
  const outcomes = users.map((user) => outcome(world, { user, password: `secret of ${user}` }));
  assert.deepEqual(new Set(await Promise.all(outcomes)), new Set([IN]));
  assert.deepEqual(world.postgres.lookedUp.toSorted(), users.toSorted());
  assert.ok(lookers(world).length <= 2, "A few servers do");
});

Deno.test("AuthLookUp has servers log in by what was found, as long as the user has clients", async () => {
  await using world = await openWorld({
    pooler: "auth_cache_ttl = 0",
    postgres: { auth: "md5", users: { looker: "looking", eve: "evening" } },
  });
  world.postgres.secrets.set("eve", [["eve", md5Secret("evening", "eve")]]);
  const client = await world.login(EVE);
  assert.deepEqual((await client.query("select 'served'")).rows, [["served"]]);
  const [server] = world.pool("app", "eve").servers.idle;
  world.backendOf(server!).close();
  await world.settle();
  await world.advance(120_000);
  assert.deepEqual((await client.query("select 'again'")).rows, [["again"]]);
  client.close();
});

Deno.test("AuthLookUp has the SCRAM keys of a client's login open servers, for all clients of the user", async () => {
  const salt = "c2FsdHNhbHRzYWx0c2FsdA==";
  const { serverKey, storedKey } = await new UserCredential("eve", new Secret("evening"))
    .deriveScramKeys(new KeyDerivation(), { salt, iterations: 3 });
  const verifier = `SCRAM-SHA-256$3:${salt}$${storedKey.toBase64()}:${serverKey.toBase64()}`;
  await using world = await openWorld({
    pooler: 'auth_type = "scram-sha-256"\nauth_cache_ttl = 0\npool_mode = "session"',
    postgres: { auth: "scram-sha-256", users: { looker: "looking", eve: verifier } },
  });
  world.postgres.secrets.set("eve", [["eve", verifier]]);
  const clients = [await world.login(EVE), await world.login(EVE)];
  for (const client of clients) {
    assert.deepEqual((await client.query("select 'served'")).rows, [["served"]]);
  }
  assert.equal(world.pool("app", "eve").servers.active.size, 2);
  for (const client of clients) client.close();
});

Deno.test("AuthLookUp never gives a forced user's servers what was found for a client", async () => {
  await using world = await openWorld({
    sections: `${SECTIONS}
[databases.app]
host = "127.0.0.1"
user = "eve"
`,
    postgres: { auth: "md5", users: { looker: "looking", eve: "evening" } },
  });
  const refused = await outcome(world);
  assert.match(refused, /^FATAL 28000: server login failed: wrong password type/);
});

Deno.test("AuthLookUp never gives them to servers of a user who is forced from a reload on", async () => {
  await using world = await openWorld({
    sections: `${SECTIONS}[databases.app]\nhost = "127.0.0.1"\n`,
    postgres: { auth: "md5", users: { looker: "looking", eve: "evening" } },
  });
  assert.equal(await outcome(world), IN);
  const sections = `${SECTIONS}[databases.app]\nhost = "127.0.0.1"\nuser = "eve"\n`;
  await world.reload({ sections, pooler: LINES });
  const refused = await outcome(world);
  assert.match(refused, /^FATAL 28000: server login failed: wrong password type/);
});

Deno.test("AuthLookUp has the keys of a login open servers though one by trust comes after it", async () => {
  const verifier = await scramVerifier("evening");
  const hba = {
    "hba.conf": "host all all 10.0.0.9/32 trust\nhost all all all scram-sha-256\n",
  };
  const pooler = 'auth_type = "hba"\nauth_hba_file = "hba.conf"\npool_mode = "session"';
  await using world = await openWorld({
    pooler,
    files: hba,
    postgres: { auth: "scram-sha-256", users: { looker: "looking", eve: verifier } },
  });
  world.postgres.secrets.set("eve", [["eve", verifier]]);
  const client = await world.login(EVE);
  await client.query("begin");
  // What was remembered is forgotten, and with it that this is the same secret.
  const lines =
    `${pooler}\nauth_user = "looker"\nauth_query = "look up $1"\nauth_dbname = "people"`;
  await world.reload({ sections: SECTIONS, pooler: lines, files: hba });
  world.network.sourceHost = "10.0.0.9";
  const trusted = await world.connect();
  await trusted.login({ ...EVE, password: "" });
  assert.deepEqual((await trusted.query("select 'served'")).rows, [["served"]]);
  for (const each of [client, trusted]) each.close();
});

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
  const pooler = 'auth_type = "hba"\nauth_hba_file = "hba.conf"';
  await using world = await openWorld({
    pooler: `${pooler}\nauth_query = "look up $1 slowly"`,
    files: { "hba.conf": "host all all all trust\n" },
  });
  const ended = attempt(await world.connect(), EVE);
  await world.settle();
  assert.deepEqual(world.postgres.lookedUp, ["eve"]);
  const lines = `${pooler}\n${LINES.replace(/^.*\n/, "").replace("$1", "$1 slowly")}`;
  assert.ok(await world.reload({ sections: SECTIONS, pooler: lines, files: rejects }));
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
    postgres: { auth: "md5", users: { looker: "looking", eve: "evening" } },
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

Deno.test("AuthLookUp tells at once that nobody can be asked, and asks again after server_login_retry", async () => {
  await using world = await openWorld();
  world.postgres.refusal = { severity: "FATAL", sqlstate: "28P01", message: "no looker here" };
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.ok(world.hasLogged('auth_query for user "eve": no looker here'));
  const logins = world.postgres.askedMinors.length;
  await world.advance(14_000);
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.equal(world.postgres.askedMinors.length, logins, "Not before its time");
  world.postgres.refusal = undefined;
  await world.advance(2_000);
  await outcome(world);
  assert.equal(await outcome(world), IN);
});

Deno.test("AuthLookUp waits for a server that only asks for patience", async () => {
  await using world = await openWorld();
  world.postgres.refusal = { severity: "FATAL", sqlstate: "57P03", message: "starting up" };
  const ended = outcome(world);
  await world.settle();
  world.postgres.refusal = undefined;
  await world.advance(16_000);
  assert.equal(await ended, IN);
});

Deno.test("AuthLookUp lets a login wait no longer than client_login_timeout", async () => {
  await using world = await openWorld({
    pooler: 'client_login_timeout = 20\nauth_query = "look up $1 slowly"',
  });
  const ended = attempt(await world.connect(), EVE);
  await world.advance(21_000);
  assert.equal(await ended, "FATAL 57014: client_login_timeout");
  await world.advance(1_000);
  assert.ok(world.hasLogged("closing because: auth_query timed out"));
  assert.equal(world.pooler.pools.lookUpPools()[0]?.servers.count, 0);
});

Deno.test("AuthLookUp asks for nobody who has left before it was his turn", async () => {
  await using world = await openWorld({ pooler: 'auth_query = "look up $1 slowly"' });
  const busy = [];
  for (const user of ["one", "two"]) busy.push(attempt(await world.connect(), { ...EVE, user }));
  await world.settle();
  const leaving = await world.connect();
  const left = attempt(leaving, { ...EVE, user: "three" }).catch(() => "gone");
  await world.settle();
  const [pool] = world.pooler.pools.lookUpPools();
  assert.equal(pool?.waiting.size, 1);
  leaving.close();
  await world.settle();
  assert.equal(pool?.waiting.size, 0);
  await left;
  for (let i = 0; i < 3; i++) {
    world.postgres.wakeAll();
    await world.settle();
  }
  await Promise.all(busy);
  assert.deepEqual(world.postgres.lookedUp.toSorted(), ["one", "two"]);
});

Deno.test("AuthLookUp's pool does not wait for the clients of a full one", async () => {
  await using world = await openWorld({
    pooler: "default_pool_size = 1\nauth_cache_ttl = 0",
  });
  world.postgres.secrets.set("looker", [["looker", "looking"]]);
  const holder = await world.login({ user: "looker", password: "looking" });
  await holder.query("begin");
  assert.equal(await outcome(world), IN);
  holder.close();
});

Deno.test("AuthLookUp waits while its database is paused, and goes on when it is resumed", async () => {
  await using world = await openWorld();
  await outcome(world);
  await world.pooler.operations.pause("app", new AbortController().signal);
  // Known: in, and then it waits like everybody.
  const other = attempt(await world.connect(), { ...EVE, user: "nobody" });
  await world.settle();
  assert.deepEqual(world.postgres.lookedUp, ["eve"]);
  world.pooler.operations.resume("app");
  await world.settle();
  assert.equal(await other, WRONG);
});

Deno.test("AuthLookUp does not hold up the end of the pooler, whoever waits", async () => {
  await using world = await openWorld({ pooler: 'auth_query = "look up $1 slowly"' });
  const ended: Promise<string>[] = [];
  for (const user of ["one", "two", "three"]) {
    ended.push(attempt(await world.connect(), { ...EVE, user }).catch(() => "gone"));
    await world.settle();
  }
  world.pooler.shutdown("immediate");
  await world.settle();
  assert.deepEqual(
    new Set(await Promise.all(ended)),
    new Set([
      "FATAL 57P01: pooler is shutting down",
    ]),
  );
});

Deno.test("AuthLookUp uses nothing it knew before a reload that changes how secrets are found", async () => {
  await using world = await openWorld();
  await outcome(world);
  const before = lookers(world);
  const pooler = `${LINES}\nauth_dbname = "people"`;
  await world.reload({ sections: SECTIONS, pooler });
  await world.settle();
  assert.deepEqual(before.map(({ isClosed }) => isClosed), [true]);
  assert.equal(await outcome(world), IN);
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
  // A reload that changes something else changes nothing here.
  await world.reload({ sections: SECTIONS, pooler: `${pooler}\nquery_timeout = 5` });
  assert.equal(await outcome(world), IN);
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
});

Deno.test("AuthLookUp logs in anew when the secret of auth_user has changed, and forgets what it knew", async () => {
  await using world = await openWorld();
  await outcome(world);
  const sections = SECTIONS.replace("looking", "changed");
  await world.reload({ sections, pooler: LINES });
  await world.settle();
  assert.deepEqual(lookers(world).map(({ isClosed }) => isClosed), [true]);
  assert.equal(await outcome(world), IN);
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
});

Deno.test("AuthLookUp keeps no answer to what was asked before such a change", async () => {
  const slowly = LINES.replace("$1", "$1 slowly");
  await using world = await openWorld({ pooler: 'auth_query = "look up $1 slowly"' });
  const ended = attempt(await world.connect(), EVE);
  await world.settle();
  await world.reload({ sections: SECTIONS.replace("looking", "changed"), pooler: slowly });
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(await ended, IN);
  const again = attempt(await world.connect(), EVE);
  await world.settle();
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(await again, IN);
});

Deno.test("AuthLookUp does not find a user again who is gone, whatever auth_cache_ttl is set to", async () => {
  await using world = await openWorld();
  await outcome(world);
  await world.advance(11_000);
  world.postgres.secrets.delete("eve");
  assert.equal(await outcome(world), WRONG);
  world.pooler.operations.set("auth_cache_ttl", "3600");
  assert.equal(await outcome(world), WRONG);
});

Deno.test("AuthLookUp keeps a paused pool for those who wait in it", async () => {
  await using world = await openWorld();
  await world.pooler.operations.pause("app", new AbortController().signal);
  const ended = attempt(await world.connect(), EVE);
  await world.advance(40_000);
  assert.equal(world.pooler.pools.lookUpPools()[0]?.waiting.size, 1);
  world.pooler.operations.resume("app");
  await world.settle();
  assert.equal(await ended, IN);
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

Deno.test("AuthLookUp has those who wait asked for anew after a reload, and keeps no answer of before", async () => {
  await using world = await openWorld({ pooler: 'auth_query = "look up $1 slowly"' });
  const ended: Promise<string>[] = [];
  for (const user of ["one", "two", "three"]) {
    world.postgres.secrets.set(user, [[user, "evening"]]);
    ended.push(attempt(await world.connect(), { ...EVE, user }));
    await world.settle();
  }
  assert.deepEqual(world.postgres.lookedUp, ["one", "two"]);
  await world.reload({ sections: SECTIONS, pooler: `${LINES}\nauth_dbname = "people"` });
  await world.settle();
  assert.equal(await ended[2], IN);
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual(await Promise.all(ended), [IN, IN, IN]);
  assert.equal(await outcome(world, { user: "one" }), IN);
  const people = world.postgres.backends.filter(({ database }) => database === "people");
  assert.deepEqual(people.flatMap(({ lookedUp }) => lookedUp), ["three", "one"]);
});

Deno.test("AuthLookUp lets nobody in any more by a secret of before, once auth_user is gone", async () => {
  await using world = await openWorld();
  assert.equal(await outcome(world), IN);
  await world.reload({ sections: SECTIONS, pooler: 'auth_type = "md5"' });
  assert.equal(await outcome(world), WRONG);
  await world.advance(1_000);
  assert.deepEqual(world.pooler.pools.lookUpPools(), []);
});

Deno.test("AuthLookUp closes its servers with server_idle_timeout, RECONNECT and KILL, and shows them", async () => {
  await using world = await openWorld({ pooler: "server_idle_timeout = 30\nauth_cache_ttl = 0" });
  const closed = () => lookers(world).map(({ isClosed }) => isClosed);
  await outcome(world);
  await world.advance(31_000);
  assert.deepEqual(closed(), [true]);
  await outcome(world);
  world.pooler.operations.reconnect("app");
  await world.settle();
  assert.deepEqual(closed(), [true, true]);
  await outcome(world);
  world.pooler.operations.kill("app");
  await world.settle();
  assert.deepEqual(closed(), [true, true, true]);
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

Deno.test("AuthLookUp forgets pools of databases that clients have made up, soon or at once", async () => {
  await using world = await openWorld({
    postgres: { databases: ["app"] },
    pooler: "max_client_conn = 500",
  });
  const { pools } = world.pooler;
  for (let i = 0; i < 5; i++) {
    assert.equal(await outcome(world, { database: `no${i}` }), UNAVAILABLE);
  }
  await world.advance(1_000);
  assert.equal(pools.lookUpPools().length, 5);
  await world.advance(15_000);
  assert.equal(pools.lookUpPools().length, 0);
  const many = Array.from({ length: 120 }, (_, i) => outcome(world, { database: `no${i}` }));
  assert.deepEqual(new Set(await Promise.all(many)), new Set([UNAVAILABLE]));
  await world.advance(1_000);
  assert.equal(pools.lookUpPools().length, 100);
});

Deno.test("AuthLookUp closes a server that says more than it was asked", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 0" });
  await outcome(world);
  const [looker] = lookers(world);
  looker!.postscript = say.dataRow(["eve", "evening"]);
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.equal(looker!.isClosed, true);
});

Deno.test("AuthLookUp takes news of parameters in an answer, in whatever pieces it comes", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 0", chunking: "bytes" });
  assert.equal(await outcome(world), IN);
  const [looker] = lookers(world);
  looker!.postscript = say.parameterStatus("TimeZone", "Asia/Tokyo");
  assert.equal(await outcome(world), IN);
  assert.equal(looker!.isClosed, false);
});
