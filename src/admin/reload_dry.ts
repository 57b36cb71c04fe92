/** What RELOAD DRY shows: each change that a reload would make, and what it would mean. */

import type { ReloadChange } from "../maintenance/reload_plan.ts";
import { type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

/** Columns of RELOAD DRY. */
export const RELOAD_COLUMNS: readonly ShowColumn<ReloadChange>[] = [
  text("kind", ({ kind }) => kind),
  text("name", ({ name }) => name),
  text("before", ({ before }) => before),
  text("after", ({ after }) => after),
  text("effect", ({ effect }) => effect),
];

/** The changes as a table. */
export function reloadTable(changes: readonly ReloadChange[]): ShownTable {
  return table(RELOAD_COLUMNS, changes);
}
