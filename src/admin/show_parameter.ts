/** SHOW and SET of the parameters that drivers deal with before anything else. */

import { commandComplete } from "../wire/backend_messages.ts";
import { noticeResponse } from "../wire/error_response.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { fixedParameter } from "./console_parameters.ts";
import { type ShownTable, table, text } from "./result_set.ts";

/** Answers SHOW of a parameter that always has the same value; `name` in lower case. */
export function showParameter(name: string): ShownTable {
  return table([text<string>(name, fixedParameter)], [name]);
}

/** Answers SET of such a parameter: it succeeds, and changes nothing. */
export function ignoreSet(): Uint8Array {
  const notice = new PgError(SQLSTATE.successfulCompletion, "SET ignored", { severity: "NOTICE" });
  return new MessageWriter().bytes(noticeResponse(notice)).bytes(commandComplete("SET")).take();
}
