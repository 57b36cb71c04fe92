/** Scenarios in which PostgreSQL is broken. */

// @ts-types="@types/pg"
import pg from "pg";
import { pause } from "../guarded_process.ts";
import type { StopMode } from "../postgres_fixture.ts";
import { type ChaosWorld, POOL_SIZE, postgresProcesses } from "./chaos_world.ts";
import type { ChaosScenario } from "./run_scenario.ts";

/** A crash of PostgreSQL, as it is told to all its clients. */
export const killBackend: ChaosScenario = {
  name: "kill-backend",
  title: "kill -9 a backend; PostgreSQL recovers from a crash",
  async disturb(world, isOver) {
    while (!isOver()) {
      // While PostgreSQL recovers nobody can ask it for its backends.
      const backends = await world.backends().catch(() => []);
      const victim = backends[Math.floor(Math.random() * backends.length)];
      if (victim !== undefined) kill(victim, "SIGKILL");
      await pause(700);
    }
    return [];
  },
};

/** Signals a process that may have gone meanwhile. */
function kill(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

const terminate: ChaosScenario = {
  name: "terminate",
  title: "pg_terminate_backend of a backend, ten times a second",
  async disturb(world, isOver) {
    while (!isOver()) {
      await world.postgres.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ledger'
          order by random() limit 1`,
      );
      await pause(100);
    }
    return [];
  },
};

function restart(mode: StopMode): ChaosScenario {
  return {
    name: `restart-${mode}`,
    title: `restart PostgreSQL (${mode}), again and again`,
    async disturb({ postgres }, isOver) {
      while (!isOver()) {
        await postgres.restart(mode);
        await pause(1000);
      }
      return [];
    },
  };
}

function stop(mode: StopMode): ChaosScenario {
  return {
    name: `stop-${mode}`,
    title: `stop PostgreSQL (${mode}), and start it after a while`,
    async disturb({ postgres }, isOver) {
      await postgres.stop(mode);
      while (!isOver()) await pause(100);
      await postgres.restart();
      return [];
    },
  };
}

/** Which processes are stopped, in turns. */
const FROZEN: readonly ((world: ChaosWorld) => Promise<number[]>)[] = [
  async (world) => (await world.backends()).slice(0, 1),
  ({ postgres }) => Promise.resolve([postgres.pid]),
  ({ postgres }) => postgresProcesses(postgres),
];

const freeze: ChaosScenario = {
  name: "sigstop",
  title: "SIGSTOP one backend, the postmaster, and all of PostgreSQL, for a second each",
  async disturb(world, isOver) {
    for (let turn = 0; !isOver(); turn++) {
      const pids = await FROZEN[turn % FROZEN.length]?.(world) ?? [];
      for (const pid of pids) kill(pid, "SIGSTOP");
      try {
        await pause(1000);
      } finally {
        for (const pid of pids) kill(pid, "SIGCONT");
      }
      await pause(300);
    }
    return [];
  },
};

/** Takes all connections that PostgreSQL still has to give, directly. */
async function takeAllConnections({ postgres }: ChaosWorld): Promise<pg.Client[]> {
  const taken: pg.Client[] = [];
  for (;;) {
    const client = new pg.Client({
      host: postgres.socketDir,
      port: postgres.port,
      user: "hog",
      database: "postgres",
    });
    client.on("error", () => {});
    try {
      await client.connect();
      taken.push(client);
    } catch (error) {
      if (!isFull(error)) throw error;
      return taken;
    }
  }
}

/** Whether PostgreSQL has no connection left (too_many_connections). */
function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "53300";
}

const maxConnections: ChaosScenario = {
  name: "max-connections",
  title: "others take all of PostgreSQL's connections, those of Sluice too, for a second",
  world: { conf: ["max_connections = 15", "superuser_reserved_connections = 3"] },
  async disturb(world, isOver) {
    const before = refusals(world);
    await world.postgres.sql("drop role if exists hog; create role hog login");
    while (!isOver()) {
      const taken = await takeFromSluice(world);
      await pause(1000);
      await Promise.all(taken.map((client) => client.end()));
      await pause(1200);
    }
    return refusals(world) > before ? [] : ["Sluice was never refused a connection"];
  },
};

/** How often PostgreSQL had no connection left, as Sluice has logged it. */
function refusals({ sluice }: ChaosWorld): number {
  return sluice.log().split(/too many clients already|remaining connection slots/).length;
}

/** Ends Sluice's connections and takes all there are, before Sluice can open new ones. */
async function takeFromSluice(world: ChaosWorld): Promise<pg.Client[]> {
  world.sluice.signal("SIGSTOP");
  try {
    await world.postgres.sql(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'ledger'`,
    );
    return await takeAllConnections(world);
  } finally {
    world.sluice.signal("SIGCONT");
  }
}

/** What of a COPY is sent, or read, before the client is killed. */
const MANY_LINES = "a line of noise\n".repeat(500);

const killMidCopy: ChaosScenario = {
  name: "mid-copy",
  title: `psql is killed (-9) in the middle of COPY, in and out, ${2 * POOL_SIZE} at a time`,
  async disturb(world, isOver) {
    while (!isOver()) {
      const clients = Array.from({ length: 2 * POOL_SIZE }, (_, i) => copyAndDie(world, i));
      await Promise.all(clients);
    }
    return [];
  },
};

/** Begins a COPY with psql, in or out, and kills it while it is under way. */
async function copyAndDie({ target }: ChaosWorld, turn: number): Promise<void> {
  const isIn = turn % 2 === 0;
  const sql = isIn
    ? "copy noise from stdin"
    : "copy (select repeat('x', 1000) from generate_series(1, 10000000)) to stdout";
  const { database, host, password, port, user } = target;
  const child = new Deno.Command("psql", {
    args: ["-X", "-q", "-h", host, "-p", String(port), "-U", user, "-c", sql, database],
    env: { PGPASSWORD: password, PGSSLMODE: turn % 4 < 2 ? "disable" : "require" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  try {
    // Whoever is refused, as the pool may be full for long, ends by itself.
    if (isIn) await writer.write(new TextEncoder().encode(MANY_LINES)).catch(endOnly);
    else await reader.read();
    await pause(Math.random() * 200);
  } finally {
    kill(child.pid, "SIGKILL");
    await child.status;
    await writer.abort();
    await reader.cancel();
  }
}

/** Lets the end of who was written to pass. */
function endOnly(error: unknown): void {
  if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
}

/** All of them, in the order of the table. */
export const SERVER_SCENARIOS: readonly ChaosScenario[] = [
  killBackend,
  terminate,
  restart("fast"),
  restart("immediate"),
  stop("fast"),
  stop("immediate"),
  freeze,
  maxConnections,
  killMidCopy,
];
