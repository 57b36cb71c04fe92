/** Runs pgbench and reads what it says: throughput from its report, latencies from its log. */

import { join } from "node:path";
import { makeTempDir, removeTree } from "../cache_dir.ts";
import { percentile } from "../percentiles.ts";
import { PASSWORD, USER } from "./pooler.ts";

/** A run of pgbench. */
export interface PgbenchOptions {
  readonly port: number;
  readonly clients: number;
  readonly seconds: number;
  readonly protocol: "simple" | "extended" | "prepared";
  /** Connect anew for each transaction. */
  readonly connectEach?: boolean;
  /** Whether TLS is demanded. */
  readonly isTls?: boolean;
}

/** What pgbench measured. */
export interface PgbenchResult {
  readonly transactions: number;
  readonly transactionsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Lines of log wanted of one run: enough for a p99, few enough not to disturb. */
const LOG_LINES = 50_000;

/** A guess at the highest throughput, for choosing the share of transactions that are logged. */
const HIGHEST_TPS = 50_000;

/** Creates pgbench's tables, straight in PostgreSQL. */
export async function createTables(port: number, scale: number): Promise<void> {
  await runPgbench(["-i", "-q", "-s", String(scale)], { port, cwd: Deno.cwd() });
}

/** Runs the select-only script. */
export async function pgbench(options: PgbenchOptions): Promise<PgbenchResult> {
  const { port, clients, seconds, protocol, connectEach = false } = options;
  const share = Math.min(1, LOG_LINES / (seconds * HIGHEST_TPS));
  const dir = await makeTempDir("pgbench-");
  try {
    const report = await runPgbench(
      [
        ...["-n", "-S", "-M", protocol, "-c", String(clients), "-T", String(seconds), "-l"],
        // Of connections, every one is logged: the time for one is the distance between two lines.
        ...(connectEach ? ["-C"] : share < 1 ? [`--sampling-rate=${share}`] : []),
      ],
      { port, cwd: dir, isTls: options.isTls },
    );
    const log = await readLogs(dir);
    const latencies = connectEach ? cycleTimesMs(log) : latenciesMs(log);
    return { ...readReport(report), ...percentiles(latencies) };
  } finally {
    await removeTree(dir);
  }
}

async function runPgbench(
  args: readonly string[],
  { cwd, isTls = false, port }: { port: number; cwd: string; isTls?: boolean | undefined },
): Promise<string> {
  const connection = ["-h", "127.0.0.1", "-p", String(port), "-U", USER, "postgres"];
  const { success, stdout, stderr } = await new Deno.Command("pgbench", {
    args: [...args, ...connection],
    cwd,
    env: { PGPASSWORD: PASSWORD, PGSSLMODE: isTls ? "require" : "disable" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  throw new Error(`pgbench failed:\n${decoder.decode(stderr).split("\n").slice(0, 5).join("\n")}`);
}

async function readLogs(dir: string): Promise<string> {
  const texts: string[] = [];
  for await (const entry of Deno.readDir(dir)) {
    texts.push(await Deno.readTextFile(join(dir, entry.name)));
  }
  return texts.join("");
}

/** Throughput and count in pgbench's report. @throws {Error} If a client failed. */
export function readReport(
  report: string,
): Pick<PgbenchResult, "transactions" | "transactionsPerSecond"> {
  const transactions = Number(/actually processed: (\d+)/.exec(report)?.[1]);
  const transactionsPerSecond = Number(/^tps = ([\d.]+)/m.exec(report)?.[1]);
  const failed = Number(/failed transactions: (\d+)/.exec(report)?.[1] ?? 0);
  if (!(transactions > 0) || !(transactionsPerSecond > 0) || failed > 0) {
    throw new Error(`No usable result of pgbench:\n${report}`);
  }
  return { transactions, transactionsPerSecond };
}

/** The latencies in a log: its third column, microseconds. */
export function latenciesMs(log: string): number[] {
  return logLines(log).map(([, , us = NaN]) => us / 1000);
}

/**
 * The times between one client's transactions, ends to ends, in a log. With a new connection for each,
 * pgbench's own latency leaves the connecting out.
 */
export function cycleTimesMs(log: string): number[] {
  const lastEndMs = new Map<number, number>();
  const times: number[] = [];
  for (const [client = NaN, , , , seconds = NaN, us = NaN] of logLines(log)) {
    const endMs = seconds * 1000 + us / 1000;
    const before = lastEndMs.get(client);
    if (before !== undefined) times.push(endMs - before);
    lastEndMs.set(client, endMs);
  }
  return times;
}

/** Columns: client, transaction, latency in µs, script, end in seconds since 1970 and µs. */
function logLines(log: string): number[][] {
  return log.split("\n").filter((line) => line !== "").map((line) => line.split(" ").map(Number));
}

function percentiles(values: readonly number[]): Pick<PgbenchResult, "p50Ms" | "p99Ms"> {
  const sorted = Float64Array.from(values).sort();
  return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
}
