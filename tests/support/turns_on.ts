/** The turns of something that is tested by itself, on a clock of its own. */

import type { Clock } from "../../src/base/clock.ts";
import { DONE_A_TURN, InTurns } from "../../src/base/in_turns.ts";
import { TURN_MS } from "../../src/base/turn.ts";

/** As a pooler has them. */
export function turnsOn(clock: Clock, maxActions = DONE_A_TURN): InTurns {
  return new InTurns({ maxActions, atNext: (then) => clock.startTimer(TURN_MS, then) });
}
