/** SHOW STATS: totals and averages of each database. */

import { STAT_NAMES } from "../stats/pool_stats.ts";
import type { DatabaseStats } from "../stats/stats_book.ts";
import type { ConsoleContext } from "./console_context.ts";
import { numeric, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { STAT_TITLES } from "./stat_titles.ts";

const COLUMNS: readonly ShowColumn<DatabaseStats>[] = [
  text("database", ({ database }) => database),
  ...STAT_NAMES.map((name) =>
    numeric(`total_${STAT_TITLES[name].total}`, ({ totals }: DatabaseStats) => totals[name])
  ),
  ...STAT_NAMES.map((name) =>
    numeric(`avg_${STAT_TITLES[name].average}`, ({ averages }: DatabaseStats) => averages[name])
  ),
];

/** Answers SHOW STATS. */
export function showStats({ clock, stats }: ConsoleContext): ShownTable {
  return table(COLUMNS, stats.databases(clock.nowMs()));
}
