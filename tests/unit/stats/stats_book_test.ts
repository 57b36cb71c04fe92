import assert from "node:assert/strict";
import { StatsBook } from "../../../src/stats/stats_book.ts";

Deno.test("StatsBook adds up the pools of a database, and lists databases by name", () => {
  const book = new StatsBook(0);
  const [b, a1, a2] = [book.open("b"), book.open("a"), book.open("a")];
  a1.queryCount = 1;
  a2.queryCount = 2;
  b.queryCount = 4;
  const totals = book.databases().map(({ database, totals }) => [database, totals.queryCount]);
  assert.deepEqual(totals, [["a", 3], ["b", 4]]);
});

Deno.test("a total never goes down when a pool is freed", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.bytesSent = 100;
  book.retire(pool);
  assert.equal(book.databases()[0]!.totals.bytesSent, 100);
  const next = book.open("a");
  next.bytesSent = 10;
  assert.equal(book.databases()[0]!.totals.bytesSent, 110);
  book.retire(next);
  assert.equal(book.databases()[0]!.totals.bytesSent, 110);
});

Deno.test("retiring twice, or what is not in the book, changes nothing", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.queryCount = 5;
  book.retire(pool);
  book.retire(pool);
  book.retire(new StatsBook(0).open("a"));
  assert.deepEqual(book.databases().map(({ totals }) => totals.queryCount), [5]);
});

Deno.test("averages are of the period that ended last", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.queryCount = 600;
  assert.equal(book.databases()[0]!.averages.queryCount, 0, "no period has ended yet");
  book.endPeriod(60_000);
  assert.equal(book.databases()[0]!.averages.queryCount, 10);
  pool.queryCount += 1_200;
  assert.equal(book.databases()[0]!.averages.queryCount, 10, "counting goes on, the period not");
  book.endPeriod(120_000);
  assert.equal(book.databases()[0]!.averages.queryCount, 20);
  book.endPeriod(180_000);
  assert.equal(book.databases()[0]!.averages.queryCount, 0);
});

Deno.test("averages go on over a freed pool: what it counted in the period still counts", () => {
  const book = new StatsBook(0);
  const pool = book.open("a");
  pool.queryCount = 60;
  book.endPeriod(60_000);
  pool.queryCount += 120;
  book.retire(pool);
  book.endPeriod(120_000);
  assert.equal(book.databases()[0]!.averages.queryCount, 2);
});

Deno.test("overallAverages() adds counts and weighs times by their events", () => {
  const book = new StatsBook(0);
  const [a, b] = [book.open("a"), book.open("b")];
  Object.assign(a, { queryCount: 100, queryTimeUs: 100 * 30, bytesReceived: 500 });
  Object.assign(b, { queryCount: 300, queryTimeUs: 300 * 10, bytesReceived: 700 });
  book.endPeriod(1_000);
  const all = book.overallAverages();
  assert.equal(all.queryCount, 400);
  assert.equal(all.bytesReceived, 1_200);
  assert.equal(all.queryTimeUs, 15);
  assert.equal(all.xactTimeUs, 0);
  a.queryCount += 50;
  book.endPeriod(2_000);
  assert.equal(book.overallAverages().queryCount, 50, "of the last period alone");
});

Deno.test("overallAverages() has times also where less than one query a second is asked", () => {
  const book = new StatsBook(0);
  Object.assign(book.open("a"), { queryCount: 30, queryTimeUs: 30 * 500 });
  book.endPeriod(60_000);
  assert.equal(book.overallAverages().queryCount, 0);
  assert.equal(book.overallAverages().queryTimeUs, 500);
  assert.equal(book.databases()[0]!.averages.queryTimeUs, 500);
});

Deno.test("overallAverages() are 0 before the first period has ended", () => {
  const book = new StatsBook(0);
  book.open("a").queryCount = 1_000;
  assert.equal(book.overallAverages().queryCount, 0);
});
