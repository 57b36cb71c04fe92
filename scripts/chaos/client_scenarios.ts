/** Scenarios in which clients behave badly, or Sluice has too little of what it needs. */

import { frontend } from "../../tests/support/messages.ts";
import { TestClient } from "../../tests/support/test_client.ts";
import { descriptorCount } from "../bench/process_stats.ts";
import { pause, waitUntil } from "../guarded_process.ts";
import type { ChaosWorld } from "./chaos_world.ts";
import { connectWire } from "./ledger_clients.ts";
import { connectResettable, type ResettableStream } from "./resettable_stream.ts";
import type { ChaosScenario } from "./run_scenario.ts";

/** Most descriptors in the scenario that runs out of them: the ledger's own need fewer. */
const FEW_DESCRIPTORS = 100;

/** So many are open when the strangers have had their effect. */
const ENOUGH_DESCRIPTORS = 90;

const descriptors: ChaosScenario = {
  name: "descriptors",
  title: `Sluice may open ${FEW_DESCRIPTORS} descriptors, and strangers take what is left`,
  world: { maxDescriptors: FEW_DESCRIPTORS },
  async disturb(world, isOver) {
    const count = () => descriptorCount(world.sluice.pid);
    let most = 0;
    while (!isOver()) {
      // More than can be accepted, and not more than may wait for that (listen_backlog).
      const strangers = await connectStrangers(world, FEW_DESCRIPTORS + 20);
      // Servers that are lost now have to be replaced without a descriptor to be had.
      await world.postgres.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ledger'`,
      );
      // Who could not accept the last time may still be pausing.
      await waitUntil(() => count() > ENOUGH_DESCRIPTORS, 2_000);
      await pause(1_000);
      most = Math.max(most, count());
      for (const conn of strangers) conn.close();
      await pause(500);
    }
    return most > ENOUGH_DESCRIPTORS ? [] : [`at most ${most} descriptors were open`];
  },
};

/** Connects and says nothing. The kernel answers for a Sluice that does not accept. */
async function connectStrangers({ target }: ChaosWorld, count: number): Promise<Deno.Conn[]> {
  const { host: hostname, port } = target;
  const connecting = Array.from({ length: count }, () => Deno.connect({ hostname, port }));
  const settled = await Promise.allSettled(connecting);
  return settled.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
}

/** Where in its life a client's connection is reset. */
const RESET_AT: readonly ((client: TestClient) => Promise<unknown>)[] = [
  () => Promise.resolve(),
  (client) => client.send(new Uint8Array([0, 0, 0, 40, 0, 3])),
  (client) => client.send(frontend.startup({ user: "ledger", database: "ledger" })),
  (client) => loggedIn(client, frontend.query("select pg_sleep(0.05)")),
  (client) => loggedIn(client, frontend.query("begin; insert into noise values ('x'); select 1")),
  (client) => loggedIn(client, frontend.parse("insert into noise values ('x')"), frontend.bind()),
  (client) => loggedIn(client, frontend.query("copy noise from stdin"), frontend.copyData("x\n")),
  (client) => loggedIn(client, frontend.query("select repeat('x', 1000000)")),
  (client) => loggedIn(client, frontend.query("select 1").subarray(0, 7)),
];

async function loggedIn(client: TestClient, ...messages: readonly Uint8Array[]): Promise<void> {
  await client.login({ user: "ledger", password: "ledger", database: "ledger" });
  await client.send(...messages);
}

const reset: ChaosScenario = {
  name: "reset",
  title: "clients reset their connections (RST) at all moments of their lives, 20 at a time",
  async disturb({ target }, isOver) {
    const { host, port } = target;
    let turn = 0;
    const some = async () => {
      while (!isOver()) {
        const stream = await connectResettable(host, port);
        await resetAt(stream, turn++);
      }
    };
    await Promise.all(Array.from({ length: 20 }, some));
    return [];
  },
};

async function resetAt(stream: ResettableStream, turn: number): Promise<void> {
  try {
    await RESET_AT[turn % RESET_AT.length]?.(new TestClient(stream));
    // Long enough for some to have waited for a server and been served.
    await pause(Math.random() * 200);
  } finally {
    stream.reset();
  }
}

/** How long a login may take in the scenario of slow ones. */
const LOGIN_LIMIT_S = 2;

const SLOW_CLIENTS = 300;

const slowloris: ChaosScenario = {
  name: "slowloris",
  title: `${SLOW_CLIENTS} clients log in a byte every 100 ms, and others have to get in`,
  world: { pooler: { client_login_timeout: LOGIN_LIMIT_S } },
  async disturb(world, isOver) {
    const faults: string[] = [];
    while (!isOver()) {
      const slow = Array.from({ length: SLOW_CLIENTS }, () => logInSlowly(world));
      const honest = logInMeanwhile(world);
      const lives = await Promise.all(slow);
      faults.push(...await honest);
      const longest = Math.max(...lives);
      if (longest > (LOGIN_LIMIT_S + 2) * 1000) {
        faults.push(`a login lasted ${Math.round(longest)} ms`);
      }
    }
    return faults;
  },
};

