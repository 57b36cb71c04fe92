/** SHOW STATS_TOTALS, STATS_AVERAGES and TOTALS: the same figures as SHOW STATS, otherwise sorted. */

import { PoolStats, STAT_NAMES, type StatName, type StatValues } from "../stats/pool_stats.ts";
import type { DatabaseStats } from "../stats/stats_book.ts";
import type { ConsoleContext } from "./console_context.ts";
import { numeric, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

/** Each counter's name in SHOW STATS_TOTALS and in SHOW TOTALS. */
const NAMES: Readonly<Record<StatName, readonly [ofDatabase: string, overall: string]>> = {
  serverAssignmentCount: ["server_assignment_count", "server_assignment_count"],
  xactCount: ["xact_count", "xact_count"],
  queryCount: ["query_count", "query_count"],
  bytesReceived: ["bytes_received", "client_bytes"],
  bytesSent: ["bytes_sent", "server_bytes"],
  xactTimeUs: ["xact_time", "xact_time"],
  queryTimeUs: ["query_time", "query_time"],
  waitTimeUs: ["wait_time", "wait_time"],
  clientParseCount: ["client_parse_count", "ps_client_parse_count"],
  serverParseCount: ["server_parse_count", "ps_server_parse_count"],
  bindCount: ["bind_count", "ps_bind_count"],
  clientLoginCount: ["client_login_count", "client_login_count"],
};

/** The counters whose averages PgBouncer marks as such in SHOW STATS_AVERAGES. */
const MARKED: readonly StatName[] = [
  "clientParseCount",
  "serverParseCount",
  "bindCount",
  "clientLoginCount",
];

const TOTALS_COLUMNS = columnsOf(({ totals }) => totals, () => "");

const AVERAGES_COLUMNS = columnsOf(
  ({ averages }) => averages,
  (name) => MARKED.includes(name) ? "avg_" : "",
);

const OVERALL_COLUMNS: readonly ShowColumn<readonly [string, number]>[] = [
  text("name", ([name]) => name),
  numeric("value", ([_, value]) => value),
];

/** Answers SHOW STATS_TOTALS. */
export function showStatsTotals({ stats }: ConsoleContext): ShownTable {
  return table(TOTALS_COLUMNS, stats.databases());
}

/** Answers SHOW STATS_AVERAGES. */
export function showStatsAverages({ stats }: ConsoleContext): ShownTable {
  return table(AVERAGES_COLUMNS, stats.databases());
}

/** Answers SHOW TOTALS. */
export function showTotals({ stats }: ConsoleContext): ShownTable {
  const totals = new PoolStats();
  for (const database of stats.databases()) totals.add(database.totals);
  return table(OVERALL_COLUMNS, [
    ...overall("total_", totals),
    ...overall("avg_", stats.overallAverages()),
  ]);
}

function overall(prefix: string, values: StatValues): (readonly [string, number])[] {
  return STAT_NAMES.map((name) => [`${prefix}${NAMES[name][1]}`, values[name]] as const);
}

function columnsOf(
  valuesOf: (row: DatabaseStats) => StatValues,
  prefixOf: (name: StatName) => string,
): readonly ShowColumn<DatabaseStats>[] {
  return [
    text("database", ({ database }) => database),
    ...STAT_NAMES.map((name) =>
      numeric(`${prefixOf(name)}${NAMES[name][0]}`, (row: DatabaseStats) => valuesOf(row)[name])
    ),
  ];
}
