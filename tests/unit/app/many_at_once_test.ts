/**
 * What is done to very many at once is done to a hundred before others have their turn, and what
 * happens in between is treated rightly. How many of them one turn touches is counted for all that
 * operators and time can do in `tests/simulation/crowd_test.ts`.
 */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, USERS, type WorldOptions } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";
import { never, pause, suspend } from "./operations_fixture.ts";

const COUNT = 150;

/** As many as are not told anything in the first turn. */
const REST = 50;

async function open(pooler = "", more: WorldOptions = {}): Promise<PoolerWorld> {
  return await PoolerWorld.open({ ...more, pooler: `max_client_conn = 400\n${pooler}` });
}

async function logIn(world: PoolerWorld, count = COUNT): Promise<TestClient[]> {
  return await Promise.all(Array.from({ length: count }, () => world.login()));
}

/** All have a server, which is idle by now. */
async function openServers(world: PoolerWorld, clients: readonly TestClient[]): Promise<void> {
  for (const client of clients) await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  world.postgres.wakeAll();
  await Promise.all(clients.map((client) => client.result()));
  assert.equal(world.pool().servers.idle.length, clients.length);
}

function openCount(world: PoolerWorld): number {
  return world.clients.filter(({ isOpen }) => isOpen).length;
}

/** The two databases of which one is taken away, and whose its servers are. */
function sections(of: "app" | "none", user = "ada"): string {
  const app = `[databases.app]\nhost = "127.0.0.1"\nuser = "${user}"\n`;
  return `[databases.other]\nhost = "127.0.0.1"\n${of === "app" ? app : ""}${USERS}`;
}

const CHANGED = "FATAL 57P01 database configuration changed";
const REMOVED = "FATAL 57P01 database removed";

// --- a database is changed or removed ---

Deno.test("of a database that is removed no server is opened for those who wait", async () => {
  await using world = await open("default_pool_size = 1", { sections: sections("app") });
  const [linked, waiting] = await world.loginInLine();
  // Without any database left, there is nothing by which one could be opened.
  assert.ok(await world.reload({ pooler: "default_pool_size = 1", sections: USERS }));
  for (const client of [linked, waiting]) assert.equal(await client.lastWords(), REMOVED);
  assert.equal(world.postgres.backends.length, 1);
});

Deno.test("a client of a removed database that has not been told yet is served no more", async () => {
  await using world = await open("", { sections: sections("app") });
  const clients = await logIn(world);
  await world.reload({ sections: sections("none") });
  assert.equal(openCount(world), REST);
  const last = clients.at(-1)!;
  await last.send(frontend.query("select 1"));
  await world.settle();
  assert.equal(await last.lastWords(), REMOVED);
  await world.advance(10);
  assert.equal(openCount(world), 0);
  assert.equal(world.pooler.pools.registry.ofDatabase("app").length, 0);
});

Deno.test("a removed database whose clients leave before they are told is forgotten once", async () => {
  await using world = await open("", { sections: sections("app") });
  const clients = await logIn(world);
  await world.reload({ sections: sections("none") });
  for (const client of clients) client.close();
  for (const backend of world.postgres.live) backend.close();
  await world.settle();
  world.pooler.janitor.sweep();
  assert.equal(world.pooler.pools.registry.ofDatabase("app").length, 0);
  await world.advance(10);
  const [app] = [...world.pooler.stats.databases(world.clock.nowMs())].filter(({ database }) =>
    database === "app"
  );
  assert.equal(app!.totals.clientLoginCount, COUNT);
});

Deno.test("a database that comes back while its clients are being told is another one", async () => {
  await using world = await open("", { sections: sections("app") });
  await logIn(world);
  await world.reload({ sections: sections("none") });
  await world.reload({ sections: sections("app") });
  await world.advance(1_000);
  assert.equal(openCount(world), 0);
  const client = await world.login();
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  client.close();
});

Deno.test("a client that has to leave with its forced user gets none of his servers before it is told", async () => {
  await using world = await open("", { sections: sections("app") });
  const clients = await logIn(world);
  await world.reload({ sections: sections("app", "bob") });
  assert.equal(openCount(world), REST);
  const last = clients.at(-1)!;
  await last.send(frontend.query("select 1"));
  await world.settle();
  assert.equal(await last.lastWords(), CHANGED);
  assert.deepEqual(world.postgres.ran, []);
  await world.advance(10);
  assert.equal(openCount(world), 0);
});

Deno.test("who waits for a forced user's server is told in turns that he is another now", async () => {
  const pooler = "default_pool_size = 1";
  await using world = await open(pooler, { sections: sections("app") });
  const [holder, ...others] = await logIn(world, COUNT + 1);
  await holder!.query("begin");
  for (const client of others) await client.send(frontend.query("select 1"));
  await world.settle();
  await world.reload({ pooler, sections: sections("app", "bob") });
  assert.equal(world.pool("app", "ada").waiting.size, 0);
  assert.deepEqual((await holder!.query("commit")).tags, ["COMMIT"]);
  await world.advance(10);
  for (const client of others) assert.equal(await client.lastWords(), CHANGED);
  assert.equal(await holder!.lastWords(), CHANGED);
  assert.equal(world.postgres.backends.length, 1);
});

// --- servers ---

