/** Limits on servers, clients and those who wait, and what stops the clock, with real connections. */

import assert from "node:assert/strict";
import { show } from "../support/console.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, errorText, logIn, outcome } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { target } from "../support/pooler_trouble.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";

const USERS = ["ann", "bob", "eve"];

const shared = sharedPostgres({
  prepare: async (postgres) => {
    for (const user of USERS) await postgres.sql(`create role ${user} login password 'x'`);
  },
});

async function start(pooler: ConfigSection): Promise<SluiceProcess> {
  const users = Object.fromEntries(USERS.map((user) => [user, { password: "x" }]));
  return await startSluice({
    config: configFor(shared.get(), { pooler: { pool_mode: "transaction", ...pooler }, users }),
  });
}

async function endAll(clients: readonly Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end()));
}

Deno.test("users of a database share few servers, and each client of each gets its turns", async () => {
  await using sluice = await start({ max_db_connections: 2 });
  const clients = await Promise.all(
    USERS.flatMap((user) => [1, 2, 3].map(() => logIn(target(sluice, user)))),
  );
  const counts: number[] = [];
  const work = clients.map(async (client, at) => {
    for (let i = 0; i < 10; i++) {
      const { rows } = await client.query("select current_user::text as me");
      assert.equal(rows[0].me, USERS[Math.floor(at / 3)]);
    }
  });
  const watch = (async () => {
    for (let i = 0; i < 5; i++) {
      const database = (await show(sluice, "databases")).find(({ name }) => name === "postgres");
      counts.push(Number(database?.["current_connections"]));
    }
  })();
  await Promise.all([...work, watch]);
  assert.ok(Math.max(...counts) <= 2, counts.join());
  await endAll(clients);
});

Deno.test("one client is served soon beside many of another user that never leave a server idle", async () => {
  await using sluice = await start({ max_db_connections: 1 });
  const many = await Promise.all(Array.from({ length: 20 }, () => logIn(target(sluice, "ann"))));
  const one = await logIn(target(sluice, "bob"));
  let doneCount = 0;
  const working = many.map(async (client) => {
    await client.query("select pg_sleep(0.05)");
    doneCount += 1;
  });
  await eventually("they are at it", () => doneCount > 0);
  const before = doneCount;
  await one.query("select 1");
  assert.ok(doneCount - before < 12, `${doneCount - before} were served before it`);
  await Promise.all(working);
  await endAll([...many, one]);
});

Deno.test("max_connections of a physical server counts every database and user, evicts what idles there longest", async () => {
  const { host, port } = shared.get();
  const users = Object.fromEntries(USERS.map((user) => [user, { password: "x" }]));
  await using sluice = await startSluice({
    config: `${
      configFor(shared.get(), { pooler: { pool_mode: "transaction" }, users })
    }\n[servers.main]\nhost = "${host}"\nport = ${port}\nmax_connections = 2\n`,
  });
  const clients = [
    await logIn(target(sluice, "ann")),
    await logIn({ ...target(sluice, "bob"), database: "template1" }),
    await logIn({ ...target(sluice, "eve"), database: "template1" }),
  ];
  const [ann, bob, eve] = clients;
  const pools = async () => {
    const servers = await show(sluice, "servers");
    return servers.map(({ database, user }) => `${database}/${user}`).sort().join(" ");
  };
  await ann!.query("select 1");
  await bob!.query("select 1");
  assert.equal(await pools(), "postgres/ann template1/bob");
  await eve!.query("select 1");
  assert.equal(await pools(), "template1/bob template1/eve", "ann's has idled for longest");
  await sluice.waitForLog(/S-0x\S+: postgres\/ann@\S+ closing because: evicted/);
  await bob!.query("begin");
  await eve!.query("begin");
  const waiting = ann!.query("select 'served' as text");
  await eventually("she waits", async () => {
    return (await show(sluice, "pools")).some(({ cl_waiting: count }) => count === 1);
  });
  assert.equal(await pools(), "template1/bob template1/eve", "no third one, and none is taken");
  await eve!.query("commit");
  assert.equal((await waiting).rows[0].text, "served");
  assert.equal(await pools(), "postgres/ann template1/bob");
  await endAll(clients);
});

