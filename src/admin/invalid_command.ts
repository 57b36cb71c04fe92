/** The error for what is no command. */

import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** Of a command that is none, so much is quoted back. */
const MAX_QUOTED_CHARS = 128;

/** Quotes the beginning of what was typed. */
export function invalidCommand(text: string): PgError {
  const quoted = text.slice(0, MAX_QUOTED_CHARS);
  return new PgError(SQLSTATE.syntaxError, `invalid command '${quoted}', use SHOW HELP;`, {
    severity: "ERROR",
  });
}
