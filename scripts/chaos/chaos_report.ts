/** The table of a run of chaos. Pure. */

import type { ScenarioResult } from "./run_scenario.ts";

/** A scenario and what came of it, or why it was not run. */
export interface ReportLine {
  readonly name: string;
  readonly title: string;
  readonly result?: ScenarioResult;
  readonly refusal?: string;
}

const HEADER: readonly string[] = [
  "scenario",
  "committed",
  "rolled back",
  "unknown",
  "faults",
  "recovered in",
];

/** The table, and below it each fault and each reason why a scenario was not run. */
export function chaosReport(lines: readonly ReportLine[]): string {
  const rows = [HEADER, ...lines.map(cells)];
  const widths = HEADER.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const table = rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))
      .join("  ")
  );
  const remarks = lines.flatMap(({ name, refusal, result }) => [
    ...(refusal === undefined ? [] : [`${name}: not run: ${refusal}`]),
    ...(result?.faults ?? []).map((fault) => `${name}: FAULT: ${fault}`),
  ]);
  return [...table, ...(remarks.length === 0 ? [] : ["", ...remarks])].join("\n");
}

function cells({ name, result }: ReportLine): string[] {
  if (result === undefined) return [name, "-", "-", "-", "-", "not run"];
  const { committed, faults, recoveredMs, rolledBack, unknown } = result;
  const counts = [committed, rolledBack, unknown, faults.length].map(String);
  const recovered = recoveredMs === undefined ? "never" : `${(recoveredMs / 1000).toFixed(2)} s`;
  return [name, ...counts, recovered];
}
