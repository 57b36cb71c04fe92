/** Logins of clients that replicate: who gets in, and what their servers are opened with. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";
import { TWO } from "./operations_fixture.ts";
import { loginOptions, poolsOf, privatePools, replicate, stream } from "./replication_fixture.ts";

for (const value of ["true", "on", "1", "database"]) {
  Deno.test(`a login with replication = ${value} reaches a server of its own as it was sent`, async () => {
    await using world = await PoolerWorld.open({
      pooler: 'pool_mode = "statement"\nignore_startup_parameters = "options"',
    });
    const asked = {
      replication: value,
      options: "-c datestyle=ISO -c extra_float_digits=3",
      application_name: "standby",
    };
    const client = await world.login({ ...ADA, parameters: asked });
    assert.deepEqual(
      Object.fromEntries(world.postgres.live[0]!.asked),
      { user: "ada", database: "app", ...asked },
    );
    assert.equal(client.parameters.get("application_name"), "standby");
    client.close();
  });
}

Deno.test("a client that replicates is greeted with its own server's parameters, not with the pool's", async () => {
  await using world = await PoolerWorld.open();
  const ordinary = await world.login();
  const client = await world.login(loginOptions("database", { TimeZone: "Asia/Tokyo" }));
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  assert.equal(ordinary.parameters.get("TimeZone"), "Etc/UTC");
  const next = await world.login();
  assert.equal(next.parameters.get("TimeZone"), "Etc/UTC");
  assert.deepEqual(await client.query("show timezone").then(({ rows }) => rows), [["Asia/Tokyo"]]);
  assert.equal(world.postgres.ran.length, 1, "nothing was set");
  for (const each of [ordinary, client, next]) each.close();
});

Deno.test("a database's own startup parameters are given to a replication server, the client's before them", async () => {
  await using world = await PoolerWorld.open({
    sections: `[databases.app]
host = "127.0.0.1"
dbname = "real"
user = "bob"
timezone = "Asia/Tokyo"
application_name = "pooled"
[users.ada]
password = "secret"
`,
  });
  const client = await world.login(loginOptions("database", { application_name: "own" }));
  assert.deepEqual(Object.fromEntries(world.postgres.live[0]!.asked), {
    user: "bob",
    database: "real",
    timezone: "Asia/Tokyo",
    application_name: "own",
    replication: "database",
  });
  client.close();
});

for (const [value, ran] of [["true", []], ["database", ["set TimeZone = 'UTC'"]]] as const) {
  Deno.test(`connect_query with replication = ${value} is run ${ran.length} times`, async () => {
    await using world = await PoolerWorld.open({
      sections: `[databases.app]
host = "127.0.0.1"
connect_query = "set TimeZone = 'UTC'"
[users.ada]
password = "secret"
`,
    });
    const client = await replicate(world, value);
    assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ran);
    client.close();
  });
}

Deno.test("who replicates proves who it is as others do", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "scram-sha-256"' });
  assert.equal(await world.outcome({ ...loginOptions(), password: "secret" }), "in");
  const wrong = await world.outcome({ ...loginOptions(), password: "wrong" });
  assert.match(wrong, /28P01/);
  assert.equal(world.postgres.backends.length, 1);
});

Deno.test("the server's own refusal is what a client is told that may not replicate", async () => {
  await using world = await PoolerWorld.open();
  world.postgres.refusal = {
    severity: "FATAL",
    sqlstate: "42501",
    message: "must be superuser or replication role to start walsender",
  };
  assert.equal(
    await world.outcome(loginOptions()),
    "FATAL 42501: must be superuser or replication role to start walsender",
  );
  world.postgres.refusal = undefined;
  assert.equal(await world.outcome(loginOptions()), "in", "the next one is asked anew");
});

Deno.test("replication is refused of the console, a disabled database, and one that there is not", async () => {
  await using world = await PoolerWorld.open({ pooler: 'stats_users = "ada"', sections: TWO });
  const of = (database: string) => world.outcome({ ...loginOptions("true"), database });
  assert.equal(await of("pgbouncer"), "FATAL 0A000: the console has nothing to replicate");
  assert.equal(await of("replication"), "FATAL 3D000: no such database: replication");
  world.pooler.operations.disable("app");
  assert.equal(await of("app"), 'FATAL 57P03: database "app" is disabled');
  assert.deepEqual(poolsOf(world), []);
});

Deno.test("what physical replication needs is said to whom it fails for", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const client = await world.connect();
  const startup = { user: "ada", database: "replication", replication: "true" };
  await client.send(frontend.startup(startup));
  const error = (await client.receiveUntilEnd()).find(({ type }) => type === "E");
  assert.match(new TextDecoder().decode(error!.body), /HPhysical replication needs a database/);
  client.close();
});

Deno.test("after RECONNECT a client that still logs in gets a server that was opened after it", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  const login = client.login(loginOptions());
  await world.settle();
  const old = [...privatePools(world)[0]!.servers.login];
  world.network.obstruct(world.postgres.address, undefined);
  world.pooler.operations.reconnect(undefined);
  await login;
  assert.equal((await client.query("select 1")).types, "TDCZ");
  assert.deepEqual(old.map(({ state }) => state.kind), ["closed"]);
  client.close();
});

// --- limits ---

Deno.test("max_replication_connections bounds them all, and who leaves makes room", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_replication_connections = 2" });
  const clients = [await replicate(world), await stream(world)];
  const refusal =
    "FATAL 53300: no more replication connections allowed (max_replication_connections)";
  assert.equal(await world.outcome(loginOptions()), refusal);
  assert.equal(world.postgres.backends.length, 2, "no server was asked");
  assert.equal(await world.outcome(), "in", "to the pool");
  clients[0]!.close();
  await world.settle();
  assert.equal(await world.outcome(loginOptions()), "in");
  clients[1]!.close();
});

Deno.test("a database has a limit of its own, and one of 0 is none", async () => {
  await using world = await PoolerWorld.open({
    pooler: "max_replication_connections = 0",
    sections: `[databases.app]
host = "127.0.0.1"
max_replication_connections = 1
[databases.other]
host = "127.0.0.1"
[users.ada]
password = "secret"
`,
  });
  const client = await world.login({ ...loginOptions(), database: "other" });
  const own = await replicate(world);
  assert.equal(
    await world.outcome(loginOptions()),
    'FATAL 53300: no more replication connections allowed (max_replication_connections of database "app")',
  );
  const others: TestClient[] = [];
  for (let i = 0; i < 12; i++) {
    others.push(await world.login({ ...loginOptions(), database: "other" }));
  }
  for (const each of [client, own, ...others]) each.close();
});

Deno.test("who was told to go takes nobody's place, though it has not hung up yet", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_replication_connections = 1" });
  const told = await stream(world);
  world.pooler.operations.reconnect(undefined);
  assert.equal(await world.outcome(loginOptions()), "in");
  told.close();
});

Deno.test("who has not proved who it is takes nobody's place", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'max_replication_connections = 1\nauth_type = "scram-sha-256"',
  });
  const silent = await world.connect();
  await silent.send(frontend.startup({ user: "ada", database: "app", replication: "true" }));
  await world.settle();
  assert.equal(await world.outcome(loginOptions()), "in");
  silent.close();
});
