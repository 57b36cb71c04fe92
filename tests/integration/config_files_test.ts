/** What stands in files: a pgbouncer.ini in place of TOML, secrets, includes, and what a reload does. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Postgres } from "../../scripts/postgres_fixture.ts";
import { configFor, type ConfigSection, serverOf, tomlConfig } from "../support/toml_config.ts";
import { show } from "../support/console.ts";
import { eventually, within } from "../support/eventually.ts";
import { ask, errorText, logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { runSluice, type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";

/** With a quote and blanks, as a connection string must put in quotes. */
const ODD_PASSWORD = "it's a = b";

const shared = sharedPostgres({
  async prepare(postgres) {
    await postgres.sql("create database one");
    await postgres.sql("create database two");
    await postgres.sql(`create role odd login password '${ODD_PASSWORD.replaceAll("'", "''")}'`);
  },
});

/** A pgbouncer.ini with what its format allows. */
function ini({ port }: Postgres): string {
  return `
;; comments of both kinds
# and lines that are indented
[databases]
one = host=127.0.0.1 port = ${port} user = odd password='it''s a = b' pool_size=1 connect_query='SET work_mem = ''1234kB'''
two=host=127.0.0.1,127.0.0.1 port=${port} dbname=one
  "an odd; ""name""" = host = 127.0.0.1   port=${port}   dbname='two'
* = host=127.0.0.1 port=${port}
two=host='127.0.0.1' port=${port}
[pgbouncer]
  listen_addr = 127.0.0.1
\tlisten_port = 0
unix_socket_dir =
pool_mode = session
auth_type = plain
auth_file = users.txt
server_tls_sslmode = disable
%include more.ini
[users]
postgres = pool_mode=session
[pgbouncer]
pool_mode = transaction
io_engine = portable
`;
}

async function startFromIni(): Promise<SluiceProcess> {
  const postgres = shared.get();
  return await startSluice({
    config: ini(postgres),
    configName: "pgbouncer.ini",
    files: {
      "users.txt": `;comment\n"alice" "a ""quoted"" one"\n\n"postgres" "${postgres.password}" ""\n`,
      "more.ini": "admin_users = alice\n",
    },
  });
}

/** The user of the pgbouncer.ini above. */
function alice(sluice: SluiceProcess, database: string): LoginTarget {
  return { port: sluice.port, user: "alice", database, password: 'a "quoted" one' };
}

Deno.test("a pgbouncer.ini runs as it is, with all that its format allows", async () => {
  await using sluice = await startFromIni();
  const one = alice(sluice, "one");
  assert.equal(await ask(one, "select current_user || ' ' || current_database()"), "odd one");
  assert.equal(await ask(one, "show work_mem"), "1234kB");
  const postgres = { ...one, user: "postgres", password: shared.get().password };
  const database = async (name: string) =>
    await ask({ ...postgres, database: name }, "select current_database()");
  assert.equal(await database("two"), "two", "the last of two lines counts");
  assert.equal(await database('an odd; "name"'), "two");
  assert.equal(await database("template1"), "template1", "what only * covers");
});

Deno.test("a pgbouncer.ini pools: the clients of a database share its server", async () => {
  await using sluice = await startFromIni();
  const clients = [];
  for (let i = 0; i < 4; i++) clients.push(await logIn(alice(sluice, "one")));
  const pids = clients.map((client) => client.query("select pg_backend_pid() as pid"));
  const seen = (await Promise.all(pids)).map(({ rows }) => rows[0]?.pid as number);
  assert.equal(new Set(seen).size, 1, `${seen}`);
  for (const client of clients) await client.end();
});

Deno.test("auth_file holds plain texts, MD5 hashes and SCRAM verifiers, up to 65,530 bytes long", async () => {
  const postgres = shared.get();
  const long = "x".repeat(65_530);
  const md5 = createHash("md5").update("secret" + "hashed").digest("hex");
  const [row] = await postgres.sql("select rolpassword from pg_authid where rolname = 'odd'");
  const lines = [
    '"plain" "secret"',
    `"hashed" "md5${md5}"`,
    `"verified" "${row?.["rolpassword"]}"`,
    `"long" "${long}"`,
  ];
  const forced = { user: "postgres", password: postgres.password, dbname: "postgres" };
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { auth_type: "plain", auth_file: "{dir}/users.txt" },
      databases: { app: { ...serverOf(postgres), ...forced } },
    }),
    files: { "users.txt": lines.join("\n") },
  });
  const secrets = { plain: "secret", hashed: "secret", verified: ODD_PASSWORD, long };
  for (const [user, password] of Object.entries(secrets)) {
    const to = { port: sluice.port, user, database: "app" };
    assert.equal(await outcome({ ...to, password }), "in", user);
    assert.equal(
      await outcome({ ...to, password: `${password.slice(0, -1)}-` }),
      "28P01 password authentication failed",
      user,
    );
  }
});

