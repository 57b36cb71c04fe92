/** Servers by name: what becomes of them when the name comes to mean another machine. */

import assert from "node:assert/strict";
import { FakePostgres, POSTGRES_ADDRESS } from "../../support/fake_postgres.ts";
import { FakeResolver } from "../../support/fake_resolver.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const SECTIONS = `[databases.app]
host = "db.example"
[databases.other]
host = "127.0.0.1"
[users.ada]
password = "secret"
`;
const POOLER =
  'server_connect_timeout = 60\ndns_max_ttl = 15\ndns_nxdomain_ttl = 5\nadmin_users = "ada"\n';
const [OLD, NEW] = ["127.0.0.1", "127.0.0.2"];

/** A world in which a name leads to the one PostgreSQL there is, with another one beside it. */
async function open(resolver = new FakeResolver()) {
  resolver.set("db.example", [OLD]);
  const world = await PoolerWorld.open({ resolver, pooler: POOLER, sections: SECTIONS });
  const other = await FakePostgres.start({
    network: world.network,
    random: new SeededRandom(7),
    address: { ...POSTGRES_ADDRESS, host: NEW },
  });
  return { world, resolver, other };
}

function hostsOf(world: PoolerWorld): (string | undefined)[] {
  return [...world.pool("app").servers.all()].map(({ stream }) => stream?.remote.host);
}

Deno.test("an idle server whose name leads elsewhere is closed, and the next one is opened there", async () => {
  const { other, resolver, world } = await open();
  await using _world = world;
  const client = await world.login({ database: "app" });
  await client.query("select 1");
  resolver.set("db.example", [NEW]);
  await world.advance(14_000);
  assert.deepEqual(hostsOf(world), [OLD]);
  await world.advance(2_000);
  assert.deepEqual(hostsOf(world), []);
  assert.ok(world.hasLogged("obsolete connection"));
  await client.query("select 1");
  assert.deepEqual(hostsOf(world), [NEW]);
  assert.equal(other.backends.length, 1);
  client.close();
});

Deno.test("a server whose name came to lead elsewhere while it was dialed is not used", async () => {
  const { other, resolver, world } = await open();
  await using _world = world;
  world.network.obstruct(world.postgres.address, "black hole");
  const login = world.login({ database: "app" });
  await world.advance(1_000);
  resolver.set("db.example", [NEW]);
  await world.advance(16_000);
  world.network.obstruct(world.postgres.address, undefined);
  const client = await login;
  await client.query("select 1");
  assert.deepEqual(hostsOf(world), [NEW]);
  assert.equal(world.postgres.backends.length, 1);
  assert.equal(other.ran.length, 1);
  client.close();
});

Deno.test("a transaction ends where it began, and the next one goes where the name leads by then", async () => {
  const { resolver, world } = await open();
  await using _world = world;
  const client = await world.login({ database: "app" });
  await client.query("begin");
  resolver.set("db.example", [NEW]);
  await world.advance(16_000);
  assert.deepEqual(hostsOf(world), [OLD]);
  await client.query("commit");
  await client.query("select 1");
  assert.deepEqual(hostsOf(world), [NEW]);
  client.close();
});

Deno.test("a server stays that is at one of the addresses of its name, as do those of other names", async () => {
  const { resolver, world } = await open();
  await using _world = world;
  const clients = [
    await world.login({ database: "app" }),
    await world.login({ database: "other" }),
  ];
  for (const client of clients) await client.query("select 1");
  resolver.set("db.example", [NEW, OLD]);
  await world.advance(16_000);
  resolver.set("db.example", [OLD]);
  await world.advance(16_000);
  assert.deepEqual(hostsOf(world), [OLD]);
  assert.equal(world.pool("other").servers.count, 1);
  for (const client of clients) client.close();
});

Deno.test("servers stay while the name service is out of order", async () => {
  const { resolver, world } = await open();
  await using _world = world;
  const client = await world.login({ database: "app" });
  await client.query("select 1");
  resolver.answers.clear();
  await world.advance(60_000);
  await client.query("select 1");
  assert.deepEqual(hostsOf(world), [OLD]);
  client.close();
});

Deno.test("a name that leads nowhere fails logins, and is asked for again after dns_nxdomain_ttl", async () => {
  const { resolver, world } = await open();
  await using _world = world;
  resolver.answers.clear();
  const outcome = world.outcome({ database: "app" });
  await world.advance(1_000);
  assert.ok(world.hasLogged("server DNS lookup failed"));
  resolver.set("db.example", [OLD]);
  await world.advance(20_000);
  assert.equal(await outcome, "in");
});

Deno.test("SHOW DNS_HOSTS and DNS_ZONES tell of names, and SHOW LISTS counts them", async () => {
  const { resolver, world } = await open();
  await using _world = world;
  resolver.set("db.example", [OLD, NEW], 9_000);
  const client = await world.login({ database: "app" });
  await client.query("select 1");
  const admin = await world.login({ database: "pgbouncer" });
  assert.deepEqual((await admin.query("show dns_hosts")).rows, [[
    "db.example",
    "9",
    `${OLD},${NEW}`,
  ]]);
  assert.deepEqual((await admin.query("show dns_zones")).rows, [["example", "0", "1"]]);
  const lists = new Map((await admin.query("show lists")).rows.map(([name, n]) => [name, n]));
  assert.deepEqual([lists.get("dns_names"), lists.get("dns_zones")], ["1", "1"]);
  for (const each of [client, admin]) each.close();
});
