/**
 * The servers of one pool, by state: a server's list is its state, and counts are lengths of lists,
 * so they cannot drift.
 */

import { assert, unreachable } from "../base/assert.ts";
import type { PooledServerKind } from "./pooled_server.ts";
import { type Placed, ServerBag } from "./server_bag.ts";

/** What a list holds. */
export interface Listed extends Placed {
  readonly state: { readonly kind: PooledServerKind };
}

/** One list for each state but closed. */
export class ServerLists<S extends Listed> {
  /** Connecting or logging in. */
  readonly login = new ServerBag<S>();
  /** Free; the one released last stands last. */
  readonly idle: S[] = [];
  /** Free, to be checked before use. */
  readonly used: S[] = [];
  /** In reset or check. */
  readonly tested = new ServerBag<S>();
  /** Linked to a client. */
  readonly active = new ServerBag<S>();
  /** Kept from others until a cancel request has ended. */
  readonly beingCanceled = new ServerBag<S>();
  /** Being brought back after the loss of their client. */
  readonly recovering = new ServerBag<S>();

  /** All that exist, in whatever state. */
  get count(): number {
    return this.login.size + this.usableCount;
  }

  /** All that have logged in. */
  get usableCount(): number {
    return this.idle.length + this.used.length + this.tested.size + this.active.size +
      this.beingCanceled.size + this.recovering.size;
  }

  /** Every server, in no order that matters. */
  *all(): Generator<S, void, void> {
    yield* this.login;
    yield* this.idle;
    yield* this.used;
    yield* this.tested;
    yield* this.active;
    yield* this.beingCanceled;
    yield* this.recovering;
  }

  /** Adds a new server. */
  add(server: S): void {
    this.#insert(server);
  }

  /** Moves a server whose state was `before` to where it belongs now. */
  move(server: S, before: PooledServerKind): void {
    this.#remove(server, before);
    this.#insert(server);
  }

  /** The free server to use next: the newest one, or the oldest for round robin. */
  nextIdle(isRoundRobin: boolean): S | undefined {
    return isRoundRobin ? this.idle[0] : this.idle.at(-1);
  }

  #insert(server: S): void {
    const { kind } = server.state;
    switch (kind) {
      case "idle":
        this.idle.push(server);
        return;
      case "used":
        this.used.push(server);
        return;
      case "closed":
        return;
      default:
        this.#bagOf(kind).add(server);
    }
  }

  #remove(server: S, kind: PooledServerKind): void {
    switch (kind) {
      case "idle":
        return removeFrom(this.idle, server);
      case "used":
        return removeFrom(this.used, server);
      case "closed":
        throw new TypeError("Cannot move a closed server: it is in no list");
      default:
        return this.#bagOf(kind).delete(server);
    }
  }

  /** Of a state without an order. Not `this[kind]`: a name that varies is looked up each time. */
  #bagOf(kind: Exclude<PooledServerKind, "idle" | "used" | "closed">): ServerBag<S> {
    switch (kind) {
      case "login":
        return this.login;
      case "tested":
        return this.tested;
      case "active":
        return this.active;
      case "being_canceled":
        return this.beingCanceled;
      case "recovering":
        return this.recovering;
      default:
        return unreachable(kind);
    }
  }
}

function removeFrom<S>(list: S[], server: S): void {
  // The newest is the one taken most often, and the oldest goes first where many do.
  if (list.at(-1) === server) {
    list.pop();
    return;
  }
  if (list[0] === server) {
    list.shift();
    return;
  }
  const at = list.lastIndexOf(server);
  assert(at >= 0, "A server must stand in the list of its state");
  list.splice(at, 1);
}
