/** Lets a client into the console, with the rights it has there. */

import type { Admission } from "../client/client_login.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { Settings } from "../config/settings.ts";
import { Greeting } from "../link/greeting.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ConsoleContext, ConsoleRights } from "./console_context.ts";
import { ANNOUNCED_PARAMETERS } from "./console_parameters.ts";
import { ConsoleSession } from "./console_session.ts";

/** What the console is opened with. */
export interface OpenConsoleOptions {
  readonly context: ConsoleContext;
  /** Whether the client is a process of the user that the pooler itself runs as. */
  readonly isOwnProcess: boolean;
}

/**
 * Opens the console for a client that has proved who it is. Rights are settled here: a reload
 * changes those of the next login.
 * @throws {PgError} If the user has none.
 */
export function openConsole(
  client: ClientSession,
  { context, isOwnProcess }: OpenConsoleOptions,
): Admission {
  const { settings } = context.config();
  const rights = isOwnProcess ? "admin" : rightsOf(client.user, settings);
  if (rights === undefined) throw new PgError(SQLSTATE.insufficientPrivilege, "not allowed");
  const service = new ConsoleSession({ client, context, rights });
  return { service, greeting: new Greeting(ANNOUNCED_PARAMETERS) };
}

function rightsOf(user: string | undefined, settings: Settings): ConsoleRights | undefined {
  if (user === undefined) return undefined;
  if (settings.adminUsers.includes(user)) return "admin";
  const mayLook = settings.statsUsers.includes(user) || settings.authType === "any";
  return mayLook ? "stats" : undefined;
}
