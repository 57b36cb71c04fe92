/** Which server a pool opens by its role, and what becomes of servers whose role has changed. */

import assert from "node:assert/strict";
import { FakePostgres, type FakePostgresOptions } from "../../support/fake_postgres.ts";
import { FakeResolver } from "../../support/fake_resolver.ts";
import { frontend, readReport } from "../../support/messages.ts";
import { PoolerWorld, USERS, type WorldOptions } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const HOSTS = "127.0.0.1,127.0.0.2";

/** Two servers, `first` at 127.0.0.1 and `second` at 127.0.0.2, and a pooler. */
class Cluster implements AsyncDisposable {
  readonly world: PoolerWorld;
  readonly first: FakePostgres;
  readonly second: FakePostgres;

  private constructor(world: PoolerWorld, second: FakePostgres) {
    this.world = world;
    this.first = world.postgres;
    this.second = second;
  }

  static async open(
    attrs: string,
    { database = "", pooler = "", resolver, host = HOSTS, serverLimit = 0, ...postgres }:
      & Partial<Omit<FakePostgresOptions, "network" | "random">>
      & Pick<WorldOptions, "pooler" | "resolver">
      & { database?: string; host?: string; serverLimit?: number } = {},
  ): Promise<Cluster> {
    const entry = `[databases.app]\nhost = "${host}"\n${database}`;
    const limit = `[servers.first]\nhost = "127.0.0.1"\nmax_connections = ${serverLimit}\n`;
    const world = await PoolerWorld.open({
      pooler,
      postgres,
      sections: `${entry}\ntarget_session_attrs = "${attrs}"\n${USERS}${limit}`,
      ...resolver === undefined ? {} : { resolver },
    });
    const second = await FakePostgres.start({
      ...postgres,
      network: world.network,
      random: world.random.fork(),
      address: { kind: "tcp", host: "127.0.0.2", port: 5432, backlog: 16 },
    });
    return new Cluster(world, second);
  }

  /** A server dies with all its sessions, and does not come back. */
  async kill(postgres: FakePostgres): Promise<void> {
    this.world.network.obstruct(postgres.address, "refused");
    for (const backend of postgres.live) backend.close();
    await this.world.settle();
  }

  revive(postgres: FakePostgres): void {
    this.world.network.obstruct(postgres.address, undefined);
  }

  /** How many sessions there are at the first and at the second server. */
  get sessions(): [number, number] {
    return [this.first.live.length, this.second.live.length];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
    const closing = this.second.close();
    await this.world.settle();
    await closing;
  }
}

/** Begins a login that may have to wait. */
async function arrive(world: PoolerWorld, user = "ada"): Promise<TestClient> {
  const client = await world.connect();
  await client.send(frontend.startup({ user, database: "app" }));
  await world.settle();
  return client;
}

async function rows(client: TestClient): Promise<string[]> {
  return (await client.result()).rows.flat() as string[];
}

// --- each role ---

const ROLES = {
  "a read-write primary": { isStandby: false, isReadOnly: false },
  "a read-only primary": { isStandby: false, isReadOnly: true },
  "a standby": { isStandby: true, isReadOnly: false },
};

/** Whether each of these roles suits. */
const SUITS = {
  "any": [true, true, true],
  "read-write": [true, false, false],
  "read-only": [false, true, true],
  "primary": [true, true, false],
  "standby": [false, false, true],
  "prefer-standby": [true, true, true],
} as const;

