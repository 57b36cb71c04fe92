/** The console on database `pgbouncer`: who may do what, and what it shows of a busy pooler. */

import assert from "node:assert/strict";
import postgresJs from "postgres";
import { unprivilegedIds } from "../../scripts/unprivileged.ts";
import { psql, psqlWith } from "../support/commands.ts";
import { show, type ShownRow } from "../support/console.ts";
import { eventually } from "../support/eventually.ts";
import { logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { frontend, type ReportFields } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";

const shared = sharedPostgres();

/** Port of the unix socket, which is in a folder of the process's own. */
const UNIX_PORT = 6432;

const USERS = { ada: { password: "ada" }, stan: { password: "stan" }, carl: { password: "carl" } };

async function start(pooler: ConfigSection = {}): Promise<SluiceProcess> {
  return await startSluice({
    config: configFor(shared.get(), {
      pooler: { admin_users: "postgres, ada", stats_users: "stan", ...pooler },
      users: USERS,
    }),
  });
}

function console_({ port }: SluiceProcess, user = "ada"): LoginTarget {
  return { port, user, database: "pgbouncer", password: user };
}

const NOT_ALLOWED = "42501 not allowed";
const ADMIN_ONLY = "42501 admin access needed";

Deno.test("the console is for admin_users and stats_users, who prove who they are", async () => {
  await using sluice = await start({ auth_type: "scram-sha-256" });
  const ask = (user: string, sql: string) => outcome(console_(sluice, user), sql);
  assert.match(String(await ask("ada", "show version")), /^PgBouncer /);
  assert.match(String(await ask("stan", "show version")), /^PgBouncer /);
  assert.equal(await ask("carl", "show version"), NOT_ALLOWED);
  const wrong = { ...console_(sluice), password: "wrong" };
  assert.equal(await outcome(wrong, "show version"), "28P01 SASL authentication failed");
  assert.equal(await ask("stan", "reload"), ADMIN_ONLY);
  assert.equal(await ask("stan", "shutdown"), ADMIN_ONLY);
  assert.equal(await ask("stan", "shutdown wait_for_clients"), ADMIN_ONLY);
  assert.equal(await ask("ada", "reload"), undefined);
});

Deno.test("with auth_type any everybody may look, and only admin_users may act", async () => {
  await using sluice = await start({ auth_type: "any" });
  const ask = (user: string, sql: string) => outcome(console_(sluice, user), sql);
  assert.match(String(await ask("whoever", "show version")), /^PgBouncer /);
  assert.equal(await ask("whoever", "reload"), ADMIN_ONLY);
});

/** A console by unix socket, for a process of another user. */
async function startWithSocket(): Promise<SluiceProcess> {
  return await start({
    auth_type: "scram-sha-256",
    listen_addr: "",
    listen_port: UNIX_PORT,
    unix_socket_dir: "{dir}",
  });
}

Deno.test({
  name:
    "user pgbouncer is an admin without a password over the unix socket, for the process's own user",
  ignore: isMissing("psql") || Deno.build.os !== "linux",
  async fn() {
    await using sluice = await startWithSocket();
    if (Deno.uid() === 0) await Deno.chmod(sluice.dir, 0o755);
    const to = {
      host: sluice.dir,
      port: UNIX_PORT,
      user: "pgbouncer",
      database: "pgbouncer",
      ids: unprivilegedIds(),
    };
    for (let i = 0; i < 10; i++) {
      const { code, stderr, stdout } = await psql(to, "show version");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^PgBouncer /);
    }
    assert.equal((await psql(to, "reload")).stdout, "RELOAD\n");
    // The rule is for this one name, and for this database.
    const others = [{ ...to, user: "ada" }, { ...to, database: "postgres" }];
    for (const other of others) assert.notEqual((await psql(other, "select 1")).code, 0);
  },
});

