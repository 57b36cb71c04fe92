/** From a command to its answer, with a look at who may run it. */

import { unreachable } from "../base/assert.ts";
import { Backend } from "../wire/message_type.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { parseAdminCommand, type ShowThing } from "./admin_parser.ts";
import type { ConsoleContext, ConsoleRights } from "./console_context.ts";
import { reload } from "./reload.ts";
import { resultSet, type ShownTable } from "./result_set.ts";
import { showClients } from "./show_clients.ts";
import { showConfig } from "./show_config.ts";
import { showDatabases } from "./show_databases.ts";
import { showHelp } from "./show_help.ts";
import { ignoreSet, showParameter } from "./show_parameter.ts";
import { showPools } from "./show_pools.ts";
import { showServers } from "./show_servers.ts";
import { showStats } from "./show_stats.ts";
import { showUsers } from "./show_users.ts";
import { showVersion } from "./show_version.ts";
import { shutdown } from "./shutdown.ts";

/** Of a command that is none, so much is quoted back. */
const MAX_QUOTED_CHARS = 128;

/** What came of a command. */
export interface CommandOutcome {
  /** All but the ReadyForQuery; undefined: nothing is answered, not even that. */
  readonly answer: Uint8Array | undefined;
  /** To be done once the answer has been handed on. */
  readonly afterwards?: () => void;
}

const TABLES: Readonly<
  Record<Exclude<ShowThing, "help">, (context: ConsoleContext) => ShownTable>
> = {
  config: showConfig,
  databases: showDatabases,
  pools: showPools,
  clients: showClients,
  servers: showServers,
  users: showUsers,
  version: showVersion,
  stats: showStats,
};

/**
 * Runs what was typed.
 * @throws {PgError} With severity ERROR if it is no command, not allowed, or fails.
 */
export async function runCommand(
  text: string,
  { context, rights }: { context: ConsoleContext; rights: ConsoleRights },
): Promise<CommandOutcome> {
  const command = parseAdminCommand(text);
  switch (command?.kind) {
    case undefined:
      throw invalidCommand(text);
    case "empty":
      return { answer: emptyQueryResponse() };
    case "show":
      return { answer: show(command.thing, context) };
    case "show_parameter":
      return { answer: resultSet(showParameter(command.name)) };
    case "set_parameter":
      return { answer: ignoreSet() };
    case "reload":
      requireAdmin(rights);
      return { answer: await reload(context) };
    case "shutdown":
      requireAdmin(rights);
      return shutdown(context, command.mode);
    default:
      return unreachable(command);
  }
}

function show(thing: ShowThing, context: ConsoleContext): Uint8Array {
  return thing === "help" ? showHelp() : resultSet(TABLES[thing](context));
}

function requireAdmin(rights: ConsoleRights): void {
  if (rights === "admin") return;
  throw new PgError(SQLSTATE.insufficientPrivilege, "admin access needed", { severity: "ERROR" });
}

function invalidCommand(text: string): PgError {
  const quoted = text.slice(0, MAX_QUOTED_CHARS);
  return new PgError(SQLSTATE.syntaxError, `invalid command '${quoted}', use SHOW HELP;`, {
    severity: "ERROR",
  });
}

function emptyQueryResponse(): Uint8Array {
  return new MessageWriter(8).begin(Backend.EmptyQueryResponse).end().take();
}
