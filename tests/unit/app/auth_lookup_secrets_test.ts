/** Secrets that were looked up: how long they are known, and whose servers log in by them. */

import assert from "node:assert/strict";
import { UserCredential } from "../../../src/auth/credential.ts";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import { md5Secret } from "../../../src/auth/md5.ts";
import { Secret } from "../../../src/base/secret.ts";
import { scramVerifier } from "../auth/auth_support.ts";
import {
  BY_MD5,
  EVE,
  IN,
  lookers,
  lookUp,
  openWorld,
  outcome,
  SECTIONS,
  SLOWLY,
  STRANGER,
  withApp,
  WRONG,
} from "./auth_lookup_fixture.ts";

Deno.test("AuthLookUp uses a secret again for auth_cache_ttl, and asks each time where that is 0", async () => {
  await using world = await openWorld({ pooler: "auth_cache_ttl = 5" });
  await outcome(world);
  await world.advance(4_900);
  await outcome(world);
  assert.equal(world.postgres.lookedUp.length, 1);
  await world.advance(200);
  await outcome(world);
  assert.equal(world.postgres.lookedUp.length, 2);
  await using without = await openWorld({ pooler: "auth_cache_ttl = 0" });
  for (let i = 0; i < 3; i++) assert.equal(await outcome(without), IN);
  assert.equal(without.postgres.lookedUp.length, 3);
});

Deno.test("AuthLookUp finds a changed password at the second try at the latest", async () => {
  await using world = await openWorld();
  await outcome(world);
  world.postgres.secrets.set("eve", [["eve", "changed"]]);
  assert.equal(await outcome(world, { password: "changed" }), WRONG);
  assert.equal(await outcome(world, { password: "changed" }), IN);
  assert.equal(await outcome(world), WRONG);
});

Deno.test("AuthLookUp does not remember who was not found", async () => {
  await using world = await openWorld();
  world.postgres.secrets.delete("eve");
  assert.equal(await outcome(world), STRANGER);
  world.postgres.secrets.set("eve", [["eve", "evening"]]);
  assert.equal(await outcome(world), IN);
  world.postgres.secrets.delete("eve");
  await world.advance(10_000);
  assert.equal(await outcome(world), WRONG);
});

Deno.test("AuthLookUp does not find a user again who is gone, whatever auth_cache_ttl is set to", async () => {
  await using world = await openWorld();
  await outcome(world);
  await world.advance(11_000);
  world.postgres.secrets.delete("eve");
  assert.equal(await outcome(world), WRONG);
  world.pooler.operations.set("auth_cache_ttl", "3600");
  assert.equal(await outcome(world), WRONG);
});

Deno.test("AuthLookUp has servers log in by what was found, as long as the user has clients", async () => {
  await using world = await openWorld({
    pooler: "auth_cache_ttl = 0",
    postgres: BY_MD5,
  });
  world.postgres.secrets.set("eve", [["eve", md5Secret("evening", "eve")]]);
  const client = await world.login(EVE);
  assert.deepEqual((await client.query("select 'served'")).rows, [["served"]]);
  const [server] = world.pool("app", "eve").servers.idle;
  world.backendOf(server!).close();
  await world.settle();
  await world.advance(120_000);
  assert.deepEqual((await client.query("select 'again'")).rows, [["again"]]);
  client.close();
});

Deno.test("AuthLookUp has the SCRAM keys of a client's login open servers, for all clients of the user", async () => {
  const salt = "c2FsdHNhbHRzYWx0c2FsdA==";
  const { serverKey, storedKey } = await new UserCredential("eve", new Secret("evening"))
    .deriveScramKeys(new KeyDerivation(), { salt, iterations: 3 });
  const verifier = `SCRAM-SHA-256$3:${salt}$${storedKey.toBase64()}:${serverKey.toBase64()}`;
  await using world = await openWorld({
    pooler: 'auth_type = "scram-sha-256"\nauth_cache_ttl = 0\npool_mode = "session"',
    postgres: { auth: "scram-sha-256", users: { looker: "looking", eve: verifier } },
  });
  world.postgres.secrets.set("eve", [["eve", verifier]]);
  const clients = [await world.login(EVE), await world.login(EVE)];
  for (const client of clients) {
    assert.deepEqual((await client.query("select 'served'")).rows, [["served"]]);
  }
  assert.equal(world.pool("app", "eve").servers.active.size, 2);
  for (const client of clients) client.close();
});

Deno.test("AuthLookUp never gives a forced user's servers what was found for a client", async () => {
  await using world = await openWorld({
    sections: withApp('user = "eve"'),
    postgres: BY_MD5,
  });
  const refused = await outcome(world);
  assert.match(refused, /^FATAL 28000: server login failed: wrong password type/);
});