Deno.test({
  name:
    "many at once are let in as user pgbouncer, or not at all, and never another user's process",
  ignore: isMissing("psql") || Deno.build.os !== "linux" || Deno.uid() !== 0,
  async fn() {
    await using sluice = await startWithSocket();
    await Deno.chmod(sluice.dir, 0o755);
    const to = { host: sluice.dir, port: UNIX_PORT, user: "pgbouncer", database: "pgbouncer" };
    const logins = Array.from({ length: 12 }, async (_, i) => {
      const isOwn = i % 2 === 0;
      const { code, stdout, stderr } = await psql(
        isOwn ? { ...to, ids: unprivilegedIds() } : to,
        "show version",
      );
      if (isOwn) assert.deepEqual([code, stdout.slice(0, 10)], [0, "PgBouncer "], stderr);
      else {
        assert.equal(code, 2);
        assert.match(stderr, /no password supplied|authentication failed/);
      }
    });
    await Promise.all(logins);
  },
});

Deno.test("user pgbouncer over TCP is nobody in particular", async () => {
  await using sluice = await start({ auth_type: "trust" });
  assert.equal(
    await outcome(console_(sluice, "pgbouncer"), "show version"),
    '28000 "trust" authentication failed',
  );
});

// --- what it shows ---

const TEXT = 25;
const INT4 = 23;
const NUMERIC = 1700;

/** Columns by name: `a b:4` is a text and an int4, `:n` a numeric. */
function columns(text: string): [name: string, oid: number][] {
  return text.trim().split(/\s+/).map((word) => {
    const [name = "", kind] = word.split(":");
    return [name, kind === "4" ? INT4 : kind === "n" ? NUMERIC : TEXT];
  });
}

const SOCKET = columns(`
  type user database replication state addr port:4 local_addr local_port:4 connect_time request_time
  wait:4 wait_us:4 close_needed:4 ptr link remote_pid:4 tls application_name prepared_statements:4 id:4
`);

/** Every SHOW that has rows, with its columns in order. */
const COLUMNS: Readonly<Record<string, readonly (readonly [string, number])[]>> = {
  version: columns("version"),
  config: columns("key value default changeable"),
  databases: columns(`
    name host port:4 database force_user pool_size:4 min_pool_size:4 reserve_pool_size:4
    server_lifetime:4 pool_mode load_balance_hosts max_connections:4 current_connections:4
    max_client_connections:4 current_client_connections:4 paused:4 disabled:4
  `),
  users: columns(`
    name pool_size reserve_pool_size pool_mode max_user_connections:4 current_connections:4
    max_user_client_connections:4 current_client_connections:4
  `),
  pools: columns(`
    database user cl_active:4 cl_waiting:4 cl_active_cancel_req:4 cl_waiting_cancel_req:4 sv_active:4
    sv_active_cancel:4 sv_being_canceled:4 sv_idle:4 sv_used:4 sv_tested:4 sv_login:4 maxwait:4
    maxwait_us:4 pool_mode load_balance_hosts
  `),
  clients: SOCKET,
  servers: SOCKET,
  stats: columns(`
    database total_server_assignment_count:n total_xact_count:n total_query_count:n total_received:n
    total_sent:n total_xact_time:n total_query_time:n total_wait_time:n total_client_parse_count:n
    total_server_parse_count:n total_bind_count:n total_client_login_count:n
    avg_server_assignment_count:n avg_xact_count:n avg_query_count:n avg_recv:n avg_sent:n
    avg_xact_time:n avg_query_time:n avg_wait_time:n avg_client_parse_count:n
    avg_server_parse_count:n avg_bind_count:n avg_client_login_count:n
  `),
};

Deno.test("each SHOW has its columns, by name, order and type", async () => {
  await using sluice = await start();
  assert.equal(await outcome({ port: sluice.port, user: "postgres" }), "in");
  const client = await logIn(console_(sluice));
  for (const [what, expected] of Object.entries(COLUMNS)) {
    for (const sql of [`show ${what}`, `SHOW ${what.toUpperCase()};`, `  select ${what} ; `]) {
      const { command, fields, rows } = await client.query(sql);
      assert.deepEqual(fields.map(({ name, dataTypeID }) => [name, dataTypeID]), expected, sql);
      assert.ok(rows.length > 0, `${sql} has rows`);
      assert.equal(command, "SHOW");
    }
  }
  await client.end();
});

