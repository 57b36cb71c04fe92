/** What max_db_connections, max_user_connections and the reserve mean for clients and operators. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, USERS } from "../../support/pooler_world.ts";

const ONE_DATABASE = '[databases.app]\nhost = "127.0.0.1"\n';

/** How many servers there are, as "database/user", without those pools that have none. */
function counts(world: PoolerWorld): Record<string, number> {
  const pools = [...world.pooler.pools.registry.all()].filter(({ servers }) => servers.count > 0);
  return Object.fromEntries(
    pools.map(({ database, servers, user }) => [`${database}/${user}`, servers.count]),
  );
}

for (
  const [what, pooler, sections] of [
    ["of the settings", "max_db_connections = 1", `${ONE_DATABASE}${USERS}`],
    [
      "of the database",
      "max_db_connections = 9",
      `${ONE_DATABASE}max_db_connections = 1\n${USERS}`,
    ],
  ] as const
) {
  Deno.test(`max_db_connections ${what}: users of a database take turns, and each is served`, async () => {
    await using world = await PoolerWorld.open({ pooler, sections });
    const [ada, bob] = [await world.login(), await world.login({ user: "bob" })];
    for (let i = 0; i < 3; i++) {
      await ada.query("select 1");
      assert.deepEqual(counts(world), { "app/ada": 1 });
      await bob.query("select 1");
      assert.deepEqual(counts(world), { "app/bob": 1 });
    }
    assert.ok(world.hasLogged("closing because: evicted (age=0s)"));
    await ada.query("begin");
    await bob.send(frontend.query("select 'served'"));
    await world.settle();
    assert.deepEqual(counts(world), { "app/ada": 1 });
    await ada.query("commit");
    assert.deepEqual((await bob.result()).rows, [["served"]]);
    for (const client of [ada, bob]) client.close();
  });
}

for (
  const [what, pooler, own] of [
    ["of the settings", "max_user_connections = 1", ""],
    ["of the user", "max_user_connections = 9", "max_user_connections = 1"],
  ] as const
) {
  Deno.test(`max_user_connections ${what} counts over all databases`, async () => {
    const sections = `[databases."*"]\nhost = "127.0.0.1"\n${USERS}`.replace(
      "[users.ada]\n",
      `[users.ada]\n${own}\n`,
    );
    await using world = await PoolerWorld.open({ pooler, sections });
    const [here, there] = [await world.login(), await world.login({ database: "other" })];
    await here.query("select 1");
    assert.deepEqual(counts(world), { "app/ada": 1 });
    await there.query("select 1");
    assert.deepEqual(counts(world), { "other/ada": 1 });
    const bob = await world.login({ user: "bob" });
    await bob.query("select 1");
    assert.deepEqual(counts(world), { "other/ada": 1, "app/bob": 1 });
    for (const client of [here, there, bob]) client.close();
  });
}

Deno.test("the servers of a forced user count as that user's, and no user of a client does", async () => {
  await using world = await PoolerWorld.open({
    pooler: "max_user_connections = 1",
    sections: '[databases.app]\nhost = "127.0.0.1"\nuser = "owner"\n[databases.own]\n' +
      `host = "127.0.0.1"\n${USERS}`,
  });
  const clients = [
    await world.login(),
    await world.login({ user: "bob" }),
    await world.login({ database: "own" }),
  ];
  for (const client of clients) await client.query("select 1");
  assert.deepEqual(counts(world), { "app/owner": 1, "own/ada": 1 });
  for (const client of clients) client.close();
});

Deno.test("who waits for a place until query_wait_timeout is told so", async () => {
  await using world = await PoolerWorld.open({
    pooler: "max_db_connections = 1\nquery_wait_timeout = 2",
    sections: `${ONE_DATABASE}${USERS}`,
  });
  const [ada, bob] = [await world.login(), await world.login({ user: "bob" })];
  await ada.query("begin");
  await bob.send(frontend.query("select 1"));
  await world.advance(3_000);
  assert.equal(await bob.lastWords(), "FATAL 53300 query_wait_timeout");
  ada.close();
});

Deno.test("SET and RELOAD change the limits at once, down and up", async () => {
  const sections = `${ONE_DATABASE}${USERS}`;
  await using world = await PoolerWorld.open({ sections });
  const [ada, bob] = [await world.login(), await world.login({ user: "bob" })];
  for (const client of [ada, bob]) await client.query("select 1");
  assert.deepEqual(counts(world), { "app/ada": 1, "app/bob": 1 });
  world.pooler.operations.set("max_db_connections", "1");
  assert.deepEqual(counts(world), { "app/bob": 1 }, "the one idle for longest goes");
  await bob.query("begin");
  await ada.send(frontend.query("select 'go on'"));
  await world.settle();
  assert.deepEqual(counts(world), { "app/bob": 1 });
  await world.reload({ sections, pooler: "max_db_connections = 2" });
  assert.deepEqual((await ada.result()).rows, [["go on"]]);
  for (const client of [ada, bob]) client.close();
});

