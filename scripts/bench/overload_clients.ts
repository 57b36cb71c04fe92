/**
 * A process of its own with many clients that ask again as soon as they are answered. Prints `ready` when
 * all are logged in, `measuring` after the warm-up, and at the end what was measured, as JSON.
 *
 * It speaks the few messages itself, on the runtime's sockets: what pgbench spends on looking through all
 * its connections for those that are ready grows with their number, and would be taken for the pooler's.
 *
 * Arguments: port, clients, seconds of warm-up, seconds, user.
 */

import { median, percentile } from "../percentiles.ts";
import { logInAll, query, untilReady } from "./idle_clients.ts";

/** What was measured. */
export interface OverloadResult {
  readonly transactionsPerSecond: number;
  /** Of a transaction, wait included, in ms. */
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Begins and ends of a measurement, on `performance.now()`'s clock. */
interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Holds its server for 2 ms without using the processor: so it is the servers that there are too few of,
 * and not the time of those who share the machine with them, these clients among them.
 */
const QUERY = query("select pg_sleep(0.002)");

/** Asks until the time is over; notes how long each answer took that began and ended in it. */
async function ask(conn: Deno.Conn, { fromMs, toMs }: Span, tookMs: number[]): Promise<void> {
  for (;;) {
    const beganAtMs = performance.now();
    if (beganAtMs >= toMs) return;
    await conn.write(QUERY);
    await untilReady(conn);
    const endedAtMs = performance.now();
    if (beganAtMs >= fromMs && endedAtMs <= toMs) tookMs.push(endedAtMs - beganAtMs);
  }
}

async function main(): Promise<void> {
  const [port, count, warmUp, seconds, user = ""] = Deno.args;
  const target = { port: Number(port), user, certificate: undefined };
  const conns = await logInAll(target, Number(count));
  console.log("ready");
  const fromMs = performance.now() + Number(warmUp) * 1000;
  const span = { fromMs, toMs: fromMs + Number(seconds) * 1000 };
  const tookMs: number[] = [];
  setTimeout(() => console.log("measuring"), Number(warmUp) * 1000);
  await Promise.all(conns.map((conn) => ask(conn, span, tookMs)));
  for (const conn of conns) conn.close();
  const sorted = Float64Array.from(tookMs).sort();
  const result: OverloadResult = {
    transactionsPerSecond: tookMs.length / Number(seconds),
    medianMs: median(tookMs),
    p99Ms: percentile(sorted, 0.99),
    maxMs: sorted.at(-1) ?? NaN,
  };
  console.log(JSON.stringify(result));
}

if (import.meta.main) await main();
