/** SHOW VERSION. */

import type { ConsoleContext } from "./console_context.ts";
import { resultSet, type ShowColumn, text } from "./result_set.ts";
import { versionText } from "./version.ts";

const COLUMNS: readonly ShowColumn<string>[] = [text("version", (version) => version)];

/** Answers SHOW VERSION. */
export function showVersion(_context: ConsoleContext): Uint8Array {
  return resultSet(COLUMNS, [versionText()]);
}
