/**
 * Breaks PostgreSQL, the network and clients around Sluice while clients of a ledger work through it, and
 * holds the database against what they saw (docs/reliability.md). Exit status 1 on any fault.
 */

import { parseArgs } from "node:util";
import { chaosReport, type ReportLine } from "./chaos/chaos_report.ts";
import type { EngineName } from "./chaos/chaos_world.ts";
import { CLIENT_SCENARIOS } from "./chaos/client_scenarios.ts";
import { NETWORK_SCENARIOS } from "./chaos/network_scenarios.ts";
import { type ChaosScenario, runScenario } from "./chaos/run_scenario.ts";
import { SERVER_SCENARIOS } from "./chaos/server_scenarios.ts";
import { oneOf, OptionError, runScript, scenariosOf } from "./command_line.ts";
import type { Flavour } from "./embedded_postgres.ts";

const SCENARIOS: readonly ChaosScenario[] = [
  ...SERVER_SCENARIOS,
  ...CLIENT_SCENARIOS,
  ...NETWORK_SCENARIOS,
];

const USAGE = `Usage: deno task chaos [options]

  --scenario=NAME,…   only these
  --seconds=N         how long each of them breaks things (10)
  --engine=ENGINE     Sluice's I/O engine: native, portable or both (both)
  --postgres=FLAVOUR  embedded (PostgreSQL 18) or debian (PostgreSQL 15)

Scenarios:
${SCENARIOS.map(({ name, title }) => `  ${name.padEnd(18)}${title}`).join("\n")}`;

/** What the command line asks for. */
interface ChaosOptions {
  readonly scenarios: readonly ChaosScenario[];
  readonly engines: readonly EngineName[];
  readonly seconds: number;
  readonly flavour: Flavour;
}

/** Reads the command line. @throws {OptionError} If it cannot be understood. */
function readOptions(args: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: "string" },
      seconds: { type: "string", default: "10" },
      engine: { type: "string", default: "both" },
      postgres: { type: "string", default: "embedded" },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) {
    throw new OptionError(`The option --seconds takes a positive number, not "${values.seconds}"`);
  }
  const engine = oneOf("engine", values.engine, ["native", "portable", "both"]);
  return {
    scenarios: scenariosOf(values.scenario, SCENARIOS),
    engines: engine === "both" ? ["native", "portable"] : [engine],
    seconds,
    flavour: oneOf("postgres", values.postgres, ["embedded", "debian"]),
  };
}

/** Runs one scenario, or says why not; prints a line for it. */
async function runOne(
  scenario: ChaosScenario,
  options: ChaosOptions & { readonly engine: EngineName },
): Promise<ReportLine> {
  const line = { name: `${scenario.name} (${options.engine})`, title: scenario.title };
  console.log(`${line.name}: ${line.title}`);
  const refusal = await scenario.refusal?.();
  if (refusal !== undefined) {
    console.log(`  not run: ${refusal}`);
    return { ...line, refusal };
  }
  const result = await runScenario(scenario, options);
  const { lostConnections, failedLogins, impatient } = result.counts;
  console.log(
    `  ${result.committed} committed, ${result.unknown} unknown, ${lostConnections} connections ` +
      `lost, ${failedLogins} logins failed, ${impatient} gave up, ${result.faults.length} faults`,
  );
  for (const fault of result.faults) console.log(`  FAULT: ${fault}`);
  return { ...line, result };
}

async function main(): Promise<number> {
  const options = readOptions(Deno.args);
  const lines: ReportLine[] = [];
  for (const engine of options.engines) {
    for (const scenario of options.scenarios) {
      lines.push(await runOne(scenario, { ...options, engine }));
    }
  }
  console.log(`\n${chaosReport(lines)}`);
  return lines.some(({ result }) => (result?.faults.length ?? 0) > 0) ? 1 : 0;
}

if (import.meta.main) Deno.exit(await runScript(USAGE, main));
