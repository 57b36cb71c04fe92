/**
 * Prepared statements in transaction pooling whose tables, types or functions change, against a real
 * PostgreSQL: nobody takes rows for what they are not, and nobody fails for another's mistake.
 */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend } from "../support/messages.ts";
import type { TestClient } from "../support/test_client.ts";
import { sharedWorld } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

Deno.test("a table that is altered is seen by those who have prepared a query of it, without an error", async () => {
  await using world = await sharedWorld(postgres, 2);
  const [client, other] = [await world.driver(), await world.driver()];
  await client.query("create table t (a int); insert into t values (1)");
  const all = () => client.query({ name: "all", text: "select * from t" });
  for (let round = 0; round < 4; round++) assert.deepEqual((await all()).rows, [{ a: 1 }]);
  await other.query("alter table t add b int default 2");
  for (let round = 0; round < 4; round++) assert.deepEqual((await all()).rows, [{ a: 1, b: 2 }]);
});

Deno.test("in a transaction the first query of an altered table fails, and the next one does not", async () => {
  await using world = await sharedWorld(postgres, 1);
  const client = await world.driver();
  await client.query("create table t (a int); insert into t values (1)");
  const all = () => client.query({ name: "all", text: "select * from t" });
  await all();
  await client.query("alter table t add b int default 2");
  await client.query("begin");
  await assert.rejects(all(), {
    code: "0A000",
    message: "cached plan must not change result type",
  });
  await client.query("rollback");
  assert.deepEqual((await all()).rows, [{ a: 1, b: 2 }]);
});

/** Runs what was prepared, without asking what its result is like; answers the rows, or the error. */
async function run(client: TestClient, name: string): Promise<unknown> {
  await client.send(frontend.bind({ statement: name }), frontend.execute(), frontend.sync());
  const { errors: [error], rows } = await client.result();
  return error === undefined ? rows : `${error.sqlstate} ${error.routine}`;
}

Deno.test("who was told once what a result is like does not get another, on whichever server, until it prepares again", async () => {
  await using world = await sharedWorld(postgres, 2);
  const clients = await world.connectMany(4);
  const admin = await world.driver();
  await admin.query("create table t (a int); insert into t values (1078530011)");
  const prepare = async (client: TestClient, name: string) => {
    const parse = frontend.parse("select a from t", name);
    await client.send(parse, frontend.describe("S", name), frontend.sync());
    assert.equal((await client.result()).types, "1tTZ");
  };
  // Held at the same time, so that both servers have it.
  for (const client of clients.slice(0, 2)) await client.query("begin");
  for (const client of clients) {
    await prepare(client, "old");
    assert.deepEqual(await run(client, "old"), [["1078530011"]]);
    await client.query("commit");
  }
  await admin.query("alter table t alter a type real using 3.1415927");
  for (let round = 0; round < 2; round++) {
    for (const client of clients) {
      assert.equal(await run(client, "old"), "0A000 RevalidateCachedQuery");
    }
  }
  for (const client of clients.slice(0, 2)) await client.query("begin");
  for (const client of clients) {
    await prepare(client, "new");
    assert.deepEqual(await run(client, "new"), [["3.1415927"]]);
    assert.equal(await run(client, "old"), "0A000 RevalidateCachedQuery");
    await client.query("rollback");
  }
});

Deno.test("each statement of an altered table is noticed for itself, whoever runs another one first", async () => {
  await using world = await sharedWorld(postgres, 1);
  const admin = await world.driver();
  await admin.query("create table t (a int); insert into t values (1078530011)");
  const [first, second, described] = await world.connectMany(3);
  for (const client of [first!, second!, described!]) {
    for (const name of ["s", "t", "u"]) {
      const parse = frontend.parse(`select a as ${name} from t`, name);
      await client.send(parse, frontend.describe("S", name), frontend.sync());
      assert.equal((await client.result()).types, "1tTZ");
    }
  }
  await admin.query("alter table t alter a type real using 3.1415927");
  assert.equal(await run(first!, "s"), "0A000 RevalidateCachedQuery");
  assert.equal(await run(second!, "t"), "0A000 RevalidateCachedQuery");
  assert.equal(await run(first!, "t"), "0A000 RevalidateCachedQuery");
  // In one breath with what is sent again, too.
  await first!.send(frontend.describe("S", "s"), frontend.sync());
  assert.equal((await first!.result()).types, "tTZ");
  assert.deepEqual(await run(first!, "s"), [["3.1415927"]]);
  await admin.query("alter table t alter a type text using 'text'");
  const both = ["s", "u"].flatMap((statement) => [
    ...[frontend.bind({ statement }), frontend.describe("P"), frontend.execute()],
  ]);
  await described!.send(...both, frontend.sync());
  const { errors: [error], rows, types } = await described!.result();
  assert.deepEqual([types, rows, error?.sqlstate], ["2TDCEZ", [["text"]], "0A000"]);
  assert.deepEqual(await run(described!, "s"), [["text"]]);
  assert.equal(await run(second!, "u"), "0A000 RevalidateCachedQuery");
});

