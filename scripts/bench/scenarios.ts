/** What is measured: each scenario starts a pooler, warms it up, and answers some figures. */

import { fileURLToPath } from "node:url";
import { freePort } from "../postgres_fixture.ts";
import { overload } from "./overload.ts";
import { cpuUs, pssBytes } from "./process_stats.ts";
import { pgbench } from "./pgbench.ts";
import type { PgbenchOptions } from "./pgbench.ts";
import { PASSWORD, sluiceConfig, startPooler, startupMs, USER } from "./pooler.ts";
import type { PoolerKind, PoolerSettings, RunningPooler, TlsFiles } from "./pooler.ts";
import { startProbedSluice } from "./probed_sluice.ts";
import { keptPooler, poolerEachTime } from "./scenario.ts";
import type { BenchContext, Figure, Goal, Measurement, Scenario, Subject } from "./scenario.ts";

const POOL_SIZE = 10;

/** Bytes of a row of the COPY, its line end included. */
const COPY_ROW_BYTES = 1001;

/** Megabytes (10^6), as throughput is usually given. */
const MB = 1_000_000;

function settingsFor(
  server: BenchContext["server"],
  poolMode: PoolerSettings["poolMode"],
  authType: PoolerSettings["authType"],
): PoolerSettings {
  return { ...server, poolMode, authType, poolSize: POOL_SIZE };
}

/** Goals by the name of the figure. */
type Goals = Readonly<Record<string, Goal>>;

function atMost(bound: number, of: Goal["of"] = "ratio"): Goal {
  return { of, is: "at most", bound };
}

function atLeast(bound: number): Goal {
  return { of: "ratio", is: "at least", bound };
}

function withGoals(figures: readonly Figure[], goals: Goals): Figure[] {
  return figures.map((figure) => {
    const goal = goals[figure.name];
    return goal === undefined ? figure : { ...figure, goal };
  });
}

function loadFigures(goals: Goals = {}): Figure[] {
  return withGoals([
    { name: "tps", unit: "transactions/s", digits: 0 },
    { name: "p50", unit: "ms", digits: 2 },
    { name: "p99", unit: "ms", digits: 2 },
    { name: "cpu", unit: "CPU µs/transaction", digits: 1 },
  ], goals);
}

/** pgbench through a pooler, with the CPU time that the pooler uses for it. */
function underLoad(
  kind: PoolerKind,
  settings: PoolerSettings,
  load: Omit<PgbenchOptions, "port"> & { readonly warmUpSeconds: number },
): Promise<Subject> {
  const { warmUpSeconds, ...options } = load;
  return keptPooler(kind, settings, {
    async prepare({ port }) {
      await pgbench({ ...options, port, seconds: warmUpSeconds });
    },
    measure: (pooler) => measureLoad(pooler, options),
  });
}

async function measureLoad(
  { pid, port }: RunningPooler,
  load: Omit<PgbenchOptions, "port">,
): Promise<Measurement> {
  const cpuBefore = await cpuUs(pid);
  const result = await pgbench({ ...load, port });
  const cpu = await cpuUs(pid) - cpuBefore;
  return {
    tps: result.transactionsPerSecond,
    p50: result.p50Ms,
    p99: result.p99Ms,
    cpu: cpu / result.transactions,
  };
}

function selectOnly(protocol: "simple" | "extended", clients: number): Scenario {
  const latency = { p50: atMost(1.05), p99: atMost(1.1) };
  return {
    name: `${protocol}-${clients}`,
    title: `select-only, ${protocol} protocol, ${clients} client${clients === 1 ? "" : "s"}`,
    figures: loadFigures(clients === 1 ? latency : { ...latency, cpu: atMost(0.9) }),
    start(kind, { server, seconds, warmUpSeconds }) {
      const settings = settingsFor(server, "transaction", "trust");
      const load = { clients, seconds, protocol, warmUpSeconds };
      return underLoad(kind, settings, load);
    },
  };
}

