/** Reading Linux's files about a process. */

import assert from "node:assert/strict";
import {
  anonymousFromRollup,
  cpuUsFromStat,
  pssFromRollup,
} from "../../../../scripts/bench/process_stats.ts";

Deno.test("cpuUsFromStat() adds user and system time, whatever the process is called", () => {
  const rest = "S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 200";
  assert.equal(cpuUsFromStat(`12 (deno) ${rest}`), 3_000_000);
  assert.equal(cpuUsFromStat(`12 (a) S 9 (b) ${rest}`), 3_000_000);
});

Deno.test("pssFromRollup() reads Pss, not its parts", () => {
  const rollup = "Rss:  500 kB\nPss:          300 kB\nPss_Anon:     200 kB\n";
  assert.equal(pssFromRollup(rollup), 300 * 1024);
  assert.throws(() => pssFromRollup("Rss: 1 kB\n"), /no such line/);
});

Deno.test("anonymousFromRollup() reads Anonymous", () => {
  const rollup = "Pss_Anon:     200 kB\nAnonymous:      250 kB\nLazyFree:  1 kB\n";
  assert.equal(anonymousFromRollup(rollup), 250 * 1024);
});
