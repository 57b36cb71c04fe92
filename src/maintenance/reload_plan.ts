/** What a new configuration means for what is running. Pure. */

import type { Secret } from "../base/secret.ts";
import { channelBindingOf, databaseConfigOf } from "../config/effective_settings.ts";
import type { Config, DatabaseConfig } from "../config/config.ts";
import { differingSettings, type ShownSetting, showSettings } from "../config/settings.ts";

/** One difference between the configuration in force and a new one, for people to read. */
export interface ReloadChange {
  readonly kind: "setting" | "database" | "user" | "server" | "auth_file" | "rules" | "tls_file";
  /**
   * Name of the setting, the database, the user or the server; for files, of the setting that names
   * them.
   */
  readonly name: string;
  /** As a file would say it; undefined where there is nothing. Secrets are not shown. */
  readonly before: string | undefined;
  readonly after: string | undefined;
  /** What it means for what is running. */
  readonly effect: "at once" | "needs a restart" | "servers are recycled" | "clients are closed";
}

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
 * @param before As in force: settings that need a restart are as the process was started.
 * @param databases The names in use, those made from `*` included.
 */
export function planReload(
  before: Config,
  after: Config,
  databases: Iterable<string>,
): ReloadPlan {
  const changedDatabases: string[] = [];
  const removedDatabases: string[] = [];
  for (const name of databases) {
    const old = databaseConfigOf(before, name);
    const now = databaseConfigOf(after, name);
    if (now === undefined) removedDatabases.push(name);
    else if (
      old === undefined || leadsElsewhere(old, now, name) ||
      channelBindingOf(before, name) !== channelBindingOf(after, name)
    ) changedDatabases.push(name);
  }
  return { changedDatabases, removedDatabases, needsRestart: restartOnly(before, after) };
}

/** Whether a server that was opened for `name` with one entry is of no use with the other. */
export function leadsElsewhere(a: DatabaseConfig, b: DatabaseConfig, name: string): boolean {
  return (a.dbname ?? name) !== (b.dbname ?? name) || a.hosts.join() !== b.hosts.join() ||
    a.targetSessionAttrs !== b.targetSessionAttrs || a.port !== b.port || a.user !== b.user ||
    !isSameLogin(a, b) ||
    a.connectQuery !== b.connectQuery || !isSameMap(a.startupParameters, b.startupParameters);
}

/** A password is used with a forced user only. */
function isSameLogin(a: DatabaseConfig, b: DatabaseConfig): boolean {
  return b.user === undefined || isSameSecret(a.password, b.password);
}

/** Whether both are the same secret, or both are none. */
export function isSameSecret(a: Secret | undefined, b: Secret | undefined): boolean {
  return a === undefined ? b === undefined : a.equals(b);
}

function isSameMap(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return JSON.stringify([...a]) === JSON.stringify([...b]);
}

/** A setting that is not as it was. */
export interface ChangedSetting extends ShownSetting {
  /** What it was. */
  readonly before: string | undefined;
}

/** All of them, in the order of the table. */
export function changedSettings(before: Config, after: Config): ChangedSetting[] {
  const old = new Map(showSettings(before.settings).map(({ key, value }) => [key, value]));
  const differing = differingSettings(before.settings, after.settings);
  return showSettings(after.settings)
    .filter(({ key }) => differing.has(key))
    .map((setting) => ({ ...setting, before: old.get(setting.key) }));
}

function restartOnly(before: Config, after: Config): string[] {
  return changedSettings(before, after)
    .filter(({ changeable }) => changeable === "no")
    .map(({ key }) => key);
}
