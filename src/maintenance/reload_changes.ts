/** What a reload would change, line by line, for people to read. Pure; no secret is shown. */

import type { Secret } from "../base/secret.ts";
import type { Config, DatabaseConfig, UserConfig } from "../config/config.ts";
import { channelBindingOf, databaseConfigOf, serverTlsOf } from "../config/effective_settings.ts";
import { propertyOf, type SettingSpec } from "../config/setting_spec.ts";
import { DATABASE_SETTINGS, SERVER_SETTINGS, USER_SETTINGS } from "../config/settings.ts";
import { formatValue, type SettingValue } from "../config/values.ts";
import { changedSettings, isSameSecret, leadsElsewhere, type ReloadChange } from "./reload_plan.ts";

/** A setting of an entry, and under which name an entry has it: there may be thousands of entries. */
interface Described {
  readonly spec: SettingSpec;
  readonly property: string;
}

const OF_DATABASES = described(DATABASE_SETTINGS);
const OF_SERVERS = described(SERVER_SETTINGS);
const OF_USERS = described(USER_SETTINGS);

/** What stands in for a secret. */
const HIDDEN = "***";

/** The same for one that has replaced another. */
const HIDDEN_CHANGE = "*** (changed)";

/** What has been read from files. */
export interface FileContents {
  /** Settings that need a restart may differ from those that run. */
  readonly config: Config;
  /** What `auth_file` holds. */
  readonly userList: ReadonlyMap<string, Secret>;
  /** Lines of `auth_hba_file` and `auth_ident_file`. */
  readonly rules?: RuleTexts | undefined;
}

/** The lines of the files of rules, with all they include. */
export interface RuleTexts {
  readonly hbaTexts: readonly string[];
  readonly identTexts: readonly string[];
}

/**
 * All differences: settings, then databases, users, servers and entries of `auth_file`, each by
 * name; rules.
 */
export function reloadChanges(before: FileContents, after: FileContents): ReloadChange[] {
  return [
    ...settingChanges(before.config, after.config),
    ...databaseChanges(before.config, after.config),
    ...userChanges(before.config, after.config),
    ...serverChanges(before.config, after.config),
    ...userListChanges(before.userList, after.userList),
    ...ruleChanges("auth_hba_file", before.rules?.hbaTexts, after.rules?.hbaTexts),
    ...ruleChanges("auth_ident_file", before.rules?.identTexts, after.rules?.identTexts),
  ];
}

function settingChanges(before: Config, after: Config): ReloadChange[] {
  return changedSettings(before, after).map(({ before, changeable, key, value }) => ({
    kind: "setting",
    name: key,
    before,
    // Of what is hidden, it can only be said that it differs.
    after: value === before ? `${value} (changed)` : value,
    effect: changeable === "yes" ? settingEffect(key) : "needs a restart",
  }));
}

/** Servers are not left as they were logged in when it is said otherwise how they are. */
function settingEffect(name: string): ReloadChange["effect"] {
  const isOfServers = name.startsWith("server_tls") || name === "server_channel_binding";
  return isOfServers ? "servers are recycled" : "at once";
}

function databaseChanges(before: Config, after: Config): ReloadChange[] {
  return differences(before.databases, after.databases, {
    kind: "database",
    isSameSecret: (a, b) => isSameSecret(a.password, b.password),
    describe: describeDatabase,
    effect: (name) => databaseEffect(name, before, after),
  });
}

/** A name without an entry of its own has that of `*`, before and after. */
function databaseEffect(name: string, before: Config, after: Config): ReloadChange["effect"] {
  const [old, now] = [databaseConfigOf(before, name), databaseConfigOf(after, name)];
  if (old === undefined) return "at once";
  // Without a server of the same user there is none to go on with.
  if (now === undefined || old.user !== now.user) return "clients are closed";
  const isOther = leadsElsewhere(old, now, name) || isLoggedInOtherwise(name, before, after);
  return isOther ? "servers are recycled" : "at once";
}

/** A database's own word changes nothing that says what is said for all. */
function isLoggedInOtherwise(name: string, before: Config, after: Config): boolean {
  const shown = (config: Config) =>
    JSON.stringify([serverTlsOf(config, name), channelBindingOf(config, name)]);
  return shown(before) !== shown(after);
}

function userChanges(before: Config, after: Config): ReloadChange[] {
  return differences(before.users, after.users, {
    kind: "user",
    isSameSecret: (a, b) => isSameSecret(a.password, b.password),
    describe: describeUser,
    effect: () => "at once",
  });
}

