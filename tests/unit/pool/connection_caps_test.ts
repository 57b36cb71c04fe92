/** Limits on servers over several pools: who waits, whose server goes, and who is next. */

import assert from "node:assert/strict";
import { BOOKING_MS, LEAST_TURN_MS } from "../../../src/pool/connection_caps.ts";
import type { PoolRules } from "../../../src/pool/pool.ts";
import { CapsWorld } from "./caps_world.ts";
import type { PoolWorld, TestClient } from "./pool_world.ts";

/** The ends of all servers of a pool, in the order in which they were opened. */
function ends({ servers }: PoolWorld): (string | undefined)[] {
  return servers.map(({ closeReason }) => closeReason);
}

function outcomes(...clients: readonly TestClient[]): string[] {
  return clients.map(({ outcome }) => outcome);
}

/** Two pools of one database that may have `limit` servers in all. */
function twoPools(limit: number, rules: readonly Partial<PoolRules>[] = []) {
  const caps = new CapsWorld({ "database app": limit });
  const pools = [caps.pool("app/a", rules[0]), caps.pool("app/b", rules[1])] as const;
  return { caps, pools };
}

/** A client that has a server of its own, which was opened for it. */
function linked(world: PoolWorld): TestClient {
  const client = world.ask();
  world.newest.loggedIn();
  assert.equal(client.outcome, "served");
  return client;
}

Deno.test("a limit counts the servers of all pools of a database, or of a user", () => {
  for (const [limit, other] of [["database app", "app/b"], ["user a", "other/a"]] as const) {
    const caps = new CapsWorld({ [limit]: 2 });
    const pools = [caps.pool("app/a"), caps.pool(other)] as const;
    linked(pools[0]);
    linked(pools[1]);
    assert.deepEqual(outcomes(pools[0].ask(), pools[1].ask()), ["waiting", "waiting"]);
    assert.deepEqual(pools.map(({ servers }) => servers.length), [1, 1]);
    caps.check();
  }
});

Deno.test("a server that logs in counts, and one whose login failed does no more", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  const client = a.ask();
  const other = b.ask();
  assert.equal(b.servers.length, 0);
  a.newest.refuseLogin("no");
  assert.equal(client.outcome, "refused");
  assert.equal(b.servers.length, 1, "the place is the other pool's at once");
  b.newest.loggedIn();
  assert.equal(other.outcome, "served");
  caps.check();
});

Deno.test("the server idle for longest goes, of whatever pool it is", () => {
  const caps = new CapsWorld({ "database app": 3 });
  const pools = ["app/a", "app/b", "app/c"].map((name) => caps.pool(name)) as [
    ...[PoolWorld, PoolWorld, PoolWorld],
  ];
  const [a, b, c] = pools;
  const clients = [linked(a), linked(b), linked(a)];
  for (const client of [clients[2]!, clients[1]!, clients[0]!]) {
    client.giveBack();
    caps.clock.advance(1_000);
  }
  b.servers[0]!.retire();
  assert.equal(c.ask().outcome, "waiting");
  assert.deepEqual([ends(a), ends(b)], [[undefined, "evicted"], [undefined]]);
  c.newest.loggedIn();
  c.ask();
  assert.deepEqual(
    [ends(a), ends(b)],
    [[undefined, "evicted"], ["evicted"]],
    "also one to be checked",
  );
  caps.check();
});

Deno.test("a pool does not lose its own servers for one more, nor one that does not count", () => {
  const caps = new CapsWorld({ "database app": 1 });
  const [a, elsewhere] = [caps.pool("app/a"), caps.pool("other/a")];
  const [other] = elsewhere.openIdle(1);
  const client = linked(a);
  assert.equal(a.ask().outcome, "waiting");
  assert.equal(other!.state.kind, "idle");
  client.giveBack();
  assert.deepEqual(ends(a), [undefined]);
  caps.check();
});

Deno.test("two limits that are both reached cost two servers, or one that counts for both", () => {
  const caps = new CapsWorld({ "database app": 1, "user a": 1 });
  const [of, by] = [caps.pool("app/b"), caps.pool("other/a")];
  of.openIdle(1);
  by.openIdle(1);
  const both = caps.pool("app/a");
  both.ask();
  assert.deepEqual([ends(of), ends(by), both.servers.length], [["evicted"], ["evicted"], 1]);
  caps.check();
});