Deno.test("a password in the configuration goes before auth_file", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { auth_type: "plain", auth_file: "{dir}/users.txt" },
      users: { odd: { password: ODD_PASSWORD } },
    }),
    files: { "users.txt": '"odd" "another"\n' },
  });
  const to = { port: sluice.port, user: "odd" };
  assert.equal(await outcome({ ...to, password: ODD_PASSWORD }), "in");
  assert.equal(
    await outcome({ ...to, password: "another" }),
    "28P01 password authentication failed",
  );
});

Deno.test("passwords come from the environment and from files, and other files are included", async () => {
  const postgres = shared.get();
  const { host, port } = postgres;
  await using sluice = await startSluice({
    config: `include = ["databases.toml"]\n${
      tomlConfig({
        pooler: { auth_type: "scram-sha-256" },
        users: { odd: { password: { env: "ODD_PASSWORD" } } },
      })
    }`,
    env: { ODD_PASSWORD },
    files: {
      "databases.toml": `[databases.app]
host = ${JSON.stringify(host)}
port = ${port}
dbname = "one"
user = "postgres"
password = { file = "secret" }
`,
      secret: `${postgres.password}\n`,
    },
  });
  const to = { port: sluice.port, user: "odd", database: "app", password: ODD_PASSWORD };
  assert.equal(await ask(to, "select current_user || ' ' || current_database()"), "postgres one");
});

Deno.test("what would weaken security is refused", async () => {
  const postgres = shared.get();
  const config = (pooler: ConfigSection) => configFor(postgres, { pooler });
  const refused: readonly ConfigSection[] = [
    { server_tls_protocols: "sslv3" },
    { client_tls_protocols: "sslv3" },
    { auth_dbname: "pgbouncer" },
  ];
  for (const pooler of refused) {
    const { code, stderr } = await runSluice({ config: config(pooler) });
    assert.equal(code, 2, JSON.stringify(pooler));
    assert.match(
      stderr,
      new RegExp(`^[^\\n]*config\\.toml:\\d+: [^\\n]*${Object.keys(pooler)[0]}[^\\n]*\\n$`),
    );
  }
});

/** Has the configuration read again, and waits until the log says what came of it. */
async function reload(sluice: SluiceProcess, config: string, said: RegExp): Promise<string> {
  const fromOffset = sluice.log().length;
  await sluice.rewriteConfig(config);
  sluice.signal("SIGHUP");
  await sluice.waitForLog(said, { fromOffset });
  return sluice.log().slice(fromOffset);
}

const RELOADED = / LOG configuration reloaded\n/;
const NOT_RELOADED = / ERROR reload failed, nothing has been changed\n/;

Deno.test("SIGHUP brings new users and new passwords, and takes users away", async () => {
  const postgres = shared.get();
  const config = (users: Record<string, string>) =>
    configFor(postgres, {
      pooler: { auth_type: "scram-sha-256" },
      databases: {
        app: {
          ...serverOf(postgres),
          dbname: "one",
          user: "postgres",
          password: postgres.password,
        },
      },
      users: Object.fromEntries(
        Object.entries(users).map(([name, password]) => [name, { password }]),
      ),
    });
  await using sluice = await startSluice({ config: config({ ann: "1", bob: "1" }) });
  const login = (user: string, password: string) =>
    outcome({ port: sluice.port, user, password, database: "app" });
  assert.deepEqual([await login("ann", "1"), await login("bob", "1")], ["in", "in"]);
  const present = await logIn({ port: sluice.port, user: "bob", password: "1", database: "app" });
  await reload(sluice, config({ ann: "2", eve: "1" }), RELOADED);
  const refused = "28P01 SASL authentication failed";
  assert.deepEqual([await login("ann", "1"), await login("ann", "2")], [refused, "in"]);
  assert.deepEqual([await login("eve", "1"), await login("bob", "1")], ["in", refused]);
  assert.equal((await present.query("select 1")).rowCount, 1, "who is in stays in");
  await present.end();
});

