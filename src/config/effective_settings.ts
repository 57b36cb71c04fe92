/** What holds for one database or one pool, once all places that may say it have been asked. Pure. */

import type { Config, DatabaseConfig } from "./config.ts";
import { propertyOf } from "./setting_spec.ts";
import { type PoolMode, SETTINGS, type Settings } from "./settings.ts";

/** The entry for a database name: its own, or the fall-back. */
export function databaseConfigOf(config: Config, name: string): DatabaseConfig | undefined {
  return config.databases.get(name) ?? config.databases.get("*");
}

/** How the links of a pool are shared: the user's word goes first, then the database's. */
export function poolModeOf(config: Config, pool: { database: string; user: string }): PoolMode {
  return config.users.get(pool.user)?.poolMode ??
    databaseConfigOf(config, pool.database)?.poolMode ?? config.settings.poolMode;
}

/** Most servers of a database, over all its pools; 0 = no limit. */
export function maxDbConnectionsOf(config: Config, database: string): number {
  return databaseConfigOf(config, database)?.maxDbConnections ?? config.settings.maxDbConnections;
}

/** Most servers that are logged in as a user, over all databases; 0 = no limit. */
export function maxUserConnectionsOf(config: Config, user: string): number {
  return config.users.get(user)?.maxUserConnections ?? config.settings.maxUserConnections;
}

/** Most clients of a database; 0 = no limit. */
export function maxDbClientConnectionsOf(config: Config, database: string): number {
  return databaseConfigOf(config, database)?.maxDbClientConnections ??
    config.settings.maxDbClientConnections;
}

/** Most clients that have logged in as a user; 0 = no limit. */
export function maxUserClientConnectionsOf(config: Config, user: string): number {
  return config.users.get(user)?.maxUserClientConnections ??
    config.settings.maxUserClientConnections;
}

/** The configuration that a reload puts in force: what needs a restart stays as it runs. */
export function withRunningSettings(next: Config, running: Settings): Config {
  const values = running as unknown as Readonly<Record<string, unknown>>;
  const kept = SETTINGS.filter(({ reloadable }) => !reloadable).map(propertyOf);
  const settings = {
    ...next.settings,
    ...Object.fromEntries(kept.map((property) => [property, values[property]])),
  };
  return { ...next, settings };
}
