/** `pgbouncer.ini`, read by PgBouncer's rules; the odd ones were tried with PgBouncer 1.18. */

import assert from "node:assert/strict";
import { dialectOf, loadConfig } from "../../../src/config/load.ts";
import { errorsOf, loadIni, loadToml, memoryIo } from "./memory_files.ts";

Deno.test("an INI file is read with comments, blanks, quotes and repeated sections", async () => {
  const config = await loadIni(`
;; a comment
# another
[databases]
  * = host=127.0.0.1,10.0.0.2 port = 5433
"my ""db""" = dbname='it''s' user=u   password='p w'
[pgbouncer]
	listen_addr = 127.0.0.1, ::1
listen_port=7000
pool_mode = Transaction
log_connections = off
server_idle_timeout = 1.5
server_check_query =
auth_query = SELECT 1 -- "x" ; not a comment
auth_query =
[users]
alice = pool_mode=statement query_timeout=2 password=x
[databases] late = connect_query='select 1'
[pgbouncer] ; back again
listen_port = 7001
`);
  const { settings, databases, users } = config;
  assert.deepEqual(settings.listenAddr, ["127.0.0.1", "::1"]);
  assert.equal(settings.listenPort, 7001);
  assert.equal(settings.poolMode, "transaction");
  assert.equal(settings.logConnections, false);
  assert.equal(settings.serverIdleTimeoutMs, 1500);
  assert.equal(settings.serverCheckQuery, undefined);
  assert.deepEqual([...databases.keys()], ["*", 'my "db"', "late"]);
  assert.deepEqual(databases.get("*")?.hosts, ["127.0.0.1", "10.0.0.2"]);
  assert.equal(databases.get("*")?.port, 5433);
  assert.equal(databases.get('my "db"')?.dbname, "it's");
  assert.equal(databases.get('my "db"')?.password?.reveal(), "p w");
  assert.equal(databases.get("late")?.connectQuery, "select 1");
  assert.equal(users.get("alice")?.poolMode, "statement");
  assert.equal(users.get("alice")?.queryTimeoutMs, 2000);
});

Deno.test("a name may stand in single quotes, as PgBouncer reads it, though its manual says double", async () => {
  const { databases } = await loadIni("[databases]\n'my \"db\"' = dbname=x\n");
  assert.equal(databases.get('my "db"')?.dbname, "x");
  const errors = await errorsOf(loadIni("[databases]\n'my db = dbname=x\n"));
  assert.deepEqual(errors, ['pgbouncer.ini:2: Expected a name in quotes, "=" and a value']);
});

Deno.test("a limit of a database or user that is below 0 is one that is not given", async () => {
  const { databases, users } = await loadIni(
    "[databases]\na = pool_size=-1 max_db_connections=-1\n[users]\nu = max_user_connections=-1\n",
  );
  assert.equal(databases.get("a")?.poolSize, undefined);
  assert.equal(databases.get("a")?.maxDbConnections, undefined);
  assert.equal(users.get("u")?.maxUserConnections, undefined);
});

Deno.test("0 for one database or user leaves it to the limit for all, as in PgBouncer; in TOML it is none", async () => {
  const ofDatabase = "max_db_connections=0 max_db_client_connections=0 server_lifetime=0";
  const ofUser = ["max_user_connections", "max_user_client_connections", "query_timeout"]
    .map((name) => `${name}=0`);
  const config = await loadIni(
    `[databases]\na = ${ofDatabase} min_pool_size=0\n[users]\nu = ${ofUser.join(" ")}\n`,
  );
  const { maxDbClientConnections, maxDbConnections, minPoolSize, serverLifetimeMs } = config
    .databases.get("a")!;
  assert.deepEqual(
    [maxDbConnections, maxDbClientConnections, serverLifetimeMs, minPoolSize],
    [undefined, undefined, undefined, 0],
  );
  const user = config.users.get("u")!;
  assert.deepEqual(
    [user.maxUserConnections, user.maxUserClientConnections, user.queryTimeoutMs],
    [undefined, undefined, undefined],
  );
  const toml = await loadToml(
    `[databases.a]\nmax_db_connections = 0\n[users.u]\nquery_timeout = 0\n`,
  );
  assert.equal(toml.databases.get("a")?.maxDbConnections, 0);
  assert.equal(toml.users.get("u")?.queryTimeoutMs, 0);
});

Deno.test("of two lines for one database the last counts as a whole, and of two keys the last", async () => {
  const { databases } = await loadIni("[databases]\na = host=x port=1\na = port=2 port=3");
  assert.deepEqual(databases.get("a")?.hosts, []);
  assert.equal(databases.get("a")?.port, 3);
});