Deno.test("nothing is closed where that would not be enough", () => {
  const caps = new CapsWorld({ "database app": 1, "user a": 1 });
  const [of, by] = [caps.pool("app/b"), caps.pool("other/a")];
  of.openIdle(1);
  const busy = linked(by);
  const both = caps.pool("app/a");
  const client = both.ask();
  assert.deepEqual([ends(of), client.outcome], [[undefined], "waiting"]);
  busy.giveBack();
  assert.deepEqual([ends(of), ends(by), both.servers.length], [["evicted"], ["evicted"], 1]);
  caps.check();
});

Deno.test("a server that nobody waits for goes as soon as it is free, if another pool waits", () => {
  for (const next of ["idle", "tested", "being_canceled", "recovering"] as const) {
    const { caps, pools: [a, b] } = twoPools(1);
    const client = linked(a);
    const waiting = b.ask();
    const server = client.giveBack(next);
    if (next !== "idle") server.ready();
    assert.deepEqual([ends(a), waiting.outcome], [["evicted"], "waiting"], next);
    b.newest.loggedIn();
    assert.equal(waiting.outcome, "served");
    caps.check();
  }
});

for (const how of ["crash", "abandon", "doom"] as const) {
  Deno.test(`a pool that waits for a place gets it when a server goes elsewhere: ${how}`, () => {
    const { caps, pools: [a, b] } = twoPools(1);
    const client = linked(a);
    const waiting = b.ask();
    if (how === "crash") a.newest.crash();
    else if (how === "abandon") client.abandon();
    else {
      a.newest.doom("server lifetime over");
      client.giveBack();
    }
    b.newest.loggedIn();
    assert.equal(waiting.outcome, "served");
    caps.check();
  });
}

Deno.test("one who waits beside a hundred others is served after one turn", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  let busy: TestClient | undefined = linked(a);
  for (let i = 0; i < 100; i++) a.ask();
  const one = b.ask();
  caps.clock.advance(LEAST_TURN_MS);
  busy.giveBack();
  assert.deepEqual(ends(a), ["evicted"], "although it is waited for");
  b.newest.loggedIn();
  assert.equal(one.outcome, "served");
  one.giveBack();
  assert.equal(a.servers.length, 2, "and the place goes back");
  a.newest.loggedIn();
  busy = a.pool.servers.active.size === 1 ? busy : undefined;
  assert.ok(busy, "to those who still wait");
  caps.check();
});

Deno.test("pools that share one server take turns, none of them shorter than a login is worth", () => {
  const caps = new CapsWorld({ "database app": 1 });
  const pools = ["app/a", "app/b", "app/c"].map((name) => caps.pool(name));
  const queues = pools.map((pool) => Array.from({ length: 50 }, () => pool.ask()));
  const turns: string[] = [];
  for (let i = 0; i < 100; i++) {
    const pool = pools.find(({ pool }) => pool.servers.count > 0)!;
    if (pool.newest.state.kind === "login") {
      pool.newest.loggedIn();
      turns.push(pool.pool.user);
    }
    caps.clock.advance(LEAST_TURN_MS / 4);
    queues.flat().find(({ server }) => server !== undefined)!.giveBack();
    caps.check();
  }
  assert.match(turns.join(""), /^(abc)+a?b?$/);
  assert.equal(turns.length, 25, "four links a turn");
  const served = queues.map((queue) => queue.filter(({ outcome }) => outcome === "none").length);
  assert.ok(Math.max(...served) - Math.min(...served) <= 4, served.join());
});

Deno.test("where there is enough for all, each pool comes to an equal part and is left with it", () => {
  const { caps, pools: [a, b] } = twoPools(6, [{ poolSize: 10 }, { poolSize: 10 }]);
  const clients = Array.from({ length: 6 }, () => linked(a));
  for (const pool of [a, b]) for (let i = 0; i < 100; i++) clients.push(pool.ask());
  const work = () => {
    for (const client of clients.filter(({ server }) => server !== undefined)) {
      client.giveBack();
      for (const { newest } of [a, b].filter(({ servers }) => servers.length > 0)) {
        if (newest.state.kind === "login") newest.loggedIn();
      }
      caps.check();
    }
    caps.clock.advance(1_000);
  };
  for (let i = 0; i < 3; i++) work();
  assert.deepEqual([a.pool.servers.count, b.pool.servers.count], [3, 3]);
  const openedCount = a.servers.length + b.servers.length;
  for (let i = 0; i < 5; i++) work();
  assert.equal(a.servers.length + b.servers.length, openedCount, "nothing goes back and forth");
});

