/** TOML configurations: what they give, and every error at once. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { loadConfig } from "../../../src/config/load.ts";
import { ConfigErrors } from "../../../src/config/load.ts";
import { errorsOf, loadToml, memoryIo } from "./memory_files.ts";

Deno.test("loadConfig() gives an empty file the defaults", async () => {
  const config = await loadToml("");
  assert.equal(config.path, "config.toml");
  assert.equal(config.settings.listenPort, 6432);
  assert.equal(config.settings.conffile, "config.toml");
  assert.deepEqual(config.files, ["config.toml"]);
  assert.deepEqual(config.warnings, []);
  assert.equal(config.databases.size + config.users.size + config.peers.size, 0);
});

Deno.test("loadConfig() reads settings, databases, users and peers", async () => {
  const config = await loadToml(`
[pooler]
listen_addr = ["127.0.0.1", "::1"]
listen_port = 0
pool_mode = "transaction"
server_idle_timeout = "15s"
log_stats = 0

[databases."*"]
host = "db1,db2"
port = 5433
application_name = "sluice"
timezone = "UTC"
load_balance_hosts = "disable"

[databases]
app = { dbname = "app_production", user = "u", password = "s", pool_size = 3, reserve_pool = 1 }
"my.db".server_lifetime = "5min"

[users.alice]
password = "secret"
pool_mode = "statement"
query_timeout = 1.5

[peers.7]
host = "10.0.0.1"
`);
  assert.deepEqual(config.settings.listenAddr, ["127.0.0.1", "::1"]);
  assert.equal(config.settings.listenPort, 0);
  assert.equal(config.settings.serverIdleTimeoutMs, 15_000);
  assert.equal(config.settings.logStats, false);
  const any = config.databases.get("*");
  assert.deepEqual(any?.hosts, ["db1", "db2"]);
  assert.equal(any?.port, 5433);
  assert.equal(any?.loadBalanceHosts, "disable");
  const parameters = [...any?.startupParameters ?? []];
  assert.deepEqual(parameters, [["timezone", "UTC"], ["application_name", "sluice"]]);
  const app = config.databases.get("app");
  assert.deepEqual(app?.hosts, []);
  assert.equal(app?.dbname, "app_production");
  assert.equal(app?.password?.reveal(), "s");
  assert.equal(app?.poolSize, 3);
  assert.equal(app?.reservePoolSize, 1);
  assert.equal(app?.poolMode, undefined);
  assert.equal(config.databases.get("my.db")?.serverLifetimeMs, 300_000);
  const alice = config.users.get("alice");
  assert.equal(alice?.password?.reveal(), "secret");
  assert.equal(alice?.poolMode, "statement");
  assert.equal(alice?.queryTimeoutMs, 1500);
  assert.deepEqual(config.peers.get(7), {
    id: 7,
    host: "10.0.0.1",
    port: 6432,
    poolSize: undefined,
  });
});

Deno.test("loadConfig() reports all errors at once, in the order of the file", async () => {
  const errors = await errorsOf(loadToml(`[pooler]
listen_prot = 6432
default_pool_size = 1
default_pool_size = 2
pool_mode = "transction"
[databases.app]
prot = 5432
port = 70000
[databases.my.db]
host = "x"
[databases.pgbouncer]
host = "x"
[user.x]
[peers.0]
host = "x"
[peers.5]
[peers.05]
host = "x"
`));
  assert.deepEqual(errors, [
    'config.toml:2: Unknown setting "listen_prot": did you mean "listen_port"?',
    "config.toml:4: pooler.default_pool_size is already defined in line 3",
    'config.toml:5: "pool_mode": expected one of session, transaction, statement, found "transction"',
    'config.toml:7: Unknown setting "prot" of database "app": did you mean "port"?',
    'config.toml:8: "port" of database "app": expected a whole number from 1 to 65535, found 70000',
    'config.toml:9: Unknown setting "db" of database "my": a name with a dot needs quotes',
    'config.toml:11: Database name "pgbouncer" is reserved for the console',
    'config.toml:13: Unknown section [user]: did you mean "users"?',
    'config.toml:14: Peer "0": expected a number from 1 to 16383',
    'config.toml:16: Peer "5" has no "host"',
  ]);
});

Deno.test("loadConfig() reports a syntax error alone", async () => {
  const errors = await errorsOf(loadToml("[pooler]\nnope = 1\nlisten_port = \n"));
  assert.deepEqual(errors, ["config.toml:3: Expected a value after the key; a text needs quotes"]);
});

Deno.test("loadConfig() says what is out of place", async () => {
  const cases: [string, RegExp][] = [
    ["listen_port = 1", /^config.toml:1: Unknown key "listen_port" outside of a section/],
    ["[pgbouncer]", /^config.toml:1: Unknown section \[pgbouncer\]: it is called \[pooler\] here/],
    ["[stuff]", /there are \[pooler\], \[databases.NAME\]/],
    ["pooler = 5", /"pooler": expected a table/],
    ["[databases]\napp = 'host=x'", /databases.app: expected a table, like \[databases.app\]/],
    ["[pooler.listen_port]", /"listen_port": expected a whole number, found a table/],
    ["[users.a]\nreserve_pool = 1", /Unknown setting "reserve_pool" of user "a"/],
    ['[databases.""]', /name of a database cannot be empty/],
    ['[users."a\\u0000"]', /contain a NUL byte/],
    ["[databases.a]\nreserve_pool = 1\nreserve_pool_size = 2", /is "reserve_pool_size", set in/],
    ['[pooler]\nunix_socket_dir = ""', /Nothing to listen on/],
    ["[pooler]\nauth_type = 1979-05-27", /found a date/],
  ];
  for (const [text, expected] of cases) {
    const errors = await errorsOf(loadToml(text));
    assert.equal(errors.length, 1, text);
    assert.match(errors[0] ?? "", expected, text);
  }
});

Deno.test("loadConfig() fetches secrets from the environment and from files", async () => {
  const text = `[users.a]
password = { env = "SECRET_A" }
[users.b]
password = { file = "b.secret" }
[databases.c]
password.file = "/run/c"
`;
  const files = { "etc/config.toml": text, "etc/b.secret": "b \n\n", "/run/c": "c\r\n" };
  const config = await loadConfig("etc/config.toml", memoryIo(files, { SECRET_A: "a" }));
  assert.equal(config.users.get("a")?.password?.reveal(), "a");
  assert.equal(config.users.get("b")?.password?.reveal(), "b \n");
  assert.equal(config.databases.get("c")?.password?.reveal(), "c");
});

Deno.test("loadConfig() fetches any value from the environment or a file, where it is bare text", async () => {
  const text = `[pooler]
max_client_conn = { env = "CLIENTS" }
query_timeout = { file = "limit" }
log_stats = { env = "OFF" }
listen_addr = { env = "ADDRESSES" }
pool_mode = { env = "MODE" }
[databases.c]
host.env = "HOST"
port = { env = "PORT" }
`;
  const env = { CLIENTS: "12", OFF: "0", ADDRESSES: "a, b", MODE: "statement", HOST: "h" };
  const load = (port: string) =>
    loadConfig(
      "config.toml",
      memoryIo({ "config.toml": text, limit: "1.5\n" }, { ...env, PORT: port }),
    );
  const { databases, settings } = await load("5433");
  assert.deepEqual(
    [settings.maxClientConn, settings.queryTimeoutMs, settings.logStats, settings.poolMode],
    [12, 1_500, false, "statement"],
  );
  assert.deepEqual(settings.listenAddr, ["a", "b"]);
  assert.deepEqual([databases.get("c")?.hosts, databases.get("c")?.port], [["h"], 5433]);
  assert.match(
    (await errorsOf(load("many")))[0]!,
    /^config.toml:9: "port" of database "c": expected a whole number/,
  );
  assert.deepEqual(await errorsOf(loadToml('[pooler]\npeer_id = { env = "ID" }\nuser = {}')), [
    'config.toml:2: "peer_id": the environment has no variable "ID"',
    'config.toml:3: "user": expected a text in quotes, found a table',
  ]);
});

Deno.test("loadConfig() shows nothing of what it has fetched: it may be a secret that was meant for another setting", async () => {
  const keys = ["default_pool_size", "pool_mode", "log_stats", "unix_socket_mode", "query_timeout"];
  const texts = ["auth_type", "io_engine", "proxy_trusted", "client_tls_protocols", "pkt_buf"];
  const lines = [...keys, ...texts].map((key) => `${key} = { env = "PASSWORD" }`);
  const text = `[pooler]\n${lines.join("\n")}\n[databases.a]\nport = { file = "pw" }\n`;
  const files = { "config.toml": text, pw: "hunter2" };
  const errors = await errorsOf(
    loadConfig("config.toml", memoryIo(files, { PASSWORD: "hunter2" })),
  );
  assert.equal(errors.length, lines.length + 1, errors.join("\n"));
  for (const error of errors) assert.ok(!error.includes("hunter2"), error);
  assert.match(errors[0]!, /"default_pool_size": expected .*; what was fetched is not shown$/);
});

Deno.test("loadConfig() reports secrets that are missing, empty or written in another way", async () => {
  const cases: [string, RegExp][] = [
    ['{ env = "NO" }', /2: "password": the environment has no variable "NO"/],
    ['{ file = "no" }', /2: "password": cannot read the file "no": No such file/],
    ['{ enw = "X" }', /expected a text, \{ env = "NAME" \} or \{ file = "path" \}/],
    ['{ env = "X", file = "Y" }', /expected a text/],
    ["{ env = 5 }", /expected a text/],
    ["{}", /expected a text/],
    ["1234", /expected a text/],
    ['["hunter2"]', /expected a text/],
    ['""', /the secret is empty/],
    ['"hunter2\\u0000"', /NUL/],
  ];
  for (const [value, expected] of cases) {
    const errors = await errorsOf(loadToml(`[users.a]\npassword = ${value}`));
    assert.equal(errors.length, 1, value);
    assert.match(errors[0] ?? "", expected);
    assert.doesNotMatch(errors[0] ?? "", /hunter2|1234/);
  }
});

Deno.test("a loaded configuration never prints a secret", async () => {
  const config = await loadToml(
    '[users.a]\npassword = "hunter2"\n[databases.b]\npassword = "hunter2"',
  );
  const texts = [Deno.inspect(config, { depth: 9 }), JSON.stringify([...config.users.values()])];
  for (const text of texts) assert.ok(!text.includes("hunter2"));
});

Deno.test("loadConfig() includes other files, relative to the file that names them", async () => {
  const files = {
    "etc/config.toml":
      'include = ["more/users.toml", "more/../db.toml"]\n[pooler]\nlisten_port = 1',
    "etc/more/users.toml": 'include = "deep.toml"\n[users.a]\npassword = "a"',
    "etc/more/deep.toml": '[users.b]\npassword = "b"',
    "etc/db.toml": "[databases.c]\nport = 1",
  };
  const config = await loadConfig("etc/config.toml", memoryIo(files));
  assert.deepEqual([...config.users.keys()].sort(), ["a", "b"]);
  assert.equal(config.databases.get("c")?.port, 1);
  assert.deepEqual(config.files, [
    "etc/config.toml",
    "etc/more/users.toml",
    "etc/more/deep.toml",
    "etc/db.toml",
  ]);
});

Deno.test("loadConfig() reports errors in included files by their own names and lines", async () => {
  const others = {
    "a.toml": "[pooler]\nlisten_port = -1",
    "b.toml": "[pooler]\n\nlisten_port = 5",
  };
  const errors = await errorsOf(loadToml('include = ["a.toml", "b.toml"]', others));
  assert.deepEqual(errors, [
    'a.toml:2: "listen_port": expected a whole number from 0 to 65535, found -1',
    "b.toml:3: pooler.listen_port is already defined in a.toml:2",
  ]);
  const syntax = await errorsOf(loadToml('include = ["x.toml"]\n[nope]', { "x.toml": "\n=" }));
  assert.equal(syntax.length, 1);
  assert.match(syntax[0] ?? "", /^x.toml:2: /);
});

Deno.test("loadConfig() keeps the first of a secret that two files define in two ways", async () => {
  const others = { "a.toml": '[users.u]\npassword.env = "X"' };
  const errors = await errorsOf(
    loadToml('include = ["a.toml"]\n[users.u]\npassword = "x"', others),
  );
  assert.deepEqual(errors, [
    "config.toml:3: users.u.password is already defined in a.toml:2",
    'a.toml:2: "password": the environment has no variable "X"',
  ]);
});

Deno.test("loadConfig() refuses files that include each other, twice, or are missing", async () => {
  const loop = { "a.toml": 'include = ["config.toml"]' };
  assert.deepEqual(await errorsOf(loadToml('include = ["a.toml"]', loop)), [
    'a.toml:1: "include": the file "config.toml" includes itself',
  ]);
  assert.deepEqual(await errorsOf(loadToml('include = ["a.toml", "./a.toml"]', { "a.toml": "" })), [
    'config.toml:1: "include": the file "./a.toml" is included twice',
  ]);
  assert.deepEqual(await errorsOf(loadToml('include = ["a.toml"]')), [
    'config.toml:1: "include": cannot read the file "a.toml": No such file',
  ]);
  for (const value of ["5", "[5]", "{ a = 'x' }"]) {
    assert.deepEqual(await errorsOf(loadToml(`include = ${value}`)), [
      'config.toml:1: "include": expected an array of file names',
    ]);
  }
});

Deno.test("loadConfig() reports a file that cannot be read", async () => {
  assert.deepEqual(await errorsOf(loadConfig("none.toml", memoryIo({}))), [
    "none.toml: Cannot read the file: No such file",
  ]);
});

Deno.test("loadConfig() says what is missing for TLS with clients, and what is no version or curve", async () => {
  const problems = async (lines: string) => await errorsOf(loadToml(`[pooler]\n${lines}`));
  const files = 'client_tls_cert_file = "a"\nclient_tls_key_file = "b"\n';
  assert.deepEqual(await problems('client_tls_sslmode = "allow"'), [
    'config.toml: "client_tls_sslmode" is "allow", and "client_tls_cert_file" is not set',
    'config.toml: "client_tls_sslmode" is "allow", and "client_tls_key_file" is not set',
  ]);
  assert.deepEqual(await problems(`${files}client_tls_sslmode = "verify-full"`), [
    'config.toml: "client_tls_sslmode" is "verify-full", and "client_tls_ca_file" is not set',
  ]);
  for (const mode of ["allow", "prefer", "require"]) {
    await loadToml(`[pooler]\n${files}client_tls_sslmode = "${mode}"`);
  }
  const [versions, curve, group] = await problems(
    'client_tls_protocols = "tlsv1.4"\nclient_tls_ecdhcurve = "none"\nclient_tls_dheparams = "x"',
  );
  assert.match(versions!, /^config.toml:2: "client_tls_protocols": expected all, .* "tlsv1.4"$/);
  assert.match(curve!, /^config.toml:3: "client_tls_ecdhcurve": expected "auto" or names/);
  assert.match(group!, /^config.toml:4: "client_tls_dheparams": expected one of auto, legacy/);
});

Deno.test("loadConfig() refuses the console as the place where secrets are looked up", async () => {
  for (const [section, of] of [["pooler", ""], ["databases.a", ' of database "a"']]) {
    const setting = 'auth_dbname = "pgbouncer"';
    assert.deepEqual(await errorsOf(loadToml(`[${section}]\n${setting}`)), [
      `config.toml:2: Cannot set "auth_dbname"${of} to "pgbouncer": ` +
      "that is the console, which has no secrets to look up",
    ]);
  }
});

Deno.test("loadConfig() warns that a job_name is not shown but in JSON", async () => {
  assert.deepEqual((await loadToml('[pooler]\njob_name = "pgbouncer"')).warnings, []);
  const json = '[pooler]\njob_name = "sluice-1"\nlog_format = "json"';
  assert.deepEqual((await loadToml(json)).warnings, []);
  assert.deepEqual((await loadToml('[pooler]\njob_name = "sluice-1"')).warnings, [
    'config.toml: "job_name" is shown with log_format = "json" only',
  ]);
});

Deno.test("loadConfig() warns of peers that this process, having no number, passes nothing on to", async () => {
  const peer = '[peers.1]\nhost = "x"\n';
  const { warnings } = await loadToml(peer);
  assert.deepEqual(warnings, ['config.toml: [peers] has no effect as long as "peer_id" is 0']);
  assert.deepEqual((await loadToml(`[pooler]\npeer_id = 2\n${peer}`)).warnings, []);
});

Deno.test("loadConfig() does not warn of values that change nothing", async () => {
  const config = await loadToml(`[pooler]
dns_max_ttl = "15s"
server_tls_sslmode = "disable"
client_tls_sslmode = "disable"
io_engine = "portable"
auth_hba_file = "hba.conf"
auth_ident_file = "ident.conf"
log_format = "pgbouncer"
`);
  assert.deepEqual(config.warnings, []);
  assert.deepEqual((await loadToml('[pooler]\nserver_tls_sslmode = "prefer"')).warnings, []);
});

Deno.test("loadConfig() gives a configuration or ConfigErrors for any text", async () => {
  const piece = fc.constantFrom(
    ...["[pooler]\n", "[databases.a]\n", '[databases."*"]\n', "[users.b]\n", "[peers.1]\n"],
    ...[
      "include = ['config.toml']\n",
      "listen_port",
      "password",
      "host",
      "pool_mode",
      "stats_period",
    ],
    ...[" = ", "1\n", '"x"\n', "true\n", "[]\n", "{}\n", "{ env = 'X' }\n", "nan\n", "1e9\n", "\n"],
    ...['"', "'", "=", "[", "]", "{", "}", "#", "\\", "\0", "__proto__", "constructor", "toString"],
  );
  const anyText = fc.oneof(fc.array(piece).map((pieces) => pieces.join("")), fc.string());
  await fc.assert(
    fc.asyncProperty(anyText, fc.constantFrom("config.toml", "x.ini", "x"), async (text, path) => {
      try {
        await loadConfig(path, memoryIo({ [path]: text }));
      } catch (error) {
        assert.ok(error instanceof ConfigErrors, String(error));
        assert.ok(error.errors.length > 0);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("loadConfig() takes addresses and ranges for proxy_trusted, and nothing else", async () => {
  const config = await loadToml('[pooler]\nproxy_trusted = ["10.0.0.0/8", "::1"]\n');
  assert.deepEqual(config.settings.proxyTrusted, ["10.0.0.0/8", "::1"]);
  for (const bad of ["proxy.example", "10.0.0.0/33", "10.0.0"]) {
    const errors = await errorsOf(loadToml(`[pooler]\nproxy_trusted = "10.0.0.1, ${bad}"\n`));
    assert.equal(errors.length, 1);
    assert.ok(errors[0]!.includes(`found "${bad}"`));
  }
});

Deno.test("loadConfig() warns where proxy_protocol is on and nobody is trusted", async () => {
  const { warnings } = await loadToml("[pooler]\nproxy_protocol = true\n");
  assert.deepEqual(warnings, [
    'config.toml: "proxy_protocol" believes nobody\'s header as long as "proxy_trusted" is empty',
  ]);
  const trusted = '[pooler]\nproxy_protocol = true\nproxy_trusted = "::1"\n';
  assert.deepEqual((await loadToml(trusted)).warnings, []);
});

Deno.test("loadConfig() reads physical servers, each of them once", async () => {
  const config = await loadToml(`[servers.main]
host = "db.example"
max_connections = 90
[servers.other]
host = "/run/postgresql"
port = 5433
`);
  assert.deepEqual([...config.servers.values()], [
    { name: "main", host: "db.example", port: 5432, maxConnections: 90 },
    { name: "other", host: "/run/postgresql", port: 5433, maxConnections: 0 },
  ]);
  assert.deepEqual(
    await errorsOf(loadToml(`[servers.a]
port = 1
[servers.b]
host = "x"
[servers.c]
host = "X"
[databases.d]
weight = 0
`)),
    [
      'config.toml:1: Server "a" has no "host"',
      'config.toml:5: Server "c" is the same host and port as "b"',
      'config.toml:8: "weight" of database "d": expected a whole number from 1 to 1000, found 0',
    ],
  );
});
