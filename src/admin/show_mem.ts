/**
 * SHOW MEM: where the memory of the process is. PgBouncer lists its caches of equal objects; here the
 * runtime has the memory, so that the rows are its areas and an object is a KiB.
 */

import type { ConsoleContext } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

const UNIT_BYTES = 1024;

/** Drivers take nothing greater for an int4. */
const MAX_INT4 = 2_147_483_647;

interface AreaRow {
  readonly name: string;
  readonly totalBytes: number;
  readonly usedBytes: number;
}

const COLUMNS: readonly ShowColumn<AreaRow>[] = [
  text("name", ({ name }) => name),
  int4("size", () => UNIT_BYTES),
  int4("used", ({ usedBytes }) => wholeUnits(usedBytes)),
  int4("free", ({ totalBytes, usedBytes }) => wholeUnits(Math.max(0, totalBytes - usedBytes))),
  int4("memtotal", ({ totalBytes }) => Math.min(totalBytes, MAX_INT4)),
];

/** Answers SHOW MEM. */
export function showMem(context: ConsoleContext): ShownTable {
  const { external, heapTotal, heapUsed, rss } = context.memory();
  return table(COLUMNS, [
    { name: "v8_heap", totalBytes: heapTotal, usedBytes: heapUsed },
    { name: "v8_external", totalBytes: external, usedBytes: external },
    // All that the process has of the machine's memory, the two above included.
    { name: "process_resident", totalBytes: rss, usedBytes: rss },
  ]);
}

function wholeUnits(bytes: number): number {
  return Math.min(Math.floor(bytes / UNIT_BYTES), MAX_INT4);
}
