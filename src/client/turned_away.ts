/** What a client is told that a pool turned away. */

import type { StandingFailure } from "../pool/pool.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** The error for the client: the pool's own, or that its servers cannot be reached. */
export function turnedAwayError({ error, kind }: StandingFailure<PgError>): PgError {
  if (kind === "closed") return error;
  return new PgError(
    error.sqlstate,
    `server login has been failing, cached error: ${error.message} (server_login_retry)`,
  );
}

/** What a client is told that would be one too many of those who wait for a server. */
export function tooManyWait(): PgError {
  const message = "too many clients wait for a server (max_waiting_clients)";
  return new PgError(SQLSTATE.tooManyConnections, message, { severity: "ERROR" });
}
