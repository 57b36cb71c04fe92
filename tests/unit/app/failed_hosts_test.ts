/** A host that failed is passed over for a while, and holds up nobody when it is tried again. */

import assert from "node:assert/strict";
import { nextTurn } from "../../../src/base/turn.ts";
import { FakePostgres } from "../../support/fake_postgres.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, USERS } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const DEAD = { kind: "tcp", host: "127.0.0.9", port: 5432 } as const;

const POOLER = "default_pool_size = 5\nserver_login_retry = 5\nserver_connect_timeout = 5";

const SECTIONS = `[databases.app]
host = "127.0.0.9,127.0.0.1"
${USERS}`;

/** Logs in and holds a server. */
async function holder(world: PoolerWorld): Promise<TestClient> {
  const client = await world.login();
  await client.query("begin");
  return client;
}

function failures(world: PoolerWorld): number {
  return world.log.filter((line) => line.includes("127.0.0.9:5432 closing because")).length;
}

Deno.test("a host that failed is dialed no more until server_login_retry is over", async () => {
  await using world = await PoolerWorld.open({ pooler: POOLER, sections: SECTIONS });
  const clients = [await holder(world), await holder(world), await holder(world)];
  assert.equal(failures(world), 1);
  await world.advance(5_000);
  clients.push(await holder(world));
  assert.equal(failures(world), 2, "and then in its turn");
  assert.equal(world.pool().servers.count, 4);
  for (const client of clients) client.close();
});

Deno.test("a host that swallows all that is sent to it holds nobody up once it is known", async () => {
  await using world = await PoolerWorld.open({ pooler: POOLER, sections: SECTIONS });
  world.network.obstruct(DEAD, "black hole");
  const first = await world.connect();
  await first.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(5_400);
  await first.receiveUntilReady();
  await first.query("begin");
  await world.advance(5_000);
  const others = [await holder(world), await holder(world)];
  const { active, login } = world.pool().servers;
  assert.deepEqual([active.size, login.size], [3, 1], "no time has passed, and the trial goes on");
  for (const client of [first, ...others]) client.close();
});

Deno.test("a pool whose pause is not over yet profits from what another has found", async () => {
  await using world = await PoolerWorld.open({ pooler: POOLER, sections: SECTIONS });
  world.network.obstruct(world.postgres.address, "refused");
  const ada = await world.connect();
  await ada.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(4_000);
  const bob = await world.connect();
  await bob.send(frontend.startup({ user: "bob", database: "app" }));
  await world.settle();
  world.network.obstruct(world.postgres.address, undefined);
  await world.advance(1_700);
  // Each of the two was paced by itself before.
  for (const client of [ada, bob]) {
    assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
  }
  ada.close();
  bob.close();
});

Deno.test("what a host on trial says of a user holds up no login at the others", async () => {
  await using world = await PoolerWorld.open({ pooler: POOLER, sections: SECTIONS });
  const other = await FakePostgres.start({
    network: world.network,
    random: world.random.fork(),
    address: { ...DEAD, backlog: 16 },
    // It derives keys, and so says no when the login beside it has come to its end.
    auth: "scram-sha-256",
    users: { ada: "another secret" },
  });
  world.network.obstruct(DEAD, "refused");
  const clients = [await holder(world)];
  world.network.obstruct(DEAD, undefined);
  await world.advance(5_000);
  for (let i = 0; i < 3; i++) {
    const client = await world.login();
    await client.send(frontend.query("begin"));
    clients.push(client);
    do {
      await nextTurn();
      await world.settle();
    } while (failures(world) < 2);
  }
  assert.equal(failures(world), 2, "it was on trial once");
  assert.equal(world.pool().servers.active.size, 4, "and no time has passed");
  for (const client of clients) client.close();
  const closing = other.close();
  await world.settle();
  await closing;
});

