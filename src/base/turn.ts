/** A turn of the runtime's event loop. */

import { setImmediate } from "node:timers";
import type { Clock } from "./clock.ts";

/**
 * Time for others between two parts of something long, on a clock. Not 0: the runtime looks at its
 * sockets only when no timer is due.
 */
export const TURN_MS = 1;

/** Calls `then` when everybody else who is ready has had a turn. */
export function atNextTurn(then: () => void): void {
  setImmediate(then);
}

/** Resolves when everybody else who is ready has had a turn; a timer would take a millisecond. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Resolves when others have had the thread, by a clock that tests can decide on. */
export function turnOn(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.startTimer(TURN_MS, resolve));
}
