/** The benchmark's table. */

import assert from "node:assert/strict";
import {
  benchmarkDocument,
  markdownTable,
  reportRows,
  terminalTable,
} from "../../../../scripts/bench/report.ts";
import type { ScenarioRuns } from "../../../../scripts/bench/report.ts";

const RUNS: ScenarioRuns = {
  scenario: {
    title: "select-only",
    figures: [
      { name: "tps", unit: "transactions/s", digits: 0 },
      {
        name: "cpu",
        unit: "CPU µs/transaction",
        digits: 1,
        goal: { of: "ratio", is: "at most", bound: 1.5 },
      },
    ],
  },
  runs: {
    sluice: [{ tps: 90, cpu: 30 }, { tps: 110, cpu: 24 }, { tps: 100, cpu: 60 }],
    portable: [{ tps: 50, cpu: 40 }, { tps: 50 }],
    pgbouncer: [{ tps: 100, cpu: 20 }, { tps: 100, cpu: 20 }, { tps: 100, cpu: 20 }],
  },
};

Deno.test("reportRows() gives medians, and the median of each round's ratio", () => {
  const [tps, cpu] = reportRows([RUNS]);
  assert.deepEqual([tps?.sluice, tps?.pgbouncer, tps?.ratio, tps?.goal], [
    "100",
    "100",
    "1.00",
    "",
  ]);
  assert.deepEqual([cpu?.sluice, cpu?.pgbouncer, cpu?.ratio], ["30.0", "20.0", "1.50"]);
});

Deno.test("reportRows() compares the portable engine, where a figure was measured for it", () => {
  const [tps, cpu] = reportRows([RUNS]);
  assert.deepEqual([tps?.portable, tps?.portableRatio], ["50", "0.50"]);
  assert.deepEqual([cpu?.portable, cpu?.portableRatio], ["40.0", "2.00"]);
});

Deno.test("reportRows() shows a dash for a ratio to nothing", () => {
  const nothing = RUNS.runs.pgbouncer.map((run) => ({ ...run, cpu: 0 }));
  const [, cpu] = reportRows([{ ...RUNS, runs: { ...RUNS.runs, pgbouncer: nothing } }]);
  assert.deepEqual([cpu?.pgbouncer, cpu?.ratio], ["0.0", "–"]);
});

Deno.test("reportRows() says whether a goal is reached", () => {
  assert.equal(reportRows([RUNS])[1]?.goal, "at most 1.5 ×: reached");
  const slower = RUNS.runs.sluice.map((run) => ({ ...run, cpu: 31 }));
  const missed = { ...RUNS, runs: { ...RUNS.runs, sluice: slower } };
  assert.equal(reportRows([missed])[1]?.goal, "at most 1.5 ×: missed");
});

Deno.test("reportRows() compares what is more than on the portable engine, round by round", () => {
  const goalOf = (portable: readonly Record<string, number>[]) => {
    const goal = { of: "excess", is: "at most", bound: 15 } as const;
    const scenario = { title: "late", figures: [{ ...RUNS.scenario.figures[1]!, goal }] };
    return reportRows([{ scenario, runs: { ...RUNS.runs, portable } }])[0]?.goal;
  };
  // Of 30, 24 and 60.
  const text = "at most 15 more than portable";
  assert.equal(goalOf([{ cpu: 15 }, { cpu: 24 }, { cpu: 20 }]), `${text}: reached`);
  assert.equal(goalOf([{ cpu: 14 }, { cpu: 24 }, { cpu: 20 }]), `${text}: missed`);
  assert.equal(goalOf([{ cpu: 14 }, { cpu: 24 }]), `${text}: reached`, "8, between 16 and 0");
  assert.equal(goalOf([]), text, "nothing to compare with");
});

Deno.test("reportRows() shows a dash where only one pooler was run", () => {
  const [tps] = reportRows([{ ...RUNS, runs: { ...RUNS.runs, sluice: [] } }]);
  assert.deepEqual([tps?.sluice, tps?.pgbouncer, tps?.ratio], ["–", "100", "–"]);
});

Deno.test("terminalTable() and markdownTable() have one line a figure below the headings", () => {
  const rows = reportRows([RUNS]);
  assert.equal(terminalTable(rows).split("\n").length, 3);
  assert.equal(markdownTable(rows).split("\n").length, 4);
});

Deno.test("benchmarkDocument() names date and versions and holds the table", () => {
  const facts = {
    date: "2026-01-02",
    versions: ["A 1", "B 2"],
    cpuCount: 2,
    rounds: 3,
    seconds: 10,
  };
  const text = benchmarkDocument(facts, reportRows([RUNS]));
  for (const part of ["2026-01-02", "- A 1", "- B 2", "| select-only |"]) {
    assert.ok(text.includes(part), part);
  }
});
