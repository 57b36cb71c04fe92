/** Which server a pool opens, how it is prepared, and when its time is over. */

import assert from "node:assert/strict";
import { eventTurn } from "../../support/event_turn.ts";
import { frontend, readReport } from "../../support/messages.ts";
import { PoolerWorld, USERS, type WorldOptions } from "../../support/pooler_world.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

function database(lines: string): string {
  return `[databases.app]\nhost = "127.0.0.1"\n${lines}\n${USERS}`;
}

// --- several hosts ---

const TWO_HOSTS = '[databases.app]\nhost = "127.0.0.9,127.0.0.1"\n';
const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP };
const CACHED = "server login has been failing, cached error: connect failed (server_login_retry)";
const UNREACHABLE = `FATAL 08001: ${CACHED}`;
const DEAD = { kind: "tcp", host: "127.0.0.9", port: 5432 } as const;

for (const policy of ["round-robin", "disable"]) {
  const sections = `${TWO_HOSTS}load_balance_hosts = "${policy}"\n${USERS}`;

  Deno.test(`a dead host of two holds nobody up, with load_balance_hosts ${policy}`, async () => {
    await using world = await PoolerWorld.open({ sections });
    const clients = [await world.login(), await world.login()];
    await clients[0]!.query("begin");
    assert.deepEqual((await clients[1]!.query("select 1")).rows, [["1"]]);
    assert.equal(world.pool().servers.count, 2, "the pool has grown, and no time has passed");
    for (const client of clients) client.close();
  });

  Deno.test(`a host that does not answer is passed over after server_connect_timeout, with ${policy}`, async () => {
    await using world = await PoolerWorld.open({
      pooler: "server_connect_timeout = 5",
      sections,
    });
    // It takes connections and says nothing.
    const mute = await world.network.listen({ ...DEAD, backlog: 1 }, () => STREAM_OPTIONS);
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    await world.advance(6_000);
    assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
    client.close();
    mute.close();
  });
}

Deno.test("a reload that leaves the hosts alone does not begin with the dead one again", async () => {
  const sections = `${TWO_HOSTS}load_balance_hosts = "disable"\n${USERS}`;
  await using world = await PoolerWorld.open({ sections });
  const clients = [await world.login(), await world.login()];
  await clients[0]!.query("begin");
  await world.reload({ sections, pooler: "query_timeout = 7" });
  await clients[1]!.query("select 1");
  assert.equal(world.pool().servers.count, 2);
  assert.equal(world.log.filter((line) => line.includes("connect failed")).length, 1);
  for (const client of clients) client.close();
});

Deno.test("a pool all of whose hosts are dead pauses for server_login_retry", async () => {
  await using world = await PoolerWorld.open({ sections: `${TWO_HOSTS}${USERS}` });
  world.network.obstruct(world.postgres.address, "refused");
  const early = await world.connect();
  await early.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(14_000);
  const attempts = world.log.filter((line) => line.includes("connect failed (")).length;
  assert.equal(attempts, 2, "each host once");
  early.close();
});

Deno.test("who comes when server_login_retry is over is let in, and not told the old error", async () => {
  await using world = await PoolerWorld.open({ sections: database("") });
  world.network.obstruct(world.postgres.address, "refused");
  const early = await world.connect();
  await early.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  early.close();
  await world.advance(14_000);
  assert.equal(await world.outcome(), UNREACHABLE);
  // After a long pause, in which nobody came.
  await world.advance(600_000);
  world.network.obstruct(world.postgres.address, undefined);
  assert.equal(await world.outcome(), "in");
});

Deno.test("who comes when server_login_retry is over is told what came of another attempt", async () => {
  await using world = await PoolerWorld.open({ sections: database("") });
  const client = await world.login();
  world.network.obstruct(world.postgres.address, "refused");
  for (const backend of world.postgres.live) backend.close();
  await world.settle();
  await client.send(frontend.query("select 1"));
  await world.settle();
  const late = await world.login();
  await late.send(frontend.query("select 1"));
  assert.equal(readReport((await late.receiveUntilEnd())[0]!.body).message, CACHED);
  client.close();
  await world.advance(15_000);
  const later = await world.login();
  await later.send(frontend.query("select 1"));
  assert.equal(readReport((await later.receiveUntilEnd())[0]!.body).message, CACHED);
  const attempts = world.log.filter((line) => line.includes("because: connect failed ("));
  assert.equal(attempts.length, 2);
});

// --- a new server ---

Deno.test("who logs in is told what the newest server reported, not the first of the pool", async () => {
  await using world = await PoolerWorld.open({ sections: database("") });
  world.postgres.become({ isStandby: true });
  const old = await world.login();
  assert.equal(old.parameters.get("in_hot_standby"), "on");
  world.postgres.become({ isStandby: false });
  for (const backend of world.postgres.live) backend.close();
  await world.settle();
  await old.query("select 1");
  const client = await world.login();
  assert.equal(client.parameters.get("in_hot_standby"), "off");
  for (const each of [old, client]) each.close();
});

