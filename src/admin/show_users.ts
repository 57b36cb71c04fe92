/** SHOW USERS: everybody who has a secret, an entry of their own, or a connection. */

import { maxUserClientConnectionsOf, maxUserConnectionsOf } from "../config/effective_settings.ts";
import type { ConsoleContext } from "./console_context.ts";
import { byName } from "./listing.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { shownClientState } from "./shown_client.ts";

/** PgBouncer prints sizes that may be missing as text of this width. */
const SIZE_WIDTH = 9;

interface UserRow {
  readonly name: string;
  readonly poolSize: number | undefined;
  readonly reservePoolSize: number | undefined;
  readonly poolMode: string | undefined;
  readonly maxServerCount: number;
  readonly serverCount: number;
  readonly maxClientCount: number;
  readonly clientCount: number;
}

const COLUMNS: readonly ShowColumn<UserRow>[] = [
  text("name", ({ name }) => name),
  text("pool_size", ({ poolSize }) => shownSize(poolSize)),
  text("reserve_pool_size", ({ reservePoolSize }) => shownSize(reservePoolSize)),
  text("pool_mode", ({ poolMode }) => poolMode),
  int4("max_user_connections", ({ maxServerCount }) => maxServerCount),
  int4("current_connections", ({ serverCount }) => serverCount),
  int4("max_user_client_connections", ({ maxClientCount }) => maxClientCount),
  int4("current_client_connections", ({ clientCount }) => clientCount),
];

/** Answers SHOW USERS. */
export function showUsers(context: ConsoleContext): ShownTable {
  const config = context.config();
  const serverCounts = serversByUser(context);
  const clientCounts = clientsByUser(context);
  const rows = [...namesOf(context, [serverCounts, clientCounts])].sort(byName).map(
    (name): UserRow => {
      const user = config.users.get(name);
      return {
        name,
        poolSize: user?.poolSize,
        reservePoolSize: user?.reservePoolSize,
        poolMode: user?.poolMode,
        maxServerCount: maxUserConnectionsOf(config, name),
        serverCount: serverCounts.get(name) ?? 0,
        maxClientCount: maxUserClientConnectionsOf(config, name),
        clientCount: clientCounts.get(name) ?? 0,
      };
    },
  );
  return table(COLUMNS, rows);
}

/** Everybody that SHOW USERS lists. */
export function shownUserNames(context: ConsoleContext): Set<string> {
  return namesOf(context, [serversByUser(context), clientsByUser(context)]);
}

function namesOf(
  context: ConsoleContext,
  connected: readonly ReadonlyMap<string, number>[],
): Set<string> {
  const names = connected.flatMap((counts) => [...counts.keys()]);
  return new Set([...context.userNames(), ...context.config().users.keys(), ...names]);
}

/** By the user that the servers know. */
function serversByUser({ pools }: ConsoleContext): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { servers, user } of pools.all()) {
    if (servers.count > 0) counts.set(user, (counts.get(user) ?? 0) + servers.count);
  }
  return counts;
}

/** By the user that logged in. */
function clientsByUser({ clients }: ConsoleContext): Map<string, number> {
  const counts = new Map<string, number>();
  for (const client of clients.all()) {
    const { user } = client;
    if (user === undefined || shownClientState(client) === undefined) continue;
    counts.set(user, (counts.get(user) ?? 0) + 1);
  }
  return counts;
}

function shownSize(size: number | undefined): string {
  return size === undefined ? "" : String(size).padStart(SIZE_WIDTH);
}
