/** When the pool opens servers: for those who wait, as a reserve, as spares, and after a failure. */

import assert from "node:assert/strict";
import { StandingFailure } from "../../../src/pool/pool.ts";
import { PoolWorld, STARTING_UP, TestLogin } from "./pool_world.ts";

Deno.test("a refused login is told at once to all who wait, if the pool has no other server", () => {
  const world = new PoolWorld();
  const login = new TestLogin();
  assert.equal(world.pool.acquireWelcome(login.place), undefined);
  const clients = [world.ask(), world.ask()];
  world.newest.refuseLogin("password authentication failed");
  assert.equal(login.error, "password authentication failed");
  for (const client of clients) assert.equal(client.error, "password authentication failed");
  assert.deepEqual(clients.map((client) => client.outcome), ["refused", "refused"]);
  assert.deepEqual(world.counts(), {});
  world.check();
});

Deno.test("a refused login leaves those waiting who can still get another server", () => {
  const world = new PoolWorld();
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  world.newest.refuseLogin("too many connections");
  assert.equal(second.outcome, "waiting");
  const server = first.giveBack();
  assert.equal(second.server, server);
});

Deno.test("a server that is starting up keeps everybody waiting until it has started", () => {
  const world = new PoolWorld();
  const login = new TestLogin();
  world.pool.acquireWelcome(login.place);
  const client = world.ask();
  world.newest.refuseLogin(STARTING_UP);
  assert.equal(client.outcome, "waiting");
  assert.equal(login.error, undefined);
  assert.equal(world.pool.failure?.error, STARTING_UP);
  world.clock.advance(15_000);
  world.pool.maintain(false);
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  assert.notEqual(login.parameters, undefined);
  world.check();
});

Deno.test("an unreachable server keeps those waiting who came before, and turns newcomers away", () => {
  const world = new PoolWorld();
  const login = new TestLogin();
  world.pool.acquireWelcome(login.place);
  const early = world.ask();
  world.newest.failToConnect("connection refused");
  assert.equal(early.outcome, "waiting");
  assert.equal(login.error, undefined);
  const late = world.ask();
  assert.equal(late.outcome, "turned away");
  assert.equal(late.error, "connection refused");
  const lateLogin = new TestLogin();
  const answer = world.pool.acquireWelcome(lateLogin.place);
  assert.ok(answer instanceof StandingFailure);
  assert.equal(answer.error, "connection refused");
  assert.equal(world.pool.loggingIn.size, 1);
  world.check();
});

Deno.test("a failed login turns nobody away while the pool has another server", () => {
  const world = new PoolWorld();
  const holder = world.ask();
  world.newest.loggedIn();
  world.ask();
  world.newest.failToConnect("connection refused");
  const late = world.ask();
  assert.equal(late.outcome, "waiting");
  assert.notEqual(world.pool.failure, undefined);
  holder.giveBack();
});

Deno.test("after a failed login the next attempt waits for server_login_retry", () => {
  const world = new PoolWorld({ loginRetryMs: 15_000 });
  const client = world.ask();
  world.newest.failToConnect("connection refused");
  assert.equal(world.servers.length, 1);
  world.clock.advance(14_999);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 1);
  world.clock.advance(1);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 2);
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  assert.equal(world.pool.failure, undefined);
});

Deno.test("each failed attempt starts the pause anew and tells newcomers its own error", () => {
  const world = new PoolWorld({ loginRetryMs: 1_000 });
  world.ask();
  world.newest.failToConnect("connection refused");
  world.clock.advance(1_000);
  world.pool.maintain(false);
  world.newest.failToConnect("connect timeout");
  assert.equal(world.ask().error, "connect timeout");
  world.clock.advance(999);
  world.pool.maintain(false);
  assert.equal(world.servers.length, 2);
  world.clock.advance(1);
  world.pool.maintain(false);
  assert.equal(world.servers.length, 3);
});

Deno.test("one who comes after the pause starts the next attempt and waits for it", () => {
  const world = new PoolWorld({ loginRetryMs: 1_000 });
  const first = world.ask();
  world.newest.failToConnect("connection refused");
  first.cancel();
  assert.equal(world.ask().outcome, "turned away");
  assert.equal(world.servers.length, 1, "not before the pause is over");
  world.clock.advance(1_000);
  const login = new TestLogin();
  assert.equal(world.pool.acquireWelcome(login.place), undefined);
  assert.deepEqual(world.counts(), { login: 1 });
  const second = world.ask();
  assert.equal(second.outcome, "waiting");
  assert.equal(world.servers.length, 2, "one login at a time");
  world.newest.loggedIn();
  assert.equal(login.parameters, world.newest.reported);
  assert.equal(second.outcome, "served");
  world.check();
});

