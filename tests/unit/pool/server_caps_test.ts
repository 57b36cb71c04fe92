/** Limits on one physical server, over all databases and users, and the weights of pools beside others. */

import assert from "node:assert/strict";
import { BOOKING_MS, LEAST_TURN_MS } from "../../../src/pool/connection_caps.ts";
import { CapsWorld } from "./caps_world.ts";
import type { PoolWorld, TestClient } from "./pool_world.ts";

/** A client that has a server of its own, which was opened for it. */
function linked(world: PoolWorld): TestClient {
  const client = world.ask();
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  return client;
}

function ends({ servers }: PoolWorld): (string | undefined)[] {
  return servers.map(({ closeReason }) => closeReason);
}

/** Every client that has a server gives it back, and whoever logs in does so; for `rounds`. */
function work(caps: CapsWorld, clients: readonly TestClient[], rounds: number): void {
  for (let i = 0; i < rounds; i++) {
    for (const client of clients.filter(({ server }) => server !== undefined)) {
      client.giveBack();
      for (const { pool } of caps.worlds) {
        for (const server of [...pool.servers.login]) server.loggedIn();
      }
      caps.check();
    }
    caps.clock.advance(1_000);
  }
}

Deno.test("max_connections of a server counts all databases and users there, and no others", () => {
  const caps = new CapsWorld({ "server one": 2 });
  const [a, b, c] = [
    caps.pool("app/a", {}, ["one"]),
    caps.pool("other/b", {}, ["one"]),
    caps.pool("app/b", {}, ["two"]),
  ];
  linked(a);
  linked(b);
  assert.deepEqual([a.ask().outcome, b.ask().outcome], ["waiting", "waiting"]);
  assert.deepEqual([a.servers.length, b.servers.length], [1, 1]);
  for (let i = 0; i < 3; i++) linked(c);
  caps.check();
});

Deno.test("at the limit of a server the one idle for longest there goes, and one that comes free", () => {
  const caps = new CapsWorld({ "server one": 1 });
  const [a, b, elsewhere] = [
    caps.pool("app/a", {}, ["one"]),
    caps.pool("other/b", {}, ["one"]),
    caps.pool("third/c", {}, ["two"]),
  ];
  elsewhere.openIdle(1);
  caps.clock.advance(1_000);
  a.openIdle(1);
  const client = b.ask();
  assert.deepEqual([ends(a), ends(elsewhere)], [["evicted"], [undefined]]);
  b.newest.loggedIn();
  const waiting = a.ask();
  client.giveBack();
  assert.deepEqual(ends(b), ["evicted"]);
  a.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.check();
});

Deno.test("one who waits beside a hundred of another database is served after one turn", () => {
  const caps = new CapsWorld({ "server one": 1 });
  const [many, few] = [caps.pool("app/a", {}, ["one"]), caps.pool("other/b", {}, ["one"])];
  const busy = linked(many);
  for (let i = 0; i < 100; i++) many.ask();
  const one = few.ask();
  caps.clock.advance(LEAST_TURN_MS);
  busy.giveBack();
  few.newest.loggedIn();
  assert.equal(one.outcome, "served");
});

Deno.test("pools get servers by their weights, each its minimum, and then are left with them", () => {
  const caps = new CapsWorld({ "server one": 12 });
  const [heavy, light, least] = [
    caps.pool("app/a", { poolSize: 20, weight: 3 }, ["one"]),
    caps.pool("other/b", { poolSize: 20 }, ["one"]),
    caps.pool("third/c", { poolSize: 20, minPoolSize: 4 }, ["one"]),
  ];
  const clients = Array.from({ length: 12 }, () => linked(light));
  for (const pool of [heavy, light, least]) {
    for (let i = 0; i < 200; i++) clients.push(pool.ask());
  }
  work(caps, clients, 6);
  const counts = () => [heavy, light, least].map(({ pool }) => pool.servers.count);
  assert.deepEqual(counts(), [6, 2, 4]);
  const openedCount = caps.worlds.flatMap(({ servers }) => servers).length;
  work(caps, clients, 4);
  assert.deepEqual(counts(), [6, 2, 4]);
  assert.equal(caps.worlds.flatMap(({ servers }) => servers).length, openedCount);
});

Deno.test("a turn at a server that has to be shared is as much longer as the pool weighs", () => {
  const caps = new CapsWorld({ "server one": 1 });
  const [heavy, light] = [
    caps.pool("app/a", { weight: 3 }, ["one"]),
    caps.pool("other/b", {}, ["one"]),
  ];
  const clients = [heavy, light].flatMap((pool) => Array.from({ length: 60 }, () => pool.ask()));
  for (let i = 0; i < 60; i++) {
    for (const { pool } of caps.worlds) {
      for (const server of [...pool.servers.login]) server.loggedIn();
    }
    caps.clock.advance(LEAST_TURN_MS);
    clients.find(({ server }) => server !== undefined)?.giveBack();
    caps.check();
  }
  const served = [0, 60].map((from) =>
    clients.slice(from, from + 60).filter(({ outcome }) => outcome === "none").length
  );
  assert.deepEqual(served, [45, 15]);
});

