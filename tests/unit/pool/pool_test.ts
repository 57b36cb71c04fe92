import assert from "node:assert/strict";
import { StandingFailure } from "../../../src/pool/pool.ts";
import { PoolWorld, STARTING_UP, TestClient, TestLogin } from "./pool_world.ts";

Deno.test("Pool.acquire() opens a server for the first client and serves it after the login", () => {
  const world = new PoolWorld();
  const client = world.ask();
  assert.equal(client.outcome, "waiting");
  assert.deepEqual(world.counts(), { login: 1 });
  world.newest.loggedIn();
  assert.equal(client.server, world.servers[0]);
  assert.deepEqual(world.counts(), { active: 1 });
  world.check();
});

Deno.test("Pool.acquire() returns an idle server at once and opens none", () => {
  const world = new PoolWorld();
  const [idle] = world.openIdle(1);
  const client = world.ask();
  assert.equal(client.server, idle);
  assert.equal(world.servers.length, 1);
});

Deno.test("Pool.acquire() waits when pool_size servers are active", () => {
  const world = new PoolWorld({ poolSize: 2 });
  const first = world.ask();
  world.newest.loggedIn();
  world.ask();
  world.newest.loggedIn();
  const third = world.ask();
  world.clock.advance(60_000);
  world.pool.maintain(true);
  assert.equal(third.outcome, "waiting");
  assert.deepEqual(world.counts(), { active: 2 });
  const server = first.giveBack();
  assert.equal(third.server, server);
  world.check();
});

Deno.test("waiters are served oldest first", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const served: string[] = [];
  const clients = ["a", "b", "c", "d"].map((name) => {
    const client = new TestClient(world, name);
    client.onServed = () => served.push(name);
    client.ask();
    return client;
  });
  world.newest.loggedIn();
  for (const client of clients) client.giveBack();
  assert.deepEqual(served, ["a", "b", "c", "d"]);
  assert.deepEqual(world.counts(), { idle: 1 });
});

Deno.test("idle servers are used newest first", () => {
  const world = new PoolWorld({ poolSize: 3 });
  const [first, second, third] = world.openIdle(3);
  assert.deepEqual([world.ask().server, world.ask().server], [third, second]);
  assert.equal(world.ask().server, first);
});

Deno.test("idle servers are used oldest first with server_round_robin", () => {
  const world = new PoolWorld({ poolSize: 3, isRoundRobin: true });
  const [first, second, third] = world.openIdle(3);
  const one = world.ask();
  assert.equal(one.server, first);
  one.giveBack();
  assert.deepEqual([world.ask().server, world.ask().server], [second, third]);
  assert.equal(world.ask().server, first);
});

Deno.test("a change of server_round_robin holds from the next request on", () => {
  const world = new PoolWorld({ poolSize: 3 });
  const [first, , third] = world.openIdle(3);
  assert.equal(world.ask().server, third);
  world.rules.isRoundRobin = true;
  assert.equal(world.ask().server, first);
});

Deno.test("one server logs in at a time, however many wait", () => {
  const world = new PoolWorld({ poolSize: 10 });
  const clients = Array.from({ length: 20 }, () => world.ask());
  assert.deepEqual(world.counts(), { login: 1 });
  for (let opened = 1; opened < 10; opened++) {
    world.newest.loggedIn();
    assert.deepEqual(world.counts(), { login: 1, active: opened });
    world.check();
  }
  world.newest.loggedIn();
  assert.deepEqual(world.counts(), { active: 10 });
  assert.equal(clients.filter((client) => client.outcome === "waiting").length, 10);
});

Deno.test("a server that comes free while another logs in serves the waiter; the other is idle", () => {
  const world = new PoolWorld({ poolSize: 2 });
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  const opening = world.newest;
  const freed = first.giveBack();
  assert.equal(second.server, freed);
  opening.loggedIn();
  assert.deepEqual(world.counts(), { active: 1, idle: 1 });
  world.check();
});

Deno.test("opening a server goes on when the client it was opened for has left", () => {
  const world = new PoolWorld();
  const client = world.ask();
  assert.equal(client.cancel(), true);
  world.newest.loggedIn();
  assert.deepEqual(world.counts(), { idle: 1 });
  assert.equal(world.servers.length, 1);
});

Deno.test("Pool.cancel() takes a place out wherever it stands, once", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const [a, b, c] = [world.ask("a"), world.ask("b"), world.ask("c")];
  assert.equal(b.cancel(), true);
  assert.equal(b.cancel(), false);
  assert.equal(a.cancel(), true);
  world.check();
  world.newest.loggedIn();
  assert.equal(c.outcome, "served");
  assert.equal(c.cancel(), false);
  assert.equal(b.outcome, "cancelled");
});

Deno.test("a cancelled place can ask again, at the end of the queue", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const [a, b] = [world.ask("a"), world.ask("b")];
  a.cancel();
  a.ask();
  world.newest.loggedIn();
  assert.equal(b.outcome, "served");
  b.giveBack();
  assert.equal(a.outcome, "served");
});

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

