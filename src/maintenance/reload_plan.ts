/** What a new configuration means for what is running. Pure. */

import { databaseConfigOf } from "../config/effective_settings.ts";
import type { Config, DatabaseConfig } from "../config/config.ts";
import { SETTINGS, showSettings } from "../config/settings.ts";

/** What a reload does besides taking over the settings. */
export interface ReloadPlan {
  /** Databases whose servers are no longer those of the configuration. */
  readonly changedDatabases: readonly string[];
  /** Databases that are no longer configured. */
  readonly removedDatabases: readonly string[];
  /** Settings that take effect only with a restart. */
  readonly needsRestart: readonly string[];
}

/**
 * Compares the configuration in force with a new one.
 * @param running.databases The names in use, those made from `*` included.
 */
export function planReload(
  before: Config,
  after: Config,
  { databases }: { databases: Iterable<string> },
): ReloadPlan {
  const changedDatabases: string[] = [];
  const removedDatabases: string[] = [];
  for (const name of databases) {
    const old = databaseConfigOf(before, name);
    const now = databaseConfigOf(after, name);
    if (now === undefined) removedDatabases.push(name);
    else if (old === undefined || leadsElsewhere(old, now)) changedDatabases.push(name);
  }
  return { changedDatabases, removedDatabases, needsRestart: restartOnly(before, after) };
}

/** Whether a server opened for one entry is of no use for the other. */
export function leadsElsewhere(a: DatabaseConfig, b: DatabaseConfig): boolean {
  const isSamePassword = a.password === undefined
    ? b.password === undefined
    : a.password.equals(b.password);
  return a.dbname !== b.dbname || a.hosts.join() !== b.hosts.join() || a.port !== b.port ||
    a.user !== b.user || !isSamePassword || a.connectQuery !== b.connectQuery ||
    JSON.stringify([...a.startupParameters]) !== JSON.stringify([...b.startupParameters]);
}

function restartOnly(before: Config, after: Config): string[] {
  const old = new Map(showSettings(before.settings).map(({ key, value }) => [key, value]));
  const fixed = new Set(SETTINGS.filter(({ reloadable }) => !reloadable).map(({ name }) => name));
  return showSettings(after.settings)
    .filter(({ key, value }) => fixed.has(key) && old.get(key) !== value)
    .map(({ key }) => key);
}
