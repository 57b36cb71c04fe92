/** Reading pgbench's report and log. */

import assert from "node:assert/strict";
import { cycleTimesMs, latenciesMs, readReport } from "../../../../scripts/bench/pgbench.ts";

const REPORT = `transaction type: <builtin: select only>
number of transactions actually processed: 35691
number of failed transactions: 0 (0.000%)
latency average = 1.400 ms
initial connection time = 11.2 ms
tps = 35691.170000 (without initial connection time)
`;

Deno.test("readReport() reads the count and the throughput", () => {
  assert.deepEqual(readReport(REPORT), { transactions: 35691, transactionsPerSecond: 35691.17 });
});

Deno.test("readReport() refuses a report with failed transactions or without throughput", () => {
  assert.throws(() =>
    readReport(REPORT.replace("failed transactions: 0", "failed transactions: 2"))
  );
  assert.throws(() => readReport("pgbench: fatal"));
});

Deno.test("latenciesMs() takes the third column, microseconds", () => {
  assert.deepEqual(latenciesMs("0 1 1500 0 1700000000 10\n1 1 250 0 1700000000 20\n"), [1.5, 0.25]);
});

Deno.test("cycleTimesMs() measures from end to end of each client's own transactions", () => {
  const log = [
    "0 1 100 0 1700000000 999000",
    "1 1 100 0 1700000001 0",
    "0 2 100 0 1700000001 1000",
    "1 2 100 0 1700000001 5000",
  ].join("\n");
  assert.deepEqual(cycleTimesMs(log), [2, 5]);
});
