/** What the console sees of its pooler, and what it may make it do. Only types. */

import type { Clock } from "../base/clock.ts";
import type { CancelDesk } from "../client/cancel_request.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ServerPool } from "../client/relay.ts";
import type { Config } from "../config/config.ts";
import type { PoolRegistry } from "../pool/pool_registry.ts";
import type { StatsBook } from "../stats/stats_book.ts";

/** How a pooler ends: at once, when all servers are free, or when all clients have left. */
export type ShutdownMode = "immediate" | "wait_for_servers" | "wait_for_clients";

/** What a user of the console may do: everything, or only look. */
export type ConsoleRights = "admin" | "stats";

/** One pooler, as its console sees it. */
export interface ConsoleContext {
  readonly clients: ClientRegistry;
  readonly pools: PoolRegistry<ServerPool>;
  readonly stats: StatsBook;
  readonly cancels: CancelDesk;
  readonly clock: Clock;
  /** Name of the I/O engine in use. */
  readonly engine: string;
  /** The configuration in force. */
  config(): Config;
  /** All users that have a secret. */
  userNames(): Iterable<string>;
  /** Reads the configuration anew. Rejects when it is bad, of which the log tells. */
  reload(): Promise<void>;
  /** Begins to end the pooler. */
  shutdown(mode: ShutdownMode): void;
}