/** Sends a startup packet as slowly as can be; answers after how many ms Sluice had enough of it. */
async function logInSlowly({ target }: ChaosWorld): Promise<number> {
  const beganAtMs = performance.now();
  using conn = await Deno.connect({ hostname: target.host, port: target.port });
  const packet = frontend.startup({ user: "ledger", application_name: "slow".repeat(100) });
  let isEnded = false;
  const ending = untilEnd(conn).then(() => isEnded = true);
  for (let at = 0; at < packet.length && !isEnded; at++) {
    await conn.write(packet.subarray(at, at + 1)).catch(() => isEnded = true);
    await pause(100);
  }
  await ending;
  return performance.now() - beganAtMs;
}

async function untilEnd(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(512);
  try {
    while (await conn.read(buffer) !== null) continue;
  } catch {
    // A reset is an end.
  }
}

/** Logs in as ordinary clients do, while the slow ones are there. */
async function logInMeanwhile({ target }: ChaosWorld): Promise<string[]> {
  const faults: string[] = [];
  for (let i = 0; i < 10; i++) {
    const beganAtMs = performance.now();
    try {
      const client = await connectWire(target);
      await client.terminate();
    } catch (error) {
      faults.push(`an ordinary login failed: ${error}`);
    }
    const tookMs = performance.now() - beganAtMs;
    if (tookMs > LOGIN_LIMIT_S * 1000) {
      faults.push(`an ordinary login took ${Math.round(tookMs)} ms`);
    }
    await pause(100);
  }
  return faults;
}

const CONNECTS = 10_000;

/** How clients come and go. */
const VISITS: readonly ((client: TestClient) => Promise<unknown>)[] = [
  () => Promise.resolve(),
  (client) => client.send(frontend.sslRequest()),
  (client) => client.send(frontend.startup({ user: "ledger", database: "ledger" })),
  async (client) => {
    await client.login({ user: "ledger", password: "ledger", database: "ledger" });
    await client.terminate();
  },
  (client) => loggedIn(client, frontend.query("select 1")),
];

const connects: ChaosScenario = {
  name: "connects",
  title: `${CONNECTS} connects and disconnects, at all moments of a login, 50 at a time`,
  async disturb({ target }) {
    const { host: hostname, port } = target;
    let begun = 0;
    const failed: string[] = [];
    const some = async () => {
      while (begun < CONNECTS) {
        const turn = begun++;
        try {
          using conn = await Deno.connect({ hostname, port });
          await VISITS[turn % VISITS.length]?.(new TestClient(conn));
        } catch (error) {
          failed.push(String(error));
        }
      }
    };
    await Promise.all(Array.from({ length: 50 }, some));
    return failed.length === 0 ? [] : [`${failed.length} failed, the first by ${failed[0]}`];
  },
};

/** What the clients call themselves that shut their sending side. */
const HALF = "half";

const halfClosed: ChaosScenario = {
  name: "half-closed",
  title: "clients shut their sending side, in a query and out of one, and never read",
  async disturb(world, isOver) {
    const { certificate: _, ...plain } = world.target;
    while (!isOver()) {
      const connecting = Array.from({ length: 20 }, () => connectWire(plain, HALF));
      const clients = await Promise.all(connecting);
      for (const [i, client] of clients.entries()) {
        if (i % 2 === 0) await client.send(frontend.query("select repeat('x', 10000000)"));
        client.stream.finishWriting();
      }
      const isRid = await waitUntil(async () => await clientsCalled(world, HALF) === 0, 5000);
      for (const client of clients) client.close();
      if (!isRid) return ["clients that had shut their sending side were kept for 5 s"];
    }
    return [];
  },
};

/** How many clients call themselves so. */
export async function clientsCalled(world: ChaosWorld, applicationName: string): Promise<number> {
  const clients = await world.show("clients");
  return clients.filter(({ application_name: name }) => name === applicationName).length;
}

const freezeSluice: ChaosScenario = {
  name: "sigstop-sluice",
  title: "SIGSTOP Sluice for a second, again and again",
  async disturb({ sluice }, isOver) {
    while (!isOver()) {
      sluice.signal("SIGSTOP");
      try {
        await pause(1000);
      } finally {
        sluice.signal("SIGCONT");
      }
      await pause(500);
    }
    return [];
  },
};

/** All of them, in the order of the table. */
export const CLIENT_SCENARIOS: readonly ChaosScenario[] = [
  descriptors,
  reset,
  halfClosed,
  slowloris,
  connects,
  freezeSluice,
];
