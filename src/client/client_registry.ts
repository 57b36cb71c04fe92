/** All clients of one pooler: by number, and by the key with which they may cancel. */

import { assert } from "../base/assert.ts";
import { cancelKeyProcessId, isSameCancelKey } from "./cancel_key.ts";
import type { ClientSession } from "./client_session.ts";

/** Knows every client from its first byte to its last. */
export class ClientRegistry {
  readonly #clients = new Set<ClientSession>();
  /**
   * Found by the part of the key that is no secret; the rest is compared in constant time, which a
   * table of whole keys would not promise.
   */
  readonly #byProcessId = new Map<number, ClientSession[]>();
  /** Those that have proved who they are and have not been told to go. */
  readonly #admitted = new Set<ClientSession>();
  #lastId = 0;

  /** Sockets, those still logging in and those on their way out included. */
  get count(): number {
    return this.#clients.size;
  }

  /** Clients that have proved who they are; those on their way out take nobody's place. */
  get admittedCount(): number {
    return this.#admitted.size;
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

  /** A client has proved who it is. */
  admit(client: ClientSession): void {
    assert(this.#clients.has(client), "Who is admitted is known");
    this.#admitted.add(client);
  }

  /** A client is on its way out. */
  dismiss(client: ClientSession): void {
    this.#admitted.delete(client);
  }

  /** Gives a client its cancel key, and lets it be found by that. */
  addCancelKey(key: Uint8Array, client: ClientSession): void {
    client.cancelKey = key;
    const processId = cancelKeyProcessId(key);
    const known = this.#byProcessId.get(processId);
    // A part of a key is not always one client's alone.
    if (known === undefined) this.#byProcessId.set(processId, [client]);
    else known.push(client);
  }

  /** The client whose key it is; a key of another length is nobody's. */
  findByCancelKey(key: Uint8Array): ClientSession | undefined {
    const known = this.#byProcessId.get(cancelKeyProcessId(key));
    return known?.find(({ cancelKey }) => isSameCancelKey(cancelKey!, key));
  }

  /** Forgets a client that has gone. */
  remove(client: ClientSession): void {
    const wasThere = this.#clients.delete(client);
    assert(wasThere, "A client is removed once");
    this.dismiss(client);
    if (client.cancelKey !== undefined) this.#removeCancelKey(client.cancelKey, client);
  }

  #removeCancelKey(key: Uint8Array, client: ClientSession): void {
    const processId = cancelKeyProcessId(key);
    const known = this.#byProcessId.get(processId)!;
    if (known.length === 1) this.#byProcessId.delete(processId);
    else known.splice(known.indexOf(client), 1);
  }
}