Deno.test("in a failed transaction who binds what has changed is told that it has failed, known to have or not", async () => {
  await using world = await sharedWorld(postgres, 1);
  const admin = await world.driver();
  await admin.query("create table t (a int); insert into t values (1)");
  const client = await world.connect();
  const describing = [frontend.describe("S", "s"), frontend.sync()];
  await client.send(frontend.parse("select a from t where $1 <> ''", "s"), ...describing);
  assert.equal((await client.result()).types, "1tTZ");
  await admin.query("alter table t alter a type real");
  // It may be too long to come in one piece.
  for (const value of ["short", "long".repeat(100_000)]) {
    const values = [value];
    const bind = frontend.bind({ statement: "s", values });
    const running = [bind, frontend.execute(), frontend.sync()];
    const told = async () => {
      const { errors: [error], types } = await client.result();
      return `${types} ${error?.sqlstate}`;
    };
    await client.send(...running);
    assert.equal(await told(), "EZ 0A000");
    await client.query("begin");
    await client.query("selekt");
    await client.send(...running);
    assert.equal(await told(), "EZ 25P02");
    await client.query("rollback");
    const failing = [frontend.query("begin"), frontend.query("selekt")];
    await client.send(...failing, ...running, frontend.query("rollback"), ...running);
    await told();
    await told();
    assert.equal(await told(), "EZ 25P02");
    assert.equal((await client.result()).types, "CZ");
    assert.equal(await told(), "EZ 0A000");
  }
});

Deno.test("a statement under two names is described to a client for the one that it asks about", async () => {
  await using world = await sharedWorld(postgres, 1);
  const admin = await world.driver();
  await admin.query("create table t (a int); insert into t values (1078530011)");
  const client = await world.connect();
  for (const name of ["s", "same"]) {
    const parse = frontend.parse("select a from t", name);
    await client.send(parse, frontend.describe("S", name), frontend.sync());
    assert.equal((await client.result()).types, "1tTZ");
  }
  await admin.query("alter table t alter a type real using 3.1415927");
  const described = [frontend.bind({ statement: "s" }), frontend.describe("P")];
  const trusting = [frontend.bind({ statement: "same" }), frontend.execute(), frontend.sync()];
  await client.send(...described, frontend.execute(), ...trusting);
  const { errors: [error], types } = await client.result();
  assert.deepEqual([types, error?.sqlstate], ["2TDCEZ", "0A000"]);
  assert.deepEqual(await run(client, "s"), [["3.1415927"]]);
  assert.equal(await run(client, "same"), "0A000 RevalidateCachedQuery");
});

Deno.test("a name that is given twice hides from nobody what has become of a result", async () => {
  await using world = await sharedWorld(postgres, 1);
  const admin = await world.driver();
  await admin.query("create table t (a int); insert into t values (1078530011)");
  const [client, careless] = await world.connectMany(2);
  const parse = frontend.parse("select a from t", "s");
  for (const each of [client!, careless!]) {
    await each.send(parse, frontend.describe("S", "s"), frontend.sync());
    assert.equal((await each.result()).types, "1tTZ");
  }
  await admin.query("alter table t alter a type real using 3.1415927");
  await careless!.send(parse, frontend.sync());
  assert.equal((await careless!.result()).errors[0]?.sqlstate, "42P05");
  assert.equal(await run(client!, "s"), "0A000 RevalidateCachedQuery");
  // What else is wrong is told first, as by PostgreSQL.
  const again = async (sql: string) => {
    await careless!.send(frontend.parse(sql, "s"), frontend.sync());
    return (await careless!.result()).errors[0]?.sqlstate;
  };
  assert.deepEqual([await again("selekt"), await again("select b from t")], ["42601", "42703"]);
  assert.equal(await again("select 1"), "42P05");
  await careless!.query("begin");
  await careless!.query("selekt");
  assert.equal(await again("select 1"), "25P02");
});

