/** Every SHOW: its columns, and what stands in them. Mirrors `show_*.ts` and what they share. */

import assert from "node:assert/strict";
import { SHOW_THINGS } from "../../../src/admin/admin_parser.ts";
import { showClients } from "../../../src/admin/show_clients.ts";
import { showConfig } from "../../../src/admin/show_config.ts";
import { showDnsHosts, showDnsZones } from "../../../src/admin/show_dns.ts";
import { showHistograms } from "../../../src/admin/show_histograms.ts";
import { showLists } from "../../../src/admin/show_lists.ts";
import { showMem } from "../../../src/admin/show_mem.ts";
import { showPeerPools, showPeers } from "../../../src/admin/show_peers.ts";
import { showPrepared } from "../../../src/admin/show_prepared.ts";
import { showState } from "../../../src/admin/show_state.ts";
import { showStatsAverages, showStatsTotals, showTotals } from "../../../src/admin/show_totals.ts";
import { showDatabases } from "../../../src/admin/show_databases.ts";
import { usage } from "../../../src/admin/show_help.ts";
import { showParameter } from "../../../src/admin/show_parameter.ts";
import { showPools } from "../../../src/admin/show_pools.ts";
import { showServers } from "../../../src/admin/show_servers.ts";
import { showStats } from "../../../src/admin/show_stats.ts";
import { showUsers } from "../../../src/admin/show_users.ts";
import { showVersion } from "../../../src/admin/show_version.ts";
import { versionText } from "../../../src/admin/version.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { STAT_NAMES } from "../../../src/stats/pool_stats.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { backend, join } from "../../support/messages.ts";
import manifest from "../../../deno.json" with { type: "json" };
import { bytesOf, ConsoleFixture, readResult } from "./console_fixture.ts";
import { columns, SOCKET_COLUMNS } from "./shown_columns.ts";

const TOML = `
[pooler]
pool_mode = "transaction"
listen_port = 7432
min_pool_size = 1
reserve_pool_size = 3
server_lifetime = 1800
max_db_connections = 50
max_db_client_connections = 60
max_user_connections = 70
max_user_client_connections = 80
[databases.shop]
host = "db.example"
dbname = "shop_production"
pool_size = 7
[databases.archive]
host = "a.example,b.example"
port = 5433
user = "reader"
password = "x"
pool_mode = "session"
min_pool_size = 2
reserve_pool_size = 4
server_lifetime = 60
max_db_connections = 5
max_db_client_connections = 6
[databases.zoo]
[databases."*"]
host = "rest.example"
[users.anna]
pool_size = 12
pool_mode = "statement"
[users.otto]
reserve_pool_size = 1
max_user_connections = 8
max_user_client_connections = 9
`;

Deno.test("SHOW VERSION answers one row that begins as PgBouncer's, byte by byte", async () => {
  const fixture = await ConsoleFixture.from();
  const text = `PgBouncer 1.26.0 (Sluice ${manifest.version})`;
  assert.equal(versionText(), text);
  const expected = join(
    backend.rowDescription(["version"]),
    backend.dataRow([text]),
    backend.complete("SHOW"),
  );
  assert.deepEqual(bytesOf(showVersion(fixture)), expected);
});

Deno.test("SHOW HELP is a notice that lists what can be shown and done", () => {
  const { detail, message, severity, sqlstate } = usage();
  assert.deepEqual([severity, sqlstate, message], ["NOTICE", "00000", "Console usage"]);
  const lines = detail!.split("\n\t").slice(1);
  assert.equal(lines[0], `SHOW ${SHOW_THINGS.join("|").toUpperCase()}`);
  const verbs = ["SET", "RELOAD", "PAUSE", "RESUME", "DISABLE", "ENABLE", "RECONNECT", "KILL"]
    .concat("KILL_CLIENT", "SUSPEND", "WAIT_CLOSE", "SHUTDOWN");
  for (const verb of verbs) assert.ok(lines.some((line) => line.split(" ")[0] === verb), verb);
});

