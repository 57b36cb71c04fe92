/** What the gate says at its end: how many tests passed, and which failed and why. */

import assert from "node:assert/strict";
import {
  addCounts,
  closingLine,
  readFailures,
  readSummary,
} from "../../../scripts/test_summary.ts";

Deno.test("readSummary() reads a good run, a bad one, steps, ignored tests and colours", () => {
  const cases = [
    ["ok | 12 passed | 0 failed (3s)", { passed: 12, failed: 0, ignored: 0 }],
    ["FAILED | 39 passed | 12 failed (103ms)", { passed: 39, failed: 12, ignored: 0 }],
    ["ok | 2 passed (7 steps) | 0 failed | 3 ignored (1s)", { passed: 2, failed: 0, ignored: 3 }],
    ["\x1b[0m\x1b[32mok\x1b[0m | 1 passed | 0 failed (1s)", { passed: 1, failed: 0, ignored: 0 }],
    ["a test\nok | 1 passed | 0 failed\nmore\n", { passed: 1, failed: 0, ignored: 0 }],
  ] as const;
  for (const [output, counts] of cases) assert.deepEqual(readSummary(output), counts);
});

Deno.test("readSummary() answers nothing for a run that ended before its closing line", () => {
  assert.equal(readSummary("error: Module not found"), undefined);
});

Deno.test("readFailures() repeats each failed test with its error, and nothing else", () => {
  const failed =
    "a ... ok\nb ... FAILED\n\n ERRORS \n\nb => ./b_test.ts:2:6\nerror: bad\n    at b\n\n" +
    " FAILURES \n\nb => ./b_test.ts:2:6\n\nFAILED | 1 passed | 1 failed (1s)\n";
  const told = "b => ./b_test.ts:2:6\nerror: bad\n    at b";
  assert.equal(readFailures(failed), told);
  assert.equal(readFailures(failed.replace(" ERRORS ", "\x1b[1m ERRORS \x1b[0m")), told);
});

Deno.test("readFailures() shows the last lines of a run that ended early", () => {
  const lines = Array.from({ length: 30 }, (_, line) => `line ${line}`);
  assert.equal(readFailures(`${lines.join("\n")}\n`), lines.slice(11).join("\n"));
});

Deno.test("closingLine() is the plain line, and names skipped tests only if there are some", () => {
  const one = { passed: 3, failed: 1, ignored: 0 };
  assert.equal(closingLine(one), "3 passed, 1 failed");
  const both = addCounts([one, { passed: 2, failed: 0, ignored: 4 }]);
  assert.equal(closingLine(both), "5 passed, 1 failed, 4 skipped");
});
