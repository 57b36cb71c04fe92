/** SHOW HELP: no rows, but a notice that lists the commands. */

import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { SHOW_THINGS } from "./admin_parser.ts";

const COMMANDS: readonly string[] = [
  `SHOW ${SHOW_THINGS.join("|").toUpperCase()}`,
  "SHOW ... [WHERE column = 'value' [AND ...]] [ORDER BY column [DESC] [, ...]] [LIMIT n]",
  "SET key = arg",
  "RELOAD",
  "RELOAD DRY",
  "PAUSE [<db>]",
  "RESUME [<db>]",
  "DISABLE <db>",
  "ENABLE <db>",
  "RECONNECT [<db>]",
  "KILL [<db>]",
  "KILL_CLIENT <client_id>",
  "SUSPEND",
  "WAIT_CLOSE [<db>]",
  "SHUTDOWN",
  "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
  "SHUTDOWN WAIT_FOR_TRANSACTIONS [<seconds>]",
];

/** The notice. */
export function usage(): PgError {
  return new PgError(SQLSTATE.successfulCompletion, "Console usage", {
    severity: "NOTICE",
    detail: COMMANDS.map((command) => `\n\t${command}`).join(""),
  });
}
