/** SHOW VERSION. */

import type { ConsoleContext } from "./console_context.ts";
import { type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { versionText } from "./version.ts";

const COLUMNS: readonly ShowColumn<string>[] = [text("version", (version) => version)];

/** Answers SHOW VERSION. */
export function showVersion(_context: ConsoleContext): ShownTable {
  return table(COLUMNS, [versionText()]);
}