Deno.test("one who comes after the pause is told at once if that attempt fails too, others wait on", () => {
  const world = new PoolWorld({ loginRetryMs: 1_000 });
  const earlyLogin = new TestLogin();
  world.pool.acquireWelcome(earlyLogin.place);
  const early = world.ask("early");
  world.newest.failToConnect("connection refused");
  world.clock.advance(1_000);
  const [late, lateLogin] = [world.ask("late"), new TestLogin()];
  world.pool.acquireWelcome(lateLogin.place);
  world.newest.failToConnect("connect timeout");
  assert.deepEqual([late.outcome, late.error], ["turned away", "connect timeout"]);
  assert.equal(lateLogin.error, "connect timeout");
  assert.deepEqual([early.outcome, earlyLogin.error], ["waiting", undefined]);
  assert.deepEqual([world.pool.waiting.size, world.pool.loggingIn.size], [1, 1]);
  world.clock.advance(1_000);
  world.pool.maintain(false);
  world.newest.refuseLogin("no such database");
  assert.deepEqual([early.error, earlyLogin.error], ["no such database", "no such database"]);
  world.check();
});

Deno.test("one who comes after the pause waits on while the server asks for patience", () => {
  const world = new PoolWorld({ loginRetryMs: 1_000 });
  world.ask().cancel();
  world.newest.failToConnect("connection refused");
  world.clock.advance(1_000);
  const client = world.ask();
  world.newest.refuseLogin(STARTING_UP);
  assert.equal(client.outcome, "waiting");
  world.clock.advance(1_000);
  world.pool.maintain(false);
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
});

Deno.test("one who was turned away and comes again when it works waits like everybody", () => {
  const world = new PoolWorld({ poolSize: 2, loginRetryMs: 1_000 });
  const client = world.ask();
  world.newest.failToConnect("connection refused");
  client.cancel();
  world.clock.advance(1_000);
  client.ask();
  world.newest.failToConnect("connection refused");
  assert.equal(client.outcome, "turned away");
  world.clock.advance(1_000);
  const other = world.ask();
  world.newest.loggedIn();
  client.ask();
  world.newest.failToConnect("connection refused");
  other.abandon();
  world.clock.advance(1_000);
  world.pool.maintain(false);
  world.newest.failToConnect("connection refused");
  assert.equal(client.outcome, "waiting");
});

Deno.test("of two logins, one on trial, the first to fail turns nobody away", () => {
  const world = new PoolWorld({ poolSize: 2, loginRetryMs: 1_000 });
  world.ask().cancel();
  world.newest.failToConnect("connection refused");
  world.clock.advance(1_000);
  world.isTrial = true;
  const client = world.ask();
  assert.deepEqual(world.counts(), { login: 2 });
  world.newest.failToConnect("connection refused");
  assert.equal(client.outcome, "waiting");
  world.servers.at(-2)!.loggedIn();
  assert.equal(client.outcome, "served");
  world.check();
});

Deno.test("a login that takes too long counts as unreachable", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.newest.expireLogin();
  assert.equal(client.outcome, "waiting");
  assert.equal(world.pool.failure?.error, "connect timeout");
});

Deno.test("a host that cannot be reached is no failure while there are others: the next is tried at once", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.newest.failHere("connection refused");
  assert.equal(world.pool.failure, undefined);
  assert.deepEqual(world.counts(), { login: 1 });
  assert.equal(world.ask().outcome, "waiting", "newcomers are not turned away");
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  world.check();
});

Deno.test("a login on trial holds up no other, and a place in the pool it takes", () => {
  const world = new PoolWorld({ poolSize: 2 });
  world.isTrial = true;
  const client = world.ask();
  assert.deepEqual(world.counts(), { login: 2 }, "no more than pool_size, were they all on trial");
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  world.ask();
  assert.equal(world.servers.length, 2);
  world.check();
});

Deno.test("the pause for want of a host is over as soon as there is one to try; after a refusal it is not", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.newest.failToConnect("connection refused");
  world.isHostWorthTrying = true;
  world.pool.maintain(false);
  assert.equal(world.servers.length, 2);
  world.newest.refuseLogin("password authentication failed");
  assert.equal(client.outcome, "refused");
  world.pool.maintain(true);
  assert.equal(world.ask().outcome, "turned away");
  assert.equal(world.servers.length, 2);
});

