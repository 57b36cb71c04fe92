/**
 * Measures how pools share a limit: one user with many clients beside another with few, all at it
 * without a pause, under `max_connections` of one physical server. `deno task fairness`; see USAGE.
 * The figures of docs/limits.md are from here.
 */

// @ts-types="@types/pg"
import pg from "pg";
import { parseArgs } from "node:util";
import { tomlConfig } from "../tests/support/toml_config.ts";
import { positive, runScript } from "./command_line.ts";
import { percentile } from "./percentiles.ts";
import { type Postgres, startPostgres } from "./postgres_fixture.ts";
import { type SluiceProcess, startSluice } from "./sluice_process.ts";

const USAGE = `Usage: deno task fairness [options]

  --many=N     clients of the user "many" (100)
  --one=N      clients of the user "one" (1)
  --servers=N  what max_connections is set to (4)
  --weight=N   weight of the user "one" (1)
  --seconds=N  length of the measurement (5)`;

/** A query takes so long at the server. */
const QUERY_MS = 10;

/** What is measured. */
interface Plan {
  readonly many: number;
  readonly one: number;
  readonly servers: number;
  readonly weight: number;
  readonly seconds: number;
}

/** One user's clients. */
interface Group {
  readonly user: string;
  readonly clients: readonly pg.Client[];
  /** How long each query took, waiting included. */
  readonly tookMs: number[];
}

function configOf({ host, port }: Postgres, { servers, weight }: Plan): string {
  const config = tomlConfig({
    pooler: { pool_mode: "transaction", max_client_conn: 10_000 },
    databases: { "*": { host, port } },
    users: { many: { password: "x" }, one: { password: "x", weight } },
  });
  return `${config}
[servers.main]
host = "${host}"
port = ${port}
max_connections = ${servers}
`;
}

async function logIn({ port }: SluiceProcess, user: string, count: number): Promise<Group> {
  const clients: pg.Client[] = [];
  for (let i = 0; i < count; i++) {
    const client = new pg.Client({ host: "127.0.0.1", port, user, database: "postgres" });
    await client.connect();
    clients.push(client);
  }
  return { user, clients, tookMs: [] };
}

/** Has every client ask again and again until the time is over. */
async function work({ clients, tookMs }: Group, endMs: number): Promise<void> {
  await Promise.all(clients.map(async (client) => {
    for (let atMs = performance.now(); atMs < endMs;) {
      await client.query(`select pg_sleep(${QUERY_MS / 1000})`);
      const nowMs = performance.now();
      tookMs.push(nowMs - atMs);
      atMs = nowMs;
    }
  }));
}

function rowOf({ clients, tookMs, user }: Group, seconds: number): string {
  const sorted = Float64Array.from(tookMs).sort();
  const figures = [0.5, 0.99, 1].map((part) => percentile(sorted, part).toFixed(0));
  const rate = (tookMs.length / seconds).toFixed(0);
  return [user, String(clients.length), rate, ...figures].map((text) => text.padStart(9)).join(" ");
}

async function measure(plan: Plan): Promise<void> {
  await using postgres = await startPostgres();
  for (const user of ["many", "one"]) {
    await postgres.sql(`create role ${user} login password 'x'`);
  }
  await using sluice = await startSluice({ config: configOf(postgres, plan) });
  const groups = [await logIn(sluice, "many", plan.many), await logIn(sluice, "one", plan.one)];
  const endMs = performance.now() + plan.seconds * 1000;
  await Promise.all(groups.map((group) => work(group, endMs)));
  const titles = ["user", "clients", "queries/s", "p50 ms", "p99 ms", "longest"];
  console.log(titles.map((title) => title.padStart(9)).join(" "));
  for (const group of groups) console.log(rowOf(group, plan.seconds));
  await Promise.all(groups.flatMap(({ clients }) => clients.map((client) => client.end())));
}

/** Reads the command line. @throws {OptionError} If it cannot be understood. */
function readPlan(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      many: { type: "string", default: "100" },
      one: { type: "string", default: "1" },
      servers: { type: "string", default: "4" },
      weight: { type: "string", default: "1" },
      seconds: { type: "string", default: "5" },
    },
  });
  return {
    many: positive("many", values.many),
    one: positive("one", values.one),
    servers: positive("servers", values.servers),
    weight: positive("weight", values.weight),
    seconds: positive("seconds", values.seconds),
  };
}

async function main(): Promise<number> {
  await measure(readPlan(Deno.args));
  return 0;
}

if (import.meta.main) Deno.exit(await runScript(USAGE, main));
