/** How a pooler ends: who is waited for, who is told, and when it is over. */

import type { ShutdownMode } from "../admin/console_context.ts";
import type { Clock } from "../base/clock.ts";
import { Deferred } from "../base/deferred.ts";
import type { InTurns } from "../base/in_turns.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import type { ClientSession } from "../client/client_session.ts";
import type { Logger } from "../log/logger.ts";
import type { ListenAddress, Listener } from "../net/network.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";
import type { ServerPools } from "./server_pools.ts";
import { streamCount } from "./stream_count.ts";

const SHUTDOWN_WORDS: Readonly<Record<ShutdownMode, string>> = {
  immediate: "at once",
  wait_for_servers: "when all servers are released",
  wait_for_clients: "when all clients have left",
  wait_for_transactions: "as transactions end",
};

/** Each leaves less to those who are served than the one before. */
const STRICTNESS: readonly ShutdownMode[] = [
  "wait_for_clients",
  "wait_for_transactions",
  "wait_for_servers",
  "immediate",
];

/**
 * Time in which a drain leaves a client alone that has come before it began, where another process
 * takes those who come after: one that connects for a transaction and leaves is to notice nothing.
 */
const SHORT_VISIT_MS = 5_000;

/**
 * Idle for so long after a transaction, it is none of those. Longer than the second for which a
 * newcomer who was turned away waits before it knocks again: an application that connects in the same
 * thread is held up by that between two of its questions.
 */
const SHORT_VISIT_IDLE_MS = 1_500;

/** What ending needs. */
export interface ShutdownOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly live: LiveConfig;
  readonly clients: ClientRegistry;
  readonly pools: ServerPools;
  /** In which much is done to many. */
  readonly turns: InTurns;
  /** Those that are open. */
  readonly listeners: () => readonly Listener[];
  /** Told once, at the first moment of the end. */
  readonly onFirst: () => void;
  /** Told each time that a mode has been chosen. */
  readonly onBegun: () => void;
  /** Ends all that is left, once the listeners accept nobody any more; called once. */
  readonly endEverything: () => Promise<void>;
}

/** The end of one pooler. */
export class Shutdown {
  readonly #options: ShutdownOptions;
  /** Those that only take in who has connected already. */
  readonly #draining = new Set<Listener>();
  #mode: ShutdownMode | undefined;
  /** When clients are no longer waited for. */
  #drainLimitMs = Infinity;
  #isStopping = false;
  readonly #stopped = new Deferred<void>();

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  /** Resolves when nothing of the pooler is left. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  get hasBegun(): boolean {
    return this.#mode !== undefined;
  }

  /** Whether clients are served until they leave, or as far as their transactions go. */
  get isWaitingForClients(): boolean {
    return this.#mode === "wait_for_clients" || this.#mode === "wait_for_transactions";
  }

  /** Whether nobody is waited for any more. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Whether who comes by a listener now has come when the pooler was ending already. */
  isLate(listener: Listener): boolean {
    return this.hasBegun && !this.#draining.has(listener);
  }

  /** Whether a client that wants to log in has to be refused. */
  isTurnedAway(client: ClientSession): boolean {
    return this.hasBegun && !this.#isWelcome(client);
  }

  /** A listener has closed. */
  noteClosed(listener: Listener): void {
    this.#draining.delete(listener);
    this.advance();
  }