/** A Sluice whose only user is `ann`, with password `1`, in an `auth_file`. */
async function startWithUserList() {
  const postgres = shared.get();
  const forced = { user: "postgres", password: postgres.password, dbname: "postgres" };
  const config = configFor(postgres, {
    pooler: { auth_type: "plain", auth_file: "{dir}/users.txt" },
    databases: { app: { ...serverOf(postgres), ...forced } },
  });
  const sluice = await startSluice({ config, files: { "users.txt": '"ann" "1"\n' } });
  return {
    sluice,
    config,
    path: `${sluice.dir}/users.txt`,
    login: (password: string) =>
      outcome({ port: sluice.port, user: "ann", password, database: "app" }),
  };
}

Deno.test("SIGHUP reads auth_file again, and keeps the old one when the new one is broken", async () => {
  const { config, login, path, sluice } = await startWithUserList();
  await using _sluice = sluice;
  await Deno.writeTextFile(path, '"ann" "2"\n');
  await reload(sluice, config, RELOADED);
  assert.equal(await login("2"), "in");
  await Deno.writeTextFile(path, '"ann" "3"\nbob\n');
  const log = await reload(sluice, config, NOT_RELOADED);
  assert.match(log, / ERROR .*users\.txt:2: /);
  assert.equal(await login("2"), "in");
});

Deno.test("auth_file is followed without a reload; a bad one is told of and changes nothing", async () => {
  const { login, path, sluice } = await startWithUserList();
  await using _sluice = sluice;
  assert.equal(await login("1"), "in");
  await Deno.writeTextFile(path, '"ann" "another"\n');
  await eventually("the new password is in force", async () => await login("another") === "in");
  await Deno.writeTextFile(path, '"ann" "third"\nbob\n');
  await sluice.waitForLog(/users\.txt:2: [^]*is bad: its users are as before/);
  assert.equal(await login("another"), "in");
  assert.equal(sluice.log().match(/users\.txt:2: /g)?.length, 1);
});

Deno.test("auth_file that could not be read is in force as soon as that is allowed", async () => {
  const { login, path, sluice } = await startWithUserList();
  await using _sluice = sluice;
  await Deno.writeTextFile(`${path}.new`, '"ann" "another"\n');
  await Deno.chmod(`${path}.new`, 0);
  await Deno.rename(`${path}.new`, path);
  await sluice.waitForLog(/Cannot read auth_file .*: Permission denied/);
  await Deno.chmod(path, 0o644);
  await eventually("the new password is in force", async () => await login("another") === "in");
});

Deno.test("a broken file changes nothing at SIGHUP, and the log has all that is wrong with it", async () => {
  const postgres = shared.get();
  const good = configFor(postgres, { pooler: { default_pool_size: 3 } });
  await using sluice = await startSluice({ config: good });
  const client = await logIn({ port: sluice.port, user: "postgres" });
  await client.query("begin");
  const bad = `${good}hots = "x"\n[pooler.no]\nsuch = 1\n[databases.two]\nport = 99999\n`;
  const log = await reload(sluice, bad, NOT_RELOADED);
  const errors = log.split("\n").filter((line) => line.includes(" ERROR "));
  assert.equal(errors.length, 4, log);
  for (const wrong of [/config\.toml:\d+: .*hots/, /config\.toml:\d+: .*no/, /99999/]) {
    assert.ok(errors.some((line) => wrong.test(line)), `${wrong}`);
  }
  assert.equal((await client.query("commit")).command, "COMMIT");
  await client.end();
  assert.equal(await outcome({ port: sluice.port, user: "postgres" }), "in");
});

Deno.test("SIGHUP takes a new pool size over: those who wait are served", async () => {
  const postgres = shared.get();
  const config = (size: number) =>
    configFor(postgres, { pooler: { default_pool_size: size, pool_mode: "transaction" } });
  await using sluice = await startSluice({ config: config(1) });
  const to = { port: sluice.port, user: "postgres" };
  const [holder, waiter] = [await logIn(to), await logIn(to)];
  await holder.query("begin");
  const waiting = waiter.query("select 'served' as x");
  await reload(sluice, config(2), RELOADED);
  assert.equal((await waiting).rows[0]?.x, "served");
  // Smaller again: what is too much is closed as soon as it is free.
  await waiter.query("begin");
  await reload(sluice, config(1), RELOADED);
  await holder.query("commit");
  await sluice.waitForLog(/S-0x.* closing because: too many servers in the pool/);
  assert.equal((await waiter.query("commit")).command, "COMMIT");
  for (const client of [holder, waiter]) await client.end();
});