Deno.test("a pool with no server at all goes before one below its min_pool_size, and that before others", () => {
  const caps = new CapsWorld({ "database app": 3 });
  const [full, low, none] = [
    caps.pool("app/full"),
    caps.pool("app/low", { minPoolSize: 3 }),
    caps.pool("app/none"),
  ];
  const busy = [linked(full), linked(full), linked(low)];
  const rest = [full, low].map((pool) => [pool.ask(), pool.ask()]).flat();
  const one = none.ask();
  busy[0]!.giveBack();
  assert.equal(none.servers.length, 1);
  none.newest.loggedIn();
  assert.equal(one.outcome, "served");
  caps.clock.advance(LEAST_TURN_MS - 1);
  busy[1]!.giveBack();
  assert.equal(
    rest[0]!.outcome,
    "served",
    "the last server of a pool is not given up for another's third",
  );
  one.giveBack();
  assert.equal(low.servers.length, 2);
  caps.check();
});

Deno.test("who has just got its server has it, whoever else waits", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  const first = a.ask();
  const other = b.ask();
  caps.clock.advance(60_000);
  a.newest.loggedIn();
  assert.deepEqual(outcomes(first, other), ["served", "waiting"]);
  first.giveBack();
  assert.deepEqual(ends(a), ["evicted"]);
});

Deno.test("a server for which nobody waits any more when it has logged in is another pool's", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  const first = a.ask();
  const other = b.ask();
  first.cancel();
  a.newest.loggedIn();
  assert.deepEqual([ends(a), b.servers.length], [["evicted"], 1]);
  b.newest.loggedIn();
  assert.equal(other.outcome, "served");
  caps.check();
});

Deno.test("a pool whose waiters have left keeps nobody from a place", () => {
  const caps = new CapsWorld({ "database app": 1 });
  const [a, b, c] = [caps.pool("app/a"), caps.pool("app/b"), caps.pool("app/c")];
  const busy = linked(a);
  b.ask().cancel();
  const waiting = c.ask();
  busy.giveBack();
  assert.deepEqual([b.servers.length, c.servers.length], [0, 1]);
  c.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  waiting.giveBack();
  assert.deepEqual(ends(c), [undefined], "nobody needs it");
});

Deno.test("what min_pool_size asks for closes nothing, and passes nobody who waits", () => {
  const { caps, pools: [a, b] } = twoPools(1, [{}, { minPoolSize: 2 }]);
  a.openIdle(1);
  b.pool.maintain(true);
  assert.deepEqual([ends(a), b.servers.length], [[undefined], 0]);
  a.newest.crash();
  b.pool.maintain(true);
  assert.equal(b.servers.length, 1);
  caps.check();
});

Deno.test("a lowered limit closes what is idle at once, and the rest as it comes free", () => {
  const { caps, pools: [a, b] } = twoPools(0);
  a.openIdle(2);
  const busy = [linked(b), linked(b)];
  const waiting = b.ask();
  b.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.limits["database app"] = 1;
  caps.caps.refresh();
  assert.deepEqual(ends(a), ["evicted", "evicted"]);
  assert.deepEqual(ends(b), [undefined, undefined, undefined]);
  b.ask();
  busy[0]!.giveBack();
  assert.deepEqual(ends(b), ["evicted", undefined, undefined], "even though it is waited for");
  busy[1]!.giveBack();
  waiting.giveBack();
  assert.deepEqual(ends(b), ["evicted", "evicted", undefined]);
  caps.check();
});

Deno.test("a raised limit lets those go on at once who were held back", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  linked(a);
  const waiting = b.ask();
  caps.limits["database app"] = 2;
  caps.caps.refresh();
  b.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.check();
});

Deno.test("a pool that needs a place in two groups gets both, though neither is ever idle", () => {
  const caps = new CapsWorld({ "database app": 1, "user a": 1 });
  const [of, by, both] = [caps.pool("app/b"), caps.pool("other/a"), caps.pool("app/a")];
  const [one, other] = [linked(of), linked(by)];
  const waiting = both.ask();
  const [next, after] = [of.ask(), by.ask()];
  caps.clock.advance(BOOKING_MS - 1);
  one.giveBack();
  assert.equal(next.outcome, "served", "one alone would be of no use");
  caps.clock.advance(1);
  of.ask();
  next.giveBack();
  assert.deepEqual(
    [ends(of), both.servers.length],
    [["evicted"], 0],
    "kept until there is another",
  );
  other.giveBack();
  assert.deepEqual([ends(by), after.outcome], [["evicted"], "waiting"]);
  both.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.check();
});