Deno.test("of very many servers that are closed, a hundred are hung up on before others have their turn", async () => {
  await using world = await open(`default_pool_size = ${COUNT}`);
  const clients = await logIn(world);
  await openServers(world, clients);
  world.pooler.operations.reconnect(undefined);
  await world.settle();
  assert.equal(world.pool().servers.count, 0, "none of them is given to anybody");
  assert.equal(world.postgres.live.length, REST);
  assert.deepEqual((await clients[0]!.query("select 1")).rows, [["1"]]);
  await world.advance(10);
  assert.equal(world.postgres.live.length, 1);
  assert.ok(world.postgres.backends.slice(0, COUNT).every(({ isTerminated }) => isTerminated));
  for (const client of clients) client.close();
});

Deno.test("PAUSE is answered when all servers have been hung up on", async () => {
  await using world = await open(`default_pool_size = ${COUNT}`);
  const clients = await logIn(world);
  await openServers(world, clients);
  const pausing = pause(world.pooler.operations);
  await world.settle();
  assert.deepEqual([world.pool().servers.count, pausing.outcome], [0, "waiting"]);
  await world.advance(1);
  await world.settle();
  assert.deepEqual([world.postgres.live.length, pausing.outcome], [0, "done"]);
  for (const client of clients) client.close();
});

// --- SUSPEND ---

Deno.test("a SUSPEND while clients are let go on after another holds all of them", async () => {
  await using world = await open("default_pool_size = 400");
  const clients = await logIn(world);
  const { operations } = world.pooler;
  assert.equal((await held(world, clients)).outcome, "done");
  operations.resume(undefined);
  const heldCount = () => world.clients.filter(({ relay }) => relay?.isInFreeze).length;
  assert.equal(heldCount(), REST);
  void operations.suspend(never());
  assert.equal(heldCount(), COUNT);
  await world.advance(1_000);
  assert.equal(heldCount(), COUNT);
  operations.resume(undefined);
  await world.advance(10);
  for (const client of clients) assert.deepEqual((await client.result()).rows, [["1"]]);
  for (const client of clients) client.close();
});

Deno.test("who comes to rest while others are ended by suspend_timeout is kept", async () => {
  await using world = await open("default_pool_size = 400\nsuspend_timeout = 1");
  const clients = await logIn(world);
  const long = frontend.query(`select '${"x".repeat(9_000)}'`);
  for (const client of clients) await client.send(long.subarray(0, 5_000));
  await world.settle();
  const suspending = suspend(world.pooler.operations);
  for (let i = 0; i < 2; i++) {
    world.clock.stall(600);
    world.pooler.janitor.sweep();
  }
  assert.equal(openCount(world), REST);
  const last = clients.at(-1)!;
  await last.send(long.subarray(5_000));
  await world.settle();
  await world.advance(10);
  assert.deepEqual([openCount(world), suspending.outcome], [1, "done"]);
  world.pooler.operations.resume(undefined);
  assert.equal((await last.result()).types, "TDCZ");
  for (const client of clients) client.close();
});

/** All ask for something while all is suspended. */
async function held(world: PoolerWorld, clients: readonly TestClient[]) {
  const suspending = suspend(world.pooler.operations);
  for (const client of clients) await client.send(frontend.query("select 1"));
  await world.settle();
  return suspending;
}

// --- the end ---

Deno.test("who has not been told of the end yet is served until it is", async () => {
  await using world = await open();
  const clients = await logIn(world);
  world.pooler.shutdown("immediate");
  await world.settle();
  assert.equal(openCount(world), REST);
  const last = clients.at(-1)!;
  assert.deepEqual((await last.query("select 1")).rows, [["1"]]);
  await world.advance(10);
  assert.equal(await last.lastWords(), "FATAL 57P01 pooler is shutting down");
});

Deno.test("a drain lets those whom it has not come to yet begin a transaction, and no other", async () => {
  await using world = await open();
  const clients = await logIn(world);
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(openCount(world), REST);
  const last = clients.at(-1)!;
  await last.query("begin");
  await world.advance(10);
  assert.equal(openCount(world), 1);
  assert.deepEqual((await last.query("select 1")).rows, [["1"]]);
  await last.send(frontend.query("commit"));
  assert.equal(await last.lastWords(), "FATAL 57P01 pooler is shutting down");
});

Deno.test("a drain that begins while all is suspended serves what was asked before it", async () => {
  await using world = await open("default_pool_size = 400");
  const clients = await logIn(world);
  assert.equal((await held(world, clients)).outcome, "done");
  world.pooler.shutdown("wait_for_transactions");
  await world.advance(1_000);
  for (const client of clients) {
    const messages = await client.receiveUntilEnd();
    assert.equal(messages.map(({ type }) => type).join(""), "TDCZE");
  }
});

// --- logins, and those who wait ---

Deno.test("of very many who wait, a hundred are told so before others have their turn", async () => {
  await using world = await open("default_pool_size = 1\nquery_wait_notify = 1");
  const [holder, ...others] = await logIn(world, COUNT + 1);
  await holder!.query("begin");
  for (const client of others) await client.send(frontend.query("select 1"));
  await world.settle();
  world.clock.stall(900);
  world.pooler.janitor.sweep();
  world.clock.stall(900);
  world.pooler.janitor.sweep();
  const toldCount = () => world.clients.filter(({ hasWaitNotice }) => hasWaitNotice).length;
  assert.equal(toldCount(), COUNT - REST);
  await world.advance(1_000);
  assert.equal(toldCount(), COUNT);
  await holder!.query("commit");
  for (const client of others) assert.equal((await client.result()).types, "NTDCZ");
  for (const client of [holder!, ...others]) client.close();
});