Deno.test({
  name: "psql shows each SHOW with its columns",
  ignore: isMissing("psql"),
  async fn() {
    await using sluice = await start();
    assert.equal(await outcome({ port: sluice.port, user: "postgres" }), "in");
    const to = { port: sluice.port, user: "ada", database: "pgbouncer" };
    const commands = Object.keys(COLUMNS).flatMap((what) => ["-c", `show ${what}`]);
    const { code, stderr, stdout } = await psqlWith(to, ["-A", "-P", "footer=off", ...commands]);
    assert.deepEqual([code, stderr], [0, ""]);
    const shown = stdout.split("\n");
    for (const [what, expected] of Object.entries(COLUMNS)) {
      assert.ok(shown.includes(expected.map(([name]) => name).join("|")), what);
    }
  },
});

Deno.test("SHOW HELP is a notice with the commands in it", async () => {
  await using sluice = await start();
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.login({ user: "ada", database: "pgbouncer" });
  const { notices, rows, tags } = await client.query("show help");
  client.close();
  assert.deepEqual([notices.length, rows.length, tags], [1, 0, ["SHOW"]]);
  const [{ detail, message, severity, sqlstate } = {}] = notices as Partial<ReportFields>[];
  assert.deepEqual([severity, sqlstate, message], ["NOTICE", "00000", "Console usage"]);
  assert.match(detail ?? "", /SHOW .*RELOAD.*SHUTDOWN/s);
});

function find(rows: readonly ShownRow[], wanted: ShownRow): ShownRow {
  const found = rows.filter((row) =>
    Object.entries(wanted).every(([name, value]) => row[name] === value)
  );
  assert.equal(found.length, 1, `${JSON.stringify(wanted)} in ${JSON.stringify(rows)}`);
  return found[0]!;
}

/** Whether a row has all these values. */
function has(row: ShownRow, expected: ShownRow): void {
  const found = Object.fromEntries(Object.keys(expected).map((name) => [name, row[name]]));
  assert.deepEqual(found, expected);
}

/** Two clients at work in a transaction, one that waits, one that is idle, and their ports. */
class BusyScene implements AsyncDisposable {
  readonly sluice: SluiceProcess;
  readonly clients: TestClient[] = [];
  readonly ports: number[] = [];
  readonly backendPids: string[] = [];

  private constructor(sluice: SluiceProcess) {
    this.sluice = sluice;
  }

  static async start(): Promise<BusyScene> {
    const scene = new BusyScene(
      await start({ pool_mode: "transaction", default_pool_size: 2, min_pool_size: 0 }),
    );
    for (let i = 0; i < 4; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: scene.sluice.port });
      scene.ports.push((conn.localAddr as Deno.NetAddr).port);
      const client = new TestClient(conn);
      await client.login({ user: "postgres", parameters: { application_name: `app${i}` } });
      scene.clients.push(client);
    }
    for (const client of scene.clients.slice(0, 2)) {
      await client.query("begin");
      const { rows } = await client.query("select pg_backend_pid()");
      scene.backendPids.push(rows[0]?.[0] ?? "");
    }
    await scene.clients[2]!.send(frontend.query("select 'served'"));
    await eventually("one waits", async () => {
      return (await show(scene.sluice, "pools")).some(({ cl_waiting: count }) => count === 1);
    });
    return scene;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) client.close();
    await this.sluice[Symbol.asyncDispose]();
  }
}

