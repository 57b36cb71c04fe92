/** SHOW STATE: whether the pooler as a whole serves, is paused, or is suspended. */

import type { ConsoleContext } from "./console_context.ts";
import { type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

const STATES = ["active", "paused", "suspended"] as const;

const COLUMNS: readonly ShowColumn<readonly [string, boolean]>[] = [
  text("key", ([key]) => key),
  text("value", ([_, isSo]) => isSo ? "yes" : "no"),
];

/** Answers SHOW STATE. */
export function showState({ operations: { mode } }: ConsoleContext): ShownTable {
  return table(COLUMNS, STATES.map((state) => [state, state === mode] as const));
}
