/** Session parameters follow a client from server to server, and no client sees another's. */

import assert from "node:assert/strict";
import { backend as say, frontend, readReport } from "../../support/messages.ts";
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
  IntervalStyle: "iso_8601",
  default_transaction_read_only: "on",
  scram_iterations: "5000",
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

for (const [name, value] of Object.entries(PARAMETERS)) {
  Deno.test(`Relay has ${name} follow the client that set it, over two servers`, async () => {
    await using world = await PoolerWorld.open({ pooler: "server_round_robin = true" });
    const [client, other] = [await world.login(), await world.login()];
    const usual = other.parameters.get(name);
    // A second server, by somebody who keeps the first.
    await other.query("begin");
    await client.query("select 1");
    await other.query("commit");
    await client.query(`set ${name} = '${value.replaceAll("'", "''")}'`);
    for (let round = 0; round < 4; round++) {
      assert.equal(await show(other, name), usual);
      assert.equal(await show(client, name), value);
    }
    assert.equal(world.postgres.backends.length, 2);
    assert.equal(client.parameters.get(name), value);
    assert.equal(other.parameters.get(name), usual);
    client.close();
    other.close();
  });
}

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

Deno.test("Relay gives no client the session authorization of the one before, in any mode", async () => {
  for (const mode of ["transaction", "session", "statement"]) {
    await using world = await oneServer({
      pooler: `pool_mode = "${mode}"\nserver_reset_query = ""`,
    });
    const client = await world.login();
    await client.query("set session authorization root");
    if (mode === "session") await client.terminate();
    await world.settle();
    const other = await world.login();
    assert.equal(await show(other, "session_authorization"), "ada", mode);
    assert.equal(await show(other, "is_superuser"), "off", mode);
    assert.equal(world.postgres.backends.length, 1, "Put back, not closed");
    client.close();
    other.close();
  }
});

Deno.test("Relay puts the session authorization back before the reset query runs", async () => {
  await using world = await oneServer({ pooler: 'pool_mode = "session"' });
  const client = await world.login();
  await client.query("set session authorization root");
  await client.terminate();
  await world.settle();
  assert.deepEqual(world.postgres.ran.slice(1).map(({ sql }) => sql), [
    "RESET SESSION AUTHORIZATION",
    "DISCARD ALL",
  ]);
  assert.equal(world.pool().servers.idle.length, 1);
});

const EXTENSION = { "ext.level": "1" };

Deno.test("Relay does not shut a client out for a parameter that it never set, and that nobody may set", async () => {
  await using world = await oneServer({ postgres: { extension: EXTENSION } });
  const client = await world.login({ parameters: { TimeZone: "Asia/Tokyo" } });
  assert.equal(client.parameters.get("ext.level"), "1");
  const [backend] = world.postgres.backends;
  backend!.parameters.configure("ext.level", "2");
  await backend!.speak(say.parameterStatus("ext.level", "2"));
  await world.settle();
  const first = await client.query("show TimeZone");
  assert.deepEqual(first.rows, [["Asia/Tokyo"]]);
  assert.deepEqual([...first.parameters], [["ext.level", "2"]], "It is told how it is");
  const { length } = world.postgres.ran;
  assert.equal((await client.query("select 1")).types, "TDCZ");
  assert.equal(world.postgres.ran.length, length + 1);
  const other = await world.login({ parameters: { TimeZone: "Asia/Seoul" } });
  assert.equal(await show(other, "ext.level"), "2");
  assert.equal(other.parameters.get("ext.level"), "2");
  const attempts = world.postgres.ran.filter(({ sql }) => sql === "SET ext.level='1'");
  assert.equal(attempts.length, 2, "with the rest, then alone, and never again on this server");
  client.close();
  other.close();
});

Deno.test("Relay takes back at release what only a few may set, so that nobody else is given it", async () => {
  await using world = await oneServer({ postgres: { extension: EXTENSION } });
  const [client, other] = [await world.login(), await world.login()];
  await client.query("set session authorization root; set ext.level = '9'");
  assert.equal(client.parameters.get("ext.level"), "9");
  assert.equal(await show(other, "ext.level"), "1");
  await client.send(frontend.query("select 1"));
  const [told] = await client.receiveUntilEnd();
  const { detail, message } = readReport(told!.body);
  assert.deepEqual([message, detail], [
    "invalid server parameter",
    'permission denied to set parameter "ext.level"',
  ]);
  assert.equal(await show(other, "ext.level"), "1");
  assert.equal(world.postgres.backends.length, 1);
  client.close();
  other.close();
});

Deno.test("Relay closes a server on which another client's value cannot be taken back", async () => {
  await using world = await oneServer({
    pooler: 'track_extra_parameters = "ext.level"',
    postgres: { extension: EXTENSION },
  });
  const [client, other] = [await world.login(), await world.login()];
  await client.query("set session authorization root; set ext.level = '9'");
  await other.send(frontend.query("select 1"));
  const [told] = await other.receiveUntilEnd();
  assert.equal(readReport(told!.body).message, "invalid server parameter");
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  const third = await world.login();
  assert.equal(await show(third, "ext.level"), "1");
  for (const each of [client, other, third]) each.close();
});

Deno.test("Relay sets what the client asked for though the server refuses what it only found", async () => {
  await using world = await oneServer({ postgres: { extension: EXTENSION } });
  const bad = await world.login({ parameters: { TimeZone: "Nowhere/Land" } });
  const [backend] = world.postgres.backends;
  backend!.parameters.configure("ext.level", "2");
  await backend!.speak(say.parameterStatus("ext.level", "2"));
  await world.settle();
  await bad.send(frontend.query("select 1"));
  const [told] = await bad.receiveUntilEnd();
  assert.equal(
    readReport(told!.body).detail,
    'invalid value for parameter "TimeZone": "Nowhere/Land"',
  );
  await world.settle();
  assert.equal(world.pool().servers.idle.length, 1);
  bad.close();
});

Deno.test("Relay gives nobody what a client left that vanished amid a transaction", async () => {
  await using world = await oneServer({
    pooler: 'pool_mode = "session"\nserver_reset_query = ""',
    postgres: { extension: EXTENSION },
  });
  const client = await world.login();
  await client.query("set session authorization root; set ext.level = '9'");
  await client.query("begin");
  client.close();
  await world.settle();
  const other = await world.login();
  assert.equal(await show(other, "session_authorization"), "ada");
  assert.equal(await show(other, "ext.level"), "1");
  assert.equal(world.postgres.backends.length, 1, "Recovered and put back");
  other.close();
});

Deno.test("Relay takes nothing for a server's own that it reports to a client that is lost", async () => {
  await using world = await oneServer({
    pooler: 'pool_mode = "session"\nserver_reset_query = ""',
    postgres: { extension: EXTENSION },
  });
  const client = await world.login();
  await client.query("set session authorization root");
  await client.send(
    frontend.query("select pg_sleep(1)"),
    frontend.query("set ext.level = '9'"),
  );
  await world.settle();
  world.clients[0]!.end("test");
  await world.settle();
  world.postgres.wakeAll();
  await world.settle();
  assert.ok(world.postgres.ran.some(({ sql }) => sql === "set ext.level = '9'"));
  const other = await world.login();
  assert.equal(await show(other, "ext.level"), "1");
  assert.equal(await show(other, "session_authorization"), "ada");
  client.close();
  other.close();
});
