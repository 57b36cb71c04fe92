/** What touches all clients of a crowd at once, and what they must be told of it. */

import assert from "node:assert/strict";
import { SHOW_THINGS } from "../../src/admin/admin_parser.ts";
import { POSTGRES_ADDRESS } from "../support/fake_postgres.ts";
import { FakeResolver } from "../support/fake_resolver.ts";
import { USERS } from "../support/pooler_world.ts";
import { Crowd, type CrowdOptions, type CrowdStep } from "./crowd.ts";

/** Servers where there are few. */
const FEW = 10;

/** Most servers where there are many. */
const MANY = 1_000;

/** Longer than it takes to notice anything. */
const ROUND_MS = 1_000;

/** One thing that is done to a crowd. */
export interface CrowdScenario {
  readonly name: string;
  /** What is other than in most of them. */
  readonly world?: (clientCount: number) => Partial<CrowdOptions>;
  /** From the first login on. */
  readonly run: (crowd: Crowd) => Promise<void>;
}

/** Runs one, in a world of its own, in which nothing may be left. Returns what each step has cost. */
export async function runScenario(
  { run, world }: CrowdScenario,
  clientCount: number,
): Promise<readonly CrowdStep[]> {
  const few = { clientCount, serverCount: Math.min(FEW, clientCount) };
  const crowd = await Crowd.open({ ...few, ...world?.(clientCount) });
  try {
    await run(crowd);
    crowd.check();
  } finally {
    await crowd[Symbol.asyncDispose]();
  }
  return crowd.steps;
}

/** Databases for a `host`, and users. */
function sections(host: string, more = ""): string {
  return `[databases.app]\nhost = "${host}"\n${more}\n${USERS}`;
}

/** A server for each client, or for as many as a PostgreSQL may have connections. */
function manyServers(clientCount: number): Partial<CrowdOptions> {
  return { serverCount: Math.min(MANY, clientCount) };
}

function withSettings(pooler: string) {
  return () => ({ pooler });
}

/** Asserts that all clients, or all but some, were told this and nothing else. */
function assertTold(crowd: Crowd, told: string, count = crowd.clients.length): void {
  assert.deepEqual(crowd.errors, { [told]: count });
}

/** All but those who wait are idle. */
async function wakeServers(crowd: Crowd): Promise<void> {
  await crowd.do("statements end", () => crowd.world.postgres.wakeAll());
}

/** Everybody has been served who asked for anything. */
async function allAreServed(crowd: Crowd): Promise<void> {
  await crowd.until("all are served", () => {
    crowd.world.postgres.wakeAll();
    return crowd.waitingCount === 0 && crowd.pool.servers.active.size === 0;
  });
  assert.deepEqual(crowd.errors, {});
}

/** All are logged in, and as many servers are idle as there may be. */
async function openAllServers(crowd: Crowd): Promise<void> {
  await crowd.logIn();
  await crowd.takeServers((client) => client.ask("select pg_sleep(1)"));
  await allAreServed(crowd);
}

async function showAll(crowd: Crowd): Promise<void> {
  for (const thing of SHOW_THINGS) await crowd.order(`SHOW ${thing}`);
  for (const thing of ["clients", "servers", "sockets"]) {
    await crowd.order(`SHOW ${thing} WHERE type <> 'X' ORDER BY wait DESC, application_name, port`);
  }
}

/** The configuration is read anew, with other settings or databases. */
async function reload(
  crowd: Crowd,
  { pooler, ...rest }: { pooler?: string; sections?: string } = {},
): Promise<void> {
  await crowd.reconfigure({ ...rest, ...(pooler === undefined ? {} : { pooler }) });
  await crowd.order("RELOAD");
}

