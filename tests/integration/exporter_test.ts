/** What PgBouncer's exporter for Prometheus asks, and the columns that it reads by name. */

import assert from "node:assert/strict";
import { show } from "../support/console.ts";
import { logIn } from "../support/logins.ts";
import { startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { configFor } from "../support/toml_config.ts";

const shared = sharedPostgres();

/** Of each SHOW: the columns of texts, and those of numbers. */
const READ: Readonly<Record<string, readonly [texts: string, numbers: string]>> = {
  stats: [
    "database",
    "total_xact_count total_query_count total_received total_sent total_xact_time " +
    "total_query_time total_wait_time total_server_assignment_count",
  ],
  pools: [
    "database user pool_mode",
    "cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel " +
    "sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us",
  ],
  databases: [
    "name database",
    "port pool_size reserve_pool_size max_connections current_connections paused disabled",
  ],
};

Deno.test("the exporter finds every column that it reads, with numbers in them", async () => {
  await using sluice = await startSluice({ config: configFor(shared.get()) });
  const client = await logIn({ port: sluice.port, user: "postgres" });
  for (let i = 0; i < 20; i++) await client.query("select 1");
  for (const [thing, [texts, numbers]] of Object.entries(READ)) {
    const rows = await show(sluice, thing);
    const row = rows.find((each) => each["database"] === "postgres" || each["name"] === "postgres");
    assert.ok(row !== undefined, thing);
    for (const name of texts.split(" ")) assert.equal(typeof row[name], "string", name);
    for (const name of numbers.split(" ")) assert.match(String(row[name]), /^\d+$/, name);
  }
  const [stats] = (await show(sluice, "stats")).filter(({ database }) => database === "postgres");
  assert.equal(stats?.["total_query_count"], "20");
  const lists = await show(sluice, "lists");
  assert.equal(lists.length, 14);
  assert.deepEqual(Object.keys(lists[0]!), ["list", "items"]);
  const config = new Map((await show(sluice, "config")).map(({ key, value }) => [key, value]));
  for (const key of ["max_client_conn", "max_user_connections"]) {
    assert.match(String(config.get(key)), /^\d+$/);
  }
  const [version] = await show(sluice, "version");
  assert.match(String(version?.["version"]), /^PgBouncer \d+\.\d+\.\d+/);
  await client.end();
});
