/**
 * How many clients may replicate at a time: each has a server beside the pools, which no pool size
 * bounds. Pure.
 */

import type { ClientSession } from "../client/client_session.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";

/** Why one more client may not replicate from the database, if so. */
export function replicationRefusal(
  database: string,
  { clients, live }: { clients: Iterable<ClientSession>; live: LiveConfig },
): PgError | undefined {
  const limit = live.settings.maxReplicationConnections;
  const databaseLimit = live.databaseConfig(database)?.maxReplicationConnections ?? 0;
  let [count, databaseCount] = [0, 0];
  for (const client of clients) {
    // Without a pool it has not proved yet who it is, and has no server.
    if (!client.isOpen || client.replication === "none" || client.pool === undefined) continue;
    count += 1;
    if (client.database === database) databaseCount += 1;
  }
  if (limit > 0 && count >= limit) return tooMany("max_replication_connections");
  if (databaseLimit === 0 || databaseCount < databaseLimit) return undefined;
  return tooMany(`max_replication_connections of database "${database}"`);
}

function tooMany(limit: string): PgError {
  return new PgError(
    SQLSTATE.tooManyConnections,
    `no more replication connections allowed (${limit})`,
  );
}
