/**
 * Compares Sluice with PgBouncer on this machine: the same load, the same PostgreSQL, in turn.
 * Prints a table; a whole run also writes `docs/benchmarks.md`. Needs Linux, pgbench, psql and PgBouncer.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { hasDebianPostgres } from "./embedded_postgres.ts";
import type { Flavour } from "./embedded_postgres.ts";
import { oneOf, positive, runScript, scenariosOf } from "./command_line.ts";
import { startPostgres } from "./postgres_fixture.ts";
import { projectDir } from "./staging.ts";
import { makeCertificate } from "./bench/certificate.ts";
import { createTables } from "./bench/pgbench.ts";
import {
  DEBIAN_PGBOUNCER,
  PASSWORD,
  pgBouncerAt,
  POOLERS,
  sluiceVersion,
  USER,
} from "./bench/pooler.ts";
import type { PoolerKind } from "./bench/pooler.ts";
import { benchmarkDocument, reportRows, terminalTable } from "./bench/report.ts";
import type { ScenarioRuns } from "./bench/report.ts";
import type { BenchContext, Measurement, Scenario, Subject } from "./bench/scenario.ts";
import { SCENARIOS } from "./bench/scenarios.ts";

const USAGE = `Usage: deno task bench [options]

  --quick             one short round; writes no document
  --rounds=N          how often each scenario measures each pooler, in turn (5)
  --seconds=N         length of each load (4)
  --scenario=NAME,…   only these: ${SCENARIOS.map(({ name }) => name).join(", ")}
  --only=POOLER,…     only these: ${POOLERS.join(", ")}
  --pgbouncer=PATH    the PgBouncer to compare with (${DEBIAN_PGBOUNCER}, Debian's)
  --postgres=FLAVOUR  debian (PostgreSQL 15, if it is installed) or embedded (PostgreSQL 18)`;

/** pgbench's scale: 500,000 rows, all in memory. */
const SCALE = 5;

/** What the command line asks for. */
interface BenchOptions {
  readonly rounds: number;
  readonly flavour: Flavour;
  readonly poolers: readonly PoolerKind[];
  /** Path of the PgBouncer to compare with. */
  readonly pgBouncer: string;
  readonly scenarios: readonly Scenario[];
  /** Whether the result is one to be kept. */
  readonly isWhole: boolean;
  readonly context: Omit<BenchContext, "server" | "tls">;
}

/** Reads the command line. @throws {OptionError} If it cannot be understood. */
function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string" },
      scenario: { type: "string" },
      only: { type: "string" },
      pgbouncer: { type: "string", default: DEBIAN_PGBOUNCER },
      postgres: { type: "string", default: hasDebianPostgres() ? "debian" : "embedded" },
    },
  });
  const { quick, scenario, only, postgres } = values;
  const seconds = positive("seconds", values.seconds ?? (quick ? "2" : "4"));
  return {
    rounds: positive("rounds", values.rounds ?? (quick ? "1" : "5")),
    flavour: oneOf("postgres", postgres, ["debian", "embedded"]),
    poolers: only === undefined
      ? POOLERS
      : only.split(",").map((name) => oneOf("only", name, POOLERS)),
    pgBouncer: values.pgbouncer,
    scenarios: scenariosOf(scenario, SCENARIOS),
    isWhole: !quick && scenario === undefined && only === undefined,
    context: {
      seconds,
      // A runtime that compiles what is hot goes on doing so for some seconds.
      warmUpSeconds: quick ? 1 : Math.max(4, Math.round(seconds / 4)),
      idleClients: quick ? 500 : 5000,
      copyRows: quick ? 100_000 : 500_000,
    },
  };
}

/** Runs everything asked for and answers the measurements. */
async function runAll(options: BenchOptions, context: BenchContext): Promise<ScenarioRuns[]> {
  const all: ScenarioRuns[] = [];
  for (const scenario of options.scenarios) {
    all.push({ scenario, runs: await runScenario(scenario, options, context) });
  }
  return all;
}

async function runScenario(
  scenario: Scenario,
  { poolers, rounds }: BenchOptions,
  context: BenchContext,
): Promise<ScenarioRuns["runs"]> {
  await using stack = new AsyncDisposableStack();
  const subjects: { kind: PoolerKind; subject: Subject }[] = [];
  for (const kind of poolers) {
    subjects.push({ kind, subject: stack.use(await scenario.start(kind, context)) });
  }
  const runs: Record<PoolerKind, Measurement[]> = { sluice: [], pgbouncer: [], portable: [] };
  for (let round = 0; round < rounds; round++) {
    // Each pooler is first in every other round, so that neither always finds the warmer machine.
    for (const { kind, subject } of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const measurement = await subject.measure();
      runs[kind].push(measurement);
      console.log(`${scenario.name}  round ${round + 1}  ${kind}  ${figuresText(measurement)}`);
    }
  }
  return runs;
}

function figuresText(measurement: Measurement): string {
  return Object.entries(measurement).map(([name, value]) => `${name}=${value.toFixed(2)}`).join(
    "  ",
  );
}

async function runBench(options: BenchOptions): Promise<void> {
  await using postgres = await startPostgres({ flavour: options.flavour, auth: "trust" });
  await postgres.sql(`create role ${USER} superuser login password '${PASSWORD}'`);
  const [secret] = await postgres.sql(
    `select rolpassword from pg_authid where rolname = '${USER}'`,
  );
  await createTables(postgres.port, SCALE);
  const [row] = await postgres.sql("show server_version");
  const pgBouncer = await pgBouncerAt(options.pgBouncer);
  const server = {
    serverPort: postgres.port,
    verifier: String(secret?.["rolpassword"]),
    pgBouncer,
  };
  await using certificate = await makeCertificate();
  const context = { ...options.context, server, tls: certificate.files };
  const rows = reportRows(await runAll(options, context));
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    versions: [
      await sluiceVersion(),
      pgBouncer.version,
      `PostgreSQL ${String(row?.["server_version"])}`,
      `Deno ${Deno.version.deno}`,
    ],
    cpuCount: navigator.hardwareConcurrency,
    rounds: options.rounds,
    seconds: context.seconds,
  };
  console.log(`\n${facts.versions.join("\n")}\n\n${terminalTable(rows)}`);
  if (!options.isWhole) return;
  const path = join(projectDir(), "docs/benchmarks.md");
  await Deno.writeTextFile(path, benchmarkDocument(facts, rows));
  // The gate wants the documents as the formatter has them.
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", path] }).output();
  console.log("\nWritten to docs/benchmarks.md");
}

async function main(): Promise<number> {
  try {
    await runBench(readOptions(Deno.args));
    return 0;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error(
      `${error.message}\nThe benchmark needs Debian's postgresql-contrib and pgbouncer.`,
    );
    return 1;
  }
}

if (import.meta.main) Deno.exit(await runScript(USAGE, main));
