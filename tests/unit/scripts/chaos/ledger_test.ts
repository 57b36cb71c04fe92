/** Holding the database against what clients saw. */

import assert from "node:assert/strict";
import {
  judgeLedger,
  LedgerBook,
  type LedgerTables,
  type Outcome,
  transferSteps,
  withLiterals,
} from "../../../../scripts/chaos/ledger.ts";

const SEEN: ReadonlyMap<number, Outcome> = new Map<number, Outcome>([
  [1, "committed"],
  [2, "rolled back"],
  [3, "unknown"],
  [4, "unknown"],
]);

/** Tables that agree with `SEEN`, but for what a test changes. */
function judge(changes: Partial<LedgerTables>): string[] {
  return judgeLedger(SEEN, { ids: [1, 3], sum: 0, wrongAccounts: 0, noise: 0, ...changes });
}

Deno.test("judgeLedger() finds nothing where what is unknown is there or not", () => {
  assert.deepEqual(judge({}), []);
  assert.deepEqual(judge({ ids: [4, 1] }), []);
});

Deno.test("judgeLedger() misses a transfer that was seen committed", () => {
  assert.deepEqual(judge({ ids: [3] }), ["1 transfers seen committed and not there: 1"]);
});

Deno.test("judgeLedger() finds a transfer that was seen rolled back", () => {
  assert.deepEqual(judge({ ids: [1, 2] }), ["1 transfers seen rolled back and there: 2"]);
});

Deno.test("judgeLedger() finds a transfer that is there twice, whatever was seen of it", () => {
  assert.deepEqual(judge({ ids: [1, 3, 1] }), ["1 transfers there more than once: 1"]);
  assert.deepEqual(judge({ ids: [1, 3, 3] }), ["1 transfers there more than once: 3"]);
});

Deno.test("judgeLedger() finds transfers that nobody began, and names the first of many", () => {
  const faults = judge({ ids: [1, 10, 11, 12, 13, 14, 15] });
  assert.deepEqual(faults, ["6 transfers there and of nobody: 10, 11, 12, 13, 14, …"]);
});

Deno.test("judgeLedger() finds money that came or went, and rows that nobody committed", () => {
  assert.deepEqual(judge({ sum: -5 }), ["the sum of all balances is -5, not 0"]);
  assert.deepEqual(judge({ wrongAccounts: 2 }), ["2 accounts are not what transfers made them"]);
  assert.deepEqual(judge({ noise: 7 }), ["7 rows are there that nobody committed"]);
});

Deno.test("LedgerBook begins transfers between two accounts, each with an id of its own", () => {
  const book = new LedgerBook();
  const transfers = Array.from({ length: 500 }, () => book.begin());
  assert.equal(new Set(transfers.map(({ id }) => id)).size, 500);
  assert.ok(transfers.every(({ source, target }) => source !== target));
  assert.equal(book.count("unknown"), 500);
  book.note(7, "committed");
  assert.equal(book.seen.get(7), "committed");
  assert.equal(book.count("committed"), 1);
});

Deno.test("transferSteps() locks the lower account first and moves the amount from source to target", () => {
  for (const [source, target] of [[3, 8], [8, 3]] as const) {
    const steps = transferSteps({ id: 5, source, target, amount: 10, end: "commit" });
    assert.deepEqual(steps.slice(0, 2).map(({ values }) => values[1]), [3, 8]);
    const moved = new Map(steps.slice(0, 2).map(({ values: [by, account] }) => [account, by]));
    assert.deepEqual([moved.get(source), moved.get(target)], [-10, 10]);
    assert.equal(steps[2]?.row, "5");
  }
});

Deno.test("withLiterals() puts each number in its place, a negative one in parentheses", () => {
  assert.equal(withLiterals({ sql: "f($2, $1, $2)", values: [-1, 20] }), "f((20), (-1), (20))");
});
