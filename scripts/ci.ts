/**
 * The gate: `checks` (format, lint with the import order, types, documentation), `test` (every test), or
 * both. Each step runs to its end, so that one run shows all that is wrong; the exit status is 0 only if
 * none was. The last line counts the tests.
 *
 * With `SLUICE_TEST_REQUIRE_ALL=1` a test that was ignored is a failure.
 */

import { join } from "node:path";
import { projectDir } from "./staging.ts";
import { exists } from "./cache_dir.ts";
import { addCounts, closingLine, readFailures, readSummary } from "./test_summary.ts";
import type { TestCounts } from "./test_summary.ts";

/** One command of the gate. */
interface Step {
  readonly title: string;
  readonly args: readonly string[];
}

/** The suites, tasks of `deno.json`: those of one row run at the same time. */
const SUITES: readonly (readonly Step[])[] = [
  [
    { title: "unit tests, without network", args: suite("test:unit") },
    // One file at a time, since they count what is open in the process; so they leave a core idle.
    { title: "tests of the I/O engines", args: suite("test:net") },
  ],
  [{ title: "integration tests", args: suite("test:integration") }],
  // The engine of choice is the native one where it works; the other one must do the same.
  [{ title: "integration tests on the portable I/O engine", args: suite("test:portable") }],
];

/** What needs no test to be run: commands of Deno, and tasks. */
const CHECKS: readonly Step[] = [
  { title: "format", args: ["fmt", "--check"] },
  { title: "lint and import order", args: ["lint"] },
  { title: "types", args: ["task", "check"] },
  { title: "documentation of exports", args: ["run", "--allow-all", "scripts/doc_lint.ts"] },
  { title: "generated documentation", args: ["task", "docs", "--check"] },
];

/** The arguments that run a suite. Types are the checks' business: each suite would check them anew. */
function suite(task: string): string[] {
  return ["task", task, "--no-check"];
}

/** How a command ended, and what it printed. */
interface Ended {
  readonly success: boolean;
  readonly output: string;
}

/** Runs a command, showing its output as it comes. */
async function run({ title, args }: Step): Promise<Ended> {
  showTitle(title, args);
  return await runWith(args, writeAll);
}

/** Runs a command beside others, and shows its output when it has ended and `others` have. */
async function runBeside({ title, args }: Step, others: Promise<unknown>): Promise<Ended> {
  const chunks: Uint8Array[] = [];
  const ended = await runWith(args, (chunk) => void chunks.push(chunk));
  await others;
  showTitle(title, args);
  for (const chunk of chunks) await writeAll(chunk);
  return ended;
}

function showTitle(title: string, args: readonly string[]): void {
  console.log(`\n== ${title}: deno ${args.slice(0, 3).join(" ")}`);
}

async function runWith(
  args: readonly string[],
  show: (chunk: Uint8Array) => void | Promise<void>,
): Promise<Ended> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: projectDir(),
    env: {
      ...(Deno.stdout.isTerminal() ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" }),
      // One file more at a time than there are processors: integration tests wait a quarter of their time.
      DENO_JOBS: String(navigator.hardwareConcurrency + 1),
    },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    output += decoder.decode(chunk, { stream: true });
    await show(chunk);
  }
  return { success: (await child.status).success, output };
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}

/** Runs the checks; answers the titles of those that failed. */
async function runChecks(): Promise<string[]> {
  const faults: string[] = [];
  for (const step of CHECKS) {
    const { success } = await run(step);
    if (!success) faults.push(step.title);
  }
  return faults;
}

/** Runs the suites; says again at the end what failed, since a log is often cut to its last lines. */
async function runTests(): Promise<TestCounts> {
  const ended: Ended[] = [];
  for (const row of SUITES) {
    let others: Promise<unknown> = Promise.resolve();
    const running = row.map((suite, place) => {
      const ended = place === 0 ? run(suite) : runBeside(suite, others);
      others = ended;
      return ended;
    });
    ended.push(...await Promise.all(running));
  }
  const titles = SUITES.flat().map((suite) => suite.title);
  for (const [place, { success, output }] of ended.entries()) {
    if (!success) console.log(`\n== failed: ${titles[place]}\n\n${readFailures(output)}`);
  }
  return addCounts(ended.map(countOf));
}

/** A suite that ended badly without a count counts as one failed test. */
function countOf({ success, output }: Ended): TestCounts {
  const { passed, failed, ignored } = readSummary(output) ??
    { passed: 0, failed: 0, ignored: 0 };
  return { passed, failed: success ? failed : Math.max(failed, 1), ignored };
}

async function main(part: string): Promise<number> {
  if (!["all", "checks", "test"].includes(part)) {
    console.error(`Cannot run the part "${part}" of the gate: all, checks or test`);
    return 2;
  }
  if (!(await exists(join(projectDir(), "deno.lock")))) throw new Error("deno.lock is missing");
  const faults = part === "test" ? [] : await runChecks();
  const counts = part === "checks" ? undefined : await runTests();
  const ignored = counts?.ignored ?? 0;
  if (ignored > 0 && Deno.env.get("SLUICE_TEST_REQUIRE_ALL") === "1") {
    faults.push(`${ignored} tests were ignored, and all are required`);
  }
  console.log("");
  for (const fault of faults) console.log(`FAILED: ${fault}`);
  if (counts !== undefined) console.log(closingLine(counts));
  return faults.length === 0 && (counts?.failed ?? 0) === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args[0] ?? "all"));
