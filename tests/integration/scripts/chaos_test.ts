/** One scenario of chaos, in short: the ledger works, and a backend of PostgreSQL is killed. */

import assert from "node:assert/strict";
import { runScenario } from "../../../scripts/chaos/run_scenario.ts";
import { killBackend } from "../../../scripts/chaos/server_scenarios.ts";

Deno.test("a ledger whose servers are killed has all that was seen committed, once, and nothing else", async () => {
  const result = await runScenario(killBackend, {
    engine: "native",
    flavour: "embedded",
    seconds: 1,
    warmUpMs: 300,
    calmMs: 300,
    mostRounds: 1,
  });
  assert.deepEqual(result.faults, []);
  assert.ok(result.committed > 30, `${result.committed} transfers`);
  assert.ok(result.counts.lostConnections > 0, "somebody noticed");
});
