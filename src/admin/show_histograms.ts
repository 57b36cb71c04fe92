/**
 * SHOW HISTOGRAMS: how late turns of the event loop came, which belongs to no pool; and how long
 * clients of each pool waited, and their transactions and queries took, without those who replicate,
 * whose pools are their own.
 */

import type { ServerPool } from "../client/relay.ts";
import type { Histogram } from "../stats/histogram.ts";
import type { ConsoleContext } from "./console_context.ts";
import { poolsInOrder } from "./pools_in_order.ts";
import { int8, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

interface HistogramRow {
  readonly pool: ServerPool | undefined;
  readonly name: string;
  readonly histogram: Histogram;
}

const COLUMNS: readonly ShowColumn<HistogramRow>[] = [
  text("database", ({ pool }) => pool?.database),
  text("user", ({ pool }) => pool?.user),
  text("histogram", ({ name }) => name),
  int8("count", ({ histogram }) => histogram.count),
  int8("p50_us", ({ histogram }) => histogram.percentileUs(0.5)),
  int8("p95_us", ({ histogram }) => histogram.percentileUs(0.95)),
  int8("p99_us", ({ histogram }) => histogram.percentileUs(0.99)),
  int8("max_us", ({ histogram }) => histogram.maxUs),
];

/** Answers SHOW HISTOGRAMS. */
export function showHistograms({ loopLag, pools }: ConsoleContext): ShownTable {
  const shared = poolsInOrder(pools).filter(({ isPrivate }) => !isPrivate);
  return table(COLUMNS, rows(loopLag.histogram, shared));
}

function* rows(
  loopLag: Histogram,
  pools: readonly ServerPool[],
): Generator<HistogramRow, void, void> {
  yield { pool: undefined, name: "event_loop_lag", histogram: loopLag };
  for (const pool of pools) {
    const { query, wait, xact } = pool.histograms;
    yield { pool, name: "wait", histogram: wait };
    yield { pool, name: "transaction", histogram: xact };
    yield { pool, name: "query", histogram: query };
  }
}
