/** Session parameters follow a client from server to server, and no client sees another's. */

import assert from "node:assert/strict";
import { frontend, readReport } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

function oneServer(options: WorldOptions = {}): Promise<PoolerWorld> {
  const pooler = `default_pool_size = 1\n${options.pooler ?? ""}`;
  return PoolerWorld.open({ ...options, pooler });
}

async function show(client: TestClient, name: string): Promise<string | null | undefined> {
  return (await client.query(`show ${name}`)).rows[0]?.[0];
}

/** The statements that the pooler itself has run. */
function ownStatements(world: PoolerWorld): string[] {
  return world.postgres.ran.map(({ sql }) => sql).filter((sql) =>
    /^(set|reset|select pg_c)/i.test(sql)
  );
}

const PARAMETERS = {
  client_encoding: "LATIN1",
  DateStyle: "German, DMY",
  TimeZone: "Asia/Tokyo",
  standard_conforming_strings: "off",
  application_name: "it's \\ me",
  search_path: '"A b", public',
};

Deno.test("Relay gives each client on one server what it asked for at startup", async () => {
  await using world = await oneServer();
  const own = await world.login({ parameters: PARAMETERS });
  const plain = await world.login();
  for (let round = 0; round < 2; round++) {
    for (const [name, value] of Object.entries(PARAMETERS)) {
      assert.equal(await show(own, name), value, name);
      assert.equal(await show(plain, name), plain.parameters.get(name), name);
    }
  }
  own.close();
  plain.close();
});

Deno.test("Relay sets only what differs, in one query, and nothing when nothing does", async () => {
  await using world = await oneServer();
  const client = await world.login({
    parameters: { TimeZone: "Asia/Tokyo", DateStyle: "German, DMY" },
  });
  await client.query("select 1");
  await client.query("select 1");
  assert.deepEqual(ownStatements(world), [
    "SET DateStyle='German, DMY'",
    "SET TimeZone='Asia/Tokyo'",
  ]);
  assert.equal(world.postgres.backends[0]?.received, "QQQ");
  client.close();
});

Deno.test("Relay restores what a client has set itself", async () => {
  await using world = await oneServer();
  const [client, other] = [await world.login(), await world.login()];
  await client.query("set TimeZone = 'Asia/Tokyo'");
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  assert.equal(await show(other, "TimeZone"), "Etc/UTC");
  assert.equal(await show(client, "TimeZone"), "Asia/Tokyo");
  client.close();
  other.close();
});

Deno.test("Relay restores what was before when a transaction is rolled back", async () => {
  await using world = await oneServer();
  const [client, other] = [await world.login(), await world.login()];
  await client.query("begin");
  await client.query("set TimeZone = 'Asia/Tokyo'");
  await client.query("rollback");
  assert.equal(client.parameters.get("TimeZone"), "Etc/UTC");
  await show(other, "TimeZone");
  assert.equal(await show(client, "TimeZone"), "Etc/UTC");
  client.close();
  other.close();
});

Deno.test("Relay takes the spelling in which the server reports a value, and tells the client", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { DateStyle: "german", TimeZone: "utc" } });
  const { parameters } = await client.query("select 1");
  assert.deepEqual([...parameters], [["DateStyle", "German, MDY"], ["TimeZone", "UTC"]]);
  await client.query("select 1");
  assert.equal(ownStatements(world).length, 2, "It is not set again");
  client.close();
});

Deno.test("Relay tells a client nothing of the SETs that prepared its server", async () => {
  await using world = await oneServer();
  const [client, other] = [
    await world.login({ parameters: { TimeZone: "Asia/Tokyo" } }),
    await world.login({ parameters: { TimeZone: "Asia/Seoul" } }),
  ];
  for (let i = 0; i < 3; i++) {
    for (const each of [client, other]) assert.equal((await each.query("select 1")).types, "TDCZ");
  }
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  client.close();
  other.close();
});

Deno.test("Relay sends the query only when the server is prepared", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { TimeZone: "Asia/Tokyo" } });
  await client.send(frontend.query("show TimeZone"), frontend.query("show TimeZone"));
  assert.deepEqual((await client.result()).rows, [["Asia/Tokyo"]]);
  assert.deepEqual((await client.result()).rows, [["Asia/Tokyo"]]);
  client.close();
});