Deno.test("a value keeps what PgBouncer would not take for a comment", async () => {
  const errors = await errorsOf(loadIni("[pgbouncer]\nlisten_port = 6432 ; x"));
  assert.deepEqual(errors, [
    'pgbouncer.ini:2: "listen_port": expected a whole number, found "6432 ; x"',
  ]);
  const config = await loadIni("[databases]\na = dbname=x;\r\n");
  assert.equal(config.databases.get("a")?.dbname, "x;");
});

Deno.test("%include is expanded in place, sections included", async () => {
  const text = "[databases]\na = port=1\n %include other.ini\nlisten_port = 2\n";
  const others = { "other.ini": "b = port=2\n[pgbouncer]\nlisten_port = 1\n" };
  const config = await loadIni(text, others);
  assert.deepEqual([...config.databases.keys()], ["a", "b"]);
  assert.equal(config.settings.listenPort, 2);
  assert.deepEqual(config.files, ["pgbouncer.ini", "other.ini"]);
});

Deno.test("%include of a missing file or of itself is an error", async () => {
  assert.deepEqual(await errorsOf(loadIni("\n%include no.ini")), [
    'pgbouncer.ini:2: %include: cannot read the file "no.ini": No such file',
  ]);
  assert.deepEqual(await errorsOf(loadIni("%include pgbouncer.ini\n%include pgbouncer.ini")), [
    "pgbouncer.ini:1: %include: files include each other too deep",
  ]);
});

Deno.test("unknown names of an INI are errors with their lines and the nearest name", async () => {
  const errors = await errorsOf(loadIni(`[pgbouncer]
listen_prot = 1
[databases]
a = host=x hots=y
pgbouncer = host=x
[user]
b = pool_size=1
[pooler]
[peers]
0 = host=x
`));
  assert.deepEqual(errors, [
    'pgbouncer.ini:2: Unknown setting "listen_prot": did you mean "listen_port"?',
    'pgbouncer.ini:4: Unknown setting "hots" of database "a": did you mean "host"?',
    'pgbouncer.ini:5: Database name "pgbouncer" is reserved for the console',
    'pgbouncer.ini:6: Unknown section [user]: did you mean "users"?',
    "pgbouncer.ini:8: Unknown section [pooler]: it is called [pgbouncer] in an INI file",
    'pgbouncer.ini:10: Peer "0": expected a number from 1 to 16383',
  ]);
});

Deno.test("a line that is not INI is reported alone, without what stands in it", async () => {
  const cases: [string, RegExp][] = [
    ["[databases]\nnope = x\nhunter2", /3: Expected "name = value": there is no "="$/],
    ["[databases\n", /1: Expected "\]" after the name/],
    ["[databases]\na b = hunter2", /2: Expected "name = value"; a name with anything but letters/],
    ['[databases]\n"a = hunter2', /2: Expected a name in quotes/],
    ["a = hunter2", /1: Expected a section/],
  ];
  for (const [text, expected] of cases) {
    const errors = await errorsOf(loadIni(text));
    assert.equal(errors.length, 1, text);
    assert.match(errors[0] ?? "", expected);
    assert.doesNotMatch(errors[0] ?? "", /hunter2/);
  }
});

Deno.test("a broken connection string is an error that does not show it", async () => {
  assert.deepEqual(await errorsOf(loadIni("[databases]\na = password='hunter2")), [
    `pgbouncer.ini:2: databases entry "a": a closing ' is missing after the value of "password"`,
  ]);
});

Deno.test("Sluice's own settings are taken in an INI too, and refused ones refused", async () => {
  const config = await loadIni("[pgbouncer]\nio_engine = portable\nservice_name = x\n");
  assert.equal(config.settings.ioEngine, "portable");
  assert.equal(config.settings.jobName, "x");
  assert.deepEqual(config.warnings, [
    'pgbouncer.ini: "job_name" is shown with log_format = "json" only',
  ]);
  const errors = await errorsOf(loadIni("[pgbouncer]\nauth_dbname = pgbouncer"));
  assert.match(errors[0] ?? "", /^pgbouncer.ini:2: Cannot set "auth_dbname" to "pgbouncer": /);
});

Deno.test("dialectOf() goes by the name, then by a section [pgbouncer]", async () => {
  assert.equal(dialectOf("a.ini", ""), "ini");
  assert.equal(dialectOf("a.toml", "[pgbouncer]"), "toml");
  assert.equal(dialectOf("a.conf", "; x\n[databases]\n [pgbouncer]"), "ini");
  assert.equal(dialectOf("a.conf", "# [pgbouncer]\n[pooler]"), "toml");
  const io = memoryIo({ conf: "; old\n[pgbouncer]\nlisten_port = 5\n" });
  assert.equal((await loadConfig("conf", io)).settings.listenPort, 5);
});