Deno.test("SHOW POOLS counts clients and servers by what they do", async () => {
  await using scene = await BusyScene.start();
  const { clients, sluice } = scene;
  const pool = find(await show(sluice, "pools"), { database: "postgres", user: "postgres" });
  has(pool, {
    cl_active: 3,
    cl_waiting: 1,
    cl_active_cancel_req: 0,
    cl_waiting_cancel_req: 0,
    sv_active: 2,
    sv_active_cancel: 0,
    sv_being_canceled: 0,
    sv_idle: 0,
    sv_used: 0,
    sv_tested: 0,
    sv_login: 0,
    pool_mode: "transaction",
  });
  assert.ok(Number(pool["maxwait"]) * 1e6 + Number(pool["maxwait_us"]) > 0, "somebody waits");
  has(find(await show(sluice, "pools"), { database: "pgbouncer" }), {
    user: "pgbouncer",
    cl_active: 1,
    cl_waiting: 0,
    pool_mode: "statement",
  });
  await clients[0]!.query("commit");
  assert.deepEqual((await clients[2]!.result()).rows, [["served"]]);
  await clients[1]!.query("commit");
  await eventually("all servers are idle", async () => {
    const row = find(await show(sluice, "pools"), { database: "postgres", user: "postgres" });
    return row["sv_idle"] === 2 && row["sv_active"] === 0 && row["cl_waiting"] === 0 &&
      row["maxwait"] === 0 && row["maxwait_us"] === 0;
  });
});

Deno.test("SHOW CLIENTS and SHOW SERVERS name each connection and who is linked with whom", async () => {
  await using scene = await BusyScene.start();
  const { backendPids, ports, sluice } = scene;
  const [shownClients, shownServers] = [
    await show(sluice, "clients"),
    await show(sluice, "servers"),
  ];
  for (const [i, state] of ["active", "active", "waiting", "idle"].entries()) {
    const row = find(shownClients, { port: ports[i]! });
    has(row, {
      type: "C",
      user: "postgres",
      database: "postgres",
      replication: "none",
      state,
      addr: "127.0.0.1",
      local_addr: "127.0.0.1",
      local_port: sluice.port,
      close_needed: 0,
      tls: "",
      application_name: `app${i}`,
      prepared_statements: 0,
    });
    assert.match(String(row["connect_time"]), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+$/);
    assert.match(String(row["ptr"]), /^0x[0-9a-f]+$/);
    const waitUs = Number(row["wait"]) * 1e6 + Number(row["wait_us"]);
    assert.equal(waitUs > 0, state === "waiting", `client ${i} has waited ${waitUs} us`);
  }
  assert.equal(shownServers.length, 2);
  for (const [i, pid] of backendPids.entries()) {
    const server = find(shownServers, { remote_pid: Number(pid) });
    has(server, {
      type: "S",
      user: "postgres",
      database: "postgres",
      state: "active",
      addr: "127.0.0.1",
      port: shared.get().port,
      close_needed: 0,
      tls: "",
      application_name: `app${i}`,
    });
    const client = find(shownClients, { port: ports[i]! });
    assert.equal(server["link"], client["ptr"]);
    assert.equal(client["link"], server["ptr"]);
  }
  has(find(shownClients, { database: "pgbouncer" }), { link: "" });
});

Deno.test("SHOW DATABASES and SHOW USERS have sizes, limits and the connections of the moment", async () => {
  await using scene = await BusyScene.start();
  const { port, host } = shared.get();
  has(find(await show(scene.sluice, "databases"), { name: "postgres" }), {
    host,
    port,
    database: "postgres",
    force_user: null,
    pool_size: 2,
    min_pool_size: 0,
    reserve_pool_size: 0,
    server_lifetime: 3600,
    pool_mode: null,
    load_balance_hosts: null,
    max_connections: 0,
    current_connections: 2,
    max_client_connections: 0,
    current_client_connections: 4,
    paused: 0,
    disabled: 0,
  });
  has(find(await show(scene.sluice, "databases"), { name: "pgbouncer" }), {
    database: "pgbouncer",
    force_user: "pgbouncer",
    pool_mode: "statement",
  });
  const shownUsers = await show(scene.sluice, "users");
  has(find(shownUsers, { name: "carl" }), {
    pool_size: "",
    reserve_pool_size: "",
    pool_mode: null,
    current_connections: 0,
    current_client_connections: 0,
  });
  // One more client: the one that asks.
  has(find(shownUsers, { name: "postgres" }), {
    current_connections: 2,
    current_client_connections: 5,
  });
});