Deno.test("who looks users up is held back by the limits as everybody is", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'auth_type = "plain"\nauth_user = "looker"\nmax_db_connections = 1',
    sections: `${ONE_DATABASE}[users.ada]\npassword = "secret"\n[users.looker]\npassword = "x"\n`,
    postgres: { users: { ada: "secret", looker: "x" } },
  });
  const ada = await world.login();
  await ada.query("begin");
  const eve = await world.connect();
  await eve.send(frontend.startup({ user: "eve", database: "app" }));
  await world.settle();
  assert.deepEqual(counts(world), { "app/ada": 1 });
  await ada.query("commit");
  await world.settle();
  assert.deepEqual(counts(world), { "app/looker": 1 });
  for (const client of [ada, eve]) client.close();
});

Deno.test("the reserve is opened once the oldest has waited reserve_pool_timeout, and the log says so", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\nreserve_pool_size = 5\nreserve_pool_timeout = 3",
    sections: `${ONE_DATABASE}reserve_pool_size = 1\n${USERS}`,
  });
  const clients = [await world.login(), await world.login(), await world.login()];
  await clients[0]!.query("begin");
  await clients[1]!.send(frontend.query("begin"));
  await world.advance(2_000);
  await clients[2]!.send(frontend.query("begin"));
  await world.advance(999);
  assert.deepEqual(counts(world), { "app/ada": 1 });
  await world.advance(400);
  assert.equal((await clients[1]!.result()).status, "T", "the oldest has it");
  await world.advance(10_000);
  assert.deepEqual(counts(world), { "app/ada": 2 }, "as many as the database may have");
  const warnings = world.log.filter((line) => line.includes("taking connection from reserve_pool"));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, / WARNING S-0x[0-9a-f]+: app\/ada@127\.0\.0\.1:5432 taking/);
  for (const client of clients) client.close();
});

Deno.test("min_pool_size is filled one server after the other, as far as max_db_connections lets it", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 5\nmin_pool_size = 5",
    sections: `${ONE_DATABASE}min_pool_size = 4\nmax_db_connections = 3\n${USERS}`,
  });
  const ada = await world.login();
  await world.advance(333);
  assert.deepEqual(counts(world), { "app/ada": 2 });
  await world.advance(3_000);
  assert.deepEqual(counts(world), { "app/ada": 3 });
  const bob = await world.login({ user: "bob" });
  await bob.query("select 1");
  await world.advance(3_000);
  assert.deepEqual(counts(world), { "app/ada": 2, "app/bob": 1 }, "nobody's is closed for spares");
  for (const client of [ada, bob]) client.close();
});

const BOTH = `${ONE_DATABASE}[databases.other]\nhost = "127.0.0.1"\n${USERS}`;

const ONE_SERVER = '[servers.main]\nhost = "127.0.0.1"\nmax_connections = ';

Deno.test("max_connections of a server counts all databases and users there, and their clients take turns", async () => {
  await using world = await PoolerWorld.open({ sections: `${BOTH}${ONE_SERVER}1\n` });
  const [ada, bob] = [await world.login(), await world.login({ user: "bob", database: "other" })];
  for (let i = 0; i < 2; i++) {
    await ada.query("select 1");
    assert.deepEqual(counts(world), { "app/ada": 1 });
    await bob.query("select 1");
    assert.deepEqual(counts(world), { "other/bob": 1 });
  }
  await world.reload({ sections: `${BOTH}${ONE_SERVER}2\n` });
  await world.advance(100);
  await ada.query("select 1");
  assert.deepEqual(counts(world), { "app/ada": 1, "other/bob": 1 });
  await world.reload({ sections: `${BOTH}${ONE_SERVER}1\n` });
  assert.deepEqual(counts(world), { "app/ada": 1 }, "the one idle for longest goes");
  await world.reload({ sections: `${BOTH}${ONE_SERVER.replace("127.0.0.1", "127.0.0.2")}1\n` });
  await bob.query("select 1");
  assert.deepEqual(counts(world), { "app/ada": 1, "other/bob": 1 }, "it is another server's limit");
  for (const client of [ada, bob]) client.close();
});

