/** SHOW of the configuration and of the pooler as a whole: the columns, and what stands in them. */

import assert from "node:assert/strict";
import { SHOW_THINGS } from "../../../src/admin/admin_parser.ts";
import { showConfig } from "../../../src/admin/show_config.ts";
import { showDnsHosts, showDnsZones } from "../../../src/admin/show_dns.ts";
import { showLists } from "../../../src/admin/show_lists.ts";
import { showMem } from "../../../src/admin/show_mem.ts";
import { showPeerPools, showPeers } from "../../../src/admin/show_peers.ts";
import { showPrepared } from "../../../src/admin/show_prepared.ts";
import { showState } from "../../../src/admin/show_state.ts";
import { showDatabases } from "../../../src/admin/show_databases.ts";
import { usage } from "../../../src/admin/show_help.ts";
import { showParameter } from "../../../src/admin/show_parameter.ts";
import { showTls } from "../../../src/admin/show_tls.ts";
import { showUsers } from "../../../src/admin/show_users.ts";
import { showVersion } from "../../../src/admin/show_version.ts";
import { versionText } from "../../../src/admin/version.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { backend, join } from "../../support/messages.ts";
import manifest from "../../../deno.json" with { type: "json" };
import { ConsoleFixture } from "./console_fixture.ts";
import { bytesOf, readResult } from "./shown_result.ts";
import { columns } from "./shown_columns.ts";
import { SHOWN_TOML } from "./shown_config.ts";

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

Deno.test("SHOW DATABASES lists those configured, those made from *, and the console", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
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
      ...["2", "0", "0", "1800", "statement", null, "50", "0", "60", "1", "0", "0"],
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

Deno.test("SHOW DATABASES lists what only the entry * covers while it is paused or disabled", async () => {
  const fixture = await ConsoleFixture.from('[databases."*"]\nhost = "db.example"\n');
  fixture.operations.paused.add("one");
  fixture.operations.disabled.add("two");
  const { rows } = readResult(showDatabases(fixture));
  assert.deepEqual(
    rows.map(({ disabled, name, paused }) => [name, paused, disabled]),
    [["one", "1", "0"], ["pgbouncer", "0", "0"], ["two", "0", "1"]],
  );
});

Deno.test("SHOW USERS lists who has a secret, an entry or a connection", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
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

Deno.test("SHOW TLS says of our own certificates until when they are good", async () => {
  const fixture = await ConsoleFixture.from();
  const { columns: shown, rows } = readResult(showTls(fixture));
  assert.deepEqual(
    shown,
    columns("text setting file valid_until", "int4 days_left", "text library"),
  );
  assert.equal(rows.length, 1);
  const { days_left, file, library, setting, valid_until } = rows[0]!;
  assert.deepEqual([setting, file], ["client_tls_cert_file", "own.crt"]);
  assert.deepEqual([days_left, library], ["2", "a library"]);
  assert.match(valid_until!, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
});

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
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
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
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
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

Deno.test("SHOW PEER_POOLS has a row for each peer but this process, and none where that has no number", async () => {
  const peers = ["3", "1", "2"].map((id) => `[peers.${id}]\nhost = "a"\n`).join("");
  const fixture = await ConsoleFixture.from(`[pooler]\npeer_id = 2\n${peers}`);
  const { columns: shown, rows } = readResult(showPeerPools(fixture));
  assert.deepEqual(
    shown,
    columns("int4 peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login"),
  );
  assert.deepEqual(rows.map((row) => Object.values(row).join()), ["1,0,0,0,0", "3,0,0,0,0"]);
  const alone = await ConsoleFixture.from(`[pooler]\n${peers}`);
  assert.deepEqual(readResult(showPeerPools(alone)).rows, []);
});

Deno.test("what has no rows yet has its columns", async () => {
  const fixture = await ConsoleFixture.from();
  const tables = [
    [showDnsHosts, "text hostname", "int8 ttl", "text addrs"],
    [showDnsZones, "text zonename", "int8 serial", "int4 count"],
    [showPrepared, "text database user", "int4 server_id", "text name statement", "int8 use_count"],
  ] as const;
  for (const [show, ...expected] of tables) {
    const { columns: shown, rows } = readResult(show(fixture));
    assert.deepEqual([shown, rows], [columns(...expected), []]);
  }
});
