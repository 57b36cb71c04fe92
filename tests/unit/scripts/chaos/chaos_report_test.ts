/** The table of a run of chaos. */

import assert from "node:assert/strict";
import { chaosReport } from "../../../../scripts/chaos/chaos_report.ts";

Deno.test("chaosReport() has a line for each scenario, and says each fault and each refusal", () => {
  const counts = { lostConnections: 0, failedLogins: 0, impatient: 0 };
  const result = { committed: 100, rolledBack: 9, unknown: 1, counts };
  const text = chaosReport([
    { name: "good", title: "", result: { ...result, recoveredMs: 1234, faults: [] } },
    { name: "bad", title: "", result: { ...result, recoveredMs: undefined, faults: ["it fell"] } },
    { name: "other", title: "", refusal: "needs root" },
  ]);
  assert.equal(
    text,
    `scenario  committed  rolled back  unknown  faults  recovered in
good            100            9        1       0        1.23 s
bad             100            9        1       1         never
other             -            -        -       -       not run

bad: FAULT: it fell
other: not run: needs root`,
  );
});