Deno.test("SHOW of what drivers ask for has a fixed answer", () => {
  const answers = {
    client_encoding: "UTF8",
    default_transaction_isolation: "read committed",
    standard_conforming_strings: "on",
    datestyle: "ISO",
    timezone: "GMT",
  };
  for (const [name, value] of Object.entries(answers)) {
    const expected = join(
      backend.rowDescription([name]),
      backend.dataRow([value]),
      backend.complete("SHOW"),
    );
    assert.deepEqual(bytesOf(showParameter(name)), expected);
  }
});

Deno.test("SHOW CONFIG lists every setting with its default, in the order of the table", async () => {
  const fixture = await ConsoleFixture.from('[pooler]\npool_mode = "transaction"\n');
  const { columns: shown, rows, tag } = readResult(showConfig(fixture));
  assert.deepEqual(shown, columns("text key value default changeable"));
  assert.equal(tag, "SHOW");
  assert.deepEqual(rows.map(({ key }) => key), SETTINGS.map(({ name }) => name));
  const byKey = new Map(rows.map((row) => [row["key"], row]));
  assert.deepEqual(byKey.get("pool_mode"), {
    key: "pool_mode",
    value: "transaction",
    default: "session",
    changeable: "yes",
  });
  assert.equal(byKey.get("auth_user")?.["value"], null);
  assert.equal(byKey.get("listen_port")?.["changeable"], "no");
});

Deno.test("SHOW CONFIG shows the I/O engine in use, not the one asked for", async () => {
  const { rows } = readResult(showConfig(await ConsoleFixture.from()));
  const engine = rows.find(({ key }) => key === "io_engine");
  assert.equal(engine?.["value"], "portable");
  assert.equal(engine?.["default"], "auto");
});

Deno.test("SHOW STATS has totals and averages of each database", async () => {
  const fixture = await ConsoleFixture.from();
  const stats = fixture.stats.open("shop");
  const other = fixture.stats.open("archive");
  other.queryCount = 7;
  stats.serverAssignmentCount = 10;
  stats.xactCount = 20;
  stats.queryCount = 40;
  stats.bytesReceived = 1000;
  stats.bytesSent = 5_000_000_000;
  stats.xactTimeUs = 60_000;
  stats.queryTimeUs = 80_000;
  stats.waitTimeUs = 500;
  stats.clientParseCount = 30;
  stats.serverParseCount = 50;
  stats.bindCount = 70;
  stats.clientLoginCount = 90;
  fixture.stats.endPeriod(fixture.clock.nowMs() + 10_000);
  const { columns: shown, rows } = readResult(showStats(fixture));
  const counters = (prefix: string, received: string) =>
    `numeric ${prefix}_server_assignment_count ${prefix}_xact_count ${prefix}_query_count ` +
    `${prefix}_${received} ${prefix}_sent ${prefix}_xact_time ${prefix}_query_time ` +
    `${prefix}_wait_time ${prefix}_client_parse_count ${prefix}_server_parse_count ` +
    `${prefix}_bind_count ${prefix}_client_login_count`;
  assert.deepEqual(
    shown,
    columns("text database", counters("total", "received"), counters("avg", "recv")),
  );
  assert.deepEqual(rows.map(({ database }) => database), ["archive", "shop"]);
  const totals = ["10", "20", "40", "1000", "5000000000", "60000", "80000", "500"];
  const averages = ["1", "2", "4", "100", "500000000", "3000", "2000", "50"];
  const parses = ["30", "50", "70", "90"];
  assert.deepEqual(
    Object.values(rows[1]!),
    ["shop", ...totals, ...parses, ...averages, "3", "5", "7", "9"],
  );
});

Deno.test("SHOW POOLS has the columns of PgBouncer and a row for the console", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.addClient({ user: "root", database: "pgbouncer" });
  const { columns: shown, rows } = readResult(showPools(fixture));
  assert.deepEqual(
    shown,
    columns(
      "text database user",
      "int4 cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active",
      "int4 sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait",
      "int4 maxwait_us",
      "text pool_mode load_balance_hosts",
    ),
  );
  const zeros = Array.from("0".repeat(12));
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["pgbouncer", "pgbouncer", "1", ...zeros, "statement", null],
  ]);
});

