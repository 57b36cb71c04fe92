/** What a new configuration changes, for people to read before they reload. Pure. */

import type { Secret } from "../base/secret.ts";
import type { Config, DatabaseConfig, UserConfig } from "../config/config.ts";
import { databaseConfigOf } from "../config/effective_settings.ts";
import { propertyOf, type SettingSpec } from "../config/setting_spec.ts";
import { DATABASE_SETTINGS, SETTINGS, showSettings, USER_SETTINGS } from "../config/settings.ts";
import { formatValue, type SettingValue } from "../config/values.ts";
import { leadsElsewhere } from "./reload_plan.ts";

/** One difference between the configuration in force and a new one. */
export interface ReloadChange {
  readonly kind: "setting" | "database" | "user" | "auth_file";
  /** Name of the setting, the database or the user. */
  readonly name: string;
  /** As a file would say it; undefined where there is nothing. Secrets are not shown. */
  readonly before: string | undefined;
  readonly after: string | undefined;
  /** What it means for what is running. */
  readonly effect: "at once" | "needs a restart" | "servers are recycled" | "clients are closed";
}

/** A configuration with the users of its `auth_file`. */
export interface WithUsers {
  readonly config: Config;
  readonly userList: ReadonlyMap<string, Secret>;
}

/** What is shown in place of a secret. */
const HIDDEN = "***";

/** What is shown of a secret that is another one now. */
const CHANGED = "*** (changed)";

/** Every difference: settings, databases, users, and the users of `auth_file`. */
export function reloadChanges(before: WithUsers, after: WithUsers): ReloadChange[] {
  return [
    ...settingChanges(before.config, after.config),
    ...databaseChanges(before.config, after.config),
    ...userChanges(before.config.users, after.config.users),
    ...userListChanges(before.userList, after.userList),
  ];
}

function settingChanges(before: Config, after: Config): ReloadChange[] {
  const old = new Map(showSettings(before.settings).map(({ key, value }) => [key, value]));
  const changed = showSettings(after.settings).filter(({ key, value }) => old.get(key) !== value);
  return changed.map(({ key, value }) => ({
    kind: "setting",
    name: key,
    before: old.get(key),
    after: value,
    effect: isReloadable(key) ? "at once" : "needs a restart",
  }));
}

function isReloadable(key: string): boolean {
  return SETTINGS.some(({ name, reloadable }) => name === key && reloadable);
}

function databaseChanges(before: Config, after: Config): ReloadChange[] {
  const changes: ReloadChange[] = [];
  for (const name of namesIn(before.databases, after.databases)) {
    const [old, now] = [before.databases.get(name), after.databases.get(name)];
    const [oldLine, nowLine] = lines(old && databaseEntries(old), now && databaseEntries(now));
    if (oldLine === nowLine) continue;
    const effect = effectOf(databaseConfigOf(before, name), databaseConfigOf(after, name));
    changes.push({ kind: "database", name, before: oldLine, after: nowLine, effect });
  }
  return changes;
}

/** Of the entries that hold for a name, `*` included. */
function effectOf(
  before: DatabaseConfig | undefined,
  after: DatabaseConfig | undefined,
): ReloadChange["effect"] {
  if (before === undefined) return "at once";
  if (after === undefined) return "clients are closed";
  return leadsElsewhere(before, after) ? "servers are recycled" : "at once";
}

function userChanges(
  before: ReadonlyMap<string, UserConfig>,
  after: ReadonlyMap<string, UserConfig>,
): ReloadChange[] {
  const changes: ReloadChange[] = [];
  for (const name of namesIn(before, after)) {
    const [old, now] = [before.get(name), after.get(name)];
    const [oldLine, nowLine] = lines(old && userEntries(old), now && userEntries(now));
    if (oldLine === nowLine) continue;
    changes.push({ kind: "user", name, before: oldLine, after: nowLine, effect: "at once" });
  }
  return changes;
}

function userListChanges(
  before: ReadonlyMap<string, Secret>,
  after: ReadonlyMap<string, Secret>,
): ReloadChange[] {
  const changes: ReloadChange[] = [];
  for (const name of namesIn(before, after)) {
    const [old, now] = [before.get(name), after.get(name)];
    if (old !== undefined && old.equals(now)) continue;
    const shownNow = old === undefined ? HIDDEN : CHANGED;
    changes.push({
      kind: "auth_file",
      name,
      before: old && HIDDEN,
      after: now && shownNow,
      effect: "at once",
    });
  }
  return changes;
}

/** In the order of the older one, new names last. */
function namesIn(
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
): Set<string> {
  return new Set([...before.keys(), ...after.keys()]);
}

/** What an entry says: texts, and secrets. */
type Entries = ReadonlyMap<string, string | Secret>;

/** Both as lines of `key=value`; a secret that differs is said to. */
function lines(
  before: Entries | undefined,
  after: Entries | undefined,
): [string | undefined, string | undefined] {
  return [before && lineOf(before, before), after && lineOf(after, before ?? after)];
}

function lineOf(entries: Entries, before: Entries): string {
  return [...entries].map(([name, value]) => {
    if (typeof value === "string") return `${name}=${quotedIfNeeded(value)}`;
    const old = before.get(name);
    const isSame = old === undefined || typeof old !== "string" && value.equals(old);
    return `${name}=${isSame ? HIDDEN : CHANGED}`;
  }).join(" ");
}

function databaseEntries(database: DatabaseConfig): Entries {
  const { hosts, startupParameters, ...rest } = database;
  return entriesOf(DATABASE_SETTINGS, {
    ...rest,
    host: hosts,
    clientEncoding: startupParameters.get("client_encoding"),
    datestyle: startupParameters.get("datestyle"),
    timezone: startupParameters.get("timezone"),
    applicationName: startupParameters.get("application_name"),
  });
}

function userEntries(user: UserConfig): Entries {
  return entriesOf(USER_SETTINGS, { ...user });
}

/** What differs from the default. */
function entriesOf(
  table: readonly SettingSpec[],
  values: Readonly<Record<string, SettingValue | Secret>>,
): Entries {
  const entries = new Map<string, string | Secret>();
  for (const spec of table) {
    const value = values[propertyOf(spec)];
    if (isSecret(value)) entries.set(spec.name, value);
    else {
      const text = formatValue(spec, value);
      if (text !== undefined && text !== (spec.default ?? "")) entries.set(spec.name, text);
    }
  }
  return entries;
}

function isSecret(value: SettingValue | Secret): value is Secret {
  return typeof value === "object" && "reveal" in value;
}

/** As in a connection string. */
function quotedIfNeeded(value: string): string {
  if (/^[^\s'\\]+$/.test(value)) return value;
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
