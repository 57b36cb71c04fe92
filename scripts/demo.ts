/**
 * Shows Sluice at work with one command: a temporary PostgreSQL, Sluice in front of it, and 200 clients
 * that share five server connections. Stays up for trying it by hand until Ctrl-C, or ends with `--once`.
 *
 * Nothing is left behind, however it ends: folders and processes have a guard (`guarded_process.ts`).
 */

import { parseArgs } from "node:util";
import { startPostgres } from "./postgres_fixture.ts";
import type { Postgres } from "./postgres_fixture.ts";
import { startSluice } from "./sluice_process.ts";
import { runWorkload, WORKLOAD_SCHEMA } from "./demo_workload.ts";
import type { Progress, WorkloadResult } from "./demo_workload.ts";

const CLIENT_COUNT = 200;
const POOL_SIZE = 5;
const ADDRESS = "127.0.0.1";

const USAGE = `Usage: deno task demo [--port N] [--seconds N] [--once]

  --port N     where Sluice listens on ${ADDRESS} (6432)
  --seconds N  how long the clients work (5)
  --once       end after the workload instead of staying up until Ctrl-C`;

/** What the command line asks for. */
interface DemoOptions {
  readonly port: number;
  readonly seconds: number;
  readonly once: boolean;
}

/** Something the user can mend; printed without a stack. */
class DemoError extends Error {}

/** Reads the command line. */
function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: "string", default: "6432" },
      seconds: { type: "string", default: "5" },
      once: { type: "boolean", default: false },
    },
  });
  const port = Number(values.port);
  const seconds = Number(values.seconds);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new DemoError(`--port takes a number from 1 to 65535, not "${values.port}"`);
  }
  if (!(seconds > 0)) {
    throw new DemoError(`--seconds takes a positive number, not "${values.seconds}"`);
  }
  return { port, seconds, once: values.once };
}

/** Says plainly that the port is taken, before anything is started. */
function assertPortIsFree(port: number): void {
  try {
    using _listener = Deno.listen({ hostname: ADDRESS, port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      const other = port < 65535 ? port + 1 : port - 1;
      throw new DemoError(
        `Port ${port} on ${ADDRESS} is in use by another program, perhaps a pooler or another demo.\n` +
          `Choose another port: deno task demo --port ${other}`,
      );
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new DemoError(`Port ${port} may not be used by this user: choose one above 1023`);
    }
    throw error;
  }
}

/** The configuration of the demo, which is also a small example. */
function configFor(postgres: Postgres, port: number): string {
  return `[pooler]
listen_addr = "${ADDRESS}"
listen_port = ${port}
unix_socket_dir = ""
auth_type = "scram-sha-256"
admin_users = "demo"
pool_mode = "transaction"
default_pool_size = ${POOL_SIZE}
max_client_conn = 1000

[databases."*"]
host = "${postgres.host}"
port = ${postgres.port}

[users.demo]
password = "demo"
`;
}

/** Shows how far the workload is: in place on a terminal, else one line a second. */
function progressPrinter(seconds: number): (progress: Progress) => void {
  const isTerminal = Deno.stdout.isTerminal();
  let printedSecond = -1;
  return ({ elapsedMs, connectedCount, transactionCount }) => {
    const second = Math.floor(elapsedMs / 1000);
    const line = `  ${(elapsedMs / 1000).toFixed(1).padStart(4)} s  ` +
      `${connectedCount}/${CLIENT_COUNT} clients connected  ${transactionCount} transactions`;
    if (isTerminal) {
      const done = Math.min(20, Math.round(20 * elapsedMs / 1000 / seconds));
      print(`\r[${"#".repeat(done).padEnd(20, ".")}]${line}`);
    } else if (second !== printedSecond) {
      printedSecond = second;
      print(`${line}\n`);
    }
  };
}

/** The table at the end. */
function resultTable(result: WorkloadResult): string {
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const rows = [
    ["clients", String(result.clientCount)],
    ["server connections used", String(result.serverCount)],
    ["transactions", String(result.transactionCount)],
    ["throughput", `${Math.round(result.transactionsPerSecond)} transactions/s`],
    ["latency p50", ms(result.p50Ms)],
    ["latency p95", ms(result.p95Ms)],
    ["latency p99", ms(result.p99Ms)],
  ];
  return rows.map(([name = "", value = ""]) => `  ${name.padEnd(24)}${value.padStart(22)}`).join(
    "\n",
  );
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

/** Aborted at Ctrl-C or when the process is asked to end. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => stop.abort());
  }
  return stop.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

/** Runs the demo; `signal` ends it early, and then everything is taken down in order. */
async function runDemo({ port, seconds, once }: DemoOptions, signal: AbortSignal) {
  assertPortIsFree(port);
  print("Starting a temporary PostgreSQL 18 (the first time it is fetched, some 25 MB) ...\n");
  await using postgres = await startPostgres({ conf: ["max_connections = 50"] });
  if (signal.aborted) return;
  await postgres.sql("create role demo login password 'demo'");
  await postgres.sql("create database demo owner demo");
  await postgres.sql(`set role demo; ${WORKLOAD_SCHEMA}`, "demo");
  print(`Starting Sluice on ${ADDRESS}:${port} ...\n`);
  await using sluice = await startSluice({ config: configFor(postgres, port) });
  const url = `postgres://demo:demo@${ADDRESS}:${sluice.port}/demo`;
  print(
    `\n${CLIENT_COUNT} clients share ${POOL_SIZE} server connections in transaction pooling:\n`,
  );
  const result = await runWorkload({
    url,
    seconds,
    signal,
    clientCount: CLIENT_COUNT,
    onProgress: progressPrinter(seconds),
  });
  if (signal.aborted) return;
  print(`\n\n${resultTable(result)}\n`);
  print(
    "\n  The latency contains the wait for one of the few servers: that is what the pool shares.\n",
  );
  if (once) return;
  print(`\nTry it, in another terminal:\n\n  psql ${url}\n`);
  print(`  psql ${url.replace(/demo$/, "pgbouncer")} -c 'SHOW POOLS'\n\nCtrl-C ends the demo.\n`);
  const end = await Promise.race([aborted(signal), sluice.exited]);
  if (end !== undefined) throw new DemoError(`Sluice ended by itself:\n${sluice.log()}`);
  print("\nEnding the demo ...\n");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<number> {
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    print(`${USAGE}\n`);
    return 0;
  }
  try {
    const options = readOptions(Deno.args);
    await runDemo(options, stopSignal());
    return 0;
  } catch (error) {
    const isOption = error instanceof TypeError && error.message.includes("option");
    console.error(`\n${messageOf(error)}${isOption ? `\n\n${USAGE}` : ""}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
