/**
 * Lets everything that is ready to run do so, at a cost of microseconds. For simulations, which wait
 * after every step; no real time passes that a test could depend on.
 */

import { setImmediate } from "node:timers";

/** Resolves when all promises that were ready have run to where they wait. */
export function eventTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => resolve());
  });
}

/** As many turns; 20 are more than anything takes that is on its way. */
export async function eventTurns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await eventTurn();
}
