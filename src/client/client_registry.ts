/** All clients of one pooler: by number, and by the key with which they may cancel. */

import { assert } from "../base/assert.ts";
import { cancelKeyText } from "./cancel_key.ts";
import type { ClientSession } from "./client_session.ts";

/** Knows every client from its first byte to its last. */
export class ClientRegistry {
  readonly #clients = new Set<ClientSession>();
  readonly #byCancelKey = new Map<string, ClientSession>();
  #lastId = 0;

  /** Sockets, those still logging in and those on their way out included. */
  get count(): number {
    return this.#clients.size;
  }

  /** Whether more than `limit` are open; those on their way out take nobody's place. */
  hasMoreOpenThan(limit: number): boolean {
    // Told by the sockets alone as long as there is room.
    if (this.#clients.size <= limit) return false;
    let openCount = 0;
    for (const client of this.#clients) if (client.isOpen) openCount += 1;
    return openCount > limit;
  }

  /** A number for a new client, or for a server: no two of either kind have the same. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Every client, oldest first. */
  all(): IterableIterator<ClientSession> {
    return this.#clients.values();
  }

  /** Takes a client in. */
  add(client: ClientSession): void {
    this.#clients.add(client);
  }

  /** Lets a client be found by its cancel key. */
  addCancelKey(key: Uint8Array, client: ClientSession): void {
    this.#byCancelKey.set(cancelKeyText(key), client);
  }

  /** The client whose key it is. */
  findByCancelKey(key: Uint8Array): ClientSession | undefined {
    return this.#byCancelKey.get(cancelKeyText(key));
  }

  /** Forgets a client that has gone. */
  remove(client: ClientSession): void {
    const wasThere = this.#clients.delete(client);
    assert(wasThere, "A client is removed once");
    const { cancelKey } = client;
    if (cancelKey !== undefined) this.#byCancelKey.delete(cancelKeyText(cancelKey));
  }
}
