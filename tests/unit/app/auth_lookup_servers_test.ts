/** The servers that look secrets up: who waits for them, and what ends them. */

import assert from "node:assert/strict";
import { backend as say } from "../../support/messages.ts";
import {
  CONFIG_ERROR,
  EVE,
  IN,
  lookers,
  openWorld,
  outcome,
  SLOWLY,
  UNAVAILABLE,
  WRONG,
} from "./auth_lookup_fixture.ts";

Deno.test("AuthLookUp asks once for a user who logs in many times at once", async () => {
  await using world = await openWorld({
    pooler: `${SLOWLY}\nauth_cache_ttl = 0`,
  });
  const same = await Promise.all(Array.from({ length: 20 }, () => world.connect()));
  const ended = same.map((client) => client.outcome(EVE));
  await world.settle();
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual(new Set(await Promise.all(ended)), new Set([IN]));
  assert.deepEqual(world.postgres.lookedUp, ["eve"]);
});

Deno.test("AuthLookUp asks once for each of many users, by a few servers", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 0" });
  const users = Array.from({ length: 50 }, (_, i) => `user${i}`);
  for (const user of users) world.postgres.secrets.set(user, [[user, `secret of ${user}`]]);
  const outcomes = users.map((user) => outcome(world, { user, password: `secret of ${user}` }));
  assert.deepEqual(new Set(await Promise.all(outcomes)), new Set([IN]));
  assert.deepEqual(world.postgres.lookedUp.toSorted(), users.toSorted());
  assert.ok(lookers(world).length <= 2, "A few servers do");
});

Deno.test("AuthLookUp asks for nobody who has left before it was his turn", async () => {
  await using world = await openWorld({ pooler: SLOWLY });
  const busy = [];
  for (const user of ["one", "two"]) busy.push((await world.connect()).outcome({ ...EVE, user }));
  await world.settle();
  const leaving = await world.connect();
  const left = assert.rejects(leaving.login({ ...EVE, user: "three" }), /connection ended/);
  await world.settle();
  const [pool] = world.pooler.pools.lookUpPools();
  assert.equal(pool?.waiting.size, 1);
  leaving.close();
  await world.settle();
  assert.equal(pool?.waiting.size, 0);
  await left;
  for (let i = 0; i < 3; i++) {
    world.postgres.wakeAll();
    await world.settle();
  }
  await Promise.all(busy);
  assert.deepEqual(world.postgres.lookedUp.toSorted(), ["one", "two"]);
});

Deno.test("AuthLookUp's pool does not wait for the clients of a full one", async () => {
  await using world = await openWorld({
    pooler: "default_pool_size = 1\nauth_cache_ttl = 0",
  });
  world.postgres.secrets.set("looker", [["looker", "looking"]]);
  const holder = await world.login({ user: "looker", password: "looking" });
  await holder.query("begin");
  assert.equal(await outcome(world), IN);
  holder.close();
});

Deno.test("AuthLookUp waits for a server that only asks for patience", async () => {
  await using world = await openWorld();
  world.postgres.refusal = { severity: "FATAL", sqlstate: "57P03", message: "starting up" };
  const ended = outcome(world);
  await world.settle();
  world.postgres.refusal = undefined;
  await world.advance(16_000);
  assert.equal(await ended, IN);
});

Deno.test("AuthLookUp lets a login wait no longer than client_login_timeout", async () => {
  await using world = await openWorld({
    pooler: `client_login_timeout = 20\n${SLOWLY}`,
  });
  const ended = (await world.connect()).outcome(EVE);
  await world.advance(21_000);
  assert.equal(await ended, "FATAL 57014: client_login_timeout");
  await world.advance(1_000);
  assert.ok(world.hasLogged("closing because: auth_query timed out"));
  assert.equal(world.pooler.pools.lookUpPools()[0]?.servers.count, 0);
});

Deno.test("AuthLookUp tells at once that nobody can be asked, and asks again after server_login_retry", async () => {
  await using world = await openWorld();
  world.postgres.refusal = { severity: "FATAL", sqlstate: "28P01", message: "no looker here" };
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.ok(world.hasLogged('auth_query for user "eve": no looker here'));
  const logins = world.postgres.askedMinors.length;
  await world.advance(14_000);
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.equal(world.postgres.askedMinors.length, logins, "Not before its time");
  world.postgres.refusal = undefined;
  await world.advance(2_000);
  await outcome(world);
  assert.equal(await outcome(world), IN);
});