Deno.test("SHOW POOLS orders by database and user, the console in its place", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  for (const [database, user] of [["zoo", "b"], ["zoo", "a"], ["archive", "reader"]] as const) {
    fixture.addPool({ database, user });
  }
  const { rows } = readResult(showPools(fixture));
  assert.deepEqual(
    rows.map(({ database, user }) => `${database}/${user}`),
    ["archive/reader", "pgbouncer/pgbouncer", "zoo/a", "zoo/b"],
  );
  const early = await ConsoleFixture.from(TOML);
  early.addPool({ database: "archive", user: "reader" });
  const last = readResult(showPools(early)).rows.at(-1);
  assert.equal(last!["database"], "pgbouncer");
});

Deno.test("SHOW POOLS takes the pool mode from the user, then the database, then all", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.addPool({ database: "archive", user: "anna" });
  fixture.addPool({ database: "archive", user: "reader" });
  fixture.addPool({ database: "made_up", user: "reader" });
  const { rows } = readResult(showPools(fixture));
  const modes = rows.filter(({ database }) => database !== "pgbouncer")
    .map((row) => [row["database"], row["user"], row["pool_mode"], row["load_balance_hosts"]]);
  assert.deepEqual(modes, [
    ["archive", "anna", "statement", "round-robin"],
    ["archive", "reader", "session", "round-robin"],
    ["made_up", "reader", "transaction", null],
  ]);
});

Deno.test("SHOW POOLS counts clients by state, idle ones as active", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool({ poolSize: 1 });
  const [first, second] = [1, 2, 3].map(() => {
    return fixture.addClient({ user: "anna", database: "shop", pool });
  });
  fixture.ask(first!);
  await eventTurn();
  fixture.ask(second!);
  fixture.addConnection();
  const row = readResult(showPools(fixture)).rows[1]!;
  assert.deepEqual(
    [row["cl_active"], row["cl_waiting"], row["sv_active"], row["sv_idle"]],
    ["2", "1", "1", "0"],
  );
  await fixture.end();
});

Deno.test("SHOW POOLS counts servers by state", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  const shown = () => {
    const row = readResult(showPools(fixture)).rows[1]!;
    return ["active", "being_canceled", "idle", "used", "tested", "login"]
      .map((state) => row[`sv_${state}`]).join("");
  };
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  assert.equal(shown(), "000001");
  await eventTurn();
  assert.equal(shown(), "100000");
  const server = fixture.servers[0]!;
  const [stream] = fixture.serverStreams;
  server.beginCancel();
  stream!.push(backend.ready());
  await eventTurn();
  assert.equal(shown(), "010000");
  server.endCancel();
  assert.equal(shown(), "001000");
  server.retire();
  assert.equal(shown(), "000100");
  server.check();
  assert.equal(shown(), "000010");
  await fixture.end();
});

Deno.test("SHOW POOLS shows how long the first has waited, for a server or for its login", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.areServersUp = false;
  const pool = fixture.addPool({ poolSize: 1 });
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  fixture.clock.advance(1_250);
  fixture.ask(fixture.addClient({ user: "anna", database: "shop", pool }));
  fixture.clock.advance(1_000.5);
  const wait = () => {
    const row = readResult(showPools(fixture)).rows[1]!;
    return [row["maxwait"], row["maxwait_us"]];
  };
  assert.deepEqual(wait(), ["2", "250500"]);
  client.relay!.cancelWait();
  assert.deepEqual(wait(), ["1", "500"]);
  await fixture.end();
});

Deno.test("SHOW POOLS counts those who wait for the first server's parameters", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.areServersUp = false;
  const pool = fixture.addPool({ poolSize: 1 });
  const login = fixture.addLogin({ user: "anna", database: "shop", pool });
  fixture.clock.advance(500);
  fixture.awaitWelcome(pool);
  fixture.clock.advance(3_000);
  const [, row] = readResult(showPools(fixture)).rows;
  assert.deepEqual([row!["cl_active"], row!["cl_waiting"], row!["maxwait"]], ["0", "1", "3"]);
  const [shown] = readResult(showClients(fixture)).rows;
  assert.deepEqual(
    [shown!["id"], shown!["state"], shown!["wait"], shown!["wait_us"]],
    [String(login.id), "waiting", "3", "0"],
  );
  await fixture.end();
});

