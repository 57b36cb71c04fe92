/**
 * Cancel requests that are for clients of another process: passed on to that, which is found by the
 * number in the key. Plain connections, as between PgBouncers: there is no word for TLS in `[peers]`.
 *
 * A key says how often it may still be passed on, so a circle of peers comes to an end.
 */

import { errorText } from "../base/error_text.ts";
import { addressOf } from "../server/server_hosts.ts";
import { type CancelMeans, deliverCancel } from "./cancel_delivery.ts";
import { cancelKeyPeerId, forwardedCancelKey } from "./cancel_key.ts";
import { CancelPlaces } from "./cancel_places.ts";

/** Another process: where it listens, and how many connections to it there may be at a time. */
export interface Peer {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly poolSize: number;
}

/** What passing on needs. */
export interface PeerDeskOptions extends CancelMeans {
  /** The number of this process; 0 = it has no peers, and nothing is passed on. */
  readonly ownId: () => number;
  /** The others, as configured now. */
  readonly peer: (id: number) => Peer | undefined;
  /** So many requests may wait for a place at one peer: who sends them has proved nothing. */
  readonly maxWaiting: () => number;
}

/** How many requests for one peer are under way. */
export interface PeerCounts {
  /** Those that have not been sent: they wait for a place, or for a connection. */
  readonly waitingCount: number;
  /** Of those, the ones for which a connection is being opened. */
  readonly connectingCount: number;
  readonly sentCount: number;
}

const NO_PEER = "could not find peer to forward request to";

/** Passes requests on. */
export class PeerDesk {
  readonly #options: PeerDeskOptions;
  readonly #places: CancelPlaces<number>;
  /** By peer, one for each that was sent and is not over. */
  readonly #sent: number[] = [];
  readonly #ended = new AbortController();

  constructor(options: PeerDeskOptions) {
    this.#options = options;
    this.#places = new CancelPlaces(options);
  }

  /** For SHOW PEER_POOLS. */
  countsOf(peerId: number): PeerCounts {
    const { activeCount, waitingCount } = this.#places.countsOf(peerId);
    const sentCount = this.#sent.filter((each) => each === peerId).length;
    const connectingCount = activeCount - sentCount;
    return { waitingCount: waitingCount + connectingCount, connectingCount, sentCount };
  }

  /** Gives up all that is under way, and whatever is still to be passed on. */
  end(): void {
    this.#ended.abort();
    this.#places.end();
  }

  /** The process that a key is of, if that is another one. */
  ownerOf(key: Uint8Array): number | undefined {
    const ownId = this.#options.ownId();
    const id = cancelKeyPeerId(key);
    return ownId === 0 || id === ownId ? undefined : id;
  }

  /**
   * Passes a request on to the process that its key is of; `onSent` is called when it has been sent.
   * Resolves when the peer has dealt with it, with what came of it, for the log.
   */
  async forward(key: Uint8Array, onSent: () => void): Promise<string> {
    const forwarded = forwardedCancelKey(key);
    if (forwarded === undefined) {
      return "failed to forward cancel request because its TTL was exhausted";
    }
    const peer = this.#options.peer(cancelKeyPeerId(key));
    if (peer === undefined) return NO_PEER;
    if (this.#places.countsOf(peer.id).waitingCount >= this.#options.maxWaiting()) {
      return `too many cancel requests wait for peer ${peer.id}`;
    }
    if (!await this.#places.take(peer.id, peer.poolSize)) return "cancel_wait_timeout";
    try {
      // A reload may have moved it, or taken it away.
      const current = this.#options.peer(peer.id);
      if (current === undefined) return NO_PEER;
      return await this.#send(current, { key: forwarded, onSent });
    } finally {
      this.#places.give(peer.id);
    }
  }

  async #send(
    peer: Peer,
    { key, onSent }: { key: Uint8Array; onSent: () => void },
  ): Promise<string> {
    const { clock, connectTimeoutMs, network, streamOptions, waitTimeoutMs } = this.#options;
    const { signal } = this.#ended;
    let stream;
    try {
      stream = await network.dial(addressOf(peer.host, peer.port), {
        ...streamOptions(),
        timeoutMs: connectTimeoutMs(),
        signal,
      });
    } catch (error) {
      return `failed to forward cancel request to peer ${peer.id}: ${errorText(error)}`;
    }
    this.#sent.push(peer.id);
    onSent();
    let isAnswered = true;
    try {
      await deliverCancel(stream, {
        clock,
        key,
        limitMs: waitTimeoutMs(),
        signal,
        onGivenUp: () => isAnswered = false,
      });
    } finally {
      this.#sent.splice(this.#sent.indexOf(peer.id), 1);
      stream.close();
    }
    return isAnswered
      ? `forwarded cancel request to peer ${peer.id}`
      : `peer ${peer.id} did not answer a cancel request`;
  }
}
