/** SHOW HELP: no rows, but a notice that lists the commands. */

import { commandComplete } from "../wire/backend_messages.ts";
import { noticeResponse } from "../wire/error_response.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { SHOW_THINGS } from "./admin_parser.ts";

const COMMANDS = [
  `SHOW ${SHOW_THINGS.join("|").toUpperCase()}`,
  "RELOAD",
  "SHUTDOWN",
  "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
] as const;

/** Answers SHOW HELP. */
export function showHelp(): Uint8Array {
  const usage = new PgError(SQLSTATE.successfulCompletion, "Console usage", {
    severity: "NOTICE",
    detail: COMMANDS.map((command) => `\n\t${command}`).join(""),
  });
  return new MessageWriter().bytes(noticeResponse(usage)).bytes(commandComplete("SHOW")).take();
}