Deno.test("trials that never end do not fill a pool, where server_connect_timeout sets no end to them", async () => {
  const noEnd = "server_connect_timeout = 0\nserver_lifetime = 4";
  const pooler = POOLER.replace("server_connect_timeout = 5", noEnd);
  await using world = await PoolerWorld.open({ pooler, sections: SECTIONS });
  const client = await holder(world);
  world.network.obstruct(DEAD, "black hole");
  for (let i = 0; i < 20; i++) {
    await client.query("commit");
    await world.advance(6_000);
    await client.query("begin");
  }
  assert.ok(world.pool().servers.login.size <= 1, `${world.pool().servers.login.size} trials`);
  client.close();
});

// --- no room at the host that works ---

/** One server may be at the host that works. */
const CRAMPED = `${SECTIONS}[servers.main]\nhost = "127.0.0.1"\nmax_connections = 1\n`;

/** Begins logins of another pool than that of `holder()`. */
async function arrive(world: PoolerWorld, count: number): Promise<TestClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => world.connect()));
  for (const client of clients) {
    await client.send(frontend.startup({ user: "bob", database: "app" }));
  }
  await world.settle();
  return clients;
}

for (const obstacle of ["refused", "black hole"] as const) {
  Deno.test(`where the host that works is full, room is waited for, and no other is dialed (${obstacle})`, async () => {
    await using world = await PoolerWorld.open({ pooler: POOLER, sections: CRAMPED });
    world.network.obstruct(DEAD, obstacle);
    const first = await world.connect();
    await first.send(frontend.startup({ user: "ada", database: "app" }));
    await world.advance(5_400);
    await first.receiveUntilReady();
    await first.query("begin");
    const others = await arrive(world, 4);
    let mostDialed = 0;
    for (let i = 0; i < 20; i++) {
      await world.advance(1_000);
      mostDialed = Math.max(mostDialed, world.pool("app", "bob").servers.count);
    }
    assert.ok(mostDialed <= 1, `${mostDialed} dialed at the same time`);
    assert.ok(failures(world) <= 6, `dialed ${failures(world)} times`);
    await first.query("commit");
    await world.settle();
    for (const client of others) assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
    for (const client of [first, ...others]) client.close();
  });
}

Deno.test("without server_login_retry a host that fails is tried at the janitor's pace, not as fast as can be", async () => {
  const pooler = POOLER.replace("server_login_retry = 5", "server_login_retry = 0");
  const sections = CRAMPED.replace("127.0.0.9,", "127.0.0.9,127.0.0.8,");
  await using world = await PoolerWorld.open({ pooler, sections });
  const first = await holder(world);
  const others = await arrive(world, 2);
  const before = failures(world);
  await world.advance(10_000);
  assert.ok(failures(world) - before <= 70, `${failures(world) - before} times`);
  for (const client of [first, ...others]) client.close();
});

// --- a reload ---

Deno.test("a host that a reload takes off the list holds nobody up any more", async () => {
  const sections = SECTIONS.replace(",127.0.0.1", "");
  await using world = await PoolerWorld.open({ pooler: POOLER, sections });
  world.network.obstruct(DEAD, "black hole");
  const [client] = await arrive(world, 1);
  await world.advance(1_000);
  await world.reload({ pooler: POOLER, sections: SECTIONS.replace("127.0.0.9,", "") });
  await world.settle();
  assert.equal((await client!.receiveUntilReady()).at(-1)?.type, "Z");
  client!.close();
});

Deno.test("no server is opened for clients that a reload sends away with their login", async () => {
  await using world = await PoolerWorld.open({ pooler: POOLER, sections: SECTIONS });
  world.network.obstruct(world.postgres.address, "black hole");
  world.network.obstruct(DEAD, "black hole");
  const [client] = await arrive(world, 1);
  const pool = world.pool("app", "bob");
  const forced = SECTIONS.replace("[users.ada]", 'user = "ada"\n[users.ada]');
  await world.reload({ pooler: POOLER, sections: forced });
  assert.equal((await client!.receiveUntilEnd()).at(-1)?.type, "E");
  assert.equal(pool.servers.count, 0);
  client!.close();
});