Deno.test("AuthLookUp waits while its database is paused, and goes on when it is resumed", async () => {
  await using world = await openWorld();
  await outcome(world);
  await world.pooler.operations.pause("app", new AbortController().signal);
  // Known: in, and then it waits like everybody.
  const other = (await world.connect()).outcome({ ...EVE, user: "nobody" });
  await world.settle();
  assert.deepEqual(world.postgres.lookedUp, ["eve"]);
  world.pooler.operations.resume("app");
  await world.settle();
  assert.equal(await other, WRONG);
});

Deno.test("AuthLookUp keeps a paused pool for those who wait in it", async () => {
  await using world = await openWorld();
  await world.pooler.operations.pause("app", new AbortController().signal);
  const ended = (await world.connect()).outcome(EVE);
  await world.advance(40_000);
  assert.equal(world.pooler.pools.lookUpPools()[0]?.waiting.size, 1);
  world.pooler.operations.resume("app");
  await world.settle();
  assert.equal(await ended, IN);
});

Deno.test("AuthLookUp does not hold up the end of the pooler, whoever waits", async () => {
  await using world = await openWorld({ pooler: SLOWLY });
  const ended: Promise<string>[] = [];
  for (const user of ["one", "two", "three"]) {
    ended.push((await world.connect()).outcome({ ...EVE, user }));
    await world.settle();
  }
  world.pooler.shutdown("immediate");
  await world.settle();
  assert.deepEqual(
    new Set(await Promise.all(ended)),
    new Set([
      "FATAL 57P01: pooler is shutting down",
    ]),
  );
});

Deno.test("AuthLookUp closes a server that a query leaves in a transaction", async () => {
  await using world = await openWorld({ pooler: 'auth_query = "begin"' });
  assert.equal(await outcome(world), CONFIG_ERROR);
  assert.equal(lookers(world)[0]?.isClosed, true);
});

Deno.test("AuthLookUp closes a server that says more than it was asked", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 0" });
  await outcome(world);
  const [looker] = lookers(world);
  looker!.postscript = say.dataRow(["eve", "evening"]);
  assert.equal(await outcome(world), UNAVAILABLE);
  assert.equal(looker!.isClosed, true);
});

Deno.test("AuthLookUp takes news of parameters in an answer, in whatever pieces it comes", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 0", chunking: "bytes" });
  assert.equal(await outcome(world), IN);
  const [looker] = lookers(world);
  looker!.postscript = say.parameterStatus("TimeZone", "Asia/Tokyo");
  assert.equal(await outcome(world), IN);
  assert.equal(looker!.isClosed, false);
});

Deno.test("AuthLookUp closes its servers with server_idle_timeout, RECONNECT and KILL, and shows them", async () => {
  await using world = await openWorld({ pooler: "server_idle_timeout = 30\nauth_cache_ttl = 0" });
  const closed = () => lookers(world).map(({ isClosed }) => isClosed);
  await outcome(world);
  await world.advance(31_000);
  assert.deepEqual(closed(), [true]);
  await outcome(world);
  world.pooler.operations.reconnect("app");
  await world.settle();
  assert.deepEqual(closed(), [true, true]);
  await outcome(world);
  world.pooler.operations.kill("app");
  await world.settle();
  assert.deepEqual(closed(), [true, true, true]);
});

Deno.test("AuthLookUp forgets pools of databases that clients have made up, soon or at once", async () => {
  await using world = await openWorld({
    postgres: { databases: ["app"] },
    pooler: "max_client_conn = 500",
  });
  const { pools } = world.pooler;
  for (let i = 0; i < 5; i++) {
    assert.equal(await outcome(world, { database: `no${i}` }), UNAVAILABLE);
  }
  await world.advance(1_000);
  assert.equal(pools.lookUpPools().length, 5);
  await world.advance(15_000);
  assert.equal(pools.lookUpPools().length, 0);
  const many = Array.from({ length: 120 }, (_, i) => outcome(world, { database: `no${i}` }));
  assert.deepEqual(new Set(await Promise.all(many)), new Set([UNAVAILABLE]));
  await world.advance(1_000);
  assert.equal(pools.lookUpPools().length, 100);
});