for (const [attrs, suits] of Object.entries(SUITS)) {
  for (const [at, [what, role]] of Object.entries(ROLES).entries()) {
    for (const reportsRole of [true, false]) {
      const how = reportsRole ? "reports it" : "has to be asked";
      const isUsed = suits[at]!;
      const what2 = isUsed ? "is used" : "is not used before it has become another";
      Deno.test(`with ${attrs}, ${what} that ${how} ${what2}`, async () => {
        await using cluster = await Cluster.open(attrs, { host: "127.0.0.1", reportsRole });
        const { first, world } = cluster;
        first.become(role);
        const client = await arrive(world);
        assert.equal(world.pool().servers.idle.length, isUsed ? 1 : 0);
        if (!isUsed) {
          assert.ok(world.hasLogged(`(target_session_attrs=${attrs})`));
          const other = Object.values(ROLES).find((_, i) => suits[i]);
          first.become(other!);
          await world.advance(1_400);
        }
        assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
        assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
        const isAsked = attrs !== "any" && !reportsRole;
        assert.equal(first.ran.some(({ sql }) => sql.includes("pg_is_in_recovery")), isAsked);
        client.close();
      });
    }
  }
}

Deno.test("connect_query is not run on a server that does not suit", async () => {
  await using cluster = await Cluster.open("primary", {
    host: "127.0.0.1",
    database: `connect_query = "select 'connected'"`,
  });
  cluster.first.become({ isStandby: true });
  const client = await arrive(cluster.world);
  assert.deepEqual(cluster.first.ran, []);
  cluster.first.become({});
  await cluster.world.advance(1_400);
  assert.deepEqual(cluster.first.ran.map(({ sql }) => sql), ["select 'connected'"]);
  client.close();
});

Deno.test("a server that cannot say what it is is not used", async () => {
  await using cluster = await Cluster.open("primary", {
    reportsRole: false,
    knowsRole: false,
  });
  const outcome = await cluster.world.outcome();
  assert.equal(outcome, "FATAL 42883: no such function");
  assert.ok(cluster.world.hasLogged("closing because: role query failed: no such function"));
});

// --- failover ---

Deno.test("after a failover clients that wait and clients that come are served by the new primary", async () => {
  await using cluster = await Cluster.open("read-write");
  const { first, second, world } = cluster;
  second.become({ isStandby: true });
  const clients = [await world.login(), await world.login({ user: "bob" })];
  for (const client of clients) assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  assert.deepEqual(cluster.sessions, [2, 0]);
  await cluster.kill(first);
  for (const client of clients) await client.send(frontend.query("select 1"));
  await world.advance(20_000);
  const late = await arrive(world);
  second.become({ isStandby: false });
  await world.advance(1_700);
  for (const client of clients) assert.deepEqual(await rows(client), ["1"]);
  await late.receiveUntilReady();
  assert.ok(cluster.sessions[1] >= 2);
  for (const client of [...clients, late]) client.close();
});

Deno.test("a host that swallows everything does not delay the question to the other", async () => {
  await using cluster = await Cluster.open("primary", { pooler: "server_login_retry = 2" });
  const { first, second, world } = cluster;
  second.become({ isStandby: true });
  const client = await world.login();
  await client.query("select 1");
  await cluster.kill(first);
  world.network.obstruct(first.address, "black hole");
  await client.send(frontend.query("select 1"));
  await world.advance(40_000);
  assert.equal(world.pool().servers.login.size, 1, "the first host is being dialed again");
  second.become({});
  await world.advance(1_700);
  assert.deepEqual(await rows(client), ["1"]);
  client.close();
});

Deno.test("while no host suits, each is asked once in server_role_retry, whatever the number of pools", async () => {
  await using cluster = await Cluster.open("primary", { pooler: "server_role_retry = 3" });
  const { first, second, world } = cluster;
  for (const postgres of [first, second]) postgres.become({ isStandby: true });
  const clients = [await arrive(world), await arrive(world, "bob")];
  await world.advance(9_500);
  const counts = [first, second].map(({ backends }) => backends.length);
  for (const count of counts) assert.ok(count >= 3 && count <= 5, `asked ${counts.join()} times`);
  for (const client of clients) client.close();
});