const prepared: Scenario = {
  name: "prepared",
  title: "select-only, prepared, session pooling, 10 clients",
  figures: loadFigures(),
  start(kind, { server, seconds, warmUpSeconds }) {
    const settings = settingsFor(server, "session", "trust");
    const load = { clients: POOL_SIZE, seconds, protocol: "prepared", warmUpSeconds } as const;
    return underLoad(kind, settings, load);
  },
};

const sharedStatements: Scenario = {
  name: "shared-statements",
  title: "select-only, prepared, 100 clients, 5 servers",
  figures: loadFigures({ cpu: atMost(1.15) }),
  start(kind, { server, seconds, warmUpSeconds }) {
    const settings = { ...settingsFor(server, "transaction", "trust"), poolSize: 5 };
    // Where PgBouncer has no prepared statements here, it is the price of those that is asked.
    const hasPrepared = kind !== "pgbouncer" || server.pgBouncer.hasPrepared;
    const protocol = hasPrepared ? "prepared" : "extended";
    return underLoad(kind, settings, { clients: 100, seconds, protocol, warmUpSeconds });
  },
};

function selectOnlyTls(protocol: "simple" | "extended"): Scenario {
  return {
    name: `tls-${protocol}-50`,
    title: `TLS to clients: select-only, ${protocol} protocol, 50 clients`,
    figures: loadFigures({ cpu: atMost(0.85) }),
    start(kind, { server, seconds, tls, warmUpSeconds }) {
      const settings = { ...settingsFor(server, "transaction", "trust"), tls };
      const load = { clients: 50, seconds, protocol, warmUpSeconds, isTls: true };
      return underLoad(kind, settings, load);
    },
  };
}

function connect(
  { authType, clients, goals = {}, isTls = false, name, title }: {
    name: string;
    title: string;
    authType: PoolerSettings["authType"];
    clients: number;
    goals?: Goals;
    isTls?: boolean;
  },
): Scenario {
  return {
    name,
    title: `${title}, one select, leave; ${clients} clients`,
    figures: loadFigures(goals),
    start(kind, { server, seconds, tls, warmUpSeconds }) {
      const settings = {
        ...settingsFor(server, "transaction", authType),
        tls: isTls ? tls : undefined,
      };
      const load = { clients, seconds, protocol: "simple", warmUpSeconds, isTls } as const;
      return underLoad(kind, settings, { ...load, connectEach: true });
    },
  };
}

const CONNECTS: readonly Scenario[] = [
  connect({
    name: "connect",
    title: "connect",
    authType: "trust",
    clients: 20,
    goals: { tps: atLeast(1), cpu: atMost(1) },
  }),
  connect({
    name: "connect-scram",
    title: "connect with SCRAM",
    authType: "scram-sha-256",
    clients: 10,
  }),
  connect({
    name: "connect-tls",
    title: "connect with TLS (a whole handshake, ECDSA P-256)",
    authType: "trust",
    clients: 20,
    isTls: true,
    goals: { tps: atLeast(1) },
  }),
];

/** Clients that go on with their queries while others log in. */
const STORM_CLIENTS = 10;

const loginStorm: Scenario = {
  name: "login-storm",
  title:
    `50 log in with SCRAM at a time, with keys that they keep; ${STORM_CLIENTS} run select-only`,
  figures: [
    { name: "logins", unit: "logins/s", digits: 0, goal: atLeast(1) },
    { name: "p50", unit: "ms", digits: 2 },
    { name: "p99", unit: "ms", digits: 2, goal: atMost(1) },
  ],
  start(kind, { server, seconds, warmUpSeconds }) {
    const settings = settingsFor(server, "transaction", "scram-sha-256");
    return keptPooler(kind, settings, {
      async prepare({ port }) {
        await stormMeasured(port, warmUpSeconds);
      },
      measure: ({ port }) => stormMeasured(port, seconds),
    });
  },
};

