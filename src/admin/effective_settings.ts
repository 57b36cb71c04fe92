/** What holds for one database or one pool, once all places that may say it have been asked. Pure. */

import type { Config, DatabaseConfig } from "../config/config.ts";
import type { PoolMode } from "../config/settings.ts";

/** The entry for a database name: its own, or the fall-back. */
export function databaseConfigOf(config: Config, name: string): DatabaseConfig | undefined {
  return config.databases.get(name) ?? config.databases.get("*");
}

/** How the links of a pool are shared: the user's word goes first, then the database's. */
export function poolModeOf(config: Config, pool: { database: string; user: string }): PoolMode {
  return config.users.get(pool.user)?.poolMode ??
    databaseConfigOf(config, pool.database)?.poolMode ?? config.settings.poolMode;
}

/** How hosts are chosen; undefined where there is no choice. */
export function loadBalanceOf(database: DatabaseConfig | undefined): string | undefined {
  return database !== undefined && database.hosts.length > 1
    ? database.loadBalanceHosts
    : undefined;
}

/** Orders pools or databases as the console lists them. */
export function byName(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