Deno.test("without any pause in the settings a standby is asked at the janitor's pace, beside a dead primary", async () => {
  await using cluster = await Cluster.open("read-write", {
    pooler: "server_login_retry = 0\nserver_role_retry = 0",
  });
  const { first, second, world } = cluster;
  second.become({ isStandby: true });
  const client = await world.login();
  await cluster.kill(first);
  await client.send(frontend.query("select 1"));
  await world.advance(5_000);
  assert.ok(second.backends.length < 40, `asked ${second.backends.length} times`);
  second.become({});
  await world.advance(700);
  assert.deepEqual(await rows(client), ["1"]);
  client.close();
});

Deno.test("who has waited for query_wait_timeout is told what is wrong with the servers", async () => {
  await using cluster = await Cluster.open("primary", { pooler: "query_wait_timeout = 5" });
  const { first, second, world } = cluster;
  second.become({ isStandby: true });
  const client = await world.login();
  await cluster.kill(first);
  await client.send(frontend.query("select 1"));
  await world.advance(6_000);
  const [told] = await client.receiveUntilEnd();
  assert.deepEqual(readReport(told!.body), {
    severity: "FATAL",
    sqlstate: "53300",
    message: "query_wait_timeout",
    detail: "server is in hot standby mode (target_session_attrs=primary)",
  });
  client.close();
});

Deno.test("while no host can be reached at all, newcomers are told at once, as without a role", async () => {
  await using cluster = await Cluster.open("primary");
  for (const postgres of [cluster.first, cluster.second]) await cluster.kill(postgres);
  const early = await arrive(cluster.world);
  assert.equal(
    await cluster.world.outcome(),
    "FATAL 08001: server login has been failing, cached error: connect failed (server_login_retry)",
  );
  early.close();
});

Deno.test("a name with several addresses is asked for at each of them", async () => {
  const resolver = new FakeResolver();
  resolver.set("db.example", ["127.0.0.1", "127.0.0.2"]);
  await using cluster = await Cluster.open("standby", { host: "db.example", resolver });
  cluster.second.become({ isStandby: true });
  const clients = [await cluster.world.login(), await cluster.world.login()];
  for (const client of clients) await client.query("begin");
  assert.deepEqual(cluster.sessions, [0, 2], "and no time has passed");
  for (const client of clients) client.close();
});

Deno.test("room at the only host that suits is made by closing what is idle there", async () => {
  await using cluster = await Cluster.open("read-write", { serverLimit: 1 });
  const { second, world } = cluster;
  second.become({ isStandby: true });
  const ada = await world.login();
  await ada.query("select 1");
  const bob = await arrive(world, "bob");
  await bob.receiveUntilReady();
  assert.deepEqual(cluster.sessions, [1, 0], "and no time has passed");
  assert.equal(second.backends.length, 1, "the standby is asked once");
  for (const client of [ada, bob]) client.close();
});

// --- servers that become something else ---

Deno.test("a server that reports its promotion serves its transaction to the end, and no other", async () => {
  await using cluster = await Cluster.open("standby");
  const { first, second, world } = cluster;
  for (const postgres of [first, second]) postgres.become({ isStandby: true });
  const client = await world.login();
  await client.query("begin");
  assert.deepEqual(cluster.sessions, [1, 0]);
  first.become({ isStandby: false });
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  await client.query("commit");
  await world.settle();
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  assert.deepEqual(cluster.sessions, [0, 1]);
  client.close();
});

Deno.test("idle servers at a host of which one has become a primary are asked before they are used", async () => {
  await using cluster = await Cluster.open("standby");
  const { first, second, world } = cluster;
  first.become({ isStandby: true });
  await cluster.kill(second);
  const [a, b] = [await world.login(), await world.login()];
  for (const client of [a, b]) await client.query("begin");
  for (const client of [a, b]) await client.query("commit");
  assert.deepEqual(cluster.sessions, [2, 0]);
  cluster.revive(second);
  second.become({ isStandby: true });
  await world.advance(16_000);
  first.become({ isStandby: false });
  await a.query("select 1");
  for (const client of [a, b]) await client.query("begin");
  assert.deepEqual(cluster.sessions, [0, 2]);
  for (const client of [a, b]) client.close();
});

