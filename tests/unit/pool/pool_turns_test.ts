/** Many who are told the same: so many in a turn, and what may happen before all are told. */

import assert from "node:assert/strict";
import { TURN_MS } from "../../../src/base/turn.ts";
import { StandingFailure } from "../../../src/pool/pool.ts";
import { PoolWorld, type TestClient, TestLogin } from "./pool_world.ts";

/** Told in one turn. */
const MAX_ANSWERS = 100;

function crowded(world: PoolWorld, count: number): TestClient[] {
  return Array.from({ length: count }, () => world.ask());
}

function countOf(clients: readonly TestClient[], outcome: string): number {
  return clients.filter((client) => client.outcome === outcome).length;
}

function logins(world: PoolWorld, count: number): TestLogin[] {
  const all = Array.from({ length: count }, () => new TestLogin());
  for (const { place } of all) assert.equal(world.pool.acquireWelcome(place), undefined);
  return all;
}

/** A pool of which the server has just refused to let anybody in, with some who have not heard. */
function refusing(clientCount: number): { world: PoolWorld; clients: TestClient[] } {
  const world = new PoolWorld();
  const clients = crowded(world, clientCount);
  world.newest.refuseLogin("no such database");
  assert.equal(countOf(clients, "waiting"), clientCount - MAX_ANSWERS);
  return { world, clients };
}

Deno.test("of very many who are refused, a hundred are told before others have their turn", () => {
  const { clients, world } = refusing(250);
  world.check();
  assert.deepEqual([world.pool.waiting.size, world.counts()], [0, {}], "they wait for no server");
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "waiting"), 50);
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "refused"), 250);
  assert.equal(world.clock.timerCount, 0);
  world.check();
});

Deno.test("logins are refused before those who are in, a hundred of both in a turn", () => {
  const world = new PoolWorld();
  const arrivals = logins(world, 70);
  const clients = crowded(world, 70);
  world.newest.refuseLogin("no such database");
  assert.ok(arrivals.every(({ error }) => error === "no such database"));
  assert.equal(countOf(clients, "refused"), 30);
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "refused"), 70);
});

Deno.test("who leaves before it is told that it is refused is told nothing", () => {
  const { clients, world } = refusing(150);
  const leaver = clients.at(-1)!;
  assert.equal(leaver.cancel(), true);
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "refused"), 149);
  assert.equal(leaver.outcome, "cancelled");
  assert.equal(leaver.cancel(), false);
});

Deno.test("when all leave before they are told, nothing is left of their turns", () => {
  const { clients, world } = refusing(150);
  for (const client of clients) client.cancel();
  assert.equal(world.queue.length, 0);
  world.clock.advance(TURN_MS);
  assert.equal(world.clock.timerCount, 0);
});

Deno.test("who comes before all are refused is turned away by what holds by then", () => {
  const { clients, world } = refusing(150);
  assert.equal(world.ask("newcomer").outcome, "turned away");
  world.pool.doomServers("connect string changed");
  const late = world.ask("late");
  assert.equal(late.outcome, "waiting");
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "refused"), 150);
  assert.equal(late.outcome, "waiting", "the refusal was before its time");
  world.newest.loggedIn();
  assert.equal(late.outcome, "served");
  world.check();
});

Deno.test("a server that comes before all are refused serves those who came since", () => {
  const { clients, world } = refusing(150);
  world.pool.doomServers("connect string changed");
  const late = world.ask("late");
  world.newest.loggedIn();
  assert.equal(late.outcome, "served");
  late.giveBack();
  world.check();
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "refused"), 150);
});

Deno.test("who is refused and called off its wait may wait again at once", () => {
  const { clients, world } = refusing(150);
  const client = clients.at(-1)!;
  world.pool.doomServers("connect string changed");
  client.cancel();
  assert.equal(client.ask(), "waiting");
  world.clock.advance(TURN_MS);
  assert.equal(client.outcome, "waiting");
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
});

Deno.test("those refused twice over are told in their order, and none is told twice", () => {
  const { clients, world } = refusing(250);
  world.pool.doomServers("connect string changed");
  const late = crowded(world, 150);
  world.pool.stopServing("server shutting down");
  assert.equal(countOf(late, "waiting"), 150, "they come after those who were here before");
  world.clock.advance(2 * TURN_MS);
  assert.equal(countOf(clients, "refused"), 250);
  assert.equal(countOf(late, "refused"), 50);
  world.clock.advance(TURN_MS);
  assert.ok(late.every(({ error }) => error === "server shutting down"));
});

Deno.test("of very many who came after the pause, a hundred are turned away in a turn, and others wait", () => {
  const world = new PoolWorld({ loginRetryMs: 1_000 });
  const early = world.ask("early");
  world.newest.failToConnect("connection refused");
  world.clock.advance(1_000);
  const late = crowded(world, 150);
  world.newest.failToConnect("connect timeout");
  assert.equal(countOf(late, "turned away"), 100);
  assert.equal(world.pool.waiting.size, 1);
  world.clock.advance(TURN_MS);
  assert.equal(countOf(late, "turned away"), 150);
  assert.equal(early.outcome, "waiting");
});

Deno.test("one whose refusal fails does not keep the others from theirs", () => {
  const world = new PoolWorld();
  const clients = crowded(world, 3);
  clients[0]!.onRefused = () => {
    throw new Error("a mistake");
  };
  assert.throws(() => world.newest.refuseLogin("no such database"), { message: "a mistake" });
  world.clock.advance(TURN_MS);
  assert.equal(countOf(clients, "refused"), 3);
});

Deno.test("of very many who log in, a hundred are welcomed before others have their turn", () => {
  const world = new PoolWorld({ poolSize: 3 });
  const arrivals = logins(world, 250);
  world.newest.loggedIn();
  const welcomedCount = () => arrivals.filter(({ parameters }) => parameters !== undefined).length;
  assert.equal(welcomedCount(), 100);
  world.pool.maintain(false);
  assert.deepEqual(world.counts(), { idle: 1 }, "no server is opened for who is welcome already");
  assert.equal(world.pool.acquireWelcome(new TestLogin().place), world.pool.welcome);
  const leaver = arrivals.at(-1)!;
  assert.equal(world.pool.cancelWelcome(leaver.place), true);
  world.clock.advance(2 * TURN_MS);
  assert.equal(welcomedCount(), 249);
  assert.equal(leaver.parameters, undefined);
});

Deno.test("who is welcome stays so, whatever becomes of the servers before it is told", () => {
  const world = new PoolWorld();
  const arrivals = logins(world, 150);
  world.newest.loggedIn();
  const { welcome } = world.pool;
  world.pool.doomServers("connect string changed");
  const late = logins(world, 1)[0]!;
  world.newest.refuseLogin("no such database");
  assert.equal(late.error, undefined, "it has its turn behind those who were here before");
  world.clock.advance(TURN_MS);
  assert.ok(arrivals.every(({ parameters }) => parameters === welcome));
  assert.equal(late.error, "no such database");
  assert.ok(world.pool.acquireWelcome(new TestLogin().place) instanceof StandingFailure);
});
