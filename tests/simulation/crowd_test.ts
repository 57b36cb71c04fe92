/**
 * A crowd small enough for the gate. `deno task sim --clients 3000` measures what a large one costs;
 * here is counted to how many of them something is done in one turn.
 */

import assert from "node:assert/strict";
import { DONE_A_TURN } from "../../src/base/in_turns.ts";
import { CROWD_SCENARIOS, runScenario } from "./crowd_scenarios.ts";

/** So many that a hundred, and their servers, are far from all who wait. */
const CLIENTS = 300;

/** As many as have their turn, each with a server, and who is not one of them. */
const MOST_TOUCHED = 2 * DONE_A_TURN + 5;

for (const scenario of CROWD_SCENARIOS) {
  Deno.test(`a crowd is not dealt with in one turn: ${scenario.name}`, async () => {
    const steps = await runScenario(scenario, CLIENTS);
    const longest = steps.reduce((a, b) => a.touchedCount >= b.touchedCount ? a : b);
    const { touchedCount, what } = longest;
    assert.ok(touchedCount <= MOST_TOUCHED, `${what}: ${touchedCount} connections in one turn`);
  });
}
