/** Those who wait for a server, oldest first; anybody may leave at once, wherever it stands. */

import { assert } from "../base/assert.ts";
import type { Moment } from "../base/clock.ts";

/** A place in a queue; its owner keeps it and may use it again. */
export class WaitingPlace<T> {
  readonly owner: T;
  /** When it was taken, while in a queue. */
  sinceMs = 0;
  /** Whether it stands there for the next outcome of a login only; the pool's own note. */
  isForOneLogin = false;
  previous: WaitingPlace<T> | undefined;
  next: WaitingPlace<T> | undefined;
  queue: WaitingQueue<T> | undefined;

  constructor(owner: T) {
    this.owner = owner;
  }

  /** Leaves the queue it is in. Returns whether it was in one. */
  leave(): boolean {
    return this.queue?.remove(this) ?? false;
  }
}

/** A doubly linked list of places: adding, taking and leaving cost the same at any length. */
export class WaitingQueue<T> {
  #first: WaitingPlace<T> | undefined;
  #last: WaitingPlace<T> | undefined;
  #size = 0;
  /** What `nextInMoment()` has come to, and in which moment. */
  #walked: WaitingPlace<T> | undefined;
  #walkedAtMs = -1;

  get size(): number {
    return this.#size;
  }

  /** The one that waits longest. */
  get oldest(): WaitingPlace<T> | undefined {
    return this.#first;
  }

  /** The oldest; asked again in the same moment, the one behind whom it answered last. */
  nextInMoment(now: Moment): T | undefined {
    const walked = this.#walkedAtMs === now.seenMs ? this.#walked : undefined;
    const next = walked === undefined ? this.#first : walked.next;
    if (next === undefined) return undefined;
    this.#walked = next;
    this.#walkedAtMs = now.seenMs;
    return next.owner;
  }

  /** Adds a place at the end, from now on. */
  add(place: WaitingPlace<T>, now: Moment): void {
    place.sinceMs = now.seenMs;
    this.#append(place);
  }

  #append(place: WaitingPlace<T>): void {
    assert(place.queue === undefined, "One place stands in one queue");
    place.queue = this;
    place.previous = this.#last;
    if (this.#last === undefined) this.#first = place;
    else this.#last.next = place;
    this.#last = place;
    this.#size += 1;
  }

  /** Takes a place out. Returns whether it was in. */
  remove(place: WaitingPlace<T>): boolean {
    if (place.queue !== this) return false;
    if (place === this.#walked) this.#walked = undefined;
    if (place.previous === undefined) this.#first = place.next;
    else place.previous.next = place.next;
    if (place.next === undefined) this.#last = place.previous;
    else place.next.previous = place.previous;
    place.previous = undefined;
    place.next = undefined;
    place.queue = undefined;
    this.#size -= 1;
    return true;
  }

  /** Takes out the oldest. */
  shift(): T | undefined {
    const first = this.#first;
    if (first === undefined) return undefined;
    this.remove(first);
    return first.owner;
  }

  /** Moves all to a queue of their own, where each has waited for as long as before. */
  takeAll(): WaitingQueue<T> {
    const taken = new WaitingQueue<T>();
    for (const place of this.places()) place.queue = taken;
    taken.#first = this.#first;
    taken.#last = this.#last;
    taken.#size = this.#size;
    this.#first = undefined;
    this.#last = undefined;
    this.#size = 0;
    this.#walked = undefined;
    return taken;
  }

  /** Moves those that are meant, likewise. */
  takeOut(isMeant: (place: WaitingPlace<T>) => boolean): WaitingQueue<T> {
    const taken = new WaitingQueue<T>();
    for (const place of [...this.places()].filter(isMeant)) {
      this.remove(place);
      taken.#append(place);
    }
    return taken;
  }

  /** All places, oldest first. The queue must not change meanwhile. */
  *places(): Generator<WaitingPlace<T>, void, void> {
    for (let place = this.#first; place !== undefined; place = place.next) yield place;
  }
}
