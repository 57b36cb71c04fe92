/** All clients of one pooler: by number, and by the key with which they may cancel. */

import { assert } from "../base/assert.ts";
import { cancelKeyProcessId, isSameCancelKey } from "./cancel_key.ts";
import { CONSOLE_DATABASE } from "./client_login.ts";
import type { ClientSession } from "./client_session.ts";

/** How often there is each name. */
class NameCounts {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    this.#counts.set(name, this.of(name) + 1);
  }

  remove(name: string): void {
    const count = this.of(name) - 1;
    if (count > 0) this.#counts.set(name, count);
    else this.#counts.delete(name);
  }
}

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
  /** Of those, how many there are by database and by user; those of the console take no place. */
  readonly #byDatabase = new NameCounts();
  readonly #byUser = new NameCounts();
  #idleCount = 0;
  /** How often one became idle, or no longer was: a 32-bit number, or it would be allocated one day. */
  #idleChanges = 0;
  #lastId = 0;

  /** Sockets, those still logging in and those on their way out included. */
  get count(): number {
    return this.#clients.size;
  }

  /** Clients that have proved who they are; those on their way out take nobody's place. */
  get admittedCount(): number {
    return this.#admitted.size;
  }

  /** Whether nobody asks for anything, logs in or leaves: known without a look at each. */
  get areAllIdle(): boolean {
    return this.#idleCount === this.#clients.size;
  }

  /** Another number than before, if a client or a server has come since, or one began or ceased to be idle. */
  get changeCount(): number {
    return this.#idleChanges + this.#lastId;
  }

  /** One client more, or one less, is idle. */
  noteIdle(change: 1 | -1): void {
    this.#idleCount += change;
    this.#idleChanges = (this.#idleChanges + 1) | 0;
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
    if (client.database === CONSOLE_DATABASE) return;
    this.#byDatabase.add(client.database!);
    this.#byUser.add(client.user!);
  }

  /** A client is on its way out. */
  dismiss(client: ClientSession): void {
    const wasIn = this.#admitted.delete(client);
    if (!wasIn || client.database === CONSOLE_DATABASE) return;
    this.#byDatabase.remove(client.database!);
    this.#byUser.remove(client.user!);
  }

  /** Of the admitted, those of a database. */
  countOfDatabase(name: string): number {
    return this.#byDatabase.of(name);
  }

  /** Of the admitted, those who logged in as a user. */
  countOfUser(name: string): number {
    return this.#byUser.of(name);
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
