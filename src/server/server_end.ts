/** How the life of a server ended. */

import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** Why a server was closed. */
export interface ServerEnd {
  /** For the log; PgBouncer's words. */
  readonly reason: string;
  /** What a client that depended on the server is told. */
  readonly error: PgError;
  /**
   * `refused`: the server said no; `unreachable`: it could not be asked, or is not ready;
   * `elsewhere`: likewise, but another of its database's hosts has not been tried yet; else it had
   * served.
   */
  readonly kind: "refused" | "unreachable" | "elsewhere" | "served";
}

/** What a client is told whose server has gone without a word. */
export const SERVER_CRASHED: Readonly<PgError> = new PgError(
  SQLSTATE.connectionFailure,
  "server conn crashed?",
);

/** What a client is told whose servers are no longer those of the configuration. */
export const DATABASE_CHANGED: Readonly<PgError> = new PgError(
  SQLSTATE.adminShutdown,
  "database configuration changed",
);