Deno.test("a description that the server has skipped tells nobody what a result is like", async () => {
  await using world = await sharedWorld(postgres, 1);
  const admin = await world.driver();
  await admin.query("create table t (a int); insert into t values (1078530011)");
  const [noticing, client] = await world.connectMany(2);
  for (const each of [noticing!, client!]) {
    await each.send(frontend.parse("select a from t", "s"), frontend.describe("S", "s"));
    await each.send(frontend.sync());
    assert.equal((await each.result()).types, "1tTZ");
  }
  await admin.query("alter table t alter a type real using 3.1415927");
  assert.equal(await run(noticing!, "s"), "0A000 RevalidateCachedQuery");
  const statement = [frontend.describe("S", "s")];
  const portal = [frontend.bind({ statement: "s" }), frontend.describe("P")];
  const running = [frontend.bind({ statement: "s" }), frontend.execute(), frontend.sync()];
  for (const describing of [statement, portal]) {
    await client!.send(frontend.parse("selekt"), ...describing, frontend.sync());
    assert.equal((await client!.result()).types, "EZ");
    assert.equal(await run(client!, "s"), "0A000 RevalidateCachedQuery");
    await client!.query("begin");
    await client!.query("selekt");
    await client!.send(...describing, frontend.sync());
    assert.equal((await client!.result()).types, "EZ");
    await client!.query("rollback");
    assert.equal(await run(client!, "s"), "0A000 RevalidateCachedQuery");
    // What was sent before it was known that the description was skipped.
    await client!.send(frontend.parse("selekt"), ...describing, frontend.sync(), ...running);
    assert.equal((await client!.result()).types, "EZ");
    assert.equal((await client!.result()).errors[0]?.sqlstate, "0A000");
  }
  await client!.send(...statement, ...running);
  assert.equal((await client!.result()).types, "tT2DCZ", "behind its description");
  assert.deepEqual(await run(client!, "s"), [["3.1415927"]]);
  await noticing!.send(...portal, frontend.execute(), ...running);
  assert.equal((await noticing!.result()).types, "2TDC2DCZ");
  assert.deepEqual(await run(noticing!, "s"), [["3.1415927"]]);
});

for (
  const [what, migration, sqlstate] of [
    ["altered", "alter table t alter a type text", "42883"],
    [
      "replaced",
      `alter table t alter a type text; drop type kind; create type kind as enum ('1', '2');
       alter table t alter a type kind using a::kind`,
      "XX000",
    ],
  ] as const
) {
  Deno.test(`a type that is ${what} fails once for all who prepare the same query afterwards`, async () => {
    await using world = await sharedWorld(postgres, 2);
    const admin = await world.driver();
    await admin.query("create type kind as enum ('1'); create table t (a kind, b int)");
    await admin.query("insert into t values ('1', 1)");
    if (what === "altered") await admin.query("alter table t alter a type int using 1");
    const query = async (client: TestClient, name: string) => {
      await client.send(
        ...[frontend.parse("select b from t where a = $1", name), frontend.describe("S", name)],
        ...[frontend.bind({ statement: name, values: ["1"] }), frontend.execute()],
        frontend.sync(),
      );
      const { errors: [error], rows } = await client.result();
      return error?.sqlstate ?? rows;
    };
    // Held at the same time, so that both servers have it.
    const clients = await world.connectMany(2);
    for (const client of clients) await client.query("begin");
    for (const client of clients) assert.deepEqual(await query(client, "old"), [["1"]]);
    for (const client of clients) await client.query("commit");
    await admin.query(migration);
    assert.equal(await query(clients[0]!, "noticed"), sqlstate);
    const late = await world.connectMany(2);
    for (const client of late) await client.query("begin");
    for (const client of late) assert.deepEqual(await query(client, "new"), [["1"]]);
    for (const client of late) await client.query("commit");
  });
}

Deno.test("what a function says of one client's values changes nothing for who else runs the statement", async () => {
  await using world = await sharedWorld(postgres, 1);
  const admin = await world.driver();
  await admin.query(
    `create function strict_about(code text) returns text immutable language plpgsql as $$
     begin
       if code = 'lookup' then execute 'select unknown_function(1)'; end if;
       if code <> '' then raise exception using errcode = code; end if;
       return 'well';
     end $$`,
  );
  const [careless, careful] = await world.connectMany(2);
  for (const client of [careless!, careful!]) {
    await client.send(frontend.parse("select strict_about($1)", "s"), frontend.sync());
    await client.result();
  }
  const call = async (client: TestClient, value: string) => {
    const bind = frontend.bind({ statement: "s", values: [value] });
    await client.send(bind, frontend.execute(), frontend.sync());
    const { errors: [error], rows, types } = await client.result();
    return error === undefined ? rows : [types, error.sqlstate];
  };
  for (
    const [value, sqlstate] of [
      ["XX000", "XX000"],
      ["42883", "42883"],
      ["42804", "42804"],
      ["42846", "42846"],
      ["lookup", "42883"],
    ] as const
  ) {
    assert.deepEqual(await call(careless!, value), ["EZ", sqlstate], "in the Bind");
    assert.deepEqual(await call(careful!, ""), [["well"]], value);
  }
});
