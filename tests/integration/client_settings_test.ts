/** Settings that a client notices at its login, or when it does what is not allowed here. */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend, readReport } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import type { LoginRefused } from "../support/test_client.ts";
import {
  runProgram,
  type Section,
  shown,
  startWorld,
  valueOf,
  type World,
} from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** A world in which all clients take turns on one server. */
function sharedWorld(pooler: Section, database: Section = {}): Promise<World> {
  return startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: 1, ...pooler },
    database,
  });
}

Deno.test("application_name_add_host shows PostgreSQL where each client comes from", async () => {
  await using world = await sharedWorld({ application_name_add_host: true });
  const one = await world.connect({ parameters: { application_name: "one" } });
  const nameless = await world.connect();
  const long = await world.connect({ parameters: { application_name: "é".repeat(1_000) } });
  const from = /^(.*) - 127\.0\.0\.1:\d+$/;
  for (let round = 0; round < 2; round++) {
    for (const [client, name] of [[one, "one"], [nameless, "app"]] as const) {
      const seen = await shown(client, "application_name");
      assert.equal(from.exec(seen!)?.[1], name);
      assert.equal(client.parameters.get("application_name"), seen);
      assert.equal((await world.backends())[0]?.applicationName, seen);
    }
    assert.match((await shown(long, "application_name"))!, from);
  }
  assert.notEqual(
    one.parameters.get("application_name")?.split(":")[1],
    nameless.parameters.get("application_name")?.split(":")[1],
  );
});

Deno.test("disable_pqexec serves bound queries of node-postgres and refuses its simple ones", async () => {
  await using world = await sharedWorld({ disable_pqexec: true });
  const driver = await world.driver();
  const { rows } = await driver.query("select $1::int + 1 as next", [1]);
  assert.deepEqual(rows, [{ next: 2 }]);
  const other = await world.driver();
  await assert.rejects(driver.query("create table made (x int)"), (error: { code?: string }) => {
    assert.equal(error.code, "0A000");
    return true;
  });
  const made = "select to_regclass('made') as made where $1";
  assert.deepEqual((await other.query(made, [true])).rows, [{ made: null }]);
});

Deno.test({
  name: "psql prints login_notify_message, and what it asked for comes all the same",
  ignore: isMissing("psql"),
  async fn() {
    await using world = await sharedWorld({ login_notify_message: "Maintenance at 22:00" });
    const { stdout, stderr } = await runProgram("psql", {
      args: ["-X", "-A", "-t", "-c", "select 'served'"],
      env: world.libpqEnv,
    });
    assert.equal(stderr, "NOTICE:  Maintenance at 22:00\n");
    assert.equal(stdout, "served\n");
  },
});

Deno.test("login_notify_message may be changed at any time, and is not told to the console", async () => {
  await using world = await sharedWorld({ login_notify_message: "old", admin_users: "watcher" });
  const told = async (database: string) => {
    const client = await world.open();
    await client.send(frontend.startup({ user: "watcher", database }));
    const messages = await client.receiveUntilReady();
    return messages.filter(({ type }) => type === "N").map(({ body }) => readReport(body).message);
  };
  await world.direct("create role watcher login");
  assert.deepEqual(await told(world.database), ["old"]);
  assert.deepEqual(await told("pgbouncer"), []);
  const console = await world.driver({ user: "watcher", database: "pgbouncer" });
  await console.query("set login_notify_message = 'new'");
  assert.deepEqual(await told(world.database), ["new"]);
});

Deno.test("a row over max_packet_size ends its client with 08P01 and closes its server; others go on", async () => {
  await using world = await sharedWorld({ max_packet_size: 100_000 });
  const [client, other] = await world.connectMany(2);
  assert.equal(valueOf(await client!.query("select repeat('x', 90000)"))?.length, 90_000);
  const [before] = await world.backendPids();
  const { errors } = await client!.query("select repeat('x', 110000)");
  assert.deepEqual(errors.map(({ severity, sqlstate }) => [severity, sqlstate]), [
    ["FATAL", "08P01"],
  ]);
  assert.match(errors[0]!.message, /^server sent: bad packet header: .*max_packet_size is 100000/);
  assert.equal(valueOf(await other!.query("select 1")), "1");
  assert.notDeepEqual(await world.backendPids(), [before]);
});

Deno.test("what a JDBC driver asks for at startup is taken once extra_float_digits is ignored", async () => {
  const parameters = {
    ...{ client_encoding: "UTF8", DateStyle: "ISO", TimeZone: "Europe/Berlin" },
    ...{ extra_float_digits: "2", options: "-c extra_float_digits=3 -c statement_timeout=7" },
  };
  await using strict = await sharedWorld({});
  await assert.rejects(strict.connect({ parameters }), (error: LoginRefused) => {
    assert.equal(error.report.message, "unsupported startup parameter: extra_float_digits");
    return true;
  });
  await using world = await sharedWorld({
    ignore_startup_parameters: "extra_float_digits, statement_timeout",
  });
  const client = await world.connect({ parameters });
  assert.equal(await shown(client, "timezone"), "Europe/Berlin");
  assert.equal(await shown(client, "extra_float_digits"), "1");
  assert.equal(await shown(client, "statement_timeout"), "0");
});

Deno.test("a search_path that ignore_startup_parameters names is dropped, as PgBouncer drops it", async () => {
  await using world = await sharedWorld({ ignore_startup_parameters: "search_path" });
  const client = await world.connect({ parameters: { search_path: "theirs" } });
  assert.equal(await shown(client, "search_path"), '"$user", public');
  await client.query("set search_path = mine");
  const other = await world.connect();
  assert.equal(await shown(other, "search_path"), '"$user", public');
  assert.equal(await shown(client, "search_path"), "mine");
});

Deno.test("what connect_query sets clients are greeted with and keep, reported or not", async () => {
  await using world = await sharedWorld({}, {
    connect_query: "set timezone = 'Asia/Tokyo'; set work_mem = '7MB'",
  });
  const client = await world.connect();
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  const other = await world.connect({ parameters: { TimeZone: "Asia/Dubai" } });
  for (let round = 0; round < 2; round++) {
    assert.equal(await shown(client, "timezone"), "Asia/Tokyo");
    assert.equal(await shown(other, "timezone"), "Asia/Dubai");
    assert.equal(await shown(client, "work_mem"), "7MB");
  }
});

Deno.test("a connect_query that fails shuts the server, and its client is told PostgreSQL's words", async () => {
  await using world = await sharedWorld({}, { connect_query: "select 1/0" });
  await assert.rejects(world.connect(), (error: LoginRefused) => {
    assert.deepEqual([error.report.severity, error.report.sqlstate, error.report.message], [
      "FATAL",
      "22012",
      "division by zero",
    ]);
    return true;
  });
  await world.untilBackendCount(0);
  assert.match(
    world.sluice.log(),
    /closing because: exec_on_connect query failed: division by zero/,
  );
});