Deno.test("SHOW POOLS shows cancel requests under way and those that wait for a place", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool({ poolSize: 1 });
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  await eventTurn();
  const key = new Uint8Array(8).fill(7);
  fixture.clients.addCancelKey(key, client);
  const cancels = [1, 2].map(() => fixture.cancels.cancel(key, fixture.addConnection()));
  await eventTurn();
  const [, row] = readResult(showPools(fixture)).rows;
  assert.deepEqual(
    [row!["cl_active_cancel_req"], row!["cl_waiting_cancel_req"], row!["sv_active_cancel"]],
    ["1", "1", "1"],
  );
  fixture.serverStreams[1]!.close();
  await eventTurn();
  fixture.serverStreams[2]!.close();
  await Promise.all(cancels);
  await fixture.end();
});

Deno.test("SHOW CLIENTS has 21 columns and a row for each client, also the console's", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  const client = fixture.addClient({
    user: "anna",
    database: "shop",
    pool,
    applicationName: "till 3",
  });
  fixture.clock.advance(61_000);
  fixture.addClient({ user: "root", database: "pgbouncer" });
  fixture.ask(client);
  await eventTurn();
  const { columns: shown, rows } = readResult(showClients(fixture));
  assert.deepEqual(shown, SOCKET_COLUMNS);
  assert.equal(shown.length, 21);
  const local = ["127.0.0.1", "6432"];
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    [
      ...["C", "anna", "shop", "none", "active", "127.0.0.1", "50001", ...local],
      ...["2026-11-22 10:35:55 UTC", "2026-11-22 10:36:56 UTC", "0", "0", "0"],
      ...["0x000000000001", "0x000000000001", "0", "", "till 3", "0", "1"],
    ],
    [
      ...["C", "root", "pgbouncer", "none", "idle", "127.0.0.1", "50002", ...local],
      ...["2026-11-22 10:36:56 UTC", "2026-11-22 10:36:56 UTC", "0", "0", "0"],
      ...["0x000000000002", "", "0", "", "", "0", "2"],
    ],
  ]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS shows how long a client waits, and only while it does", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool({ poolSize: 1 });
  const [first, second] = [1, 2].map(() =>
    fixture.addClient({ user: "anna", database: "shop", pool })
  );
  fixture.ask(first!);
  await eventTurn();
  fixture.ask(second!);
  fixture.clock.advance(2_000.25);
  const shown = () =>
    readResult(showClients(fixture)).rows.map((row) =>
      `${row["state"]} ${row["wait"]} ${row["wait_us"]}`
    );
  assert.deepEqual(shown(), ["active 0 0", "waiting 2 250"]);
  fixture.serverStreams[0]!.push(backend.ready());
  await eventTurn();
  assert.deepEqual(shown(), ["idle 0 0", "active 0 0"]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS shows no wait of a client that asks nothing while others log in", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.areServersUp = false;
  const pool = fixture.addPool();
  fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.awaitWelcome(pool);
  fixture.clock.advance(3_000);
  const [row] = readResult(showClients(fixture)).rows;
  assert.deepEqual([row!["state"], row!["wait"]], ["idle", "0"]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS and SHOW SERVERS show when the last request set out", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  const times = () =>
    [showClients, showServers].map((show) => {
      const [row] = readResult(show(fixture)).rows;
      return `${row!["connect_time"]} / ${row!["request_time"]}`;
    });
  fixture.ask(client);
  await eventTurn();
  fixture.serverStreams[0]!.push(backend.ready());
  await eventTurn();
  fixture.clock.advance(10_000);
  fixture.ask(client);
  fixture.clock.advance(30_000);
  const expected = "2026-11-22 10:35:55 UTC / 2026-11-22 10:36:05 UTC";
  assert.deepEqual(times(), [expected, expected]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS leaves out who has not proved who it is, and who is going", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.addConnection();
  fixture.addLogin({ user: "anna", database: "pgbouncer" });
  fixture.addClient({ user: "anna", database: "pgbouncer" }).end("client close request");
  assert.deepEqual(readResult(showClients(fixture)).rows, []);
});

Deno.test("SHOW SERVERS has 21 columns and names the linked client and the backend", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  fixture.addConnection();
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  await eventTurn();
  const { columns: shown, rows } = readResult(showServers(fixture));
  assert.deepEqual(shown, SOCKET_COLUMNS);
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    [
      ...["S", "anna", "shop", "none", "active", "10.0.0.7", "5432", "10.0.0.1", "40001"],
      ...["2026-11-22 10:35:55 UTC", "2026-11-22 10:35:55 UTC", "0", "0", "0"],
      ...["0x000000000001", "0x000000000002", "4711", "", "other", "0", "1"],
    ],
  ]);
  await fixture.end();
});

