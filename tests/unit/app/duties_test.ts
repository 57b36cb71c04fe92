/** What the janitor carries out: limits of clients and servers, notices, statistics. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";

async function oneServer(lines: string, more: WorldOptions = {}): Promise<PoolerWorld> {
  return await PoolerWorld.open({ ...more, pooler: `default_pool_size = 1\n${lines}` });
}

Deno.test("a query that takes too long ends its client, and is cancelled at the server", async () => {
  await using world = await oneServer("query_timeout = 2");
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.advance(3_000);
  assert.equal(await client.lastWords(), "FATAL 57014 query timeout");
  await world.settle();
  assert.deepEqual(world.postgres.canceled.map(({ processId }) => processId), [1_001]);
  assert.equal(world.pool().servers.count, 0, "the server is not handed on");
});

Deno.test("a transaction that idles too long ends its client, and no cancel request is sent", async () => {
  await using world = await oneServer("idle_transaction_timeout = 2");
  const client = await world.login();
  await client.query("begin");
  await world.advance(3_000);
  assert.equal(await client.lastWords(), "FATAL 25P03 idle transaction timeout");
  await world.settle();
  assert.deepEqual([world.postgres.cancelRequestCount, world.pool().servers.count], [0, 0]);
});

Deno.test("transaction_timeout counts from BEGIN, over all the queries since", async () => {
  await using world = await oneServer("transaction_timeout = 5");
  const client = await world.login();
  await client.query("begin");
  for (let i = 0; i < 4; i++) {
    await world.advance(1_000);
    await client.query("select 1");
  }
  await world.advance(2_000);
  assert.equal(await client.lastWords(), "FATAL 25P04 transaction timeout");
});

Deno.test("client_idle_timeout ends idle clients, and query_wait_timeout those who wait", async () => {
  await using world = await oneServer("client_idle_timeout = 5\nquery_wait_timeout = 2");
  const [idle, busy] = [await world.login(), await world.login()];
  await busy.query("begin");
  const waiting = await world.login();
  await waiting.send(frontend.query("select 1"));
  await world.advance(3_000);
  assert.equal(await waiting.lastWords(), "FATAL 53300 query_wait_timeout");
  assert.equal(world.pool().waiting.size, 0);
  await world.advance(3_000);
  assert.equal(await idle.lastWords(), "FATAL 57P05 client_idle_timeout");
  assert.deepEqual((await busy.query("commit")).tags, ["COMMIT"], "it was in a transaction");
  busy.close();
});

Deno.test("client_idle_timeout does not close the console", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'client_idle_timeout = 5\nadmin_users = "ada"',
  });
  const [idle, console] = [await world.login(), await world.login({ database: "pgbouncer" })];
  await world.advance(6_000);
  assert.equal(await idle.lastWords(), "FATAL 57P05 client_idle_timeout");
  assert.deepEqual((await console.query("show version")).tags, ["SHOW"]);
  console.close();
});

Deno.test("of very many whose time is over, a hundred are ended before others have their turn", async () => {
  await using world = await PoolerWorld.open({
    pooler: "max_client_conn = 200\nclient_idle_timeout = 5",
  });
  await Promise.all(Array.from({ length: 150 }, () => world.login()));
  // Not at once: that would be a gap, which does not count.
  for (let i = 0; i < 6; i++) {
    world.clock.stall(999);
    world.pooler.janitor.sweep();
  }
  const openCount = () => world.clients.filter(({ isOpen }) => isOpen).length;
  assert.equal(openCount(), 50);
  await world.advance(1_000);
  assert.equal(openCount(), 0);
});

Deno.test("a user's limits go before the database's, and those before the settings'", async () => {
  await using world = await oneServer("query_wait_timeout = 2\nclient_idle_timeout = 3", {
    sections: `[databases.app]\nhost = "127.0.0.1"\nquery_wait_timeout = 6
[users.ada]\npassword = "x"\nquery_wait_timeout = 12\nclient_idle_timeout = 60
[users.bob]\npassword = "x"\n`,
  });
  const ends = new Map<string, number>();
  const startMs = world.clock.nowMs();
  for (const user of ["ada", "bob"]) {
    const busy = await world.login({ user });
    await busy.query("begin");
    const waiting = await world.login({ user });
    await waiting.send(frontend.query("select 1"));
    void waiting.lastWords().then(() => ends.set(user, world.clock.nowMs() - startMs));
  }
  const idle = await world.login({ user: "ada" });
  await world.advance(20_000);
  const seconds = (user: string) => Math.floor(ends.get(user)! / 1_000);
  assert.deepEqual([seconds("bob"), seconds("ada")], [6, 12]);
  assert.deepEqual(
    world.clients.filter(({ state }) => state.kind === "idle").map(({ user }) => user),
    ["ada"],
    "the idle client of a user with a longer limit",
  );
  idle.close();
});

Deno.test("a server that may come free has touched who waits longest, and asked again who comes next", async () => {
  await using world = await oneServer("");
  const [busy, ...waiting] = [await world.login(), await world.login(), await world.login()];
  await busy.query("begin");
  for (const client of waiting) await client.send(frontend.query("select 1"));
  await world.settle();
  const touched: number[] = [];
  for (const { id, stream } of world.clients) stream.touch = () => touched.push(id);
  const [server] = world.pool().servers.active;
  for (let i = 0; i < 3; i++) server!.touchRest();
  const queue = [...world.pool().waiting.places()].map(({ owner }) =>
    world.clients.find(({ relay }) => relay === owner)?.id
  );
  assert.equal(queue.length, 2);
  assert.deepEqual(touched, queue);
  await busy.query("commit");
  for (const client of [busy, ...waiting]) client.close();
});

Deno.test("a client that waits is told so once each time, before its answer", async () => {
  await using world = await oneServer("query_wait_notify = 2");
  const [busy, waiting] = [await world.login(), await world.login()];
  for (let round = 0; round < 2; round++) {
    await busy.query("begin");
    await waiting.send(frontend.query("select 1"));
    await world.advance(6_000);
    await busy.query("commit");
    const { notices, types } = await waiting.result();
    assert.equal(types, "NTDCZ");
    assert.match(notices[0]!.message, /^No server connection available/);
  }
  busy.close();
  waiting.close();
});

Deno.test("the notice of a wait comes behind an answer that the client has not read yet", async () => {
  await using world = await oneServer("query_wait_notify = 2");
  const [busy, waiting] = [await world.login(), await world.login()];
  await waiting.send(frontend.query("rows 40 'row'"));
  await world.settle();
  await busy.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.advance(6_000);
  await busy.query("commit");
  assert.equal((await waiting.result()).types, `T${"D".repeat(40)}CZ`);
  assert.equal((await waiting.result()).types, "NTDCZ");
  busy.close();
  waiting.close();
});

Deno.test("query_wait_notify = 0 tells nobody", async () => {
  await using world = await oneServer("query_wait_notify = 0");
  const [busy, waiting] = await world.loginInLine();
  await world.advance(60_000);
  await busy.query("commit");
  assert.equal((await waiting.result()).types, "TDCZ");
  busy.close();
  waiting.close();
});

Deno.test("a client that does not go when told is hung up on", async () => {
  await using world = await oneServer("client_idle_timeout = 2");
  const deaf = await world.login();
  await world.advance(2_500);
  assert.deepEqual(world.clients.map(({ state }) => state.kind), ["closing"]);
  await world.advance(2_000);
  assert.equal(world.pooler.clients.count, 0);
  deaf.close();
});

Deno.test("idle servers are closed after server_idle_timeout, down to min_pool_size", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 3\nmin_pool_size = 1\nserver_idle_timeout = 5",
  });
  const clients = [await world.login(), await world.login(), await world.login()];
  for (const client of clients) await client.query("begin");
  for (const client of clients) await client.query("commit");
  await world.settle();
  assert.equal(world.pool().servers.count, 3);
  await world.advance(6_000);
  assert.equal(world.pool().servers.count, 1);
  for (const client of clients) client.close();
});

Deno.test("a pool that shrinks by a reload closes what is too much, as it comes free", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 3" });
  const clients = [await world.login(), await world.login(), await world.login()];
  for (const client of clients) await client.query("begin");
  await world.reload({ pooler: "default_pool_size = 1" });
  await world.advance(1_000);
  assert.equal(world.pool().servers.count, 3, "links go on");
  for (const client of clients) await client.query("commit");
  await world.advance(1_000);
  assert.equal(world.pool().servers.count, 1);
  for (const client of clients) client.close();
});

for (
  const [query, what, received] of [
    ["select 1", "with the check query", "QQ"],
    ["<empty>", "with the empty query", "QQ"],
    ["", "not at all", "Q"],
  ] as const
) {
  Deno.test(`a server idle for long is checked ${what} where server_check_query is "${query}"`, async () => {
    await using world = await oneServer(`server_check_delay = 1\nserver_check_query = "${query}"`);
    const client = await world.login();
    await world.settle();
    await world.advance(3_000);
    assert.equal(world.pool().servers.used.length, query === "" ? 0 : 1);
    await client.query("select 'mine'");
    assert.equal(world.postgres.backends[0]?.received, received);
    assert.equal(world.postgres.ran.at(-1)?.sql, "select 'mine'");
    assert.equal(world.postgres.ran.length, query === "select 1" ? 2 : 1);
    client.close();
  });
}

for (const [query, received] of [["<empty>", "QQQQ"], ["", "QQQ"]] as const) {
  Deno.test(`with server_check_delay = 0 servers are checked after each link, by server_check_query "${query}"`, async () => {
    await using world = await oneServer(
      `server_check_delay = 0\nserver_check_query = "${query}"\npool_mode = "transaction"`,
    );
    const [first, second] = [await world.login(), await world.login()];
    await first.query("begin");
    await second.send(frontend.query("select 1"));
    await first.query("commit");
    assert.deepEqual((await second.result()).rows, [["1"]]);
    await world.settle();
    assert.equal(world.pool().servers.used.length, query === "" ? 0 : 1);
    assert.equal(world.postgres.backends[0]?.received, received);
    for (const client of [first, second]) client.close();
  });
}

Deno.test("a period of statistics ends with a line in the log, unless log_stats is off", async () => {
  for (const [line, expected] of [["", 2], ["log_stats = false", 0]] as const) {
    await using world = await PoolerWorld.open({ pooler: `stats_period = 10\n${line}` });
    const client = await world.login();
    for (let i = 0; i < 20; i++) await client.query("select 1");
    await world.advance(21_000);
    const said = world.log.filter((each) => each.includes(" LOG stats: "));
    assert.equal(said.length, expected);
    if (expected > 0) assert.match(said[0]!, /stats: [12] xacts\/s, [12] queries\/s, /);
    if (expected > 0) assert.match(said[1]!, /stats: 0 xacts\/s, 0 queries\/s, /);
    client.close();
  }
});

Deno.test("with stats_period = 0 no line of statistics is logged, and averages are from the beginning", async () => {
  await using world = await PoolerWorld.open({ pooler: "stats_period = 0" });
  const client = await world.login();
  for (let i = 0; i < 250; i++) await client.query("select 1");
  await world.advance(100_000);
  assert.ok(!world.hasLogged(" LOG stats: "));
  const { averages } = world.pooler.stats.databases(world.clock.nowMs())
    .find(({ database }) => database === "app")!;
  assert.equal(averages.queryCount, 2, "of all the time");
  client.close();
});

Deno.test("a failed login is tried again after server_login_retry, without anybody asking anew", async () => {
  await using world = await PoolerWorld.open({ pooler: "server_login_retry = 3" });
  world.network.obstruct(world.postgres.address, "refused");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(1_000);
  world.network.obstruct(world.postgres.address, undefined);
  await world.advance(1_000);
  assert.equal(world.postgres.backends.length, 0);
  await world.advance(2_000);
  assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
  client.close();
});

// --- min_pool_size ---

Deno.test("min_pool_size opens no server while all is paused, and then one after the other", async () => {
  await using world = await PoolerWorld.open({
    pooler: "min_pool_size = 2",
    sections: `[databases.app]\nhost = "127.0.0.1"\nuser = "ada"\npassword = "secret"\n`,
  });
  await world.advance(1_000);
  assert.equal(world.pool().servers.count, 2);
  const { operations } = world.pooler;
  await operations.pause(undefined, new AbortController().signal);
  await world.advance(5_000);
  const opened = world.log.filter((line) => line.includes("new connection to server"));
  assert.deepEqual([world.pool().servers.count, opened.length], [0, 2]);
  operations.resume(undefined);
  await world.advance(333);
  assert.equal(world.pool().servers.count, 1);
  await world.advance(333);
  assert.equal(world.pool().servers.count, 2);
});

// --- pools that nobody uses ---

Deno.test("an empty pool is freed after pool_idle_timeout, and what it counted stays", async () => {
  await using world = await oneServer("pool_idle_timeout = 5\nserver_idle_timeout = 2", {
    sections: APP,
  });
  const client = await world.login();
  await client.query("select 1");
  await world.advance(20_000);
  assert.equal(poolCount(world), 1, "it has a client");
  client.close();
  await world.advance(4_000);
  assert.equal(poolCount(world), 1, "not empty for long enough");
  await world.advance(7_000);
  assert.equal(poolCount(world), 0);
  const total = world.pooler.stats.databases(world.clock.nowMs()).find(({ database }) =>
    database === "app"
  );
  assert.equal(total?.totals.queryCount, 1);
});

Deno.test("an empty pool stays for ever where pool_idle_timeout is 0", async () => {
  await using world = await oneServer("server_idle_timeout = 2", { sections: APP });
  (await world.login()).close();
  await world.advance(100_000);
  assert.deepEqual([world.pool().servers.count, poolCount(world)], [0, 1]);
});

Deno.test("pool_idle_timeout does not make a pool with min_pool_size forget a failed login", async () => {
  await using world = await oneServer(
    "pool_idle_timeout = 1\nmin_pool_size = 1\nserver_login_retry = 15",
    {
      sections: `[databases.app]\nhost = "127.0.0.1"\nport = 1\nuser = "ada"\n`,
    },
  );
  await world.advance(10_000);
  const failures = world.log.filter((line) => line.includes("closing because: connect failed"));
  assert.equal(failures.length, 1);
});

const APP = `[databases.app]\nhost = "127.0.0.1"\n[users.ada]\npassword = "secret"\n`;

function poolCount(world: PoolerWorld): number {
  return [...world.pooler.pools.registry.all()].length;
}

Deno.test("the log tells of a time in which nothing ran", async () => {
  await using world = await PoolerWorld.open();
  await world.advance(1_000);
  world.clock.stall(60_333);
  await world.advance(1_000);
  assert.ok(world.hasLogged("nothing ran for 60."));
});
