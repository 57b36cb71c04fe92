/** What the console sees of its pooler, and what it may make it do. Only types. */

import type { Clock } from "../base/clock.ts";
import type { CancelDesk } from "../client/cancel_request.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { PeerDesk } from "../client/peer_desk.ts";
import type { ServerPool } from "../client/relay.ts";
import type { Config } from "../config/config.ts";
import type { ReloadChange } from "../maintenance/reload_plan.ts";
import type { DnsCache } from "../net/dns_cache.ts";
import type { ConnectionCaps } from "../pool/connection_caps.ts";
import type { PoolRegistry } from "../pool/pool_registry.ts";
import type { LoopLag } from "../stats/loop_lag.ts";
import type { StatsBook } from "../stats/stats_book.ts";

/**
 * How a pooler ends: at once, when all servers are free, when all clients have left, or client by
 * client as their transactions end.
 */
export type ShutdownMode =
  | "immediate"
  | "wait_for_servers"
  | "wait_for_clients"
  | "wait_for_transactions";

/** What a user of the console may do: everything, or only look. */
export type ConsoleRights = "admin" | "stats";

/**
 * What operators do with databases, servers and clients. A database is undefined for all of them.
 * Each command throws (or rejects with) a `PgError` of severity ERROR if it is refused, in
 * PgBouncer's words.
 */
export interface Operations {
  /** Whether all is paused or suspended, for SHOW STATE. */
  readonly mode: "active" | "paused" | "suspended";
  /** Whether the database is paused by itself. */
  isPaused(database: string): boolean;
  isDisabled(database: string): boolean;
  /** Names of all databases that are paused by themselves or disabled. */
  heldBack(): ReadonlySet<string>;
  /**
   * Gives out no servers any more; resolves when those that were in use are free and closed. If
   * `signal` comes before that, what was paused is resumed and the promise rejects.
   */
  pause(database: string | undefined, signal: AbortSignal): Promise<void>;
  /** Undoes PAUSE, KILL or SUSPEND. */
  resume(database: string | undefined): void;
  /** Lets nobody log in to the database. */
  disable(database: string): void;
  enable(database: string): void;
  /** Closes each server once it is free. */
  reconnect(database: string | undefined): void;
  /** Pauses, and drops clients and servers at once. */
  kill(database: string | undefined): Promise<void>;
  /** Drops one client, by the id that SHOW CLIENTS shows, and its server. */
  killClient(id: number): void;
  /** Freezes all connections between two messages; resolves when all are. */
  suspend(signal: AbortSignal): Promise<void>;
  /** Resolves when no server is left that is to be closed once it is free. */
  waitClose(database: string | undefined, signal: AbortSignal): Promise<void>;
  /** Changes one setting until the next reload. */
  set(key: string, value: string): void;
}

/** What the process uses, in bytes, as `Deno.memoryUsage()` tells. */
export type MemoryUse = Readonly<
  Record<"rss" | "heapTotal" | "heapUsed" | "external", number>
>;

/** A certificate that is shown to others. */
export interface ShownCertificate {
  /** The setting that names it. */
  readonly setting: string;
  readonly path: string;
  /** Wall clock: when it ceases to be valid. */
  readonly notAfterMs: number;
}

/** One pooler, as its console sees it. */
export interface ConsoleContext {
  readonly clients: ClientRegistry;
  readonly pools: PoolRegistry<ServerPool>;
  /** Limits over several pools. */
  readonly caps: ConnectionCaps;
  readonly names: DnsCache;
  readonly stats: StatsBook;
  readonly loopLag: LoopLag;
  readonly cancels: CancelDesk;
  readonly peers: PeerDesk;
  readonly clock: Clock;
  /** Name of the I/O engine in use. */
  readonly engine: string;
  readonly tls: {
    /** What speaks it. */
    readonly library: string;
    certificates(): readonly ShownCertificate[];
  };
  memory(): MemoryUse;
  /** The configuration in force. */
  config(): Config;
  /** All users that have a secret. */
  userNames(): Iterable<string>;
  /** Reads the configuration anew. Rejects when it is bad, of which the log tells. */
  reload(): Promise<void>;
  /** What a reload would change; changes nothing. Rejects as `reload()` does. */
  planReload(): Promise<readonly ReloadChange[]>;
  readonly operations: Operations;
  /**
   * Begins to end the pooler. `limitMs` is how long clients may go on with
   * `wait_for_transactions`; undefined: as long as they like.
   */
  shutdown(mode: ShutdownMode, limitMs?: number): void;
}