Deno.test("SHOW STATS counts queries, transactions, bytes and times", async () => {
  await using sluice = await start({ pool_mode: "transaction", stats_period: 0.5 });
  const before = (await show(sluice, "stats")).find(({ database }) => database === "postgres");
  assert.equal(before, undefined);
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.login({ user: "postgres" });
  const one = frontend.query("select 'one'");
  for (let i = 0; i < 10; i++) {
    await client.send(one);
    await client.result();
  }
  await client.query("begin");
  await client.query("select pg_sleep(0.05)");
  await client.query("commit");
  await client.extended("select 'two'");
  const stats = find(await show(sluice, "stats"), { database: "postgres" });
  const count = (name: string) => Number(stats[`total_${name}`]);
  assert.equal(count("query_count"), 14);
  assert.equal(count("xact_count"), 12);
  assert.equal(count("server_assignment_count"), 12);
  assert.equal(count("client_parse_count"), 1);
  assert.equal(count("bind_count"), 1);
  assert.equal(count("client_login_count"), 1);
  assert.ok(count("received") > 10 * one.length && count("received") < 1_000);
  assert.ok(count("sent") > 10 * 60 && count("sent") < 5_000);
  assert.ok(count("query_time") >= 50_000 && count("query_time") < 2_000_000);
  assert.ok(count("xact_time") >= count("query_time"));
  await eventually("there are averages", async () => {
    const row = find(await show(sluice, "stats"), { database: "postgres" });
    await client.query("select 1");
    return Number(row["avg_query_count"]) > 0 && Number(row["avg_query_time"]) > 0 &&
      Number(row["avg_recv"]) > 0;
  });
  client.close();
});

Deno.test("SHOW CONFIG has every setting with its value, default and whether a reload changes it", async () => {
  await using sluice = await start({ query_timeout: 1.5, listen_backlog: 77 });
  const rows = await show(sluice, "config");
  has(find(rows, { key: "query_timeout" }), { value: "1.5", default: "0", changeable: "yes" });
  has(find(rows, { key: "listen_backlog" }), { value: "77", default: "128", changeable: "no" });
  has(find(rows, { key: "pool_mode" }), { value: "session", default: "session" });
  has(find(rows, { key: "server_check_query" }), { value: "<empty>" });
  has(find(rows, { key: "admin_users" }), { default: "" });
  has(find(rows, { key: "conffile" }), { value: sluice.configPath });
  assert.ok(rows.length > 90, `${rows.length} settings`);
});

Deno.test("SHOW shows no secret", async () => {
  await using sluice = await start();
  for (const what of Object.keys(COLUMNS)) {
    const text = JSON.stringify(await show(sluice, what));
    assert.ok(!text.includes(shared.get().password), what);
  }
});

// --- commands ---

Deno.test("RELOAD reads the configuration again, and fails with F0000 when it is bad", async () => {
  const config = (size: number) =>
    configFor(shared.get(), { pooler: { default_pool_size: size }, users: USERS });
  await using sluice = await startSluice({ config: config(3) });
  const client = await logIn({ ...console_(sluice, "postgres") });
  const size = async () =>
    find((await client.query<ShownRow>("show config")).rows, { key: "default_pool_size" })["value"];
  assert.equal(await size(), "3");
  await sluice.rewriteConfig(config(4));
  assert.equal((await client.query("RELOAD;")).command, "RELOAD");
  assert.equal(await size(), "4");
  await sluice.rewriteConfig(`${config(5)}nonsense = 1\n`);
  await assert.rejects(client.query("reload"), {
    code: "F0000",
    severity: "ERROR",
    message: "RELOAD failed, see logs for additional details",
  });
  await sluice.waitForLog(/ ERROR .*config\.toml:\d+: .*nonsense/);
  assert.equal(await size(), "4", "and the console goes on");
  await client.end();
});