Deno.test("AuthLookUp never gives them to servers of a user who is forced from a reload on", async () => {
  await using world = await openWorld({
    sections: withApp(),
    postgres: BY_MD5,
  });
  assert.equal(await outcome(world), IN);
  await world.reload(lookUp({ sections: withApp('user = "eve"') }));
  const refused = await outcome(world);
  assert.match(refused, /^FATAL 28000: server login failed: wrong password type/);
});

Deno.test("AuthLookUp has the keys of a login open servers though one by trust comes after it", async () => {
  const verifier = await scramVerifier("evening");
  const hba = {
    "hba.conf": "host all all 10.0.0.9/32 trust\nhost all all all scram-sha-256\n",
  };
  const pooler = 'auth_type = "hba"\nauth_hba_file = "hba.conf"\npool_mode = "session"';
  await using world = await openWorld({
    pooler,
    files: hba,
    postgres: { auth: "scram-sha-256", users: { looker: "looking", eve: verifier } },
  });
  world.postgres.secrets.set("eve", [["eve", verifier]]);
  const client = await world.login(EVE);
  await client.query("begin");
  // What was remembered is forgotten, and with it that this is the same secret.
  await world.reload(lookUp({ pooler: `${pooler}\nauth_dbname = "people"`, files: hba }));
  world.network.sourceHost = "10.0.0.9";
  const trusted = await world.connect();
  await trusted.login({ ...EVE, password: "" });
  assert.deepEqual((await trusted.query("select 'served'")).rows, [["served"]]);
  for (const each of [client, trusted]) each.close();
});

Deno.test("AuthLookUp uses nothing it knew before a reload that changes how secrets are found", async () => {
  await using world = await openWorld();
  await outcome(world);
  const before = lookers(world);
  const pooler = 'auth_dbname = "people"';
  await world.reload(lookUp({ pooler }));
  await world.settle();
  assert.deepEqual(before.map(({ isClosed }) => isClosed), [true]);
  assert.equal(await outcome(world), IN);
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
  // A reload that changes something else changes nothing here.
  await world.reload(lookUp({ pooler: `${pooler}\nquery_timeout = 5` }));
  assert.equal(await outcome(world), IN);
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
});

Deno.test("AuthLookUp logs in anew when the secret of auth_user has changed, and forgets what it knew", async () => {
  await using world = await openWorld();
  await outcome(world);
  await world.reload(lookUp({ sections: SECTIONS.replace("looking", "changed") }));
  await world.settle();
  assert.deepEqual(lookers(world).map(({ isClosed }) => isClosed), [true]);
  assert.equal(await outcome(world), IN);
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
});

Deno.test("AuthLookUp keeps no answer to what was asked before such a change", async () => {
  await using world = await openWorld({ pooler: SLOWLY });
  const ended = (await world.connect()).outcome(EVE);
  await world.settle();
  await world.reload(lookUp({ sections: SECTIONS.replace("looking", "changed"), pooler: SLOWLY }));
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(await ended, IN);
  const again = (await world.connect()).outcome(EVE);
  await world.settle();
  assert.deepEqual(world.postgres.lookedUp, ["eve", "eve"]);
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(await again, IN);
});

Deno.test("AuthLookUp has those who wait asked for anew after a reload, and keeps no answer of before", async () => {
  await using world = await openWorld({ pooler: SLOWLY });
  const ended: Promise<string>[] = [];
  for (const user of ["one", "two", "three"]) {
    world.postgres.secrets.set(user, [[user, "evening"]]);
    ended.push((await world.connect()).outcome({ ...EVE, user }));
    await world.settle();
  }
  assert.deepEqual(world.postgres.lookedUp, ["one", "two"]);
  await world.reload(lookUp({ pooler: 'auth_dbname = "people"' }));
  await world.settle();
  assert.equal(await ended[2], IN);
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual(await Promise.all(ended), [IN, IN, IN]);
  assert.equal(await outcome(world, { user: "one" }), IN);
  const people = world.postgres.backends.filter(({ database }) => database === "people");
  assert.deepEqual(people.flatMap(({ lookedUp }) => lookedUp), ["three", "one"]);
});

Deno.test("AuthLookUp lets nobody in any more by a secret of before, once auth_user is gone", async () => {
  await using world = await openWorld();
  assert.equal(await outcome(world), IN);
  await world.reload({ sections: SECTIONS, pooler: 'auth_type = "md5"' });
  assert.equal(await outcome(world), WRONG);
  await world.advance(1_000);
  assert.deepEqual(world.pooler.pools.lookUpPools(), []);
});