function serverChanges(before: Config, after: Config): ReloadChange[] {
  return differences(before.servers, after.servers, {
    kind: "server",
    isSameSecret: () => true,
    describe: (server) => describe(OF_SERVERS, server),
    effect: () => "at once",
  });
}

function userListChanges(
  before: ReadonlyMap<string, Secret>,
  after: ReadonlyMap<string, Secret>,
): ReloadChange[] {
  return differences(before, after, {
    kind: "auth_file",
    isSameSecret,
    describe: (_secret, shown) => shown,
    effect: () => "at once",
  });
}

/** Only how many there are: which line does what, only their order tells. */
function ruleChanges(
  name: string,
  before: readonly string[] = [],
  after: readonly string[] = [],
): ReloadChange[] {
  if (before.join("\n") === after.join("\n")) return [];
  const shown = (lines: readonly string[]) =>
    lines.length === 1 ? "1 line" : `${lines.length} lines`;
  return [{
    kind: "rules",
    name,
    before: shown(before),
    after: `${shown(after)} (changed)`,
    effect: "at once",
  }];
}

/** A file of TLS, as it was read. */
export interface TlsFileDigest {
  readonly setting: string;
  readonly path: string;
  /** Tells one content from another. */
  readonly digest: string;
}

/** Files that hold something else than they did; that others are named, the settings tell. */
export function tlsFileChanges(
  before: readonly TlsFileDigest[],
  after: readonly TlsFileDigest[],
): ReloadChange[] {
  const changes = new Map<string, ReloadChange>();
  for (const { digest, path, setting } of after) {
    const old = before.find((each) => each.setting === setting && each.path === path);
    if (old === undefined || old.digest === digest) continue;
    changes.set(`${setting} ${path}`, {
      kind: "tls_file",
      name: setting,
      before: path,
      after: `${path} (changed)`,
      effect: settingEffect(setting),
    });
  }
  return [...changes.values()];
}

/** How two entries are compared and shown. */
interface Comparison<T> {
  readonly kind: ReloadChange["kind"];
  isSameSecret(a: T, b: T): boolean;
  /** One line; `shown` stands in for the secret, if there is one. */
  describe(entry: T, shown: string): string;
  effect(name: string): ReloadChange["effect"];
}

function differences<T>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  comparison: Comparison<T>,
): ReloadChange[] {
  const changes: ReloadChange[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [old, now] = [before.get(name), after.get(name)];
    // Where one file alone was read again, the rest is what it was: nothing of it is described.
    if (old === now) continue;
    const isSecretNew = old !== undefined && now !== undefined &&
      !comparison.isSameSecret(old, now);
    const shown = {
      before: old && comparison.describe(old, HIDDEN),
      after: now && comparison.describe(now, isSecretNew ? HIDDEN_CHANGE : HIDDEN),
    };
    if (shown.before === shown.after) continue;
    changes.push({ kind: comparison.kind, name, ...shown, effect: comparison.effect(name) });
  }
  // Not all names: of many, few have changed.
  return changes.sort((a, b) => a.name < b.name ? -1 : 1);
}

function describeDatabase(database: DatabaseConfig, secret: string): string {
  return describe(OF_DATABASES, {
    ...database,
    host: database.hosts,
    password: database.password && secret,
    clientEncoding: database.startupParameters.get("client_encoding"),
    datestyle: database.startupParameters.get("datestyle"),
    timezone: database.startupParameters.get("timezone"),
    applicationName: database.startupParameters.get("application_name"),
  });
}

function describeUser(user: UserConfig, secret: string): string {
  return describe(OF_USERS, { ...user, password: user.password && secret });
}

function described(table: readonly SettingSpec[]): readonly Described[] {
  return table.map((spec) => ({ spec, property: propertyOf(spec) }));
}

/** `key=value` for all that is set and not as by default. */
function describe(table: readonly Described[], values: object): string {
  const byProperty = new Map<string, SettingValue>(Object.entries(values));
  const parts: string[] = [];
  for (const { property, spec } of table) {
    const value = formatValue(spec, byProperty.get(property));
    if (value !== undefined && value !== (spec.default ?? "")) {
      parts.push(`${spec.name}=${spec.kind === "secret" ? value : quoted(value)}`);
    }
  }
  return parts.join(" ");
}

/** As in a connection string, so that it stays one line of pairs. */
function quoted(value: string): string {
  if (!/[\s'\\]/.test(value)) return value;
  return `'${value.replace(/[\\']/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}'`;
}