Deno.test("who replicates has a place of the server too, and keeps it", async () => {
  await using world = await PoolerWorld.open({ sections: `${BOTH}${ONE_SERVER}1\n` });
  const standby = await world.connect();
  await standby.send(frontend.startup({ user: "ada", database: "app", replication: "database" }));
  await standby.receiveUntilReady();
  const bob = await world.connect();
  await bob.send(frontend.startup({ user: "bob", database: "other" }));
  await world.advance(5_000);
  assert.deepEqual(counts(world), { "app/ada": 1 });
  standby.close();
  await world.settle();
  assert.deepEqual(counts(world), { "other/bob": 1 });
  bob.close();
});

Deno.test("a database with several hosts opens its servers at those that have room", async () => {
  const far = { kind: "tcp", host: "127.0.0.9", port: 5432 } as const;
  await using world = await PoolerWorld.open({
    sections: `[databases.app]\nhost = "127.0.0.9,127.0.0.1"\n${USERS}` +
      '[servers.far]\nhost = "127.0.0.9"\nmax_connections = 1\n',
  });
  world.network.obstruct(far, "black hole");
  const stuck = await world.connect();
  await stuck.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  const clients = [await world.login({ user: "bob" }), await world.login({ user: "bob" })];
  for (const client of clients) await client.query("begin");
  const addresses = [...world.pool("app", "bob").servers.all()].map((each) => each.addressKey);
  assert.deepEqual(addresses, ["127.0.0.1:5432", "127.0.0.1:5432"]);
  for (const client of [stuck, ...clients]) client.close();
});

Deno.test("the weight of a user goes before that of a database", async () => {
  await using world = await PoolerWorld.open({
    sections: `${ONE_DATABASE}weight = 3\n${USERS}weight = 5\n`,
  });
  const clients = [await world.login(), await world.login({ user: "bob" })];
  assert.deepEqual([world.pool().weight, world.pool("app", "bob").weight], [3, 5]);
  for (const client of clients) client.close();
});

Deno.test("SHOW DATABASES and SHOW USERS tell limits and counts", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'max_db_connections = 7\nmax_user_connections = 6\nadmin_users = "ada"',
    sections: `${ONE_DATABASE}max_db_connections = 2\n${USERS}max_user_connections = 3\n`,
  });
  const ada = await world.login();
  await ada.query("begin");
  const console = await world.login({ database: "pgbouncer" });
  const shown = async (sql: string, { name, at }: { name: string; at: number }) => {
    const { rows } = await console.query(sql);
    return rows.find(([first]) => first === name)!.slice(at, at + 2);
  };
  assert.deepEqual(await shown("SHOW DATABASES", { name: "app", at: 11 }), ["2", "1"]);
  assert.deepEqual(await shown("SHOW USERS", { name: "bob", at: 4 }), ["3", "0"]);
  for (const client of [ada, console]) client.close();
});

Deno.test("SHOW LIMITS and SHOW SHARES tell the use of each limit, who is held, and what is due to whom", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'max_db_connections = 7\nadmin_users = "ada"',
    sections: `${BOTH.replace("[users.ada]\n", "[users.ada]\nweight = 3\n")}${ONE_SERVER}1\n` +
      '[servers.unused]\nhost = "10.9.9.9"\nport = 6543\n',
  });
  const console = await world.login({ database: "pgbouncer" });
  const shown = async (what: string) =>
    (await console.query(`show ${what}`)).rows.map((row) => row.join(" "));
  const [ada, bob] = [await world.login(), await world.login({ user: "bob", database: "other" })];
  await ada.query("begin");
  await bob.send(frontend.query("select 'served'"));
  await world.advance(2_500);
  assert.deepEqual(await shown("limits"), [
    "max_connections main 127.0.0.1 5432 1 1 2 1 1 2 500000",
    "max_connections unused 10.9.9.9 6543 0 0 0 0 0 0 0",
    "max_db_connections app   7 1 1 0 0 0 0",
    "max_db_connections other   7 0 0 0 0 0 0",
  ]);
  assert.deepEqual(await shown("shares"), [
    "max_connections main app ada 3 75 1 0 0 0 0",
    "max_connections main other bob 1 25 0 1 1 2 500000",
    "max_db_connections app app ada 3 100 1 0 0 0 0",
  ]);
  await ada.query("commit");
  assert.deepEqual((await bob.result()).rows, [["served"]]);
  assert.deepEqual(await shown("shares where setting = 'max_connections'"), [
    "max_connections main other bob 1 100 1 0 0 0 0",
  ]);
  for (const client of [ada, bob, console]) client.close();
});