async function stormMeasured(port: number, seconds: number): Promise<Measurement> {
  const [result, logins] = await Promise.all([
    pgbench({ clients: STORM_CLIENTS, protocol: "simple", port, seconds }),
    countLogins(port, seconds),
  ]);
  return { logins: logins / seconds, p50: result.p50Ms, p99: result.p99Ms };
}

/** Lets another process log in for so long; answers how many logins there were. */
async function countLogins(port: number, seconds: number): Promise<number> {
  const script = fileURLToPath(new URL("login_storm.ts", import.meta.url));
  const permissions = ["--allow-net=127.0.0.1", "--allow-env=PGPASSWORD"];
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, script, String(port), String(seconds), USER],
    env: { PGPASSWORD: PASSWORD },
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("The storm of logins ended early");
  return Number(new TextDecoder().decode(stdout));
}

function copyOut(
  { goals, isTls, name, title }: { name: string; title: string; isTls: boolean; goals: Goals },
): Scenario {
  return {
    name,
    title,
    figures: withGoals([
      { name: "throughput", unit: "MB/s", digits: 0 },
      { name: "cpu", unit: "CPU µs/MB", digits: 0 },
    ], goals),
    start(kind, { copyRows, server, tls }) {
      const settings = {
        ...settingsFor(server, "transaction", "trust"),
        tls: isTls ? tls : undefined,
      };
      return keptPooler(kind, settings, {
        async prepare({ port }) {
          await copyMs({ port, isTls, rows: Math.ceil(copyRows / 10) });
        },
        async measure({ pid, port }) {
          const cpuBefore = await cpuUs(pid);
          const tookMs = await copyMs({ port, isTls, rows: copyRows });
          const cpu = await cpuUs(pid) - cpuBefore;
          const megabytes = copyRows * COPY_ROW_BYTES / MB;
          return { throughput: megabytes / (tookMs / 1000), cpu: cpu / megabytes };
        },
      });
    },
  };
}

const COPIES: readonly Scenario[] = [
  copyOut({
    name: "copy",
    title: "COPY out of 500 MB, one client",
    isTls: false,
    goals: { throughput: atLeast(1.1), cpu: atMost(1) },
  }),
  copyOut({
    name: "copy-tls",
    title: "COPY out of 500 MB over TLS, one client",
    isTls: true,
    goals: { throughput: atLeast(1) },
  }),
];