  /**
   * Begins to end; the next time it only gets stricter. `limitMs` is how long transactions may go on
   * with `wait_for_transactions`; undefined: as long as they take.
   */
  begin(mode: ShutdownMode, limitMs?: number): void {
    const { clock, listeners, log, onBegun, onFirst } = this.#options;
    if (this.#mode === undefined) onFirst();
    else if (STRICTNESS.indexOf(mode) < STRICTNESS.indexOf(this.#mode)) return;
    this.#mode = mode;
    if (limitMs !== undefined) this.#drainLimitMs = clock.nowMs() + limitMs;
    for (const listener of listeners()) {
      if (this.#mode === "immediate") listener.close();
      else if (!this.#isKept(listener)) this.#drainListener(listener);
    }
    log.log(`shutting down: ${SHUTDOWN_WORDS[this.#mode]}`);
    onBegun();
    this.advance();
  }

  /** Whether a listener stays while the pooler ends. */
  #isKept(listener: Listener): boolean {
    const { address } = listener;
    // The console stays in reach as long as somebody is waited for.
    if (address.kind === "unix") return listener.isInPlace();
    // Newcomers go to another process; cancel requests of peers still have to come here.
    if (this.#options.live.settings.soReuseport) return this.#isForPeers(address);
    // They are told, where the others are not told anything before they ask.
    return this.#mode === "wait_for_transactions";
  }

  /** Whether an address is the one by which peers are told to reach this process. */
  #isForPeers(address: Extract<ListenAddress, { kind: "tcp" }>): boolean {
    const { peers, settings } = this.#options.live.config;
    const own = peers.get(settings.peerId);
    return own?.host === address.host && own.port === address.port;
  }

  #drainListener(listener: Listener): void {
    this.#draining.add(listener);
    listener.drain();
  }

  /** Does what the mode of shutdown allows by now. */
  advance(): void {
    // Each listener that closes comes by here.
    if (this.#isStopping) return;
    switch (this.#mode) {
      case undefined:
        return;
      case "wait_for_transactions":
        this.#drain();
        if (this.#draining.size + this.#servedCount() > 0 && !this.#isDrainOver()) return;
        break;
      case "wait_for_clients":
        if (this.#draining.size + this.#servedCount() > 0) return;
        break;
      case "wait_for_servers":
        this.#endWaiting();
        if (this.#draining.size + this.#activeCount() > 0) return;
        break;
      case "immediate":
    }
    this.#stop();
  }

  /** Lets clients go on to the end of their transactions, and no further. */
  #drain(): void {
    const { clients, turns } = this.#options;
    const farewell = new PgError(SQLSTATE.adminShutdown, "pooler is shutting down");
    const refusal = new PgError(SQLSTATE.cannotConnectNow, farewell.message);
    turns.each(
      [...clients.all()].filter(({ isOpen, pool }) => isOpen && pool !== undefined),
      (client) => {
        if (this.#isOnShortVisit(client)) return;
        if (client.relay !== undefined) client.relay.leave(farewell);
        else client.end(refusal.message, refusal);
      },
    );
  }

  /** Whether a client may be one that connects for a transaction and leaves. */
  #isOnShortVisit(client: ClientSession): boolean {
    const nowMs = this.#options.clock.nowMs();
    if (!this.#isWelcome(client) || nowMs - client.connectedAtMs >= SHORT_VISIT_MS) return false;
    const { relay } = client;
    if (relay === undefined || relay.linkCount === 0) return true;
    return relay.queryStartMs !== undefined || nowMs - relay.lastReadyMs < SHORT_VISIT_IDLE_MS;
  }

  /**
   * Whether a client may come in though the pooler is ending: it was there before, clients are waited
   * for, and another process takes those who come now, so that nobody is to notice anything.
   */
  #isWelcome({ isLate }: ClientSession): boolean {
    return this.isWaitingForClients && this.#options.live.settings.soReuseport && !isLate;
  }

  #isDrainOver(): boolean {
    if (this.#options.clock.nowMs() < this.#drainLimitMs) return false;
    this.#options.log.warning(`clients that have not ended in time: ${this.#servedCount()}`);
    return true;
  }

  /**
   * Clients that are being served by a pool or log in to one; those of the console do not count, nor
   * do streams, which would be waited for for ever.
   */
  #servedCount(): number {
    let count = 0;
    for (const client of this.#options.clients.all()) {
      const { isOpen, pool, relay } = client;
      if (!isOpen || relay?.server?.isStreaming === true) continue;
      if (pool !== undefined || this.#isComingIn(client)) count += 1;
    }
    return count;
  }

  /** Whether a client that is waited for has not got as far as to have a pool. */
  #isComingIn(client: ClientSession): boolean {
    const { kind } = client.state;
    const isBefore = kind === "startup" || kind === "login";
    if (!isBefore || client.database === CONSOLE_DATABASE) return false;
    return this.#mode === "wait_for_clients"
      ? this.#isWelcome(client)
      : this.#isOnShortVisit(client);
  }

  #activeCount(): number {
    let count = 0;
    for (const pool of this.#options.pools.registry.all()) {
      const { active, beingCanceled, recovering, tested } = pool.servers;
      count += active.size + tested.size + beingCanceled.size + recovering.size -
        streamCount(pool);
    }
    return count;
  }

  /** Links go on to their end, and no new ones begin. */
  #endWaiting(): void {
    const error = new PgError(SQLSTATE.adminShutdown, "server shutting down");
    for (const pool of this.#options.pools.registry.all()) pool.stopServing(error);
  }

  #stop(): void {
    this.#isStopping = true;
    for (const listener of this.#options.listeners()) {
      if (this.#mode === "immediate") listener.close();
      else listener.drain();
    }
    this.#options.endEverything().then(this.#stopped.resolve, this.#stopped.reject);
  }
}
