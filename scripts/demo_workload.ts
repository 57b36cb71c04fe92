/**
 * The demo's workload: many clients that each run one transaction after another, and what they measured.
 * A transaction is four round trips, so that a server is held by one client while others wait for it.
 */

// @ts-types="@types/pg"
import pg from "pg";
import { percentile } from "./percentiles.ts";

/** Where to connect and how much to do. */
export interface WorkloadOptions {
  readonly url: string;
  readonly clientCount: number;
  readonly seconds: number;
  /** Aborted: the clients finish their transactions and leave. */
  readonly signal: AbortSignal;
  /** Called about five times a second. */
  readonly onProgress: (progress: Progress) => void;
}

/** What has happened so far. */
export interface Progress {
  readonly elapsedMs: number;
  readonly connectedCount: number;
  readonly transactionCount: number;
}

/** What came of it. */
export interface WorkloadResult {
  readonly clientCount: number;
  /** Different server processes that answered. */
  readonly serverCount: number;
  readonly transactionCount: number;
  readonly transactionsPerSecond: number;
  /** Milliseconds a transaction took, waiting for a server included. */
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

/** How many rows the transactions change; one a client would hide that they meet each other. */
export const ACCOUNT_COUNT = 1000;

/** Statements that make what the workload changes. */
export const WORKLOAD_SCHEMA = `
  create table account (id int primary key, balance bigint not null);
  insert into account select id, 0 from generate_series(1, ${ACCOUNT_COUNT}) as id;
`;

/** Logs all clients in, lets them work for `seconds`, and logs them out. */
export async function runWorkload(options: WorkloadOptions): Promise<WorkloadResult> {
  const { url, clientCount, seconds, signal, onProgress } = options;
  const clients = Array.from({ length: clientCount }, () => new pg.Client(url));
  const startAtMs = performance.now();
  const latencies: number[] = [];
  const serverPids = new Set<number>();
  let connectedCount = 0;
  const report = () =>
    onProgress({
      elapsedMs: performance.now() - startAtMs,
      connectedCount,
      transactionCount: latencies.length,
    });
  const timer = setInterval(report, 200);
  try {
    await Promise.all(clients.map(async (client) => {
      await client.connect();
      connectedCount++;
    }));
    const workAtMs = performance.now();
    const endAtMs = workAtMs + seconds * 1000;
    await Promise.all(clients.map(async (client) => {
      while (performance.now() < endAtMs && !signal.aborted) {
        const beginAtMs = performance.now();
        serverPids.add(await runTransaction(client));
        latencies.push(performance.now() - beginAtMs);
      }
    }));
    report();
    return summarize({ latencies, serverPids, clientCount, workMs: performance.now() - workAtMs });
  } finally {
    clearInterval(timer);
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

/** Moves an amount between two accounts; answers the server process that did it. */
async function runTransaction(client: pg.Client): Promise<number> {
  const [low, high] = twoAccounts();
  await client.query("begin");
  await client.query("update account set balance = balance - 1 where id = $1", [low]);
  await client.query("update account set balance = balance + 1 where id = $1", [high]);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  await client.query("commit");
  return rows[0]?.pid ?? 0;
}

/** Two different accounts, the lower first: transactions that lock in one order cannot deadlock. */
function twoAccounts(): [number, number] {
  const first = 1 + Math.floor(Math.random() * ACCOUNT_COUNT);
  const second = 1 + (first + Math.floor(Math.random() * (ACCOUNT_COUNT - 1))) % ACCOUNT_COUNT;
  return [Math.min(first, second), Math.max(first, second)];
}

/** What the clients measured. */
interface Measured {
  readonly latencies: readonly number[];
  readonly serverPids: ReadonlySet<number>;
  readonly clientCount: number;
  readonly workMs: number;
}

function summarize({ latencies, serverPids, clientCount, workMs }: Measured): WorkloadResult {
  const sorted = latencies.toSorted((a, b) => a - b);
  return {
    clientCount,
    serverCount: serverPids.size,
    transactionCount: sorted.length,
    transactionsPerSecond: sorted.length / (workMs / 1000),
    p50Ms: percentile(sorted, 0.5),
    p95Ms: percentile(sorted, 0.95),
    p99Ms: percentile(sorted, 0.99),
  };
}
