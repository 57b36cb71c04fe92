/** The pool: who is served by which server, and in which order. */

import assert from "node:assert/strict";
import { StandingFailure } from "../../../src/pool/pool.ts";
import { PoolWorld, TestClient, TestLogin } from "./pool_world.ts";

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

Deno.test("a server that is always checked is checked for who waits, and else when somebody comes", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const first = world.ask();
  world.newest.loggedIn();
  const second = world.ask();
  const server = first.giveBack("used");
  assert.deepEqual(world.counts(), { tested: 1 });
  server.ready();
  assert.equal(second.server, server);
  second.giveBack("used");
  assert.deepEqual(world.counts(), { used: 1 });
  assert.equal(world.ask().outcome, "waiting");
  assert.deepEqual(world.counts(), { tested: 1 });
  world.check();
});

Deno.test("a server that is always checked is closed when it comes free while all is paused", () => {
  const world = new PoolWorld({ poolSize: 1 });
  const client = world.ask();
  world.newest.loggedIn();
  world.pool.pause();
  assert.equal(client.giveBack("used").closeReason, "pause mode");
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
  assert.deepEqual(world.counts(), { tested: 1 });
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

for (
  const [what, leaveOne] of [
    ["check", (world: PoolWorld) => world.openIdle(1)[0]!.retire()],
    ["reset", (world: PoolWorld) => {
      const client = world.ask();
      world.newest.loggedIn();
      client.giveBack("tested");
    }],
  ] as const
) {
  Deno.test(`no server is opened for whom one in ${what} is about to come free`, () => {
    const world = new PoolWorld({ poolSize: 3 });
    leaveOne(world);
    const [first, second] = [world.ask(), world.ask()];
    assert.deepEqual(world.counts(), { tested: 1, login: 1 }, "one for each");
    world.newest.loggedIn();
    world.pool.maintain(true);
    assert.deepEqual([first.outcome, second.outcome], ["served", "waiting"]);
    assert.deepEqual(world.counts(), { tested: 1, active: 1 });
    world.clock.advance(1_000);
    world.pool.maintain(true);
    assert.deepEqual(world.counts(), { tested: 1, active: 1, login: 1 }, "it takes too long");
    world.check();
  });
}

Deno.test("another server is checked for whom the first does not answer, though none may be opened", () => {
  const world = new PoolWorld({ poolSize: 3 });
  const [first, second, third] = world.openIdle(3);
  for (const server of [first, second, third]) server!.retire();
  const client = world.ask();
  assert.deepEqual(world.counts(), { tested: 1, used: 2 });
  world.clock.advance(999);
  world.pool.maintain(true);
  assert.deepEqual(world.counts(), { tested: 1, used: 2 });
  world.clock.advance(1);
  world.pool.maintain(true);
  assert.deepEqual(world.counts(), { tested: 2, used: 1 });
  second!.ready();
  assert.equal(client.server, second);
  world.check();
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

Deno.test("those who log in are greeted with what the newest server said at its login", () => {
  const world = new PoolWorld();
  world.openIdle(2);
  assert.equal(world.pool.welcome, world.servers[1]!.reported);
  assert.equal(world.pool.acquireWelcome(new TestLogin().place), world.servers[1]!.reported);
});

Deno.test("a pool that has stopped serving turns away who logs in, though it has what to greet with", () => {
  const world = new PoolWorld();
  assert.equal(world.pool.welcomeAtOnce, undefined, "before any server has said anything");
  world.openIdle(1);
  assert.equal(world.pool.welcomeAtOnce, world.pool.welcome);
  world.pool.stopServing("gone");
  const answers = [world.pool.welcomeAtOnce, world.pool.acquireWelcome(new TestLogin().place)];
  for (const answer of answers) assert.ok(answer instanceof StandingFailure);
});

Deno.test("Pool.amendWelcome() changes what newcomers are told, and not what a server said", () => {
  const world = new PoolWorld();
  world.pool.amendWelcome("in_hot_standby", "off");
  assert.equal(world.pool.welcome, undefined, "before there is any");
  const [server] = world.openIdle(1);
  const said = [...server!.reported];
  world.pool.amendWelcome("in_hot_standby", "off");
  assert.deepEqual([...world.pool.welcome!], [...said, ["in_hot_standby", "off"]]);
  assert.deepEqual([...server!.reported], said);
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
