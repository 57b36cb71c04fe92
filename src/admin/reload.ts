/** RELOAD. */

import { AssertionError } from "../base/assert.ts";
import { commandComplete } from "../wire/backend_messages.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ConsoleContext } from "./console_context.ts";

/**
 * Has the configuration read anew; answers when it is in force.
 * @throws {PgError} If it is bad. What is wrong with it is for the log: its files are not the
 * console's to show.
 */
export async function reload(context: ConsoleContext): Promise<Uint8Array> {
  try {
    await context.reload();
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    throw new PgError(
      SQLSTATE.configFileError,
      "RELOAD failed, see logs for additional details",
      { severity: "ERROR" },
    );
  }
  return commandComplete("RELOAD");
}
