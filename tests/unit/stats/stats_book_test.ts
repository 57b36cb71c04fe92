import assert from "node:assert/strict";
import { StatsBook } from "../../../src/stats/stats_book.ts";

Deno.test("StatsBook adds up the pools of a database, and lists databases by name", () => {
  const book = new StatsBook(0);
  const [b, a1, a2] = [book.open("b"), book.open("a"), book.open("a")];
  a1.queryCount = 1;
  a2.queryCount = 2;
  b.queryCount = 4;
  const totals = book.databases(0).map(({ database, totals }) => [database, totals.queryCount]);
  assert.deepEqual(totals, [["a", 3], ["b", 4]]);
});

Deno.test("a total never goes down when a pool is freed", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.bytesSent = 100;
  book.retire(pool);
  assert.equal(book.databases(0)[0]!.totals.bytesSent, 100);
  const next = book.open("a");
  next.bytesSent = 10;
  assert.equal(book.databases(0)[0]!.totals.bytesSent, 110);
  book.retire(next);
  assert.equal(book.databases(0)[0]!.totals.bytesSent, 110);
});

Deno.test("retiring twice, or what is not in the book, changes nothing", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.queryCount = 5;
  book.retire(pool);
  book.retire(pool);
  book.retire(new StatsBook(0).open("a"));
  assert.deepEqual(book.databases(0).map(({ totals }) => totals.queryCount), [5]);
});

Deno.test("averages are from the beginning of the last whole period until now", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  const averageAt = (seconds: number) => book.databases(seconds * 1_000)[0]!.averages.queryCount;
  assert.equal(averageAt(0), 0);
  pool.queryCount = 600;
  assert.deepEqual([averageAt(0), averageAt(10), averageAt(60)], [0, 60, 10], "the first period");
  book.endPeriod(60_000);
  assert.equal(averageAt(60), 10);
  pool.queryCount += 1_200;
  assert.deepEqual([averageAt(75), averageAt(120)], [24, 15], "two periods, one of them whole");
  book.endPeriod(120_000);
  assert.deepEqual([averageAt(120), averageAt(180)], [20, 10], "the first does not count any more");
  book.endPeriod(180_000);
  assert.equal(averageAt(180), 0);
});

Deno.test("averages go on over a freed pool: what it counted in the period still counts", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.queryCount = 60;
  book.endPeriod(60_000);
  pool.queryCount += 120;
  book.retire(pool);
  book.endPeriod(120_000);
  assert.equal(book.databases(120_000)[0]!.averages.queryCount, 2);
});

Deno.test("endPeriod() gives the averages of the period alone, of all databases", () => {
  const book = new StatsBook(0);
  const [a, b] = [book.open("a"), book.open("b")];
  Object.assign(a, { queryCount: 100, queryTimeUs: 100 * 30, bytesReceived: 500 });
  Object.assign(b, { queryCount: 300, queryTimeUs: 300 * 10, bytesReceived: 700 });
  const { bytesReceived, queryCount, queryTimeUs, xactTimeUs } = book.endPeriod(1_000);
  assert.deepEqual([queryCount, bytesReceived, queryTimeUs, xactTimeUs], [400, 1_200, 15, 0]);
  a.queryCount += 50;
  assert.equal(book.overallAverages(2_000).queryCount, 225, "those of SHOW TOTALS go on");
  assert.equal(book.endPeriod(2_000).queryCount, 50);
});

Deno.test("overallAverages() has times also where less than one query a second is asked", () => {
  const book = new StatsBook(0);
  Object.assign(book.open("a"), { queryCount: 30, queryTimeUs: 30 * 500 });
  book.endPeriod(60_000);
  const all = book.overallAverages(60_000);
  assert.deepEqual([all.queryCount, all.queryTimeUs], [0, 500]);
  assert.equal(book.databases(60_000)[0]!.averages.queryTimeUs, 500);
});
