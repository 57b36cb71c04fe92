/** SHOW STATS_TOTALS, STATS_AVERAGES and TOTALS: the same figures as SHOW STATS, otherwise sorted. */

import { PoolStats, STAT_NAMES, type StatValues } from "../stats/pool_stats.ts";
import type { DatabaseStats } from "../stats/stats_book.ts";
import type { ConsoleContext } from "./console_context.ts";
import { numeric, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { STAT_TITLES } from "./stat_titles.ts";

const TOTALS_COLUMNS = columnsOf(({ totals }) => totals, "ofDatabase");

const AVERAGES_COLUMNS = columnsOf(({ averages }) => averages, "averageOfDatabase");

const OVERALL_COLUMNS: readonly ShowColumn<readonly [string, number]>[] = [
  text("name", ([name]) => name),
  numeric("value", ([_, value]) => value),
];

/** Answers SHOW STATS_TOTALS. */
export function showStatsTotals({ clock, stats }: ConsoleContext): ShownTable {
  return table(TOTALS_COLUMNS, stats.databases(clock.nowMs()));
}

/** Answers SHOW STATS_AVERAGES. */
export function showStatsAverages({ clock, stats }: ConsoleContext): ShownTable {
  return table(AVERAGES_COLUMNS, stats.databases(clock.nowMs()));
}

/** Answers SHOW TOTALS. */
export function showTotals({ clock, stats }: ConsoleContext): ShownTable {
  const totals = new PoolStats();
  for (const database of stats.databases(clock.nowMs())) totals.add(database.totals);
  return table(OVERALL_COLUMNS, [
    ...overall("total_", totals),
    ...overall("avg_", stats.overallAverages(clock.nowMs())),
  ]);
}

function overall(prefix: string, values: StatValues): (readonly [string, number])[] {
  return STAT_NAMES.map((name) => [`${prefix}${STAT_TITLES[name].overall}`, values[name]] as const);
}

function columnsOf(
  valuesOf: (row: DatabaseStats) => StatValues,
  title: "ofDatabase" | "averageOfDatabase",
): readonly ShowColumn<DatabaseStats>[] {
  return [
    text("database", ({ database }) => database),
    ...STAT_NAMES.map((name) =>
      numeric(STAT_TITLES[name][title], (row: DatabaseStats) => valuesOf(row)[name])
    ),
  ];
}
