/** SHOW STATS and its kin: the columns, and what stands in them. */

import assert from "node:assert/strict";
import { showHistograms } from "../../../src/admin/show_histograms.ts";
import { showStatsAverages, showStatsTotals, showTotals } from "../../../src/admin/show_totals.ts";
import { showStats } from "../../../src/admin/show_stats.ts";
import { STAT_NAMES } from "../../../src/stats/pool_stats.ts";
import { ConsoleFixture } from "./console_fixture.ts";
import { readResult } from "./shown_result.ts";
import { columns } from "./shown_columns.ts";
import { SHOWN_TOML } from "./shown_config.ts";

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
  fixture.clock.advance(10_000);
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

Deno.test("SHOW STATS_TOTALS, STATS_AVERAGES and TOTALS name the same figures otherwise", async () => {
  const fixture = await ConsoleFixture.from();
  for (const [database, factor] of [["shop", 1], ["archive", 10]] as const) {
    const stats = fixture.stats.open(database);
    for (const [at, name] of STAT_NAMES.entries()) stats[name] = (at + 1) * factor * 60;
  }
  fixture.clock.advance(60_000);
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

Deno.test("SHOW HISTOGRAMS has the lag of the event loop, and three distributions of each pool", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const { histograms } = fixture.addPool({ database: "shop", user: "anna" });
  for (let us = 1; us <= 100; us++) histograms.query.record(us);
  histograms.xact.record(5_000_000_000);
  fixture.loopLag.note(fixture.clock.nowMs() - 7.5);
  const { columns: shown, rows } = readResult(showHistograms(fixture));
  assert.deepEqual(
    shown,
    columns("text database user histogram", "int8 count p50_us p95_us p99_us max_us"),
  );
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    [null, null, "event_loop_lag", "1", "7500", "7500", "7500", "7500"],
    ["shop", "anna", "wait", "0", "0", "0", "0", "0"],
    ["shop", "anna", "transaction", "1", "5000000000", "5000000000", "5000000000", "5000000000"],
    ["shop", "anna", "query", "100", "51", "95", "99", "100"],
  ]);
});
