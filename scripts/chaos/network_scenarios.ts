/** Scenarios in which the network between the parts is broken. They need root and Linux's namespaces. */

import type { ConfigSection } from "../../tests/support/toml_config.ts";
import { pause, waitUntil } from "../guarded_process.ts";
import type { ChaosWorld, EngineName } from "./chaos_world.ts";
import { clientsCalled } from "./client_scenarios.ts";
import { namespaceRefusal, netemRefusal, NetworkNamespace } from "./namespace.ts";
import type { ChaosScenario } from "./run_scenario.ts";

/**
 * How a lost peer is found within some seconds: on the native engine by TCP's own means, on the portable
 * one, which does not have them, by limits on queries and on idling.
 */
function findingLostPeers(engine: EngineName): ConfigSection {
  if (engine === "portable") return { query_timeout: 4, idle_transaction_timeout: 4 };
  return {
    tcp_keepalive: true,
    tcp_keepidle: 1,
    tcp_keepintvl: 1,
    tcp_keepcnt: 3,
    tcp_user_timeout: 3000,
  };
}

/** PostgreSQL's side of the same: a backend that nobody is connected to any more keeps its locks. */
const FINDING_LOST_CLIENTS: readonly string[] = [
  "tcp_keepalives_idle = 1",
  "tcp_keepalives_interval = 1",
  "tcp_keepalives_count = 3",
  "tcp_user_timeout = 3000",
];

/** How long clients wait where it may be the network that holds up the answer, in ms. */
const PATIENCE_MS = 8000;

/** What scenarios have in common whose link to PostgreSQL is broken. */
const SERVER_AWAY: Readonly<Omit<ChaosScenario, "disturb" | "name" | "title">> = {
  world: { away: "postgres", conf: FINDING_LOST_CLIENTS },
  poolerFor: findingLostPeers,
  patienceMs: PATIENCE_MS,
  refusal: namespaceRefusal,
};

const cutServer: ChaosScenario = {
  name: "cut-server",
  title: "the link to PostgreSQL is cut, for 1 s and for 5 s in turns",
  ...SERVER_AWAY,
  disturb: cutAndMend,
};

const cutClients: ChaosScenario = {
  name: "cut-clients",
  title: "the link to all clients is cut, for 1 s and for 5 s in turns",
  world: { away: "both" },
  poolerFor: findingLostPeers,
  patienceMs: 3000,
  refusal: namespaceRefusal,
  disturb: cutAndMend,
};

async function cutAndMend({ link }: ChaosWorld, isOver: () => boolean): Promise<string[]> {
  for (let turn = 0; !isOver(); turn++) {
    await link.cut();
    await pause(turn % 2 === 0 ? 1000 : 5000);
    await link.mend();
    await pause(1000);
  }
  return [];
}

const flaky: ChaosScenario = {
  name: "flaky-link",
  title: "the link to PostgreSQL is cut for 10 to 100 ms, three times a second",
  ...SERVER_AWAY,
  async disturb({ link }, isOver) {
    while (!isOver()) {
      await link.cut();
      await pause(10 + Math.random() * 90);
      await link.mend();
      await pause(100 + Math.random() * 300);
    }
    return [];
  },
};

const narrow: ChaosScenario = {
  name: "narrow-link",
  title: "the link to PostgreSQL lets 256 kbit/s through, late, and loses the rest",
  ...SERVER_AWAY,
  disturb: (world, isOver) => spoilt(world, isOver, (link) => link.throttle(256)),
};

function netem(what: "clients" | "PostgreSQL"): ChaosScenario {
  return {
    name: what === "clients" ? "netem-clients" : "netem-server",
    title: `the link to ${what} is 20 ms late and loses 3% of the packets`,
    ...SERVER_AWAY,
    world: { away: what === "clients" ? "both" : "postgres", conf: FINDING_LOST_CLIENTS },
    refusal: netemRefusal,
    disturb: (world, isOver) =>
      spoilt(world, isOver, (link) => link.spoil({ delayMs: 20, loss: 0.03 })),
  };
}

/** Has the link spoilt until it is over. */
async function spoilt(
  { link }: ChaosWorld,
  isOver: () => boolean,
  spoil: (link: NetworkNamespace) => Promise<void>,
): Promise<string[]> {
  await spoil(link);
  while (!isOver()) await pause(100);
  await link.clear();
  return [];
}

/** What the clients call themselves whose machine goes away. */
const GONE = "gone";

/** How long Sluice may take to find that they have gone, in ms. */
const FIND_LIMIT_MS = 15_000;

const halfOpen: ChaosScenario = {
  name: "half-open",
  title: "the machine of clients goes away, in queries and in transactions, without a packet",
  world: { pooler: { listen_addr: "0.0.0.0" } },
  poolerFor: findingLostPeers,
  refusal: namespaceRefusal,
  async disturb(world, isOver) {
    while (!isOver()) {
      await using machine = await NetworkNamespace.make();
      const clients = ["select pg_sleep(3600)", "begin", "begin; select pg_sleep(3600)"]
        .map((sql) => startPsql(world, machine, sql));
      const areIn = await waitUntil(
        async () => await clientsCalled(world, GONE) === clients.length,
        5000,
      );
      await machine.cut();
      for (const client of clients) client.kill("SIGKILL");
      await Promise.all(clients.map(({ status }) => status));
      if (!areIn) return ["clients of another machine could not log in"];
      const isRid = await waitUntil(
        async () => await clientsCalled(world, GONE) === 0,
        FIND_LIMIT_MS,
      );
      if (!isRid) return [`clients that had gone were kept for ${FIND_LIMIT_MS} ms`];
    }
    return [];
  },
};

/** Starts psql on another machine, which runs a script and then waits. */
function startPsql(
  { target }: ChaosWorld,
  machine: NetworkNamespace,
  sql: string,
): Deno.ChildProcess {
  const { database, password, port, user } = target;
  const address = ["-h", machine.nearAddress, "-p", String(port), "-U", user, database];
  const command = ["psql", "-X", "-q", ...address, "-c", sql, "-c", "\\prompt x"];
  return new Deno.Command("nsenter", {
    args: [`--net=/run/netns/${machine.name}`, ...command],
    env: { PGPASSWORD: password, PGSSLMODE: "disable", PGAPPNAME: GONE },
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

/** All of them, in the order of the table. */
export const NETWORK_SCENARIOS: readonly ChaosScenario[] = [
  cutServer,
  cutClients,
  flaky,
  narrow,
  netem("PostgreSQL"),
  netem("clients"),
  halfOpen,
];
