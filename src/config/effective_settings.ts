/** What holds for one database or one pool, once all places that may say it have been asked. Pure. */

import type { Config, DatabaseConfig, PeerConfig } from "./config.ts";
import { propertyOf } from "./setting_spec.ts";
import { type PoolMode, type ServerTlsSettings, SETTINGS, type Settings } from "./settings.ts";

/** The entry for a database name: its own, or the fall-back. */
export function databaseConfigOf(config: Config, name: string): DatabaseConfig | undefined {
  return config.databases.get(name) ?? config.databases.get("*");
}

/** How the links of a pool are shared: the user's word goes first, then the database's. */
export function poolModeOf(config: Config, pool: { database: string; user: string }): PoolMode {
  return config.users.get(pool.user)?.poolMode ??
    databaseConfigOf(config, pool.database)?.poolMode ?? config.settings.poolMode;
}

/** The properties of settings that are about TLS with servers. */
const SERVER_TLS = SETTINGS
  .filter(({ name }) => name.startsWith("server_tls"))
  .map((spec) => propertyOf(spec) as keyof ServerTlsSettings);

/** How TLS is used with the servers of a database: its own word goes first. */
export function serverTlsOf(config: Config, database: string): ServerTlsSettings {
  const own = databaseConfigOf(config, database);
  const entries = SERVER_TLS.map((name) => [name, own?.[name] ?? config.settings[name]]);
  return Object.fromEntries(entries) as ServerTlsSettings;
}

/** Whether a database has any such setting of its own, or one of binding logins to TLS. */
export function hasOwnServerTls(database: DatabaseConfig): boolean {
  return database.serverChannelBinding !== undefined ||
    SERVER_TLS.some((name) => database[name] !== undefined);
}

/** That of each database with servers that TLS can be used with: not over a unix socket. */
export function allServerTls(config: Config): ServerTlsSettings[] {
  return [...config.databases.values()]
    .filter(({ hosts }) => hosts.some((host) => !isSocketDirectory(host)))
    .map(({ name }) => serverTlsOf(config, name));
}

/** Whether a host is the directory of a unix socket, or an abstract one. */
export function isSocketDirectory(host: string): boolean {
  return host.startsWith("/") || host.startsWith("@");
}

/** Whether logins to the servers of a database are bound to TLS. */
export function channelBindingOf(
  config: Config,
  database: string,
): Settings["serverChannelBinding"] {
  return databaseConfigOf(config, database)?.serverChannelBinding ??
    config.settings.serverChannelBinding;
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

/** Another process of the fleet, with what it leaves to the settings; undefined if there is none. */
export function peerOf(config: Config, id: number): PeerConfig & { poolSize: number } | undefined {
  const peer = config.peers.get(id);
  if (peer === undefined) return undefined;
  return { ...peer, poolSize: peer.poolSize ?? config.settings.defaultPoolSize };
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
