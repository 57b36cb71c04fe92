/** Makes the benchmark's table, for the terminal and for `docs/benchmarks.md`. Pure. */

import { median } from "../percentiles.ts";
import type { PoolerKind } from "./pooler.ts";
import type { Figure, Goal, Measurement, Scenario } from "./scenarios.ts";

/** The measurements of one scenario: one of each pooler a round. */
export interface ScenarioRuns {
  readonly scenario: Pick<Scenario, "title" | "figures">;
  readonly runs: Readonly<Record<PoolerKind, readonly Measurement[]>>;
}

/** What stands above the table in the document. */
export interface ReportFacts {
  readonly date: string;
  readonly versions: readonly string[];
  readonly cpuCount: number;
  readonly rounds: number;
  readonly seconds: number;
}

/** One line of the table, as text. */
export interface ReportRow {
  readonly scenario: string;
  readonly figure: string;
  readonly sluice: string;
  readonly pgbouncer: string;
  readonly ratio: string;
  readonly goal: string;
}

const HEADINGS: ReportRow = {
  scenario: "Scenario",
  figure: "Figure",
  sluice: "Sluice",
  pgbouncer: "PgBouncer",
  ratio: "Ratio",
  goal: "Goal",
};

const COLUMNS = ["scenario", "figure", "sluice", "pgbouncer", "ratio", "goal"] as const;

/** The lines of a table: medians over the rounds, and the median of the rounds' ratios. */
export function reportRows(all: readonly ScenarioRuns[]): ReportRow[] {
  return all.flatMap(({ scenario, runs }) =>
    scenario.figures.map((figure, i) => {
      const sluice = valuesOf(runs.sluice, figure);
      const pgbouncer = valuesOf(runs.pgbouncer, figure);
      const pairs = Math.min(sluice.length, pgbouncer.length);
      const ratios = Array.from(
        { length: pairs },
        (_, n) => (sluice[n] ?? 0) / (pgbouncer[n] ?? 0),
      );
      return {
        scenario: i === 0 ? scenario.title : "",
        figure: figure.unit === "ms" && figure.name.startsWith("p")
          ? `${figure.name}, ms`
          : figure.unit,
        sluice: numberText(sluice, figure.digits),
        pgbouncer: numberText(pgbouncer, figure.digits),
        ratio: numberText(ratios, 2),
        goal: goalText(figure.goal, figure.goal?.of === "ratio" ? ratios : sluice),
      };
    })
  );
}

function valuesOf(runs: readonly Measurement[], { name }: Figure): number[] {
  return runs.map((run) => run[name] ?? NaN);
}

function numberText(values: readonly number[], digits: number): string {
  return values.length === 0 ? "–" : median(values).toFixed(digits);
}

/** The bound, and whether the median keeps it. */
function goalText(goal: Goal | undefined, values: readonly number[]): string {
  if (goal === undefined) return "";
  const text = `${goal.is} ${goal.bound}${goal.of === "ratio" ? " ×" : ""}`;
  if (values.length === 0) return text;
  const value = median(values);
  const isReached = goal.is === "at most" ? value <= goal.bound : value >= goal.bound;
  return `${text}: ${isReached ? "reached" : "missed"}`;
}

/** The table for a terminal. */
export function terminalTable(rows: readonly ReportRow[]): string {
  const all = [HEADINGS, ...rows];
  const widths = COLUMNS.map((name) => Math.max(...all.map((row) => row[name].length)));
  const isText = (name: string) => ["scenario", "figure", "goal"].includes(name);
  return all.map((row) =>
    COLUMNS.map((name, i) => {
      const width = widths[i] ?? 0;
      return isText(name) ? row[name].padEnd(width) : row[name].padStart(width);
    }).join("  ").trimEnd()
  ).join("\n");
}

/** The table in Markdown. */
export function markdownTable(rows: readonly ReportRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(COLUMNS.map((name) => HEADINGS[name])),
    line(COLUMNS.map((name) => ["sluice", "pgbouncer", "ratio"].includes(name) ? "---:" : "---")),
    ...rows.map((row) => line(COLUMNS.map((name) => row[name]))),
  ].join("\n");
}

/** The whole document. */
export function benchmarkDocument(facts: ReportFacts, rows: readonly ReportRow[]): string {
  return `# Benchmarks

Written by \`deno task bench\`; run it to get your own figures. Last run: ${facts.date}, on ${facts.cpuCount} CPU cores
shared by pgbench, PostgreSQL and the pooler, ${facts.rounds} rounds of ${facts.seconds} seconds.

${facts.versions.map((version) => `- ${version}`).join("\n")}

${markdownTable(rows)}

## How to read it

- Both poolers run in turn within one run, in front of the same PostgreSQL, with the same settings: a pool of 10
  server connections, transaction pooling unless the scenario says otherwise, no TLS. Each measurement starts a
  fresh pooler and warms it up first. Figures are medians over the rounds; the ratio is the median of each
  round's Sluice ÷ PgBouncer. Absolute figures change from machine to machine and from day to day; ratios
  much less so.
- **Throughput** is limited by whatever is slowest on the machine, mostly pgbench and PostgreSQL, which share the
  cores with the pooler. **CPU µs/transaction** is the pooler's own cost: the user and system time of its
  process, all threads, divided by the transactions of the run. It is the figure to compare.
- **p50 and p99** are what one client waits for one transaction, including the wait for a server connection
  when there are more clients than servers. With a new connection for each transaction they are the whole
  cycle: connect, log in, select, leave; there pgbench's own part of SCRAM (4,096 rounds of hashing for each
  login) limits the throughput, since both poolers are given PostgreSQL's verifier and hash little.
- **Prepared** statements run in session pooling: Debian's PgBouncer 1.18 has none in transaction pooling.
- **COPY** is read by psql, with all output thrown away. What limits it is PostgreSQL making the rows, on cores
  that it shares with the pooler and psql.
- **Memory** is the growth of the process's Pss (its private pages and its share of shared ones) when 5,000 more
  clients have logged in and run one query each, divided by their number.
- **Start** is the time from starting the process until a TCP connection is accepted; Sluice runs from its
  sources, already compiled once.
`;
}