Deno.test("the pause after a failed login holds also while other servers come and go", () => {
  const world = new PoolWorld({ poolSize: 3, loginRetryMs: 1_000 });
  const holder = world.ask();
  world.newest.loggedIn();
  const waiter = world.ask();
  world.newest.failToConnect("connection refused");
  holder.abandon();
  assert.equal(world.servers.length, 2);
  assert.equal(waiter.outcome, "waiting");
  world.clock.advance(1_000);
  world.pool.maintain(false);
  world.newest.loggedIn();
  assert.equal(waiter.outcome, "served");
});

Deno.test("reserve_pool_size opens more only after the oldest has waited reserve_pool_timeout", () => {
  const world = new PoolWorld({ poolSize: 1, reservePoolSize: 1, reservePoolTimeoutMs: 5_000 });
  world.ask();
  world.newest.loggedIn();
  const oldest = world.ask();
  world.clock.advance(4_999);
  const newcomer = world.ask();
  world.pool.maintain(true);
  assert.equal(world.servers.length, 1);
  world.clock.advance(1);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 2);
  world.newest.loggedIn();
  assert.equal(oldest.outcome, "served");
  world.clock.advance(60_000);
  world.pool.maintain(true);
  assert.equal(newcomer.outcome, "waiting");
  assert.equal(world.servers.length, 2, "no more than pool_size and reserve_pool_size");
});

Deno.test("the reserve stays closed when the oldest has left and the next has not waited long", () => {
  const world = new PoolWorld({ poolSize: 1, reservePoolSize: 1, reservePoolTimeoutMs: 5_000 });
  world.ask();
  world.newest.loggedIn();
  const oldest = world.ask();
  world.clock.advance(4_000);
  world.ask();
  world.clock.advance(2_000);
  oldest.cancel();
  world.pool.maintain(true);
  assert.equal(world.servers.length, 1);
});

Deno.test("reserve_pool_timeout 0 turns the reserve off", () => {
  const world = new PoolWorld({ poolSize: 1, reservePoolSize: 1, reservePoolTimeoutMs: 0 });
  world.ask();
  world.newest.loggedIn();
  world.ask();
  world.clock.advance(1_000_000);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 1);
});

Deno.test("Pool.maintain() opens spares one at a time up to min_pool_size", () => {
  const world = new PoolWorld({ poolSize: 5, minPoolSize: 3 });
  for (let i = 1; i <= 3; i++) {
    world.pool.maintain(true);
    world.pool.maintain(true);
    assert.equal(world.servers.length, i);
    world.newest.loggedIn();
  }
  world.pool.maintain(true);
  assert.deepEqual(world.counts(), { idle: 3 });
});

Deno.test("Pool.maintain() opens no spares where none are wanted", () => {
  const world = new PoolWorld({ minPoolSize: 2 });
  world.pool.maintain(false);
  assert.equal(world.servers.length, 0);
});

Deno.test("min_pool_size counts up to pool_size only", () => {
  const world = new PoolWorld({ poolSize: 1, minPoolSize: 3 });
  world.pool.maintain(true);
  world.newest.loggedIn();
  world.pool.maintain(true);
  assert.equal(world.servers.length, 1);
});

Deno.test("spares keep to the pause after a failed login", () => {
  const world = new PoolWorld({ minPoolSize: 1, loginRetryMs: 1_000 });
  world.pool.maintain(true);
  world.newest.refuseLogin("no such role");
  world.clock.advance(999);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 1);
  world.clock.advance(1);
  world.pool.maintain(true);
  assert.equal(world.servers.length, 2);
});

Deno.test("a smaller pool_size opens nothing until enough servers have gone", () => {
  const world = new PoolWorld({ poolSize: 3 });
  const holders = [1, 2, 3].map(() => {
    const client = world.ask();
    world.newest.loggedIn();
    return client;
  });
  world.rules.poolSize = 1;
  const waiter = world.ask();
  holders[0]!.abandon();
  holders[1]!.abandon();
  assert.deepEqual(world.counts(), { active: 1 });
  holders[2]!.abandon();
  assert.deepEqual(world.counts(), { login: 1 });
  world.newest.loggedIn();
  assert.equal(waiter.outcome, "served");
});

Deno.test("a larger pool_size opens servers for those who wait at the next sweep", () => {
  const world = new PoolWorld({ poolSize: 1 });
  world.ask();
  world.newest.loggedIn();
  const waiter = world.ask();
  world.rules.poolSize = 2;
  world.pool.maintain(false);
  world.newest.loggedIn();
  assert.equal(waiter.outcome, "served");
});
