/**
 * Reads the output of `deno test`: its closing line, which is not the plain one that the gate ends with,
 * and what it says of the tests that failed.
 */

/** How many lines tell why a test run ended early. */
const LAST_LINES = 20;

/** How many tests did what. */
export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly ignored: number;
}

/** The counts in the last closing line of a test run's output; nothing if there is no such line. */
export function readSummary(output: string): TestCounts | undefined {
  const plain = withoutColours(output);
  const lines = [...plain.matchAll(/^(?:ok|FAILED) \| (\d+) passed.*$/gm)];
  const line = lines.at(-1)?.[0];
  if (line === undefined) return undefined;
  return {
    passed: countOf(line, "passed"),
    failed: countOf(line, "failed"),
    ignored: countOf(line, "ignored"),
  };
}

/**
 * What a test run's output says of the tests that failed, each with its error; of a run that ended before
 * it could say so, its last lines.
 */
export function readFailures(output: string): string {
  const plain = withoutColours(output);
  const said = /^ ERRORS $([\s\S]*?)^ FAILURES $/m.exec(plain)?.[1];
  return (said ?? plain.split("\n").slice(-LAST_LINES).join("\n")).trim();
}

/** Adds up the counts of several runs. */
export function addCounts(runs: readonly TestCounts[]): TestCounts {
  return {
    passed: runs.reduce((sum, run) => sum + run.passed, 0),
    failed: runs.reduce((sum, run) => sum + run.failed, 0),
    ignored: runs.reduce((sum, run) => sum + run.ignored, 0),
  };
}

/** The gate's own closing line. */
export function closingLine({ passed, failed, ignored }: TestCounts): string {
  const skipped = ignored === 0 ? "" : `, ${ignored} skipped`;
  return `${passed} passed, ${failed} failed${skipped}`;
}

function countOf(line: string, word: string): number {
  return Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0);
}

function withoutColours(text: string): string {
  // deno-lint-ignore no-control-regex -- colours are control sequences
  return text.replace(/\x1b\[[0-9;]*m/g, "");
}
