/**
 * Cancel requests: finds what a client's key stands for and cancels it.
 *
 * A request must reach the server of that client and nobody else: it is sent only while the client
 * still has the server, and the server is kept from other clients until the request has ended.
 */

import { errorText } from "../base/error_text.ts";
import { Deferred } from "../base/deferred.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../log/logger.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { Network, StreamOptions } from "../net/network.ts";
import { openCancelConnection } from "../server/cancel_connection.ts";
import type { Recovery } from "../server/recovery.ts";
import { serverLabel } from "../server/server_log.ts";
import type { ServerSession } from "../server/server_session.ts";
import { cancelRequest } from "../wire/startup_packet.ts";
import type { ClientRegistry } from "./client_registry.ts";
import { clientLabel, type ClientSession } from "./client_session.ts";
import type { Relay, ServerPool } from "./relay.ts";

/** What cancelling needs. */
export interface CancelDeskOptions {
  readonly clients: ClientRegistry;
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Logger;
  readonly streamOptions: () => StreamOptions;
  /** Longest wait for a place, and then for the server's answer (`cancel_wait_timeout`); 0: none. */
  readonly waitTimeoutMs: () => number;
  readonly connectTimeoutMs: () => number;
}

/** The cancel connections of one pool. */
export interface CancelCounts {
  readonly activeCount: number;
  readonly waitingCount: number;
}

/** A cancel request that has found the pool it is meant for. */
export interface PendingCancel {
  readonly pool: ServerPool;
  /** Whether it has no place yet. */
  readonly isWaiting: boolean;
}

interface PoolCancels {
  activeCount: number;
  readonly waiting: Set<Deferred<boolean>>;
}

const NO_CANCELS: CancelCounts = { activeCount: 0, waitingCount: 0 };

/** Carries out cancel requests. */
export class CancelDesk {
  readonly #options: CancelDeskOptions;
  readonly #byPool = new Map<ServerPool, PoolCancels>();
  readonly #byRequester = new Map<ClientSession, PendingCancel>();
  readonly #ended = new AbortController();

  constructor(options: CancelDeskOptions) {
    this.#options = options;
  }

  /** For SHOW POOLS. */
  countsOf(pool: ServerPool): CancelCounts {
    const cancels = this.#byPool.get(pool);
    if (cancels === undefined) return NO_CANCELS;
    return { activeCount: cancels.activeCount, waitingCount: cancels.waiting.size };
  }

  /** For SHOW CLIENTS: the request of this connection, if it is under way. */
  pendingOf(requester: ClientSession): PendingCancel | undefined {
    return this.#byRequester.get(requester);
  }

  /** Gives up all that is under way, and whatever is still asked for. */
  end(): void {
    this.#ended.abort();
    for (const { waiting } of this.#byPool.values()) {
      for (const turn of waiting) turn.resolve(false);
      waiting.clear();
    }
  }

