/**
 * SHOW DATABASES: those of the configuration, those of names that only `*` covers, if there is
 * anything to show of them, and the console. The entry `*` is not a database and not listed.
 */

import {
  databaseConfigOf,
  maxDbClientConnectionsOf,
  maxDbConnectionsOf,
} from "../config/effective_settings.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { DatabaseConfig } from "../config/config.ts";
import type { ConsoleContext } from "./console_context.ts";
import { byName, loadBalanceOf, sum } from "./listing.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { consoleClientCount } from "./shown_client.ts";

/** PgBouncer's figure, as the minimum and the reserve of 0; nothing is limited by it. */
const CONSOLE_POOL_SIZE = 2;

interface DatabaseRow {
  readonly name: string;
  readonly host: string | undefined;
  readonly port: number;
  readonly serverDatabase: string;
  readonly forcedUser: string | undefined;
  readonly poolSize: number;
  readonly minPoolSize: number;
  readonly reservePoolSize: number;
  readonly serverLifetimeMs: number;
  readonly poolMode: string | undefined;
  readonly loadBalance: string | undefined;
  readonly maxServerCount: number;
  readonly serverCount: number;
  readonly maxClientCount: number;
  readonly clientCount: number;
  readonly isPaused: boolean;
  readonly isDisabled: boolean;
}

const COLUMNS: readonly ShowColumn<DatabaseRow>[] = [
  text("name", ({ name }) => name),
  text("host", ({ host }) => host),
  int4("port", ({ port }) => port),
  text("database", ({ serverDatabase }) => serverDatabase),
  text("force_user", ({ forcedUser }) => forcedUser),
  int4("pool_size", ({ poolSize }) => poolSize),
  int4("min_pool_size", ({ minPoolSize }) => minPoolSize),
  int4("reserve_pool_size", ({ reservePoolSize }) => reservePoolSize),
  int4("server_lifetime", ({ serverLifetimeMs }) => Math.floor(serverLifetimeMs / 1000)),
  text("pool_mode", ({ poolMode }) => poolMode),
  text("load_balance_hosts", ({ loadBalance }) => loadBalance),
  int4("max_connections", ({ maxServerCount }) => maxServerCount),
  int4("current_connections", ({ serverCount }) => serverCount),
  int4("max_client_connections", ({ maxClientCount }) => maxClientCount),
  int4("current_client_connections", ({ clientCount }) => clientCount),
  int4("paused", ({ isPaused }) => isPaused ? 1 : 0),
  int4("disabled", ({ isDisabled }) => isDisabled ? 1 : 0),
];

/** Answers SHOW DATABASES. */
export function showDatabases(context: ConsoleContext): ShownTable {
  const config = context.config();
  const rows = [consoleRow(context)];
  for (const name of shownDatabaseNames(context)) {
    // Of a database taken out of the configuration, the last pool may still be on its way out.
    const database = databaseConfigOf(config, name);
    if (database === undefined) continue;
    rows.push(databaseRow(name, { database, context }));
  }
  return table(COLUMNS, rows.sort((a, b) => byName(a.name, b.name)));
}

/** All but the console's own. */
export function shownDatabaseNames(context: ConsoleContext): Set<string> {
  const names = new Set(context.config().databases.keys());
  for (const { database } of context.pools.all()) names.add(database);
  for (const database of context.operations.heldBack()) names.add(database);
  names.delete("*");
  names.delete(CONSOLE_DATABASE);
  return names;
}

function databaseRow(
  name: string,
  { context, database }: { database: DatabaseConfig; context: ConsoleContext },
): DatabaseRow {
  const { operations } = context;
  const config = context.config();
  const { settings } = config;
  const pools = context.pools.ofDatabase(name);
  return {
    name,
    host: database.hosts.length === 0 ? undefined : database.hosts.join(","),
    port: database.port,
    serverDatabase: database.dbname ?? name,
    forcedUser: database.user,
    poolSize: database.poolSize ?? settings.defaultPoolSize,
    minPoolSize: database.minPoolSize ?? settings.minPoolSize,
    reservePoolSize: database.reservePoolSize ?? settings.reservePoolSize,
    serverLifetimeMs: database.serverLifetimeMs ?? settings.serverLifetimeMs,
    poolMode: database.poolMode,
    loadBalance: loadBalanceOf(database),
    maxServerCount: maxDbConnectionsOf(config, name),
    serverCount: sum(pools, ({ servers }) => servers.count),
    maxClientCount: maxDbClientConnectionsOf(config, name),
    clientCount: context.clients.countOfDatabase(name),
    isPaused: operations.isPaused(name),
    isDisabled: operations.isDisabled(name),
  };
}

function consoleRow(context: ConsoleContext): DatabaseRow {
  const { settings } = context.config();
  return {
    name: CONSOLE_DATABASE,
    host: undefined,
    port: settings.listenPort,
    serverDatabase: CONSOLE_DATABASE,
    forcedUser: CONSOLE_DATABASE,
    poolSize: CONSOLE_POOL_SIZE,
    minPoolSize: 0,
    reservePoolSize: 0,
    serverLifetimeMs: settings.serverLifetimeMs,
    poolMode: "statement",
    loadBalance: undefined,
    maxServerCount: settings.maxDbConnections,
    serverCount: 0,
    maxClientCount: settings.maxDbClientConnections,
    clientCount: consoleClientCount(context.clients.all()),
    isPaused: false,
    isDisabled: false,
  };
}