/** Copies rows of 1,000 letters out with psql and throws them away; answers how long it took. */
async function copyMs(
  { isTls, port, rows }: { port: number; isTls: boolean; rows: number },
): Promise<number> {
  const sql = `copy (select repeat('x', 1000) from generate_series(1, ${rows})) to stdout`;
  const beginAtMs = performance.now();
  const { success } = await new Deno.Command("psql", {
    args: ["-X", "-q", "-h", "127.0.0.1", "-p", String(port), "-U", USER, "-c", sql, "postgres"],
    env: { PGPASSWORD: PASSWORD, PGSSLMODE: isTls ? "require" : "disable" },
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("psql failed to copy");
  return performance.now() - beginAtMs;
}

function idle(
  { isTls, mostKb, name, title }: { name: string; title: string; isTls: boolean; mostKb: number },
): Scenario {
  const goal = atMost(mostKb, "value");
  return {
    name,
    title,
    figures: [{ name: "memory", unit: "KB/client (growth of Pss)", digits: 1, goal }],
    start(kind, { idleClients, server, tls }) {
      const held = isTls ? tls : undefined;
      const settings = { ...settingsFor(server, "transaction", "trust"), tls: held };
      return poolerEachTime(async () => {
        await using pooler = await startPooler(kind, settings);
        // A few clients first: what the pooler needs once, its server connections too, is not theirs.
        await using _first = await holdClients(pooler.port, { count: 10, tls: held });
        const before = await settledPss(pooler.pid);
        await using _clients = await holdClients(pooler.port, { count: idleClients, tls: held });
        return { memory: (await settledPss(pooler.pid) - before) / idleClients / 1024 };
      });
    },
  };
}

const IDLES: readonly Scenario[] = [
  idle({
    name: "idle",
    title: "memory of an idle client that has run a query",
    isTls: false,
    mostKb: 8,
  }),
  idle({
    name: "idle-tls",
    title: "memory of an idle client with TLS that has run a query",
    isTls: true,
    mostKb: 30,
  }),
];

/** Clients that do nothing while the CPU time is measured. */
const RESTING_CLIENTS = 1_000;

const rest: Scenario = {
  name: "rest",
  title: `CPU time while ${RESTING_CLIENTS} clients are idle`,
  figures: [{ name: "cpu", unit: "% of a core", digits: 2, goal: atMost(0.2, "value") }],
  start(kind, { seconds, server }) {
    // CPU time is counted in hundredths of a second: long enough to see a tenth of a percent.
    const measuredMs = Math.max(seconds, 10) * 1000;
    return keptPooler(kind, settingsFor(server, "transaction", "trust"), {
      async prepare({ pid, port }, stack) {
        stack.use(await holdClients(port, { count: RESTING_CLIENTS }));
        await settledPss(pid);
      },
      async measure({ pid }) {
        const before = await cpuUs(pid);
        await new Promise((resolve) => setTimeout(resolve, measuredMs));
        return { cpu: (await cpuUs(pid) - before) / measuredMs / 10 };
      },
    });
  },
};

const late: Scenario = {
  name: "late",
  title: "p99.9 of what the runtime does itself, select-only, 50 clients",
  figures: [
    { name: "timer", unit: "late timer, ms", digits: 2, goal: atMost(2, "excess") },
    {
      name: "echo",
      unit: "echo over the runtime's sockets, ms",
      digits: 2,
      goal: atMost(2, "excess"),
    },
  ],
  start(kind, { server, seconds, warmUpSeconds }) {
    if (kind === "pgbouncer") return poolerEachTime(() => Promise.resolve({}));
    const settings = settingsFor(server, "transaction", "trust");
    return poolerEachTime(async () => {
      await using probed = await startProbedSluice(sluiceConfig(kind, settings, freePort()));
      const load = { clients: 50, protocol: "simple", port: probed.port } as const;
      await pgbench({ ...load, seconds: warmUpSeconds });
      const measuring = probed.measure(seconds * 1000);
      await pgbench({ ...load, seconds });
      return await measuring;
    });
  },
};

/** Memory once it has stopped moving: after logins there is garbage to be collected or not. */
async function settledPss(pid: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 3000));
  return await pssBytes(pid);
}

/** Logs clients in from another process, and holds them until disposed. */
async function holdClients(
  port: number,
  { count, tls }: { count: number; tls?: TlsFiles | undefined },
): Promise<AsyncDisposable> {
  const script = fileURLToPath(new URL("idle_clients.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...["--allow-net=127.0.0.1", "--allow-read", script, String(port), String(count), USER],
      ...(tls === undefined ? [] : [tls.certificate]),
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  if (value === undefined) throw new Error("The idle clients could not log in");
  return {
    async [Symbol.asyncDispose]() {
      await reader.cancel();
      await child.stdin.close();
      await child.status;
    },
  };
}

const startup: Scenario = {
  name: "startup",
  title: "start to first accepted connection",
  figures: [
    { name: "time", unit: "ms", digits: 0, goal: atMost(300, "value") },
  ],
  start(kind, { server }) {
    const settings = settingsFor(server, "transaction", "trust");
    return poolerEachTime(async () => ({ time: await startupMs(kind, settings) }));
  },
};

/** All of them, in the order of the report. */
export const SCENARIOS: readonly Scenario[] = [
  ...([1, 50, 500].map((clients) => selectOnly("simple", clients))),
  ...([1, 50, 500].map((clients) => selectOnly("extended", clients))),
  prepared,
  sharedStatements,
  selectOnlyTls("simple"),
  selectOnlyTls("extended"),
  ...CONNECTS,
  loginStorm,
  ...COPIES,
  ...IDLES,
  overload,
  rest,
  late,
  startup,
];
