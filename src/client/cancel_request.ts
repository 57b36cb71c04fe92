/**
 * Cancel requests: finds what a client's key stands for and cancels it, or passes the request on to
 * the process that has the client.
 *
 * A request must reach the server of that client and nobody else: it is sent only while the client
 * still has the server, and the server is kept from other clients until the request has ended.
 */

import { errorText } from "../base/error_text.ts";
import type { Logger } from "../log/logger.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { openCancelConnection } from "../server/cancel_connection.ts";
import type { Recovery } from "../server/recovery.ts";
import { serverLabel } from "../server/server_log.ts";
import type { ServerSession } from "../server/server_session.ts";
import { type CancelMeans, deliverCancel } from "./cancel_delivery.ts";
import { type CancelCounts, CancelPlaces } from "./cancel_places.ts";
import type { ClientRegistry } from "./client_registry.ts";
import type { ClientSession } from "./client_session.ts";
import type { PeerDesk } from "./peer_desk.ts";
import type { Relay, ServerPool } from "./relay.ts";

/** What cancelling needs. */
export interface CancelDeskOptions extends CancelMeans {
  readonly clients: ClientRegistry;
  /** Knows the other processes. */
  readonly peers: PeerDesk;
  readonly log: Logger;
}

/** A cancel request that has found the pool, or the other process, it is meant for. */
export interface PendingCancel {
  /** Those of the pool; `peer_2` and no user for one that is passed on. */
  readonly database: string;
  readonly user: string;
  /** Whether it has no place yet. */
  readonly isWaiting: boolean;
}

/** Carries out cancel requests. */
export class CancelDesk {
  readonly #options: CancelDeskOptions;
  /** A pool has as many cancel connections as servers. */
  readonly #places: CancelPlaces<ServerPool>;
  readonly #byRequester = new Map<ClientSession, PendingCancel>();
  readonly #ended = new AbortController();

  constructor(options: CancelDeskOptions) {
    this.#options = options;
    this.#places = new CancelPlaces(options);
  }

  /** For SHOW POOLS. */
  countsOf(pool: ServerPool): CancelCounts {
    return this.#places.countsOf(pool);
  }

  /** For SHOW CLIENTS: the request of this connection, if it is under way. */
  pendingOf(requester: ClientSession): PendingCancel | undefined {
    return this.#byRequester.get(requester);
  }

  /** Gives up all that is under way, and whatever is still asked for. */
  end(): void {
    this.#ended.abort();
    this.#places.end();
    this.#options.peers.end();
  }

  /** Cancels what the client with this key is waiting for; resolves when that has been tried. */
  async cancel(key: Uint8Array, requester: ClientSession): Promise<void> {
    const { clients, peers } = this.#options;
    const client = clients.findByCancelKey(key);
    if (client === undefined) {
      const owner = peers.ownerOf(key);
      if (owner !== undefined) return await this.#passOn(key, { owner, requester });
      return requester.logEnd("failed cancel request (unknown key)");
    }
    const { pool, relay } = client;
    if (relay === undefined || pool === undefined) {
      const wasWaiting = client.cancelService();
      return requester.logEnd(
        wasWaiting ? "canceled a command of the console" : "cancel request for console client",
      );
    }
    if (relay.cancelWait()) return requester.logEnd("canceled a waiting client");
    if (!relay.isCancelable) return requester.logEnd("cancel request for idle client");
    try {
      await this.#forwardInTurn(relay, { pool, requester });
    } finally {
      this.#byRequester.delete(requester);
    }
  }

  async #passOn(
    key: Uint8Array,
    { owner, requester }: { owner: number; requester: ClientSession },
  ): Promise<void> {
    const noteStage = (isWaiting: boolean) =>
      this.#byRequester.set(requester, { database: `peer_${owner}`, user: "", isWaiting });
    noteStage(true);
    try {
      requester.logEnd(await this.#options.peers.forward(key, () => noteStage(false)));
    } finally {
      this.#byRequester.delete(requester);
    }
  }

  async #forwardInTurn(
    relay: Relay,
    { pool, requester }: { pool: ServerPool; requester: ClientSession },
  ): Promise<void> {
    const { linkCount } = relay;
    const { database, user } = pool;
    this.#byRequester.set(requester, { database, user, isWaiting: true });
    const hasPlace = await this.#takePlace(pool);
    if (!hasPlace) return requester.logEnd("cancel_wait_timeout");
    this.#byRequester.set(requester, { database, user, isWaiting: false });
    try {
      await this.#forward(relay, { linkCount, requester });
    } finally {
      this.#places.give(pool);
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
      this.#places.give(pool);
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
    if (server === undefined) return requester.logEnd(TOO_LATE);
    let stream;
    try {
      stream = await this.#connect(server);
    } catch (error) {
      return requester.logEnd(`failed cancel request: ${errorText(error)}`);
    }
    try {
      const isSameLink = relay.server === server && relay.linkCount === linkCount;
      if (!isSameLink || !relay.isCancelable || server.cancelKey === undefined) {
        return requester.logEnd(TOO_LATE);
      }
      await this.#send(server, { stream, key: server.cancelKey });
      requester.logEnd("successfully sent cancel request");
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
    server.beginCancel();
    try {
      await deliverCancel(stream, {
        clock,
        key,
        limitMs: waitTimeoutMs(),
        signal: this.#ended.signal,
        // The request may still arrive: it must not meet anybody else there.
        onGivenUp: () => server.doom("cancel request was not answered"),
      });
    } finally {
      server.endCancel();
    }
  }

  #takePlace(pool: ServerPool): Promise<boolean> {
    return this.#places.take(pool, pool.rules.poolSize);
  }
}

const TOO_LATE = "not sending cancel request for client that is now idle";