Deno.test("SIGHUP with another server: a transaction ends on the old one, the next begins on the new one", async () => {
  const postgres = shared.get();
  const config = (dbname: string) =>
    configFor(postgres, {
      pooler: { pool_mode: "transaction" },
      databases: { app: { ...serverOf(postgres), dbname }, one: serverOf(postgres) },
    });
  await using sluice = await startSluice({ config: config("one") });
  const to = { port: sluice.port, user: "postgres", database: "app" };
  const [busy, idle] = [await logIn(to), await logIn(to)];
  const other = await logIn({ ...to, database: "one" });
  const where = async (client: typeof busy) =>
    (await client.query("select current_database() as x, pg_backend_pid() as pid")).rows[0];
  await busy.query("begin");
  assert.equal((await where(idle))?.x, "one");
  const untouched = (await where(other))?.pid;
  await reload(sluice, config("two"), RELOADED);
  await sluice.waitForLog(/S-0x.* app\/postgres@.* closing because: connect string changed/);
  assert.equal((await where(busy))?.x, "one");
  await busy.query("commit");
  assert.equal((await where(busy))?.x, "two");
  assert.equal((await where(idle))?.x, "two");
  assert.equal((await where(other))?.pid, untouched, "the servers of other databases stay");
  for (const client of [busy, idle, other]) await client.end();
});

Deno.test("SIGHUP without a database disconnects its clients, linked or not, and no others", async () => {
  const postgres = shared.get();
  const config = (...names: string[]) =>
    configFor(postgres, {
      pooler: { pool_mode: "transaction" },
      databases: Object.fromEntries(names.map((name) => [name, serverOf(postgres)])),
    });
  await using sluice = await startSluice({ config: config("one", "two") });
  const to = { port: sluice.port, user: "postgres" };
  const gone = [];
  for (let i = 0; i < 2; i++) gone.push(await logIn({ ...to, database: "one" }));
  const stays = await logIn({ ...to, database: "two" });
  await gone[0]!.query("begin");
  const ends = gone.map((client) =>
    new Promise<string>((resolve) => client.once("error", (error) => resolve(errorText(error))))
  );
  await reload(sluice, config("two"), RELOADED);
  const removed = "57P01 database removed";
  assert.deepEqual(await within("both are told", Promise.all(ends)), [removed, removed]);
  assert.equal((await stays.query("select 1")).rowCount, 1);
  assert.equal(await outcome({ ...to, database: "one" }), "3D000 no such database: one");
  for (const client of [...gone, stays]) await client.end();
  await eventually("its servers are gone", async () => {
    const rows = await postgres.sql("select 1 from pg_stat_activity where datname = 'one'");
    return rows.length === 0;
  });
});

Deno.test("SIGHUP with another pool mode holds for links that begin afterwards", async () => {
  const postgres = shared.get();
  const config = (mode: string) =>
    configFor(postgres, {
      pooler: { default_pool_size: 1 },
      databases: { "*": { ...serverOf(postgres), pool_mode: mode } },
    });
  await using sluice = await startSluice({ config: config("session") });
  const to = { port: sluice.port, user: "postgres" };
  const [linked, other] = [await logIn(to), await logIn(to)];
  await linked.query("select 1");
  await reload(sluice, config("transaction"), RELOADED);
  const waiting = other.query("select 'served' as x");
  // In its session still, which is what it was promised.
  await linked.query("set work_mem = '1234kB'");
  assert.deepEqual((await linked.query("show work_mem")).rows, [{ work_mem: "1234kB" }]);
  await linked.end();
  assert.equal((await waiting).rows[0]?.x, "served");
  const third = await logIn(to);
  assert.equal((await third.query("select 1")).rowCount, 1, "the server is shared now");
  assert.equal((await other.query("select 1")).rowCount, 1);
  for (const client of [other, third]) await client.end();
});

Deno.test("SIGHUP warns of what takes effect with a restart only, and takes over the rest", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({ config: configFor(postgres) });
  const log = await reload(
    sluice,
    configFor(postgres, { pooler: { listen_port: 1, pkt_buf: 8192, verbose: 1 } }),
    RELOADED,
  );
  assert.match(log, / WARNING listen_port takes effect with a restart only/);
  assert.match(log, / WARNING pkt_buf takes effect with a restart only/);
  assert.doesNotMatch(log, /WARNING verbose/);
  assert.equal(await outcome({ port: sluice.port, user: "postgres" }), "in");
});

