/** How a pool is emptied: doomed, paused, held, left without newcomers, closed. */

import assert from "node:assert/strict";
import { StandingFailure } from "../../../src/pool/pool.ts";
import { PoolWorld, TestClient, TestLogin } from "./pool_world.ts";

Deno.test("Pool.doomServers() closes free servers at once and linked ones when they are released", () => {
  const world = new PoolWorld({ poolSize: 3 });
  const [first, second] = world.openIdle(2);
  first!.retire();
  const holder = world.ask();
  assert.equal(holder.server, second);
  world.pool.doomServers("connect string changed");
  assert.equal(world.pool.welcome, undefined);
  assert.deepEqual(world.counts(), { active: 1 });
  assert.equal(first!.closeReason, "connect string changed");
  holder.giveBack();
  assert.equal(second!.closeReason, "connect string changed");
  assert.deepEqual(world.counts(), {});
});

Deno.test("Pool.doomServers() forgets the failure: the new address may work at once", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.newest.failToConnect("connection refused");
  world.pool.doomServers("connect string changed");
  assert.equal(world.pool.failure, undefined);
  world.pool.maintain(false);
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
});

Deno.test("a login is given up with its address, and another begun at once; nobody is turned away", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.pool.doomServers("connect string changed");
  assert.equal(world.servers[0]!.closeReason, "connect string changed");
  assert.equal(world.pool.failure, undefined);
  assert.deepEqual(world.counts(), { login: 1 });
  assert.equal(world.ask().outcome, "waiting");
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  assert.equal(world.pool.welcome, world.servers[1]!.reported);
});

Deno.test("Pool.close() refuses all who wait, closes all servers and opens none", () => {
  const world = new PoolWorld({ poolSize: 3, minPoolSize: 2 });
  const [idle] = world.openIdle(1);
  const holder = world.ask();
  const [waiter, opening] = [world.ask(), world.newest];
  world.pool.welcome = undefined;
  const login = new TestLogin();
  world.pool.acquireWelcome(login.place);
  world.pool.close("database removed", "database removed");
  assert.equal(waiter.error, "database removed");
  assert.equal(login.error, "database removed");
  assert.equal(holder.server, undefined);
  for (const server of [idle, opening]) assert.equal(server!.closeReason, "database removed");
  assert.deepEqual(world.counts(), {});
  world.clock.advance(60_000);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 2);
  world.check();
});

Deno.test("a closed pool turns away whoever comes later, also from within its closing", () => {
  const world = new PoolWorld({ poolSize: 1 });
  world.ask();
  world.newest.loggedIn();
  const waiter = world.ask("waiter");
  waiter.onRefused = () => waiter.ask();
  world.pool.close("database removed", "database removed");
  assert.notEqual(waiter.outcome, "waiting");
  const late = world.ask("late");
  assert.equal(late.outcome, "turned away");
  assert.equal(late.error, "database removed");
  assert.ok(world.pool.acquireWelcome(new TestLogin().place) instanceof StandingFailure);
  world.check();
});

Deno.test("Pool.stopServing() refuses all who wait and come, and leaves links to their end", () => {
  const world = new PoolWorld({ poolSize: 2, minPoolSize: 2 });
  const holder = world.ask();
  world.newest.loggedIn();
  const waiter = world.ask();
  world.pool.stopServing("server shutting down");
  assert.equal(waiter.error, "server shutting down");
  assert.equal(holder.outcome, "served");
  world.newest.loggedIn();
  holder.giveBack();
  assert.deepEqual(world.counts(), { idle: 2 });
  const late = world.ask();
  assert.equal(late.outcome, "turned away", "although a server is idle");
  assert.equal(late.error, "server shutting down");
  const login = world.pool.acquireWelcome(new TestLogin().place);
  assert.ok(login instanceof StandingFailure && login.kind === "closed");
  world.servers[0]!.crash();
  world.pool.maintain(true);
  assert.equal(world.servers.length, 2, "nothing is opened");
  world.check();
});

Deno.test("a standing failure tells a failed login from a closed pool", () => {
  const world = new PoolWorld();
  world.ask();
  world.newest.failToConnect("connection refused");
  assert.equal(world.pool.failure?.kind, "login_failed");
  assert.equal(world.pool.failure?.atMs, world.clock.nowMs());
  const { place } = new TestClient(world, "late");
  world.pool.close("database removed", "database removed");
  const answer = world.pool.acquire(place);
  assert.ok(answer instanceof StandingFailure && answer.kind === "closed");
});

Deno.test("Pool.isEmpty is true only without clients and servers", () => {
  const world = new PoolWorld();
  assert.equal(world.pool.isEmpty, true);
  world.pool.clientCount = 1;
  assert.equal(world.pool.isEmpty, false);
  world.pool.clientCount = 0;
  const [server] = world.openIdle(1);
  assert.equal(world.pool.isEmpty, false);
  server!.crash();
  assert.equal(world.pool.isEmpty, true);
});

Deno.test("Pool.pause() closes what is free, and what is in use when it comes back", () => {
  const world = new PoolWorld({ poolSize: 3 });
  world.openIdle(3);
  const client = world.ask();
  world.pool.pause();
  assert.deepEqual(world.counts(), { active: 1 });
  client.giveBack();
  assert.deepEqual(world.counts(), {});
  assert.equal(world.pool.isPaused, true);
});

Deno.test("Pool.pause() calls off a login, and opens nothing for those who wait", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.pool.pause();
  assert.deepEqual(world.counts(), {});
  world.clock.advance(60_000);
  world.pool.maintain(true);
  assert.equal(client.outcome, "waiting");
  assert.equal(world.servers.length, 1);
  world.pool.resume();
  world.newest.loggedIn();
  assert.equal(client.server, world.newest);
});

Deno.test("a paused pool lets newcomers wait though the last login to the server failed", () => {
  const world = new PoolWorld();
  world.ask();
  world.newest.refuseLogin("password authentication failed");
  world.pool.pause();
  const client = world.ask();
  const login = new TestLogin();
  assert.equal(world.pool.acquireWelcome(login.place), undefined);
  assert.deepEqual([client.outcome, login.error], ["waiting", undefined]);
  world.pool.resume();
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  assert.ok(login.parameters !== undefined);
});

Deno.test("Pool.hold() gives nothing away and keeps what there is", () => {
  const world = new PoolWorld({ poolSize: 2 });
  const [one] = world.openIdle(2);
  const first = world.ask();
  world.pool.hold();
  const second = world.ask();
  assert.equal(second.outcome, "waiting");
  first.giveBack();
  assert.deepEqual(world.counts(), { idle: 2 });
  world.pool.maintain(true);
  assert.equal(second.outcome, "waiting");
  world.pool.resume();
  assert.equal(second.outcome, "served");
  assert.ok(one !== undefined);
});

Deno.test("Pool.hold() does not undo a pause", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.newest.loggedIn();
  world.pool.pause();
  world.pool.hold();
  client.giveBack();
  assert.deepEqual(world.counts(), {}, "closed, not kept");
});
