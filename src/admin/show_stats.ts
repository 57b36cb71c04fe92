/** SHOW STATS: totals and averages of each database. */

import type { StatName } from "../stats/pool_stats.ts";
import type { DatabaseStats } from "../stats/stats_book.ts";
import type { ConsoleContext } from "./console_context.ts";
import { numeric, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

/** Each counter, and its name after `total_` and after `avg_`. */
const COUNTERS: readonly (readonly [counter: StatName, total: string, average: string])[] = [
  ["serverAssignmentCount", "server_assignment_count", "server_assignment_count"],
  ["xactCount", "xact_count", "xact_count"],
  ["queryCount", "query_count", "query_count"],
  ["bytesReceived", "received", "recv"],
  ["bytesSent", "sent", "sent"],
  ["xactTimeUs", "xact_time", "xact_time"],
  ["queryTimeUs", "query_time", "query_time"],
  ["waitTimeUs", "wait_time", "wait_time"],
  ["clientParseCount", "client_parse_count", "client_parse_count"],
  ["serverParseCount", "server_parse_count", "server_parse_count"],
  ["bindCount", "bind_count", "bind_count"],
  ["clientLoginCount", "client_login_count", "client_login_count"],
];

const COLUMNS: readonly ShowColumn<DatabaseStats>[] = [
  text("database", ({ database }) => database),
  ...COUNTERS.map(([counter, name]) =>
    numeric(`total_${name}`, ({ totals }: DatabaseStats) => totals[counter])
  ),
  ...COUNTERS.map(([counter, _, name]) =>
    numeric(`avg_${name}`, ({ averages }: DatabaseStats) => averages[counter])
  ),
];

/** Answers SHOW STATS. */
export function showStats({ stats }: ConsoleContext): ShownTable {
  return table(COLUMNS, stats.databases());
}
