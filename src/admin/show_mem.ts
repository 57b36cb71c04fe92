/** SHOW MEM: what the process uses. PgBouncer's caches are not here: each row is a kind of memory. */

import type { ConsoleContext } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

/** Figures are PostgreSQL's int: beyond two gigabytes there is only "at least". */
const MAX_INT4 = 2 ** 31 - 1;

interface MemoryRow {
  readonly name: string;
  readonly totalBytes: number;
  readonly usedBytes: number;
}

/** Sizes count bytes: an entry of `size` 1. */
const COLUMNS: readonly ShowColumn<MemoryRow>[] = [
  text("name", ({ name }) => name),
  int4("size", () => 1),
  int4("used", ({ usedBytes }) => bounded(usedBytes)),
  int4("free", ({ totalBytes, usedBytes }) => bounded(totalBytes - usedBytes)),
  int4("memtotal", ({ totalBytes }) => bounded(totalBytes)),
];

/** Answers SHOW MEM. */
export function showMem(context: ConsoleContext): ShownTable {
  const { external, heapTotal, heapUsed, rss } = context.memory();
  return table(COLUMNS, [
    { name: "heap", totalBytes: heapTotal, usedBytes: heapUsed },
    { name: "external", totalBytes: external, usedBytes: external },
    { name: "resident", totalBytes: rss, usedBytes: rss },
  ]);
}

function bounded(bytes: number): number {
  return Math.min(Math.max(0, bytes), MAX_INT4);
}