Deno.test("SHOW SERVERS shows every state of a server, under PgBouncer's names", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  const shown = () => {
    const [row] = readResult(showServers(fixture)).rows;
    return `${row!["state"]} ${row!["link"]} ${row!["close_needed"]}`;
  };
  fixture.ask(client);
  const [newcomer] = readResult(showServers(fixture)).rows;
  assert.equal(shown(), "new  0");
  assert.deepEqual(
    [newcomer!["addr"], newcomer!["port"], newcomer!["local_addr"], newcomer!["local_port"]],
    ["db.example", "5432", "", "0"],
  );
  assert.equal(newcomer!["remote_pid"], "0");
  await eventTurn();
  fixture.clock.advance(90_000);
  const [server] = fixture.servers;
  server!.beginCancel();
  fixture.serverStreams[0]!.push(backend.ready());
  await eventTurn();
  assert.equal(shown(), "being_canceled  0");
  server!.endCancel();
  assert.equal(shown(), "idle  0");
  server!.retire();
  assert.equal(shown(), "used  0");
  server!.check();
  assert.equal(shown(), "tested  0");
  server!.doom("connect string changed");
  assert.equal(shown(), "tested  1");
  await fixture.end();
});

Deno.test("SHOW DATABASES lists those configured, those made from *, and the console", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  fixture.addPool({ database: "made_up", user: "anna" });
  fixture.ask(fixture.addClient({ user: "anna", database: "shop", pool }));
  fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.addClient({ user: "root", database: "pgbouncer" });
  const { columns: shown, rows } = readResult(showDatabases(fixture));
  assert.deepEqual(
    shown,
    columns(
      "text name host",
      "int4 port",
      "text database force_user",
      "int4 pool_size min_pool_size reserve_pool_size server_lifetime",
      "text pool_mode load_balance_hosts",
      "int4 max_connections current_connections max_client_connections",
      "int4 current_client_connections paused disabled",
    ),
  );
  const ownSizes = ["20", "2", "4", "60", "session", "round-robin", "5", "0", "6", "0"];
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["archive", "a.example,b.example", "5433", "archive", "reader", ...ownSizes, "0", "0"],
    [
      ...["made_up", "rest.example", "5432", "made_up", null],
      ...["20", "1", "3", "1800", null, null, "50", "0", "60", "0", "0", "0"],
    ],
    [
      ...["pgbouncer", null, "7432", "pgbouncer", "pgbouncer"],
      ...["2", "1", "3", "1800", "statement", null, "50", "0", "60", "1", "0", "0"],
    ],
    [
      ...["shop", "db.example", "5432", "shop_production", null],
      ...["7", "1", "3", "1800", null, null, "50", "1", "60", "2", "0", "0"],
    ],
    [
      ...["zoo", null, "5432", "zoo", null],
      ...["20", "1", "3", "1800", null, null, "50", "0", "60", "0", "0", "0"],
    ],
  ]);
  await fixture.end();
});

