/** A turn of the runtime's event loop. */

import { setImmediate } from "node:timers";

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