Deno.test("one who is turned away after the pause starts the next attempt", () => {
  const world = new PoolWorld({ loginRetryMs: 1_000 });
  const first = world.ask();
  world.newest.failToConnect("connection refused");
  first.cancel();
  assert.equal(world.ask().outcome, "turned away");
  assert.equal(world.servers.length, 1, "not before the pause is over");
  world.clock.advance(1_000);
  assert.equal(world.ask().outcome, "turned away");
  assert.deepEqual(world.counts(), { login: 1 });
  assert.equal(world.ask().outcome, "turned away");
  assert.equal(world.servers.length, 2, "one login at a time");
  world.newest.loggedIn();
  assert.equal(world.ask().outcome, "served");
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

Deno.test("a server idle for long is checked before use", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const [server] = world.openIdle(1);
  server!.retire();
  assert.deepEqual(world.counts(), { used: 1 });
  const client = world.ask();
  assert.equal(client.outcome, "waiting");
  assert.deepEqual(world.counts(), { tested: 1 });
  server!.ready();
  assert.equal(client.server, server);
  world.check();
});

Deno.test("a server idle for long is used at once where no check query is set", () => {
  const world = new PoolWorld({ poolSize: 1 });
  world.hasCheckQuery = false;
  const [server] = world.openIdle(1);
  server!.retire();
  assert.equal(world.ask().server, server);
});

Deno.test("an idle server is preferred to one that has to be checked", () => {
  const world = new PoolWorld({ poolSize: 2 });
  const [old, fresh] = world.openIdle(2);
  old!.retire();
  assert.equal(world.ask().server, fresh);
  assert.deepEqual(world.counts(), { used: 1, active: 1 });
});

Deno.test("a failed check takes the next server and is no error to the client", () => {
  const world = new PoolWorld({ poolSize: 2 });
  const [first, second] = world.openIdle(2);
  first!.retire();
  second!.retire();
  const client = world.ask();
  assert.deepEqual(world.counts(), { tested: 1, used: 1 });
  second!.discard("test query failed");
  assert.equal(client.outcome, "waiting");
  assert.deepEqual(world.counts(), { tested: 1, login: 1 });
  first!.ready();
  assert.equal(client.server, first);
  world.check();
});

Deno.test("as many used servers are checked as clients wait, and no more", () => {
  const world = new PoolWorld({ poolSize: 4 });
  const servers = world.openIdle(4);
  for (const server of servers) server.retire();
  world.ask();
  world.ask();
  assert.deepEqual(world.counts(), { tested: 2, used: 2 });
  world.pool.maintain(true);
  assert.deepEqual(world.counts(), { tested: 2, used: 2 });
});

Deno.test("a server in its reset serves the next waiter when it is ready", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  const server = first.giveBack("tested");
  assert.equal(second.outcome, "waiting");
  assert.deepEqual(world.counts(), { tested: 1 });
  server.ready();
  assert.equal(second.server, server);
});

Deno.test("a server whose reset fails is replaced for the one who waits", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  first.giveBack("tested").discard("reset query failed");
  assert.deepEqual(world.counts(), { login: 1 });
  world.newest.loggedIn();
  assert.equal(second.outcome, "served");
});

Deno.test("a server being cancelled is given to nobody until the cancel request has ended", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  const server = first.giveBack("being_canceled");
  world.pool.maintain(true);
  assert.equal(second.outcome, "waiting");
  assert.deepEqual(world.counts(), { being_canceled: 1 });
  server.ready();
  assert.equal(second.server, server);
});

Deno.test("a lost server is replaced for the one who waits", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  world.newest.crash();
  assert.equal(first.server, undefined);
  assert.deepEqual(world.counts(), { login: 1 });
  world.newest.loggedIn();
  assert.equal(second.outcome, "served");
});

Deno.test("an idle server that is lost is not replaced before somebody asks", () => {
  const world = new PoolWorld();
  const [server] = world.openIdle(1);
  server!.crash();
  assert.deepEqual(world.counts(), {});
  assert.equal(world.servers.length, 1);
  world.ask();
  assert.equal(world.servers.length, 2);
});

Deno.test("Pool.acquireWelcome() waits for the first server and then answers at once", () => {
  const world = new PoolWorld();
  const [one, two, three] = [new TestLogin(), new TestLogin(), new TestLogin()];
  assert.equal(world.pool.acquireWelcome(one.place), undefined);
  assert.equal(world.pool.acquireWelcome(two.place), undefined);
  assert.deepEqual(world.counts(), { login: 1 });
  world.newest.loggedIn();
  assert.equal(one.parameters, world.newest.reported);
  assert.equal(two.parameters, world.newest.reported);
  assert.equal(world.pool.acquireWelcome(three.place), world.newest.reported);
  assert.deepEqual(world.counts(), { idle: 1 });
});