/** The end, told over the console: that is closed with the others. */
async function shutDown(crowd: Crowd, how: string): Promise<void> {
  let hasStopped = false;
  void crowd.world.pooler.stopped.then(() => {
    hasStopped = true;
  });
  await crowd.command(`SHUTDOWN ${how}`);
  await crowd.pass(ROUND_MS);
  if (how === "WAIT_FOR_CLIENTS") {
    await crowd.do("all leave", () => crowd.leave());
  }
  await crowd.until("the pooler has ended", () => {
    crowd.world.postgres.wakeAll();
    return hasStopped;
  });
}

const SHUTTING_DOWN = "FATAL 57P01 pooler is shutting down";

/** All of them. */
export const CROWD_SCENARIOS: readonly CrowdScenario[] = [
  {
    name: "SHOW of everything",
    async run(crowd) {
      await crowd.standInLine();
      await showAll(crowd);
    },
  },
  {
    name: "SHOW of everything, many servers",
    world: manyServers,
    async run(crowd) {
      await crowd.logIn();
      await crowd.takeServers((client) => client.ask("begin"));
      await showAll(crowd);
    },
  },
  {
    name: "RELOAD that changes nothing",
    async run(crowd) {
      await crowd.standInLine();
      await reload(crowd);
      await allAreServed(crowd);
    },
  },
  {
    name: "RELOAD with a larger pool",
    async run(crowd) {
      await crowd.standInLine();
      await reload(crowd, { pooler: "default_pool_size = 30" });
      await allAreServed(crowd);
    },
  },
  {
    name: "RELOAD with another host",
    world: () => ({ sections: sections("127.0.0.1"), postgres: ANYWHERE }),
    async run(crowd) {
      await crowd.standInLine();
      await reload(crowd, { sections: sections("127.0.0.2") });
      await allAreServed(crowd);
    },
  },
  {
    name: "RELOAD with another host, many servers",
    world: (count) => ({
      ...manyServers(count),
      sections: sections("127.0.0.1"),
      postgres: ANYWHERE,
    }),
    async run(crowd) {
      await openAllServers(crowd);
      await reload(crowd, { sections: sections("127.0.0.2") });
      await crowd.pass(ROUND_MS);
      assert.equal(crowd.pool.servers.count, 0);
    },
  },
  {
    name: "RELOAD with a forced user",
    world: () => ({ sections: sections("127.0.0.1", 'user = "bob"') }),
    async run(crowd) {
      await crowd.standInLine();
      await reload(crowd, { sections: sections("127.0.0.1", 'user = "ada"') });
      await crowd.pass(ROUND_MS);
      await wakeServers(crowd);
      assertTold(crowd, "FATAL 57P01 database configuration changed");
    },
  },
  {
    name: "RELOAD without the database",
    world: () => ({ sections: sections("127.0.0.1") }),
    async run(crowd) {
      await crowd.standInLine();
      await reload(crowd, { sections: USERS });
      await crowd.pass(ROUND_MS);
      assertTold(crowd, "FATAL 57P01 database removed");
    },
  },
  {
    name: "PAUSE and RESUME",
    async run(crowd) {
      await crowd.standInLine();
      const isPaused = crowd.order("PAUSE");
      await crowd.do("statements end", () => crowd.world.postgres.wakeAll());
      await isPaused;
      await crowd.order("RESUME");
      await allAreServed(crowd);
    },
  },
  {
    name: "PAUSE and RESUME, many servers",
    world: manyServers,
    async run(crowd) {
      await openAllServers(crowd);
      await crowd.order("PAUSE");
      for (const client of crowd.clients) client.ask("select 1");
      await crowd.quiet();
      await crowd.order("RESUME");
      await allAreServed(crowd);
    },
  },
  {
    name: "SUSPEND and RESUME",
    async run(crowd) {
      await crowd.logIn();
      await crowd.order("SUSPEND");
      for (const client of crowd.clients) client.ask("select 1");
      await crowd.quiet();
      await crowd.order("RESUME");
      await allAreServed(crowd);
    },
  },
  {
    name: "SUSPEND, and suspend_timeout, many servers",
    world: (count) => ({ ...manyServers(count), pooler: "suspend_timeout = 2" }),
    async run(crowd) {
      await crowd.logIn();
      await crowd.takeServers((client) => client.sendPart());
      await crowd.order("SUSPEND");
      assertTold(crowd, "FATAL 57P01 suspend_timeout", crowd.options.serverCount);
      await crowd.order("RESUME");
    },
  },
  {
    name: "RECONNECT",
    async run(crowd) {
      await crowd.standInLine();
      await crowd.order("RECONNECT");
      await allAreServed(crowd);
    },
  },
  {
    name: "RECONNECT, many servers",
    world: manyServers,
    async run(crowd) {
      await openAllServers(crowd);
      await crowd.order("RECONNECT");
      await crowd.pass(ROUND_MS);
      assert.equal(crowd.pool.servers.count, 0);
    },
  },
  {
    name: "KILL",
    async run(crowd) {
      await crowd.standInLine();
      await crowd.order("KILL app");
      assertTold(crowd, "FATAL 57P01 admin forced disconnect");
      await crowd.order("RESUME app");
    },
  },
  {
    name: "KILL, many servers",
    world: manyServers,
    async run(crowd) {
      await crowd.logIn();
      await crowd.takeServers((client) => client.ask("begin"));
      await crowd.order("KILL");
      assertTold(crowd, "FATAL 57P01 admin forced disconnect");
      await crowd.order("RESUME");
    },
  },
  ...["", "WAIT_FOR_SERVERS", "WAIT_FOR_CLIENTS", "WAIT_FOR_TRANSACTIONS"].map((how) => ({
    name: `SHUTDOWN ${how}`.trim(),
    async run(crowd: Crowd) {
      await crowd.standInLine();
      await shutDown(crowd, how);
    },
  })),
  {
    name: "SHUTDOWN, many servers",
    world: manyServers,
    async run(crowd) {
      await crowd.logIn();
      await crowd.takeServers((client) => client.ask("begin"));
      await shutDown(crowd, "");
      assertTold(crowd, SHUTTING_DOWN);
    },
  },
  {
    name: "SHUTDOWN while all log in",
    async run(crowd) {
      crowd.world.network.holdsDials = true;
      await crowd.arrive();
      await shutDown(crowd, "");
      crowd.world.network.holdsDials = false;
      assertTold(crowd, SHUTTING_DOWN);
    },
  },
  {
    name: "query_wait_timeout",
    world: withSettings("query_wait_timeout = 5"),
    async run(crowd) {
      await crowd.standInLine();
      const { waitingCount } = crowd;
      await crowd.pass(7_000);
      assertTold(crowd, "FATAL 53300 query_wait_timeout", waitingCount);
    },
  },
  {
    name: "query_wait_notify",
    world: withSettings("query_wait_notify = 1"),
    async run(crowd) {
      await crowd.standInLine();
      await crowd.pass(3_000);
      const told = crowd.clients.filter(({ notice }) => notice !== "");
      assert.equal(told.length, crowd.waitingCount);
      await allAreServed(crowd);
    },
  },
  {
    name: "client_idle_timeout",
    world: withSettings("client_idle_timeout = 5"),
    async run(crowd) {
      await crowd.logIn();
      await crowd.pass(7_000);
      assertTold(crowd, "FATAL 57P05 client_idle_timeout");
    },
  },
  {
    name: "client_login_timeout",
    world: withSettings("client_login_timeout = 5"),
    async run(crowd) {
      crowd.world.network.holdsDials = true;
      await crowd.arrive();
      await crowd.pass(7_000);
      crowd.world.network.holdsDials = false;
      assertTold(crowd, "FATAL 57014 client_login_timeout");
    },
  },
  {
    name: "idle_transaction_timeout, many servers",
    world: (count) => ({ ...manyServers(count), pooler: "idle_transaction_timeout = 5" }),
    async run(crowd) {
      await crowd.logIn();
      await crowd.takeServers((client) => client.ask("begin"));
      await crowd.pass(7_000);
      const { serverCount } = crowd.options;
      assertTold(crowd, "FATAL 25P03 idle transaction timeout", serverCount);
    },
  },
  {
    name: "server_idle_timeout, many servers",
    world: (count) => ({ ...manyServers(count), pooler: "server_idle_timeout = 5" }),
    async run(crowd) {
      await openAllServers(crowd);
      await crowd.pass(7_000);
      assert.equal(crowd.pool.servers.count, 0);
    },
  },
  {
    name: "all servers are lost, and the next is refused",
    async run(crowd) {
      await crowd.standInLine();
      const { postgres } = crowd.world;
      const { waitingCount } = crowd;
      await crowd.do("PostgreSQL crashes", () => {
        postgres.refusal = { severity: "FATAL", sqlstate: "28P01", message: "no more" };
        for (const backend of postgres.live) backend.close();
      });
      await crowd.pass(ROUND_MS);
      assert.equal(crowd.errors["FATAL 28P01 no more"], waitingCount);
      postgres.refusal = undefined;
    },
  },
  {
    name: "the first server refuses, and all who log in",
    async run(crowd) {
      const { network, postgres } = crowd.world;
      postgres.refusal = { severity: "FATAL", sqlstate: "28P01", message: "never" };
      network.holdsDials = true;
      await crowd.arrive();
      network.holdsDials = false;
      await crowd.pass(ROUND_MS);
      assertTold(crowd, "FATAL 28P01 never");
      postgres.refusal = undefined;
    },
  },
  {
    name: "all clients vanish at once",
    async run(crowd) {
      await crowd.standInLine();
      await crowd.do("all leave", () => crowd.leave());
      await crowd.pass(ROUND_MS);
      assert.equal(crowd.pool.clientCount, 0);
    },
  },
  {
    name: "all clients vanish at once, many servers",
    world: manyServers,
    async run(crowd) {
      await crowd.logIn();
      await crowd.takeServers((client) => client.ask("begin"));
      await crowd.do("all leave", () => crowd.leave());
      await crowd.pass(ROUND_MS);
      assert.equal(crowd.pool.clientCount, 0);
    },
  },
  {
    name: "the servers' name leads elsewhere, many servers",
    world: (count) => {
      const resolver = new FakeResolver();
      resolver.set("db.example", ["127.0.0.1"]);
      return {
        ...manyServers(count),
        resolver,
        sections: sections("db.example"),
        postgres: ANYWHERE,
        pooler: "dns_max_ttl = 1",
      };
    },
    async run(crowd) {
      await openAllServers(crowd);
      (crowd.options.resolver as FakeResolver).set("db.example", ["127.0.0.2"]);
      await crowd.pass(3_000);
      assert.equal(crowd.pool.servers.count, 0);
    },
  },
  {
    name: "all who failed are answered",
    world: (count) => ({
      pooler: `auth_type = "md5"\nauth_fail_delay = 5\nmax_login_clients = ${2 * count}`,
    }),
    async run(crowd) {
      await crowd.arrive({ password: "a guess" });
      await crowd.until("all are answered", () => crowd.clients.every(({ isGone }) => isGone));
      assertTold(crowd, "FATAL 28P01 password authentication failed");
    },
  },
  {
    name: "all log in as one whose secret is looked up",
    world: (count) => ({
      pooler: `auth_type = "md5"\nauth_user = "bob"\nauth_query = "look up $1 slowly"
max_login_clients = ${2 * count}`,
    }),
    async run(crowd) {
      const { postgres } = crowd.world;
      postgres.secrets.set("eve", [["eve", "evening"]]);
      await crowd.arrive({ user: "eve", password: "evening" });
      await wakeServers(crowd);
      await crowd.until("all are in", () => crowd.clients.every(({ isLoggedIn }) => isLoggedIn));
    },
  },
];

/** One PostgreSQL at all addresses of a machine. */
const ANYWHERE = { address: { ...POSTGRES_ADDRESS, host: "0.0.0.0" } } as const;
