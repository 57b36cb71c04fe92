/** SHOW PREPARED: statements kept for clients. Named ones pass through: there are no rows. */

import type { ConsoleContext } from "./console_context.ts";
import { int4, int8, type ShownTable, table, text } from "./result_set.ts";

const nothing = (): undefined => undefined;

/** Answers SHOW PREPARED. */
export function showPrepared(_context: ConsoleContext): ShownTable {
  return table([
    text("database", nothing),
    text("user", nothing),
    int4("server_id", nothing),
    text("name", nothing),
    text("statement", nothing),
    int8("use_count", nothing),
  ], []);
}