Deno.test("a server that was idle for server_check_delay is asked for its role before it is used", async () => {
  await using cluster = await Cluster.open("standby", {
    pooler: "server_check_delay = 10\nserver_check_query = ''",
  });
  const { first, second, world } = cluster;
  for (const postgres of [first, second]) postgres.become({ isStandby: true });
  const client = await world.login();
  await client.query("select 1");
  first.become({ isStandby: false });
  await world.advance(11_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  assert.deepEqual(cluster.sessions, [0, 1]);
  client.close();
});

Deno.test("a server that does not report its role is asked every server_check_delay, however busy it is", async () => {
  await using cluster = await Cluster.open("standby", {
    reportsRole: false,
    pooler: "server_check_delay = 10",
  });
  const { first, second, world } = cluster;
  for (const postgres of [first, second]) postgres.become({ isStandby: true });
  const client = await world.login();
  const asked = () => first.ran.filter(({ sql }) => sql.includes("pg_is_in_recovery")).length;
  for (let i = 0; i < 10; i++) {
    await world.advance(2_500);
    await client.query("select 1");
  }
  assert.equal(asked(), 3, "at login and twice in 25 seconds");
  first.become({ isStandby: false });
  for (let i = 0; i < 6; i++) {
    await world.advance(2_500);
    await client.query("select 1");
  }
  assert.deepEqual(cluster.sessions, [0, 1]);
  client.close();
});

Deno.test("a server that refuses to write is asked, and left if it was made read-only", async () => {
  await using cluster = await Cluster.open("read-write");
  const { first, second, world } = cluster;
  const client = await world.login();
  const asked = () => first.ran.filter(({ sql }) => sql.includes("pg_is_in_recovery")).length;
  await client.query("error 25006 cannot execute INSERT in a read-only transaction");
  await client.query("select 1");
  assert.deepEqual([asked(), cluster.sessions], [1, [1, 0]], "the transaction alone was read-only");
  first.become({ isReadOnly: true });
  await client.query("error 25006 cannot execute INSERT in a read-only transaction");
  await world.settle();
  await client.query("select 1");
  assert.deepEqual([asked(), cluster.sessions], [2, [0, 1]]);
  assert.equal(second.live.length, 1);
  client.close();
});

Deno.test("a server that was made read-only is left, and the client that was told so is not read-only elsewhere", async () => {
  await using cluster = await Cluster.open("read-write");
  const { first, world } = cluster;
  const [client, other] = [await world.login(), await world.login()];
  for (const each of [client, other]) await each.query("select 1");
  first.become({ isReadOnly: true });
  await client.query("select 1");
  assert.equal(client.parameters.get("default_transaction_read_only"), "on");
  await world.settle();
  for (const each of [other, client]) {
    const { rows } = await each.query("show default_transaction_read_only");
    assert.deepEqual(rows, [["off"]]);
  }
  assert.deepEqual(cluster.sessions, [0, 1]);
  assert.ok(!first.ran.some(({ sql }) => /^set /i.test(sql)), "nobody was made to write there");
  for (const each of [client, other]) each.close();
});

Deno.test("a client that has made itself read-only is so at the new primary, too", async () => {
  await using cluster = await Cluster.open("read-write");
  const { first, world } = cluster;
  const client = await world.login();
  await client.query("set default_transaction_read_only = on");
  await world.settle();
  assert.deepEqual(cluster.sessions, [1, 0]);
  await cluster.kill(first);
  assert.deepEqual((await client.query("show default_transaction_read_only")).rows, [["on"]]);
  assert.deepEqual(cluster.sessions, [0, 1]);
  client.close();
});

Deno.test("a server that never wrote is not asked for refusing to", async () => {
  await using cluster = await Cluster.open("standby", { host: "127.0.0.1" });
  cluster.first.become({ isStandby: true });
  const client = await cluster.world.login();
  await client.query("error 25006 cannot execute INSERT in a read-only transaction");
  await client.query("select 1");
  assert.deepEqual(cluster.first.ran.length, 2);
  client.close();
});

Deno.test("what a client sets for its session does not make a server read-only", async () => {
  await using cluster = await Cluster.open("read-write");
  const client = await cluster.world.login();
  await client.query("set default_transaction_read_only = on");
  await client.query("error 25006 cannot execute INSERT in a read-only transaction");
  await client.query("select 1");
  assert.deepEqual(cluster.sessions, [1, 0]);
  client.close();
});

// --- prefer-standby ---

Deno.test("prefer-standby goes to the primary for want of a standby, and back when there is one", async () => {
  await using cluster = await Cluster.open("prefer-standby", { pooler: "server_login_retry = 5" });
  const { second, world } = cluster;
  second.become({ isStandby: true });
  const clients = [await world.login(), await world.login()];
  const session = async () => {
    for (const client of clients) await client.query("begin");
    const { sessions } = cluster;
    for (const client of clients) await client.query("commit");
    return sessions;
  };
  assert.deepEqual(await session(), [0, 2]);
  await cluster.kill(second);
  assert.deepEqual(await session(), [2, 0], "and no time has passed");
  await world.advance(30_000);
  assert.deepEqual(await session(), [2, 0]);
  cluster.revive(second);
  await world.advance(7_000);
  assert.deepEqual(await session(), [0, 2]);
  for (const client of clients) client.close();
});

Deno.test("a pool of one server at a primary is left alone by prefer-standby", async () => {
  await using cluster = await Cluster.open("prefer-standby", { pooler: "default_pool_size = 1" });
  const { second, world } = cluster;
  await cluster.kill(second);
  const client = await world.login();
  await client.query("select 1");
  const count = cluster.first.backends.length;
  world.network.obstruct(second.address, "black hole");
  await world.advance(60_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]], "it waits for nothing");
  assert.equal(cluster.first.backends.length, count, "on the same server");
  client.close();
});