Deno.test("places are kept for a pool for a second, and then go to others again", () => {
  const caps = new CapsWorld({ "database app": 1, "user a": 1 });
  const [of, by, both] = [caps.pool("app/b"), caps.pool("other/a"), caps.pool("app/a")];
  const busy = linked(of);
  linked(by);
  both.ask();
  caps.clock.advance(BOOKING_MS);
  const waiting = of.ask();
  busy.giveBack();
  assert.deepEqual([ends(of), waiting.outcome], [["evicted"], "waiting"], "kept");
  const newcomer = caps.pool("app/c");
  const late = newcomer.ask();
  assert.equal(newcomer.servers.length, 0, "from those who come later too");
  late.cancel();
  for (let i = 0; i < 4; i++) caps.round();
  of.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.check();
});

Deno.test("places that were kept for a pool are others' as soon as its last waiter has left", () => {
  const caps = new CapsWorld({ "database app": 1, "user a": 1 });
  const [of, by, both] = [caps.pool("app/b"), caps.pool("other/a"), caps.pool("app/a")];
  const busy = linked(of);
  linked(by);
  const leaving = both.ask();
  caps.clock.advance(BOOKING_MS);
  const waiting = of.ask();
  busy.giveBack();
  leaving.cancel();
  of.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
});

Deno.test("a pool without a server goes before one that has some, whoever's turn was last", () => {
  const caps = new CapsWorld({ "database app": 2 });
  const [some, none] = [caps.pool("app/some"), caps.pool("app/none")];
  const busy = [linked(some), linked(none)];
  some.ask();
  busy[1]!.abandon();
  some.newest.loggedIn();
  assert.equal(some.pool.servers.count, 2);
  const [more, one] = [some.ask(), none.ask()];
  busy[0]!.abandon();
  none.newest.loggedIn();
  assert.deepEqual(outcomes(more, one), ["waiting", "served"]);
});

Deno.test("a turn that has just begun goes on, whoever waits elsewhere", () => {
  const caps = new CapsWorld({ "database app": 1 });
  const [a, b] = [caps.pool("app/a"), caps.pool("app/b")];
  const busy = linked(a);
  const waiting = a.ask();
  const other = b.ask();
  busy.giveBack();
  assert.deepEqual(outcomes(waiting, other), ["served", "waiting"], "its turn has just begun");
  caps.clock.advance(LEAST_TURN_MS);
  caps.round();
  assert.equal(waiting.outcome, "served");
  waiting.giveBack();
  b.newest.loggedIn();
  assert.equal(other.outcome, "served");
});

Deno.test("a pool that was paused, or whose login failed, keeps no place from others", () => {
  const caps = new CapsWorld({ "database app": 1 });
  const [a, b, c] = [caps.pool("app/a"), caps.pool("app/b"), caps.pool("app/c")];
  const busy = linked(a);
  b.ask();
  const waiting = c.ask();
  b.pool.hold();
  busy.giveBack();
  c.newest.loggedIn();
  assert.deepEqual([waiting.outcome, b.servers.length], ["served", 0]);
  b.pool.resume();
  waiting.giveBack();
  assert.equal(b.servers.length, 1, "its turn comes when it is resumed");
});

Deno.test("who comes when a failed login may be tried again waits for a place to do so", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  a.ask();
  a.newest.refuseLogin("no");
  linked(b);
  assert.equal(a.ask().outcome, "turned away");
  caps.clock.advance(a.rules.loginRetryMs);
  const waiting = a.ask();
  assert.equal(waiting.outcome, "waiting");
  b.pool.servers.active[Symbol.iterator]().next().value!.crash();
  a.newest.loggedIn();
  assert.equal(waiting.outcome, "served");
  caps.check();
});

Deno.test("a pool that is forgotten is in nobody's way, and nor is a closed one", () => {
  const { caps, pools: [a, b] } = twoPools(1);
  const busy = linked(a);
  b.ask();
  b.pool.close("gone", "gone");
  b.pool.leaveCaps();
  a.ask();
  busy.giveBack();
  assert.deepEqual(ends(a), [undefined]);
  a.pool.close("gone", "gone");
  a.pool.leaveCaps();
  assert.equal(caps.caps.countOf("database", "app"), 0);
  assert.equal(caps.caps.isTight, false);
});