Deno.test("what is no command is an error, after which the console goes on", async () => {
  await using sluice = await start();
  const client = await logIn(console_(sluice));
  for (
    const sql of ["show nonsense", "select 1", "drop table x", "show", "show pools; show pools"]
  ) {
    await assert.rejects(client.query(sql), { code: "42601", severity: "ERROR" }, sql);
  }
  await assert.rejects(client.query("show nonsense where a = $1", ["1"]), { code: "42601" });
  assert.equal((await client.query("")).rows.length, 0);
  assert.equal((await client.query("show version")).rows.length, 1);
  await client.end();
});

Deno.test("drivers find what they ask for at login: fixed parameters, and a SET that does nothing", async () => {
  await using sluice = await start();
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.login({ user: "ada", database: "pgbouncer" });
  assert.match(client.parameters.get("server_version") ?? "", /^1\.26\.0\/bouncer$/);
  for (
    const [name, value] of [["client_encoding", "UTF8"], ["standard_conforming_strings", "on"]]
  ) {
    assert.equal(client.parameters.get(name!), value);
    assert.deepEqual((await client.query(`show ${name}`)).rows, [[value]]);
  }
  const { notices, tags } = await client.query("set client_encoding to 'LATIN1'");
  assert.deepEqual([tags.length, notices.length], [1, 1]);
  assert.deepEqual((await client.query("show client_encoding")).rows, [["UTF8"]]);
  client.close();
  const { port } = sluice;
  const sql = postgresJs({
    ...{ host: "127.0.0.1", port, user: "ada", database: "pgbouncer", max: 1 },
    fetch_types: false,
  });
  const [row] = await sql.unsafe("show version").simple();
  assert.match(String(row?.["version"]), /^PgBouncer /);
  await sql.end();
});

Deno.test("node-postgres asks the console by the extended protocol, with values and by name", async () => {
  await using sluice = await start();
  const client = await logIn(console_(sluice));
  const byUser = { name: "clients", text: "show clients where user = $1 and database = $2" };
  for (const user of ["ada", "stan"]) {
    const { rows } = await client.query({ ...byUser, values: [user, "pgbouncer"] });
    assert.deepEqual(rows.map((row: ShownRow) => row["user"]), user === "ada" ? ["ada"] : []);
  }
  const limited = await client.query("show config order by key desc limit $1", [2]);
  assert.deepEqual(limited.rows.map(({ key }: ShownRow) => key), [
    "warn_session_features",
    "verbose",
  ]);
  await assert.rejects(client.query("disable $1", ["pgbouncer"]), { code: "55000" });
  const set = await client.query("set query_timeout = $1", ["7"]);
  assert.equal(set.command, "SET");
  const [row] = (await client.query("show config where key = $1", ["query_timeout"])).rows;
  assert.equal(row.value, "7");
  await client.end();
});

Deno.test("postgres.js asks the console by the extended protocol, and a cursor gets it in parts", async () => {
  await using sluice = await start();
  const sql = postgresJs({
    ...{ host: "127.0.0.1", port: sluice.port, user: "ada", database: "pgbouncer", max: 1 },
    fetch_types: false,
  });
  const [version] = await sql`show version`;
  assert.match(String(version?.["version"]), /^PgBouncer /);
  const parts: number[] = [];
  await sql`show config limit 30`.cursor(10, (rows) => {
    parts.push(rows.length);
  });
  assert.deepEqual(parts, [10, 10, 10]);
  await sql.end();
});

Deno.test("the console is reachable when max_client_conn is reached, and PostgreSQL is not", async () => {
  await using sluice = await start({ max_client_conn: 2 });
  const to = { port: sluice.port, user: "postgres" };
  const clients = [await logIn(to), await logIn(to)];
  const refused = "53300 no more connections allowed (max_client_conn)";
  for (let i = 0; i < 3; i++) assert.equal(await outcome(to), refused);
  const shownClients = await show(sluice, "clients");
  assert.equal(shownClients.filter(({ database }) => database === "postgres").length, 2);
  await clients[0]!.end();
  await eventually("there is room again", async () => await outcome(to) === "in");
  await clients[1]!.end();
});