Deno.test("SHOW DATABASES leaves out what is no longer configured", async () => {
  const fixture = await ConsoleFixture.from('[databases.shop]\nhost = "db.example"\n');
  fixture.addPool({ database: "removed" });
  const { rows } = readResult(showDatabases(fixture));
  assert.deepEqual(rows.map(({ name }) => name), ["pgbouncer", "shop"]);
});

Deno.test("SHOW USERS lists who has a secret, an entry or a connection", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.secretHolders = ["otto", "mia"];
  const pool = fixture.addPool({ database: "archive", user: "reader" });
  fixture.ask(fixture.addClient({ user: "guest", database: "archive", pool }));
  fixture.addClient({ user: "otto", database: "pgbouncer" });
  fixture.addLogin({ user: "nobody", database: "pgbouncer" });
  const { columns: shown, rows } = readResult(showUsers(fixture));
  assert.deepEqual(
    shown,
    columns(
      "text name pool_size reserve_pool_size pool_mode",
      "int4 max_user_connections current_connections max_user_client_connections",
      "int4 current_client_connections",
    ),
  );
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["anna", "       12", "", "statement", "70", "0", "80", "0"],
    ["guest", "", "", null, "70", "0", "80", "1"],
    ["mia", "", "", null, "70", "0", "80", "0"],
    ["otto", "", "        1", null, "8", "0", "9", "1"],
    ["reader", "", "", null, "70", "1", "80", "0"],
  ]);
  await fixture.end();
});

// --- the pooler as a whole ---

Deno.test("SHOW STATE says yes to one of three", async () => {
  const fixture = await ConsoleFixture.from();
  for (const mode of ["active", "paused", "suspended"] as const) {
    fixture.operations.mode = mode;
    const { columns: shown, rows } = readResult(showState(fixture));
    assert.deepEqual(shown, columns("text key value"));
    assert.deepEqual(
      rows.map(({ key, value }) => [key, value]),
      ["active", "paused", "suspended"].map((key) => [key, key === mode ? "yes" : "no"]),
    );
  }
});

Deno.test("SHOW LISTS counts what there is, in PgBouncer's order", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool({ database: "shop", user: "anna" });
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.addClient({ user: "root", database: "pgbouncer" });
  fixture.addConnection();
  fixture.ask(client);
  const { columns: shown, rows } = readResult(showLists(fixture));
  assert.deepEqual(shown, columns("text list", "int4 items"));
  assert.deepEqual(rows.map(({ list, items }) => `${list} ${items}`), [
    "databases 4",
    "users 3",
    "peers 0",
    "pools 2",
    "peer_pools 0",
    "free_clients 0",
    "used_clients 2",
    "login_clients 1",
    "free_servers 0",
    "used_servers 1",
    "dns_names 0",
    "dns_zones 0",
    "dns_queries 0",
    "dns_pending 0",
  ]);
  await fixture.end();
});

Deno.test("SHOW MEM counts in KiB, and in bytes as far as an int can", async () => {
  const fixture = await ConsoleFixture.from();
  const { columns: shown, rows } = readResult(showMem(fixture));
  assert.deepEqual(shown, columns("text name", "int4 size used free memtotal"));
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["v8_heap", "1024", "2", "1", "3072"],
    ["v8_external", "1024", "1", "0", "1024"],
    ["process_resident", "1024", "4882812", "0", "2147483647"],
  ]);
});

Deno.test("SHOW DATABASES shows which are paused and which disabled", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  fixture.operations.paused.add("shop");
  fixture.operations.disabled.add("archive");
  const { rows } = readResult(showDatabases(fixture));
  assert.deepEqual(rows.map(({ disabled, name, paused }) => [name, paused, disabled]), [
    ["archive", "0", "1"],
    ["pgbouncer", "0", "0"],
    ["shop", "1", "0"],
    ["zoo", "0", "0"],
  ]);
});

Deno.test("SHOW PEERS lists those of the configuration by number", async () => {
  const fixture = await ConsoleFixture.from(
    '[pooler]\ndefault_pool_size = 9\n[peers.12]\nhost = "b"\nport = 7000\npool_size = 3\n' +
      '[peers.2]\nhost = "a"\n',
  );
  const { columns: shown, rows } = readResult(showPeers(fixture));
  assert.deepEqual(shown, columns("int4 peer_id", "text host", "int4 port pool_size"));
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["2", "a", "6432", "9"],
    ["12", "b", "7000", "3"],
  ]);
});