Deno.test("servers of the reserve at a primary are not opened anew, one after the other, to come to a standby", async () => {
  const reserve = "reserve_pool_size = 3\nreserve_pool_timeout = 1\nserver_login_retry = 5";
  await using cluster = await Cluster.open("prefer-standby", { pooler: reserve });
  const { first, second, world } = cluster;
  await cluster.kill(second);
  const clients: TestClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = await world.login();
    await client.send(frontend.query("begin"));
    await world.advance(1_400);
    clients.push(client);
  }
  for (const client of clients) await client.query("rollback");
  assert.equal(first.live.length, 5);
  const count = first.backends.length;
  await world.advance(30_000);
  assert.equal(first.backends.length, count);
  for (const client of clients) client.close();
});

// --- with everything else ---

Deno.test("a reload with another target_session_attrs recycles the servers", async () => {
  await using cluster = await Cluster.open("primary");
  const { second, world } = cluster;
  second.become({ isStandby: true });
  const client = await world.login();
  await client.query("select 1");
  const sections = `[databases.app]
host = "127.0.0.1,127.0.0.2"
target_session_attrs = "standby"
${USERS}`;
  assert.ok(await world.reload({ sections }));
  await client.query("select 1");
  assert.deepEqual(cluster.sessions, [0, 1]);
  client.close();
});

Deno.test("min_pool_size is kept at the host that suits", async () => {
  await using cluster = await Cluster.open("primary", { database: "min_pool_size = 2" });
  const { first, second, world } = cluster;
  first.become({ isStandby: true });
  const client = await world.login();
  await world.advance(2_000);
  assert.deepEqual(cluster.sessions, [0, 2]);
  second.become({ isStandby: true });
  await cluster.kill(second);
  first.become({});
  await world.advance(4_000);
  assert.deepEqual(cluster.sessions, [2, 0]);
  client.close();
});