Deno.test("who logs in after a promotion is told of it as soon as any server of the pool has", async () => {
  await using world = await PoolerWorld.open({ sections: database("") });
  world.postgres.become({ isStandby: true });
  const clients = [await world.login(), await world.login()];
  for (const client of clients) await client.query("begin");
  world.postgres.become({ isStandby: false });
  await clients[0]!.query("select 1");
  const client = await world.login();
  assert.equal(client.parameters.get("in_hot_standby"), "off");
  assert.equal(world.postgres.backends.length, 2);
  for (const each of [...clients, client]) each.close();
});

Deno.test("a server that is to be closed does not say any more what clients are greeted with", async () => {
  await using world = await PoolerWorld.open({ sections: database("") });
  world.postgres.become({ isStandby: true });
  const old = await world.login();
  await old.query("begin");
  world.pool().doomServers("RECONNECT command issued");
  const client = await world.login();
  world.postgres.become({ isStandby: false });
  await old.query("select 1");
  assert.equal(world.pool().welcome?.get("in_hot_standby"), "on");
  for (const each of [old, client]) each.close();
});

Deno.test("what connect_query sets is what clients are greeted with, and is left alone", async () => {
  await using world = await PoolerWorld.open({
    sections: database(`connect_query = "set TimeZone = 'Asia/Tokyo'"`),
  });
  const client = await world.login();
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  assert.deepEqual((await client.query("show timezone")).rows, [["Asia/Tokyo"]]);
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), [
    "set TimeZone = 'Asia/Tokyo'",
    "show timezone",
  ]);
  client.close();
});

Deno.test("a connect_query during which the backend goes is paused after like a failed login", async () => {
  // Each step is asked for: a storm of logins would never come to rest.
  await using world = await PoolerWorld.open({
    isAutomatic: false,
    sections: database('connect_query = "misbehave close"'),
  });
  const stream = world.dial();
  await world.settle();
  const startup = frontend.startup({ user: "ada", database: "app" });
  const client = await stream;
  await client.write(startup, 0, startup.length);
  for (let i = 0; i < 500 && world.network.step(); i++) await eventTurn();
  // So that a storm ends before the test does.
  world.network.obstruct(world.postgres.address, "black hole");
  assert.equal(world.postgres.backends.length, 1, "one login, then a pause");
  client.close();
  await world.settle();
});

// --- upkeep ---

Deno.test("the pool mode of the link that ends says whether a server is reset, not that of the day", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'pool_mode = "session"\ndefault_pool_size = 1',
  });
  const first = await world.login();
  await first.query("set work_mem = '1GB'");
  assert.ok(await world.reload({ pooler: 'pool_mode = "transaction"\ndefault_pool_size = 1' }));
  await first.terminate();
  const second = await world.login();
  assert.deepEqual((await second.query("show work_mem")).rows, [["4MB"]]);
  assert.deepEqual(world.postgres.backends.length, 1, "on the same server");
  second.close();
});

Deno.test("a link for a transaction is not reset after a change to session pooling", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const client = await world.login();
  await client.query("begin");
  await world.reload({ pooler: 'pool_mode = "session"\ndefault_pool_size = 1' });
  await client.query("commit");
  await world.settle();
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ["begin", "commit"]);
  client.close();
});

Deno.test("server_lifetime is kept to on a pool whose servers are never idle when looked at", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\nserver_lifetime = 10",
  });
  const [a, b] = [await world.login(), await world.login()];
  const ids = new Set<string>();
  await a.send(frontend.query("begin"));
  await a.result();
  for (let turn = 0; turn < 8; turn++) {
    // Whoever is not in its transaction waits for the server, which so is never idle.
    const [holder, waiter] = turn % 2 === 0 ? [a, b] : [b, a];
    await waiter.send(frontend.query("begin"));
    await world.advance(2_000);
    ids.add((await holder.query("select session id")).rows[0]![0]!);
    await holder.query("commit");
    await waiter.result();
  }
  assert.deepEqual([...ids], ["1001", "1002"]);
  assert.ok(world.hasLogged("server lifetime over"));
  a.close();
  b.close();
});

Deno.test("a pool whose size is 0 has one server", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 0" });
  const [a, b] = [await world.login(), await world.login()];
  for (const client of [a, b]) {
    assert.equal((await client.query("select session id")).rows[0]?.[0], "1001");
  }
  await world.advance(1_000);
  assert.equal(world.pool().servers.count, 1, "it is not too many");
  a.close();
  b.close();
});

Deno.test("a server that does not answer its check query loses its place in the pool", async () => {
  await using world = await PoolerWorld.open({
    pooler: `default_pool_size = 1\nserver_check_delay = 1\nserver_connect_timeout = 3
server_check_query = "misbehave silence"`,
  });
  const client = await world.login();
  await client.query("select 1");
  await world.advance(2_000);
  assert.equal(world.pool().servers.used.length, 1);
  await client.send(frontend.query("select session id"));
  await world.advance(1_000);
  assert.equal(world.pool().servers.tested.size, 1);
  await world.advance(3_000);
  assert.ok(world.hasLogged("test query timed out"));
  assert.equal((await client.result()).rows[0]?.[0], "1002");
  client.close();
});