Deno.test("SIGHUP opens the log file anew, after it was moved away, and another one if it is named", async () => {
  const postgres = shared.get();
  const config = (name: string) => configFor(postgres, { pooler: { logfile: `{dir}/${name}` } });
  await using sluice = await startSluice({ config: config("a.log") });
  const read = (name: string) => Deno.readTextFileSync(`${sluice.dir}/${name}`);
  assert.match(read("a.log"), / process up: /);
  await Deno.rename(`${sluice.dir}/a.log`, `${sluice.dir}/a.log.1`);
  await reload(sluice, config("a.log"), RELOADED);
  assert.match(read("a.log"), RELOADED);
  assert.doesNotMatch(read("a.log.1"), RELOADED);
  await reload(sluice, config("b.log"), RELOADED);
  assert.match(read("b.log"), RELOADED);
});

Deno.test("a log file that cannot be opened at SIGHUP changes nothing and ends nothing", async () => {
  const postgres = shared.get();
  const config = (path: string, size: number) =>
    configFor(postgres, { pooler: { logfile: `{dir}/${path}`, default_pool_size: size } });
  await using sluice = await startSluice({ config: config("a.log", 1) });
  await reload(sluice, config("nowhere/b.log", 2), NOT_RELOADED);
  assert.equal(await outcome({ port: sluice.port, user: "postgres" }), "in");
  await reload(sluice, config("a.log", 3), RELOADED);
  // Now the folder of the file in use goes away.
  await Deno.mkdir(`${sluice.dir}/logs`, { mode: 0o777 });
  await Deno.chmod(`${sluice.dir}/logs`, 0o777);
  await reload(sluice, config("logs/c.log", 3), RELOADED);
  await Deno.remove(`${sluice.dir}/logs`, { recursive: true });
  await reload(sluice, config("logs/c.log", 4), NOT_RELOADED);
  assert.equal(await outcome({ port: sluice.port, user: "postgres" }), "in");
});

Deno.test({
  name: "of two SIGHUPs the later one counts, even if the files of the first take longer to read",
  ignore: Deno.build.os === "windows",
  async fn() {
    const postgres = shared.get();
    const config = (size: number, secret: ConfigSection) =>
      configFor(postgres, {
        pooler: { default_pool_size: size },
        users: { postgres: { password: postgres.password }, slow: secret },
      });
    await using sluice = await startSluice({ config: config(10, { password: "x" }) });
    // Reading from it waits until somebody writes into it.
    const pipe = `${sluice.dir}/pipe`;
    await new Deno.Command("mkfifo", { args: ["-m", "666", pipe] }).output();
    await sluice.rewriteConfig(config(11, { password: { file: pipe } }));
    sluice.signal("SIGHUP");
    await sluice.waitForLog(/got SIGHUP/);
    const fromOffset = sluice.log().length;
    await using writer = await Deno.open(pipe, { write: true }); // Resolves when it is being read.
    await sluice.rewriteConfig(config(12, { password: "x" }));
    sluice.signal("SIGHUP");
    await sluice.waitForLog(/got SIGHUP/, { fromOffset });
    await writer.write(new TextEncoder().encode("secret"));
    writer.close();
    await eventually("both are done", () => sluice.log().split(RELOADED).length === 3);
    const size = (await show(sluice, "config")).find(({ key }) => key === "default_pool_size");
    assert.equal(size?.["value"], "12");
  },
});

Deno.test("many SIGHUPs in a row do not disturb what is running", async () => {
  const postgres = shared.get();
  const config = configFor(postgres, { pooler: { pool_mode: "transaction" } });
  await using sluice = await startSluice({ config });
  const client = await logIn({ port: sluice.port, user: "postgres" });
  await client.query("begin");
  const pid = (await client.query("select pg_backend_pid() as pid")).rows[0]?.pid;
  for (let i = 0; i < 10; i++) {
    const fromOffset = sluice.log().length;
    sluice.signal("SIGHUP");
    // Not until it is done: the next one comes while the file is being read.
    await sluice.waitForLog(/got SIGHUP/, { fromOffset });
  }
  await eventually("all are done", () => sluice.log().split(RELOADED).length === 11);
  assert.equal((await client.query("select pg_backend_pid() as pid")).rows[0]?.pid, pid);
  await client.query("commit");
  await client.end();
  assert.doesNotMatch(sluice.log(), /connect string changed| ERROR /);
});