  /** Cancels what the client with this key is waiting for; resolves when that has been tried. */
  async cancel(key: Uint8Array, requester: ClientSession): Promise<void> {
    const { clients } = this.#options;
    const client = clients.findByCancelKey(key);
    if (client === undefined) return this.#note(requester, "failed cancel request (unknown key)");
    const { pool, relay } = client;
    if (relay === undefined || pool === undefined) {
      const wasWaiting = client.cancelService();
      return this.#note(
        requester,
        wasWaiting ? "canceled a command of the console" : "cancel request for console client",
      );
    }
    if (relay.cancelWait()) return this.#note(requester, "canceled a waiting client");
    if (!relay.isCancelable) return this.#note(requester, "cancel request for idle client");
    try {
      await this.#forwardInTurn(relay, { pool, requester });
    } finally {
      this.#byRequester.delete(requester);
    }
  }

  async #forwardInTurn(
    relay: Relay,
    { pool, requester }: { pool: ServerPool; requester: ClientSession },
  ): Promise<void> {
    const { linkCount } = relay;
    this.#byRequester.set(requester, { pool, isWaiting: true });
    const hasPlace = await this.#takePlace(pool);
    if (!hasPlace) return this.#note(requester, "cancel_wait_timeout");
    this.#byRequester.set(requester, { pool, isWaiting: false });
    try {
      await this.#forward(relay, { linkCount, requester });
    } finally {
      this.#givePlace(pool);
    }
  }

  /**
   * Cancels what a backend is running whose server has lost its client: it has been closed here, so
   * that nobody gets it any more, or is recovering, and kept until the request has ended.
   */
  async cancelAbandoned(server: ServerSession, pool: ServerPool): Promise<void> {
    const { cancelKey, recovery } = server;
    // Who held it for the server may be gone already.
    using _hold = server.tls?.hold();
    if (cancelKey === undefined || !await this.#takePlace(pool)) return;
    try {
      await this.#sendAbandoned(server, { key: cancelKey, recovery });
    } catch (error) {
      const { log } = this.#options;
      log.warning(`${serverLabel(server)} its query was not canceled: ${errorText(error)}`);
    } finally {
      this.#givePlace(pool);
    }
  }

  async #sendAbandoned(
    server: ServerSession,
    { key, recovery }: { key: Uint8Array; recovery: Recovery | undefined },
  ): Promise<void> {
    const stream = await this.#connect(server);
    try {
      // It may have come to its end by itself, and the server may be another client's by now.
      if (recovery?.isDraining === false) return;
      await this.#send(server, { stream, key });
    } finally {
      stream.close();
    }
  }

  /** Sends the request if the link it was meant for still stands when there is a connection. */
  async #forward(
    relay: Relay,
    { linkCount, requester }: { linkCount: number; requester: ClientSession },
  ): Promise<void> {
    const { server } = relay;
    if (server === undefined) return this.#note(requester, TOO_LATE);
    let stream;
    try {
      stream = await this.#connect(server);
    } catch (error) {
      return this.#note(requester, `failed cancel request: ${errorText(error)}`);
    }
    try {
      const isSameLink = relay.server === server && relay.linkCount === linkCount;
      if (!isSameLink || !relay.isCancelable || server.cancelKey === undefined) {
        return this.#note(requester, TOO_LATE);
      }
      await this.#send(server, { stream, key: server.cancelKey });
      this.#note(requester, "successfully sent cancel request");
    } finally {
      stream.close();
    }
  }

  #connect(server: ServerSession): Promise<ByteStream> {
    const { clock, connectTimeoutMs, network, streamOptions } = this.#options;
    return openCancelConnection(server, {
      clock,
      network,
      streamOptions: streamOptions(),
      timeoutMs: connectTimeoutMs(),
      signal: this.#ended.signal,
    });
  }

  /** PostgreSQL closes the connection when the signal has been sent: only then is it over. */
  async #send(
    server: ServerSession,
    { stream, key }: { stream: ByteStream; key: Uint8Array },
  ): Promise<void> {
    const { clock, waitTimeoutMs } = this.#options;
    const limitMs = waitTimeoutMs();
    const giveUp = () => {
      // The request may still arrive: it must not meet anybody else there.
      server.doom("cancel request was not answered");
      stream.close();
    };
    const timer = limitMs > 0 ? clock.startTimer(limitMs, giveUp) : undefined;
    this.#ended.signal.addEventListener("abort", giveUp);
    server.beginCancel();
    try {
      const message = cancelRequest(key);
      await stream.write(message, 0, message.length);
      await stream.pump(() => {});
    } finally {
      timer?.cancel();
      this.#ended.signal.removeEventListener("abort", giveUp);
      server.endCancel();
    }
  }

  /** A pool has as many cancel connections as servers; more wait. Returns false after too long. */
  async #takePlace(pool: ServerPool): Promise<boolean> {
    if (this.#ended.signal.aborted) return false;
    const cancels = this.#byPool.get(pool) ?? { activeCount: 0, waiting: new Set() };
    this.#byPool.set(pool, cancels);
    if (cancels.activeCount < Math.max(1, pool.rules.poolSize)) {
      cancels.activeCount += 1;
      return true;
    }
    const turn = new Deferred<boolean>();
    cancels.waiting.add(turn);
    const limitMs = this.#options.waitTimeoutMs();
    const expire = () => {
      if (cancels.waiting.delete(turn)) turn.resolve(false);
    };
    const timer = limitMs > 0 ? this.#options.clock.startTimer(limitMs, expire) : undefined;
    const hasTurn = await turn.promise;
    timer?.cancel();
    return hasTurn;
  }

  #givePlace(pool: ServerPool): void {
    const cancels = this.#byPool.get(pool)!;
    const [next] = cancels.waiting;
    if (next === undefined) {
      cancels.activeCount -= 1;
      if (cancels.activeCount === 0) this.#byPool.delete(pool);
    } else {
      cancels.waiting.delete(next);
      next.resolve(true);
    }
  }

  #note(requester: ClientSession, what: string): void {
    this.#options.log.log(`${clientLabel(requester)} closing because: ${what}`);
  }
}

const TOO_LATE = "not sending cancel request for client that is now idle";