Deno.test("a server that does not answer its reset query loses its place in the pool", async () => {
  await using world = await PoolerWorld.open({
    pooler: `pool_mode = "session"\ndefault_pool_size = 1\nserver_connect_timeout = 3
server_reset_query = "misbehave silence"`,
  });
  const first = await world.login();
  await first.query("select 1");
  await first.terminate();
  const second = await world.login();
  await second.send(frontend.query("select session id"));
  await world.advance(4_000);
  assert.equal((await second.result()).rows[0]?.[0], "1002");
  second.close();
});

// --- names that only "*" covers ---

Deno.test("a name that only * covers and that came to nothing leaves nothing behind", async () => {
  await using world = await PoolerWorld.open({ postgres: { databases: ["app"] } });
  for (const name of ["no1", "no2", "no3"]) {
    assert.equal(
      await world.outcome({ database: name }),
      `FATAL 3D000: database "${name}" does not exist`,
    );
  }
  await world.advance(1_000);
  assert.deepEqual([...world.pooler.pools.registry.all()], []);
  const counted = world.pooler.stats.databases(world.clock.nowMs()).map(({ database }) => database);
  assert.deepEqual(counted.filter((name) => name.startsWith("no")), []);
});

Deno.test("a pool that only * made is kept while it has a server, then until autodb_idle_timeout", async () => {
  await using world = await PoolerWorld.open({
    pooler: "autodb_idle_timeout = 60\nserver_idle_timeout = 5",
  });
  (await world.login()).close();
  await world.advance(4_000);
  assert.equal(world.pool().servers.count, 1);
  await world.advance(50_000);
  assert.deepEqual([world.pool().servers.count, world.pool().isEmpty], [0, true]);
  await world.advance(30_000);
  assert.deepEqual([...world.pooler.pools.registry.all()], []);
});

Deno.test("a pool of a database that is configured is kept for good", async () => {
  await using world = await PoolerWorld.open({
    pooler: "autodb_idle_timeout = 1\nserver_idle_timeout = 1",
    sections: database(""),
  });
  (await world.login()).close();
  await world.advance(10_000);
  assert.deepEqual([world.pool().isEmpty, world.pool().database], [true, "app"]);
});

// --- who gets which pool ---

Deno.test("ServerPools gives clients of a forced user one pool, and others a pool each", async () => {
  const sections = `[databases.forced]\nhost = "127.0.0.1"\nuser = "carol"\n${database("")}`;
  await using world = await PoolerWorld.open({ sections });
  for (const user of ["ada", "bob"]) {
    for (const name of ["forced", "app"]) {
      (await world.login({ user, database: name })).close();
    }
  }
  const pools = [...world.pooler.pools.registry.all()].map((pool) =>
    `${pool.database}/${pool.user}`
  );
  assert.deepEqual(pools.sort(), ["app/ada", "app/bob", "forced/carol"]);
  assert.deepEqual(
    world.postgres.backends.map(({ user }) => user).sort(),
    ["ada", "bob", "carol"],
  );
});

Deno.test("min_pool_size of a forced user needs no client; of others it counts while there is one", async () => {
  const sections = `[databases.forced]\nhost = "127.0.0.1"\nuser = "carol"\nmin_pool_size = 2\n${
    database("")
  }`;
  await using world = await PoolerWorld.open({ pooler: "min_pool_size = 2", sections });
  await world.advance(2_000);
  assert.equal(world.pool("forced", "carol").servers.count, 2);
  const client = await world.login();
  await world.advance(2_000);
  assert.equal(world.pool().servers.count, 2);
  client.close();
});

const SIZES: readonly (readonly [string, string, readonly number[]])[] = [
  ["settings", "", [3, 0, 0]],
  ["database", "pool_size = 5\nreserve_pool_size = 2\nmin_pool_size = 1", [5, 1, 2]],
];

for (const [whose, lines, expected] of SIZES) {
  Deno.test(`the sizes of a pool are those of the ${whose}`, async () => {
    await using world = await PoolerWorld.open({
      pooler: "default_pool_size = 3",
      sections: database(lines),
    });
    (await world.login()).close();
    const { minPoolSize, poolSize, reservePoolSize } = world.pool().rules;
    assert.deepEqual([poolSize, minPoolSize, reservePoolSize], expected);
  });
}

Deno.test("the sizes of a user go before those of the database, and a reload changes them", async () => {
  const options = (size: number): WorldOptions => ({
    sections: `[databases.app]\nhost = "127.0.0.1"\npool_size = 5\n[users.ada]
password = "secret"\npool_size = ${size}`,
  });
  await using world = await PoolerWorld.open(options(7));
  (await world.login()).close();
  assert.equal(world.pool().rules.poolSize, 7);
  await world.reload(options(9));
  assert.equal(world.pool().rules.poolSize, 9);
});

Deno.test("a database that is not configured does not exist", async () => {
  await using world = await PoolerWorld.open({ sections: database("") });
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "other" }));
  const [told] = await client.receiveUntilEnd();
  const { message, sqlstate } = readReport(told!.body);
  assert.deepEqual([sqlstate, message], ["3D000", "no such database: other"]);
  client.close();
});