Deno.test("Relay ends a client whose parameter the server refuses, and keeps the server, where nothing changed", async () => {
  await using world = await oneServer();
  const bad = await world.login({ parameters: { TimeZone: "Nowhere/Land" } });
  await bad.send(frontend.query("select 1"));
  const [told] = await bad.receiveUntilEnd();
  const { detail, message, severity, sqlstate } = readReport(told!.body);
  assert.deepEqual([severity, sqlstate, message], ["FATAL", "22023", "invalid server parameter"]);
  assert.equal(detail, 'invalid value for parameter "TimeZone": "Nowhere/Land"');
  bad.close();
  await world.settle();
  assert.equal(world.pool().servers.idle.length, 1);
  const good = await world.login();
  assert.equal((await good.query("select 1")).types, "TDCZ");
  good.close();
});

Deno.test("Relay loses a server that dies while it is being prepared, and tells the client", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { TimeZone: "Asia/Tokyo" } });
  const toServer = world.network.connections.find(({ address }) => address === "127.0.0.1:5432");
  toServer!.acceptor.stall();
  await client.send(frontend.query("select 1"));
  await world.settle();
  toServer!.acceptor.reset();
  const [told] = await client.receiveUntilEnd();
  assert.equal(readReport(told!.body).sqlstate, "08006");
  client.close();
});

Deno.test("Relay closes the server of a client that vanishes while it is being prepared", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { TimeZone: "Asia/Tokyo" } });
  const toServer = world.network.connections.find(({ address }) => address === "127.0.0.1:5432");
  toServer!.acceptor.stall();
  await client.send(frontend.query("select 1"));
  await world.settle();
  world.clients[0]!.end("test");
  await world.settle();
  world.check();
  assert.equal(world.pool().servers.count, 0);
  client.close();
});

Deno.test("Relay follows search_path through changes where the server reports it", async () => {
  await using world = await oneServer();
  const [client, other] = [await world.login(), await world.login()];
  await client.query("set search_path = 'mine'");
  assert.equal(await show(other, "search_path"), '"$user", public');
  assert.equal(await show(client, "search_path"), "mine");
  client.close();
  other.close();
});

Deno.test("Relay follows the search_path of startup where the server does not report it", async () => {
  await using world = await oneServer({ postgres: { reportsSearchPath: false } });
  const own = await world.login({ parameters: { search_path: '"A b", public' } });
  const plain = await world.login();
  for (let round = 0; round < 2; round++) {
    assert.equal(await show(own, "search_path"), '"A b", public');
    assert.equal(await show(plain, "search_path"), '"$user", public');
  }
  own.close();
  plain.close();
});

Deno.test("Relay tracks further parameters where track_extra_parameters names them", async () => {
  await using world = await oneServer({ pooler: 'track_extra_parameters = "IntervalStyle"' });
  const own = await world.login({ parameters: { intervalstyle: "iso_8601" } });
  const plain = await world.login();
  for (let round = 0; round < 2; round++) {
    assert.equal(await show(own, "IntervalStyle"), "iso_8601");
    assert.equal(await show(plain, "IntervalStyle"), "postgres");
  }
  own.close();
  plain.close();
});

Deno.test("Relay passes on what the server reports by itself, and remembers it for the client", async () => {
  await using world = await oneServer();
  const [client, other] = [await world.login(), await world.login()];
  await client.query("begin");
  world.postgres.backends[0]!.parameters.set("TimeZone", "Asia/Tokyo");
  assert.equal((await client.query("select 1")).parameters.get("TimeZone"), "Asia/Tokyo");
  await client.query("commit");
  await show(other, "TimeZone");
  assert.equal(await show(client, "TimeZone"), "Asia/Tokyo");
  client.close();
  other.close();
});

Deno.test("Relay in session mode starts from a clean server after another client's session", async () => {
  await using world = await oneServer({ pooler: 'pool_mode = "session"' });
  const first = await world.login();
  await first.query("set TimeZone = 'Asia/Tokyo'");
  await first.query("set work_mem = '1GB'");
  await first.terminate();
  await world.settle();
  const second = await world.login();
  assert.equal(await show(second, "TimeZone"), "Etc/UTC");
  assert.equal(await show(second, "work_mem"), "4MB");
  assert.equal(world.postgres.backends.length, 1);
  second.close();
});