Deno.test("what has no rows yet has its columns", async () => {
  const fixture = await ConsoleFixture.from();
  const tables = [
    [
      showPeerPools,
      "int4 peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
    ],
    [showDnsHosts, "text hostname", "int8 ttl", "text addrs"],
    [showDnsZones, "text zonename", "int8 serial", "int4 count"],
    [showPrepared, "text database user", "int4 server_id", "text name statement", "int8 use_count"],
  ] as const;
  for (const [show, ...expected] of tables) {
    const { columns: shown, rows } = readResult(show(fixture));
    assert.deepEqual([shown, rows], [columns(...expected), []]);
  }
});

Deno.test("a server that has gone while SHOW SERVERS is being sent is left out", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const pool = fixture.addPool();
  fixture.ask(fixture.addClient({ user: "anna", database: "shop", pool }));
  await eventTurn();
  const [server] = fixture.servers;
  const all = showServers(fixture);
  server!.discard("test");
  assert.deepEqual([...all.rows], []);
  await fixture.end();
});

// --- statistics ---

Deno.test("SHOW STATS_TOTALS, STATS_AVERAGES and TOTALS name the same figures otherwise", async () => {
  const fixture = await ConsoleFixture.from();
  for (const [database, factor] of [["shop", 1], ["archive", 10]] as const) {
    const stats = fixture.stats.open(database);
    for (const [at, name] of STAT_NAMES.entries()) stats[name] = (at + 1) * factor * 60;
  }
  fixture.stats.endPeriod(fixture.clock.nowMs() + 60_000);
  const names = "server_assignment_count xact_count query_count bytes_received bytes_sent " +
    "xact_time query_time wait_time";
  const totals = readResult(showStatsTotals(fixture));
  const lastTotals = "client_parse_count server_parse_count bind_count client_login_count";
  assert.deepEqual(totals.columns, columns("text database", `numeric ${names} ${lastTotals}`));
  assert.equal(totals.rows[1]?.["bind_count"], String(11 * 60));
  const averages = readResult(showStatsAverages(fixture));
  const lastAverages = lastTotals.replaceAll(/(^| )/g, "$1avg_");
  assert.deepEqual(averages.columns, columns("text database", `numeric ${names} ${lastAverages}`));
  assert.equal(averages.rows[1]?.["avg_bind_count"], "11");
  const { columns: shown, rows } = readResult(showTotals(fixture));
  assert.deepEqual(shown, columns("text name", "numeric value"));
  const overall = "server_assignment_count xact_count query_count client_bytes server_bytes " +
    "xact_time query_time wait_time ps_client_parse_count ps_server_parse_count ps_bind_count " +
    "client_login_count";
  const expected = ["total_", "avg_"].flatMap((prefix) =>
    overall.split(" ").map((name) => `${prefix}${name}`)
  );
  assert.deepEqual(rows.map(({ name }) => name), expected);
  assert.equal(rows[10]?.["value"], String(11 * 60 * 11));
  assert.equal(rows[22]?.["value"], String(11 * 11));
});

Deno.test("SHOW HISTOGRAMS has three distributions of each pool", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const { histograms } = fixture.addPool({ database: "shop", user: "anna" });
  for (let us = 1; us <= 100; us++) histograms.query.record(us);
  histograms.xact.record(5_000_000_000);
  const { columns: shown, rows } = readResult(showHistograms(fixture));
  assert.deepEqual(
    shown,
    columns("text database user histogram", "int8 count p50_us p95_us p99_us max_us"),
  );
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["shop", "anna", "wait", "0", "0", "0", "0", "0"],
    ["shop", "anna", "transaction", "1", "5000000000", "5000000000", "5000000000", "5000000000"],
    ["shop", "anna", "query", "100", "51", "95", "99", "100"],
  ]);
});
