/**
 * A list of servers in no order. Each server notes its place in it, so that one is found and taken
 * out at once; unlike in a `Set`, nothing is hashed and nothing allocated.
 */

import { assert } from "../base/assert.ts";

/** What can stand in a bag, in one at a time. */
export interface Placed {
  /** The bag's own note. */
  place: number;
}

/** Servers, each once. */
export class ServerBag<S extends Placed> implements Iterable<S> {
  readonly #servers: S[] = [];

  get size(): number {
    return this.#servers.length;
  }

  /** Adds a server that stands in no bag. */
  add(server: S): void {
    server.place = this.#servers.length;
    this.#servers.push(server);
  }

  /** Takes a server out, which must be in. */
  delete(server: S): void {
    const { place } = server;
    assert(this.#servers[place] === server, "A server must stand in the list of its state");
    // The last one takes its place.
    const last = this.#servers.pop()!;
    if (last === server) return;
    this.#servers[place] = last;
    last.place = place;
  }

  [Symbol.iterator](): Iterator<S> {
    return this.#servers[Symbol.iterator]();
  }
}