Deno.test("a pool with several hosts opens its servers where there is room, and waits where there is none", () => {
  const caps = new CapsWorld({ "server one": 1, "server two": 1 });
  const [both, other] = [
    caps.pool("app/a", {}, ["one", "two"]),
    caps.pool("other/b", {}, ["two"]),
  ];
  linked(both);
  linked(both);
  assert.deepEqual(both.servers.map(({ addressKey }) => addressKey), ["one", "two"]);
  const waiting = other.ask();
  assert.equal(waiting.outcome, "waiting");
  caps.clock.advance(LEAST_TURN_MS);
  both.servers[0]!.crash();
  assert.equal(other.servers.length, 0, "not the host it needs");
  both.servers[1]!.crash();
  other.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.check();
});

Deno.test("of a pool with several hosts only a server at the host that is needed goes", () => {
  const caps = new CapsWorld({ "server one": 1, "server two": 1 });
  const [both, other] = [
    caps.pool("app/a", {}, ["one", "two"]),
    caps.pool("other/b", {}, ["two"]),
  ];
  both.openIdle(2);
  other.ask();
  assert.deepEqual(ends(both), [undefined, "evicted"]);
  other.newest.loggedIn();
  both.ask();
  both.ask();
  assert.deepEqual([both.pool.waiting.size, both.servers.length], [1, 2]);
  caps.check();
});

Deno.test("what a reload says of hosts counts for the next servers; the old ones count where they are", () => {
  const caps = new CapsWorld({ "server one": 1, "server two": 1 });
  const [moving, stays] = [
    caps.pool("app/a", {}, ["one"]),
    caps.pool("other/b", {}, ["one"]),
  ];
  const client = linked(moving);
  const waiting = stays.ask();
  moving.moveTo(["two"]);
  linked(moving);
  caps.check();
  assert.equal(waiting.outcome, "waiting");
  client.giveBack();
  stays.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  assert.equal(caps.caps.countOf("server", "two"), 1);
  caps.check();
});

Deno.test("a lowered limit of a server closes what is idle there, whosever it is", () => {
  const caps = new CapsWorld({});
  const [a, b] = [caps.pool("app/a", {}, ["one"]), caps.pool("other/b", {}, ["one", "two"])];
  a.openIdle(1);
  caps.clock.advance(1_000);
  b.openIdle(1);
  caps.limits["server one"] = 1;
  caps.caps.refresh();
  assert.deepEqual([ends(a), ends(b)], [["evicted"], [undefined]]);
  caps.check();
});

Deno.test("limits of a database and of a server together cost one server, if it counts for both", () => {
  const caps = new CapsWorld({ "database app": 1, "server one": 2 });
  const [a, b, other] = [
    caps.pool("app/a", {}, ["one"]),
    caps.pool("app/b", {}, ["one"]),
    caps.pool("other/c", {}, ["one"]),
  ];
  other.openIdle(1);
  caps.clock.advance(1_000);
  a.openIdle(1);
  b.ask();
  assert.deepEqual([ends(other), ends(a), b.servers.length], [[undefined], ["evicted"], 1]);
  caps.check();
});

Deno.test("a lowered limit of a server closes what is busy there as it comes free, waited for or not", () => {
  const caps = new CapsWorld({});
  const a = caps.pool("app/a", {}, ["one"]);
  const clients = [linked(a), linked(a)];
  caps.limits["server one"] = 1;
  caps.caps.refresh();
  a.ask();
  clients[0]!.giveBack();
  assert.deepEqual(ends(a), ["evicted", undefined]);
  caps.check();
});

Deno.test("no places are kept where there is no limit", () => {
  const caps = new CapsWorld({ "database app": 1, "user a": 1 });
  const [of, by, both, beside] = [
    caps.pool("app/b", {}, ["one"]),
    caps.pool("other/a", {}, ["one"]),
    caps.pool("app/a", {}, ["one"]),
    caps.pool("third/c", {}, ["one"]),
  ];
  linked(of);
  linked(by);
  caps.limits["server one"] = 2;
  caps.caps.refresh();
  both.ask();
  const waiting = beside.ask();
  caps.clock.advance(BOOKING_MS);
  caps.caps.look();
  assert.equal(waiting.outcome, "waiting");
  caps.limits["server one"] = 0;
  caps.caps.refresh();
  beside.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
});
