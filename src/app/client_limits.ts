/** How many clients may be logged in: in total, of a database, and as a user. Pure. */

import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { Config } from "../config/config.ts";
import {
  maxDbClientConnectionsOf,
  maxUserClientConnectionsOf,
} from "../config/effective_settings.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** Why a client that has been admitted is one too many, if it is. Those of the console never are. */
export function clientLimitRefusal(
  { database, user }: ClientSession,
  { clients, config }: { clients: ClientRegistry; config: Config },
): PgError | undefined {
  if (database === CONSOLE_DATABASE) return undefined;
  if (clients.admittedCount > config.settings.maxClientConn) return noMoreClients();
  const databaseLimit = maxDbClientConnectionsOf(config, database!);
  if (databaseLimit > 0 && clients.countOfDatabase(database!) > databaseLimit) {
    return tooMany("client connections exceeded (max_db_client_connections)");
  }
  const userLimit = maxUserClientConnectionsOf(config, user!);
  if (userLimit > 0 && clients.countOfUser(user!) > userLimit) {
    return tooMany("client connections exceeded (max_user_client_connections)");
  }
  return undefined;
}

/** Why nobody is let in at `max_client_conn`. */
export function noMoreClients(): PgError {
  return tooMany("no more connections allowed (max_client_conn)");
}

function tooMany(message: string): PgError {
  return new PgError(SQLSTATE.tooManyConnections, message);
}
