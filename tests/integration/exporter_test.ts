/** What exporters of metrics read from the console, after some load. */

import assert from "node:assert/strict";
import { show, type ShownRow } from "../support/console.ts";
import { logIn, type LoginTarget } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { configFor } from "../support/toml_config.ts";

const shared = sharedPostgres();

const QUERIES = 50;

/** Columns that become numbers, in each SHOW. */
const NUMBERS: Readonly<Record<string, readonly string[]>> = {
  stats: [
    ...["total_query_count", "total_xact_count", "total_server_assignment_count"],
    ...["total_received", "total_sent", "total_query_time", "total_xact_time", "total_wait_time"],
    ...["total_client_parse_count", "total_server_parse_count", "total_bind_count"],
  ],
  pools: [
    ...["cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req"],
    ...["sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested"],
    ...["sv_login", "maxwait", "maxwait_us"],
  ],
  databases: [
    ...["port", "pool_size", "reserve_pool_size", "max_connections", "current_connections"],
    ...["paused", "disabled"],
  ],
  lists: ["items"],
};

async function startLoaded(): Promise<SluiceProcess> {
  const sluice = await startSluice({
    config: configFor(shared.get(), {
      pooler: { admin_users: "postgres", pool_mode: "transaction" },
    }),
  });
  const target: LoginTarget = {
    host: "127.0.0.1",
    port: sluice.port,
    user: "postgres",
    database: "postgres",
  };
  const client = await logIn(target);
  for (let i = 0; i < QUERIES; i++) await client.query("select 1");
  await client.end();
  return sluice;
}

function find(rows: readonly ShownRow[], column: string, value: string): ShownRow {
  const row = rows.find((each) => each[column] === value);
  assert.ok(row, `There is no row of ${value}`);
  return row;
}

Deno.test("an exporter finds every column it reads, and plausible numbers in them", async () => {
  await using sluice = await startLoaded();
  for (const [what, names] of Object.entries(NUMBERS)) {
    const rows = await show(sluice, what);
    assert.ok(rows.length > 0, what);
    for (const row of rows) {
      for (const name of names) {
        const value = row[name];
        assert.ok(value !== undefined && value !== null, `${what}.${name} is missing`);
        assert.ok(Number(value) >= 0, `${what}.${name} is ${value}`);
      }
    }
  }
  const stats = find(await show(sluice, "stats"), "database", "postgres");
  assert.equal(Number(stats["total_query_count"]), QUERIES);
  assert.equal(Number(stats["total_xact_count"]), QUERIES);
  assert.equal(Number(stats["total_server_assignment_count"]), QUERIES);
  assert.ok(Number(stats["total_received"]) > QUERIES && Number(stats["total_sent"]) > QUERIES);
  assert.ok(Number(stats["total_xact_time"]) >= Number(stats["total_query_time"]));
});

Deno.test("an exporter finds the version, the limits and the labels", async () => {
  await using sluice = await startLoaded();
  const [version] = await show(sluice, "version");
  assert.match(String(version?.["version"]), /^PgBouncer \d+\.\d+\.\d+/);
  const config = await show(sluice, "config");
  for (const key of ["max_client_conn", "max_user_connections", "max_db_connections"]) {
    assert.match(String(find(config, "key", key)["value"]), /^\d+$/);
  }
  const pool = find(await show(sluice, "pools"), "database", "postgres");
  assert.equal(pool["user"], "postgres");
  assert.equal(pool["pool_mode"], "transaction");
  const database = find(await show(sluice, "databases"), "name", "postgres");
  assert.equal(database["database"], "postgres");
  assert.ok("force_user" in database && "host" in database && "pool_mode" in database);
  const lists = await show(sluice, "lists");
  assert.equal(find(lists, "list", "used_servers")["items"], 1);
  assert.equal(find(lists, "list", "pools")["items"], 2);
  assert.ok(Number(find(lists, "list", "used_clients")["items"]) >= 1);
});

Deno.test("the memory of the process is shown as it is", async () => {
  await using sluice = await startLoaded();
  const memory = await show(sluice, "mem");
  const heap = find(memory, "name", "v8_heap");
  assert.ok(Number(heap["used"]) > 0 && Number(heap["memtotal"]) > 0);
  const resident = find(memory, "name", "process_resident");
  assert.ok(Number(resident["memtotal"]) > Number(heap["used"]) * 1024);
});

Deno.test("queries and transactions of a pool are in its histograms", async () => {
  await using sluice = await startLoaded();
  const [lag, ...rows] = await show(sluice, "histograms");
  assert.equal(lag!["histogram"], "event_loop_lag");
  // Each slice of the reactor, or each round of the janitor, is one.
  assert.ok(Number(lag!["count"]) > 0);
  assert.deepEqual(
    rows.map(({ count, histogram }) => [histogram, Number(count)]),
    [["wait", QUERIES], ["transaction", QUERIES], ["query", QUERIES]],
  );
  for (const row of rows) {
    const times = ["p50_us", "p95_us", "p99_us", "max_us"].map((name) => Number(row[name]));
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
  }
});
