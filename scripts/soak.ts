/**
 * Lets Sluice work for a while, with everything that comes and goes, and looks for what grows: memory,
 * descriptors, the answer of the console, latency (docs/reliability.md). Writes a page with all that was
 * sampled. Exit status 1 if something grew, or the ledger is not right.
 */

import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ChaosWorld, type EngineName } from "./chaos/chaos_world.ts";
import { judgeLedger, LedgerBook } from "./chaos/ledger.ts";
import { tolerateLateWrites } from "./chaos/ledger_clients.ts";
import { LedgerWorkload } from "./chaos/ledger_workload.ts";
import { oneOf, OptionError, runScript } from "./command_line.ts";
import { pause } from "./guarded_process.ts";
import { judgeGrowth } from "./soak/growth.ts";
import { pingConsole } from "./soak/ping_console.ts";
import { SoakLoad } from "./soak/soak_load.ts";
import { type Chart, soakReport, verdictOf } from "./soak/soak_report.ts";
import { type Series, SoakSampler } from "./soak/soak_sampler.ts";
import { projectDir } from "./staging.ts";

const USAGE = `Usage: deno task soak [options]

  --minutes=N      how long (10); at least 0.5
  --engine=ENGINE  Sluice's I/O engine: native or portable (native)
  --report=FILE    where the page is written (dist/soak.html)`;

/** Samples wanted of a run, as long as they are not too close or too far. */
const SAMPLES = 600;
const CLOSEST_MS = 250;
const FARTHEST_MS = 10_000;

/** Collections of garbage wanted of a run: as many as a judgement of growth needs, and a few more. */
const COLLECTIONS = 72;

/** How long one answer may take. */
const PATIENCE_MS = 60_000;

/** What the command line asks for. */
interface SoakOptions {
  readonly minutes: number;
  readonly engine: EngineName;
  readonly report: string;
}

/** Reads the command line. @throws {OptionError} If it cannot be understood. */
function readOptions(args: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "10" },
      engine: { type: "string", default: "native" },
      report: { type: "string", default: join(projectDir(), "dist/soak.html") },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes >= 0.5)) {
    throw new OptionError(`The option --minutes takes 0.5 or more, not "${values.minutes}"`);
  }
  const engine = oneOf("engine", values.engine, ["native", "portable"]);
  return { minutes, engine, report: resolve(values.report) };
}

/** Runs the soak; answers what was found. */
async function runSoak({ engine, minutes, report }: SoakOptions): Promise<readonly string[]> {
  using _tolerance = tolerateLateWrites();
  await using world = await ChaosWorld.start({ engine });
  const sampler = new SoakSampler(world);
  const book = new LedgerBook();
  const ledger = new LedgerWorkload({
    target: world.target,
    book,
    each: 2,
    patienceMs: PATIENCE_MS,
    isPatienceEnough: true,
    onTransfer: (tookMs) => sampler.noteTransfer(tookMs),
  });
  const load = new SoakLoad(world);
  {
    using _ping = pingConsole(world.operator, (tookMs) => sampler.notePing(tookMs));
    await sampleFor(minutes * 60_000, sampler);
  }
  await load.stop();
  await ledger.stop();

  const charts = sampler.all.map(judged);
  const faults = [
    ...charts.filter(({ growth }) => growth?.isGrowing).map((chart) =>
      `${chart.title}: ${verdictOf(chart)}`
    ),
    ...await remains(world),
    ...book.faults,
    ...load.counts.faults,
    ...judgeLedger(book.seen, await world.tables()),
    ...world.internalErrors(),
  ];
  const { cancels, reconnects, reloads, statements } = load.counts;
  const lines = [
    `${minutes} minutes on the ${engine} engine`,
    `${book.count("committed")} transfers committed by ${ledger.size} clients, ${reconnects} ` +
    `reconnects, ${cancels} cancels, ${reloads} RELOADs and RECONNECTs, ${statements} new statements`,
  ];
  for (const line of lines) console.log(line);
  for (const chart of charts) console.log(`  ${chart.title}: ${verdictOf(chart)}`);
  await Deno.mkdir(dirname(report), { recursive: true });
  await Deno.writeTextFile(report, soakReport({ lines, faults }, charts));
  console.log(`Written to ${report}`);
  return faults;
}

async function sampleFor(durationMs: number, sampler: SoakSampler): Promise<void> {
  const everyMs = Math.min(FARTHEST_MS, Math.max(CLOSEST_MS, durationMs / SAMPLES));
  const collectEvery = Math.max(1, Math.floor(durationMs / everyMs / COLLECTIONS));
  const beganAtMs = performance.now();
  for (let n = 1; n * everyMs <= durationMs; n++) {
    await pause(Math.max(0, beganAtMs + n * everyMs - performance.now()));
    await sampler.sample();
    if (n % collectEvery === 0) await sampler.sampleKept();
  }
}

function judged({ samples, title, tolerance, unit }: Series): Chart {
  const chart = { title, unit, samples };
  return tolerance === undefined ? chart : { ...chart, growth: judgeGrowth(samples, tolerance) };
}

/** What is still there when all have gone. */
async function remains(world: ChaosWorld): Promise<string[]> {
  const { busyServers, clients } = await world.untilIdle();
  if (clients === 0 && busyServers === 0) return [];
  return [`${clients} clients and ${busyServers} busy servers are left`];
}

async function main(): Promise<number> {
  const faults = await runSoak(readOptions(Deno.args));
  for (const fault of faults) console.log(`FAULT: ${fault}`);
  console.log(faults.length === 0 ? "no fault" : `${faults.length} faults`);
  return faults.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await runScript(USAGE, main));