Deno.test("max_user_connections of a user goes before that for all, over every database", async () => {
  const own = { bob: { password: "x", max_user_connections: 2 }, ann: { password: "x" } };
  await using sluice = await startSluice({
    config: configFor(shared.get(), {
      pooler: { pool_mode: "transaction", max_user_connections: 1 },
      users: own,
    }),
  });
  const clients: Client[] = [];
  for (const user of ["ann", "bob"]) {
    for (const database of ["postgres", "template1"]) {
      const client = await logIn({ ...target(sluice, user), database });
      await client.query("select 1");
      clients.push(client);
    }
  }
  const servers = await show(sluice, "servers");
  assert.deepEqual(
    servers.map(({ database, user }) => `${database}/${user}`).sort(),
    ["postgres/bob", "template1/ann", "template1/bob"],
  );
  await sluice.waitForLog(/S-0x\S+: postgres\/ann@\S+ closing because: evicted/);
  await endAll(clients);
});

Deno.test("limits of clients refuse with a reason, and the console stays in reach", async () => {
  await using sluice = await start({
    max_client_conn: 3,
    max_user_client_connections: 1,
    max_db_client_connections: 2,
  });
  const clients = [await logIn(target(sluice, "ann"))];
  assert.equal(
    await outcome(target(sluice, "ann")),
    "53300 client connections exceeded (max_user_client_connections)",
  );
  clients.push(await logIn(target(sluice, "bob")));
  assert.equal(
    await outcome(target(sluice, "eve")),
    "53300 client connections exceeded (max_db_client_connections)",
  );
  clients.push(await logIn({ ...target(sluice, "eve"), database: "template1" }));
  assert.equal(
    await outcome(target(sluice)),
    "53300 no more connections allowed (max_client_conn)",
  );
  const users = await show(sluice, "users");
  assert.equal(users.find(({ name }) => name === "ann")?.["current_client_connections"], 1);
  await endAll(clients);
});

Deno.test("one too many of those who wait gets an error, and goes on", async () => {
  await using sluice = await start({ default_pool_size: 1, max_waiting_clients: 1 });
  const [busy, waiting, late] = await Promise.all(
    [1, 2, 3].map(() => logIn(target(sluice, "ann"))),
  );
  await busy!.query("begin");
  const answer = waiting!.query("select 'served' as text");
  await eventually("one waits", async () => {
    const pool = (await show(sluice, "pools")).find(({ user }) => user === "ann");
    return pool?.["cl_waiting"] === 1;
  });
  await assert.rejects(late!.query("select $1::int", [1]), (error) => {
    assert.equal(
      errorText(error),
      "53300 too many clients wait for a server (max_waiting_clients)",
    );
    return true;
  });
  await busy!.query("commit");
  assert.equal((await answer).rows[0].text, "served");
  assert.equal((await late!.query("select 1")).rowCount, 1);
  await endAll([busy!, waiting!, late!]);
});

Deno.test("a process that was stopped ends nobody for the time of that", async () => {
  const postgres = shared.get();
  await using sluice = await start({
    query_timeout: 2,
    idle_transaction_timeout: 2,
    client_idle_timeout: 2,
  });
  const [idle, open, asking] = await Promise.all(USERS.map((user) => logIn(target(sluice, user))));
  await open!.query("begin");
  const answer = asking!.query("select pg_sleep(0.2)");
  Deno.kill(sluice.pid, "SIGSTOP");
  try {
    await postgres.sql("select pg_sleep(4)");
  } finally {
    Deno.kill(sluice.pid, "SIGCONT");
  }
  assert.equal((await answer).rowCount, 1);
  assert.equal((await open!.query("commit")).command, "COMMIT");
  assert.equal((await idle!.query("select 1")).rowCount, 1);
  await endAll([idle!, open!, asking!]);
});