Deno.test("Pool.cancelWelcome() takes one who logs in out of the queue", () => {
  const world = new PoolWorld();
  const login = new TestLogin();
  world.pool.acquireWelcome(login.place);
  assert.equal(world.pool.cancelWelcome(login.place), true);
  assert.equal(world.pool.cancelWelcome(login.place), false);
  world.newest.loggedIn();
  assert.equal(login.parameters, undefined);
});

Deno.test("those who log in are greeted with what the first server said, not a later one", () => {
  const world = new PoolWorld();
  world.openIdle(2);
  assert.equal(world.pool.welcome, world.servers[0]!.reported);
});

Deno.test("a server is opened for those who log in also while the pool's only ones are doomed", () => {
  const world = new PoolWorld({ poolSize: 2 });
  const holder = world.ask();
  world.newest.loggedIn();
  world.pool.doomServers("connect string changed");
  const login = new TestLogin();
  assert.equal(world.pool.acquireWelcome(login.place), undefined);
  assert.deepEqual(world.counts(), { active: 1, login: 1 });
  world.newest.loggedIn();
  assert.equal(login.parameters, world.servers[1]!.reported);
  holder.giveBack();
  assert.deepEqual(world.counts(), { idle: 1 });
});

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

Deno.test("a doomed server that was logging in is replaced at once, and nobody is turned away", () => {
  const world = new PoolWorld();
  const client = world.ask();
  world.pool.doomServers("connect string changed");
  world.servers[0]!.loggedIn();
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

Deno.test("Pool.takeLifetimeTurn() spreads the turns of a full pool over a lifetime", () => {
  const world = new PoolWorld({ poolSize: 4 });
  assert.equal(world.pool.takeLifetimeTurn(1_000), true, "the first turn is free");
  assert.equal(world.pool.takeLifetimeTurn(1_000), false);
  world.clock.advance(249);
  assert.equal(world.pool.takeLifetimeTurn(1_000), false);
  world.clock.advance(1);
  assert.equal(world.pool.takeLifetimeTurn(1_000), true);
  assert.equal(world.pool.takeLifetimeTurn(1_000), false);
});

Deno.test("a client that gives its server back while being served passes it to the next waiter", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const served: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const client = new TestClient(world, name);
    client.onServed = () => {
      served.push(name);
      client.giveBack();
    };
    client.ask();
  }
  world.newest.loggedIn();
  assert.deepEqual(served, ["a", "b", "c"]);
  assert.deepEqual(world.counts(), { idle: 1 });
  world.check();
});

Deno.test("a client that gives back and asks again while being served goes to the end", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const served: string[] = [];
  const a = new TestClient(world, "a");
  a.onServed = () => {
    served.push("a");
    if (served.length > 1) return;
    a.giveBack();
    a.ask();
  };
  a.ask();
  const b = new TestClient(world, "b");
  b.onServed = () => served.push("b");
  b.ask();
  world.newest.loggedIn();
  assert.deepEqual(served, ["a", "b"]);
  assert.equal(a.outcome, "waiting");
  b.giveBack();
  assert.deepEqual(served, ["a", "b", "a"]);
  world.check();
});

Deno.test("a client that asks while another is being served waits behind those already there", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const a = new TestClient(world, "a");
  const late = new TestClient(world, "late");
  a.onServed = () => {
    late.ask();
    world.check();
    a.giveBack();
  };
  a.ask();
  const b = world.ask("b");
  world.newest.loggedIn();
  assert.equal(b.outcome, "served");
  assert.equal(late.outcome, "waiting");
  world.check();
});

Deno.test("a client that cancels another one's place while being served leaves the queue whole", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const a = new TestClient(world, "a");
  a.ask();
  const [b, c] = [world.ask("b"), world.ask("c")];
  a.onServed = () => {
    b.cancel();
    a.abandon();
  };
  world.newest.loggedIn();
  assert.equal(b.outcome, "cancelled");
  assert.deepEqual(world.counts(), { login: 1 });
  world.newest.loggedIn();
  assert.equal(c.outcome, "served");
  world.check();
});

Deno.test("one who asks for a server while being welcomed does not pass those who wait", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const login = new TestLogin();
  const client = new TestClient(world, "client");
  login.onWelcome = () => client.ask();
  world.pool.acquireWelcome(login.place);
  const waiter = world.ask("waiter");
  world.newest.loggedIn();
  assert.equal(waiter.outcome, "served");
  assert.equal(client.outcome, "waiting");
  world.check();
});

Deno.test("one who asks for a server while being welcomed gets it if nobody waits", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const login = new TestLogin();
  const client = new TestClient(world, "client");
  login.onWelcome = () => client.ask();
  world.pool.acquireWelcome(login.place);
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  assert.deepEqual(world.counts(), { active: 1 });
});

Deno.test("a client refused that asks again is turned away, not queued behind itself", () => {
  const world = new PoolWorld();
  const client = new TestClient(world, "client");
  client.onRefused = () => client.ask();
  client.ask();
  world.newest.refuseLogin("no such database");
  assert.equal(client.outcome, "turned away");
  assert.equal(world.servers.length, 1);
  world.check();
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

// --- paused and held ---

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
