/** Places for cancel connections: each owner has so many at a time, further requests wait in turn. */

import type { Clock } from "../base/clock.ts";
import { startDeadline } from "../base/deadline.ts";
import { Deferred } from "../base/deferred.ts";

/** What places need. */
export interface CancelPlacesOptions {
  readonly clock: Clock;
  /** Longest wait for a place, and then for the answer (`cancel_wait_timeout`); 0: none. */
  readonly waitTimeoutMs: () => number;
}

/** The cancel requests of one owner. */
export interface CancelCounts {
  /** Those that have a place. */
  readonly activeCount: number;
  readonly waitingCount: number;
}

interface OwnersPlaces {
  activeCount: number;
  readonly waiting: Set<Deferred<boolean>>;
}

const NO_CANCELS: CancelCounts = { activeCount: 0, waitingCount: 0 };

/** Hands places out. An owner is whatever the limit is of. */
export class CancelPlaces<Owner> {
  readonly #options: CancelPlacesOptions;
  readonly #byOwner = new Map<Owner, OwnersPlaces>();
  #isEnded = false;

  constructor(options: CancelPlacesOptions) {
    this.#options = options;
  }

  countsOf(owner: Owner): CancelCounts {
    const places = this.#byOwner.get(owner);
    if (places === undefined) return NO_CANCELS;
    return { activeCount: places.activeCount, waitingCount: places.waiting.size };
  }

  /** Takes a place, after those who asked before; false after too long, or if all is over. */
  async take(owner: Owner, limit: number): Promise<boolean> {
    if (this.#isEnded) return false;
    const places = this.#byOwner.get(owner) ?? { activeCount: 0, waiting: new Set() };
    this.#byOwner.set(owner, places);
    if (places.activeCount < Math.max(1, limit)) {
      places.activeCount += 1;
      return true;
    }
    const turn = new Deferred<boolean>();
    places.waiting.add(turn);
    const limitMs = this.#options.waitTimeoutMs();
    const expire = () => {
      if (places.waiting.delete(turn)) turn.resolve(false);
    };
    const timer = limitMs > 0 ? startDeadline(this.#options.clock, limitMs, expire) : undefined;
    const hasTurn = await turn.promise;
    timer?.cancel();
    return hasTurn;
  }

  /** Gives a place back, to the next in line. */
  give(owner: Owner): void {
    const places = this.#byOwner.get(owner)!;
    const [next] = places.waiting;
    if (next === undefined) {
      places.activeCount -= 1;
      if (places.activeCount === 0) this.#byOwner.delete(owner);
    } else {
      places.waiting.delete(next);
      next.resolve(true);
    }
  }

  /** Nobody gets a place any more, and nobody waits for one. */
  end(): void {
    this.#isEnded = true;
    for (const { waiting } of this.#byOwner.values()) {
      for (const turn of waiting) turn.resolve(false);
      waiting.clear();
    }
  }
}
