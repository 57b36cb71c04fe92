/** What `sluice check` says about a good configuration: what it would do, without doing it. */

import type { Config, DatabaseConfig } from "./config.ts";
import { isSocketDirectory } from "./effective_settings.ts";
import type { Settings } from "./settings.ts";

/** Lines for the operator; `engine` is what would move the bytes. No secret is among them. */
export function checkReport(config: Config, engine: string): string[] {
  const { settings } = config;
  return [
    `${config.path}: the configuration is good`,
    ...(config.files.length > 1 ? [`files read: ${config.files.join(", ")}`] : []),
    ...listeners(settings).map((address) => `would listen on ${address}`),
    ...[...config.databases.values()].map((database) => describeDatabase(database, settings)),
    ...(config.databases.size === 0 ? ["no databases: clients could only use the console"] : []),
    describeUsers(config),
    `I/O engine: ${engine}`,
    ...config.warnings.map((warning) => `warning: ${warning}`),
  ];
}

function listeners(settings: Settings): string[] {
  const port = settings.listenPort;
  const shownPort = port === 0 ? "a free port" : String(port);
  const addresses = settings.listenAddr.map((address) => {
    if (address === "*") return `port ${shownPort} of all addresses`;
    return port === 0 ? `${shownPort} of ${address}` : `${bracketed(address)}:${port}`;
  });
  const directory = settings.unixSocketDir;
  if (directory === "") return addresses;
  return [...addresses, `unix socket ${directory}/.s.PGSQL.${port}`];
}

function describeDatabase(database: DatabaseConfig, settings: Settings): string {
  const name = database.name === "*" ? "any other database" : `database ${quoted(database.name)}`;
  const hosts = database.hosts.length === 0
    ? `port ${database.port} of PostgreSQL's unix socket`
    : database.hosts.map((host) => describeHost(host, database.port)).join(", ");
  const dbname = database.dbname ?? (database.name === "*" ? undefined : database.name);
  const what = dbname === undefined ? "the database asked for" : `database ${quoted(dbname)}`;
  const user = database.user === undefined ? "the client's user" : `user ${quoted(database.user)}`;
  const mode = database.poolMode ?? settings.poolMode;
  const size = database.poolSize ?? settings.defaultPoolSize;
  return `${name} would connect to ${hosts}, ${what}, as ${user}; ` +
    `${mode} pooling, ${size} servers a pool`;
}

function describeHost(host: string, port: number): string {
  const isSocket = isSocketDirectory(host);
  return isSocket ? `unix socket ${host}/.s.PGSQL.${port}` : `${bracketed(host)}:${port}`;
}

function describeUsers(config: Config): string {
  const count = [...config.users.values()].filter((user) => user.password !== undefined).length;
  const file = config.settings.authFile;
  const fromFile = file === undefined ? "" : `, and those in ${file}`;
  return `users with a password: ${count} here${fromFile}; auth_type ${config.settings.authType}`;
}

/** An IPv6 address needs brackets before a port. */
function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function quoted(name: string): string {
  return JSON.stringify(name);
}
