/** Prepared statements in transaction pooling: what clients share and what they see of it. */

import assert from "node:assert/strict";
import { backend as say, frontend, join } from "../../support/messages.ts";
import type { FakeBackend } from "../../support/fake_postgres.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

/** A world whose clients share so many servers. */
function world(servers: number, lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `default_pool_size = ${servers}\n${lines}` });
}

/** Prepares a statement under a name. */
async function prepare(client: TestClient, name: string, sql: string): Promise<string> {
  await client.send(frontend.parse(sql, name), frontend.sync());
  return (await client.result()).types;
}

/** Runs a statement by its name. */
async function run(client: TestClient, statement: string, value = "x"): Promise<string> {
  await client.send(
    frontend.bind({ statement, values: [value] }),
    frontend.execute(),
    frontend.sync(),
  );
  const { errors, rows, types } = await client.result();
  const [error] = errors;
  return error === undefined ? `${types} ${rows.flat()}` : `${error.sqlstate} ${error.message}`;
}

/** How often backends were told to parse. */
function parseCount({ postgres }: PoolerWorld): number {
  return postgres.backends.flatMap(({ received }) => [...received]).filter((each) => each === "P")
    .length;
}

/** The named statements of all backends. */
function namesOf({ postgres }: PoolerWorld): string[] {
  return postgres.live.flatMap(({ statementNames }) =>
    statementNames.filter((each) => each !== "")
  );
}

Deno.test("a statement follows its client to a server that does not know it", async () => {
  await using pooler = await world(2);
  const [client, other] = [await pooler.login(), await pooler.login()];
  assert.equal(await prepare(client, "s", "select $1"), "1Z");
  await other.query("begin");
  const first = pooler.postgres.live.find(({ status }) => status === "T")!;
  assert.equal(await run(client, "s", "elsewhere"), "2DCZ elsewhere");
  assert.equal(first.statementNames.length, 1, "it was prepared on the server that is taken now");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1", "PGBOUNCER_1"]);
  for (const each of [client, other]) each.close();
});

Deno.test("the same statement of several clients is prepared once on a server, under one name", async () => {
  await using pooler = await world(1);
  for (let i = 0; i < 5; i++) {
    const client = await pooler.login();
    assert.equal(await prepare(client, `mine_${i}`, "select $1"), "1Z");
    assert.equal(await run(client, `mine_${i}`, `${i}`), `2DCZ ${i}`);
    client.close();
  }
  assert.equal(parseCount(pooler), 1);
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1"]);
});

Deno.test("statements that differ in text or in parameter types are not the same", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  const typed = frontend.parse("select $1", "typed");
  // One parameter type, int4, in place of none.
  const body = join(typed.subarray(0, typed.length - 2), new Uint8Array([0, 1, 0, 0, 0, 23]));
  body[4]! += 4;
  await client.send(body, frontend.sync());
  assert.equal((await client.result()).types, "1Z");
  await prepare(client, "untyped", "select $1");
  await prepare(client, "spaced", " select $1");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1", "PGBOUNCER_2", "PGBOUNCER_3"]);
  client.close();
});

Deno.test("a name means to each client what that client has said", async () => {
  await using pooler = await world(1);
  const [one, two] = [await pooler.login(), await pooler.login()];
  await prepare(one, "s", "select 'of one'");
  await prepare(two, "s", "select 'of two'");
  assert.equal(await run(one, "s"), "2DCZ of one");
  assert.equal(await run(two, "s"), "2DCZ of two");
  for (const each of [one, two]) each.close();
});

Deno.test("a second Parse of a name is refused as PostgreSQL does, and the rest up to Sync skipped", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 'first'");
  await client.send(
    frontend.parse("select 'second'", "s"),
    frontend.bind({ statement: "s" }),
    frontend.execute(),
    frontend.sync(),
  );
  const { errors, types } = await client.result();
  assert.equal(types, "EZ");
  assert.deepEqual(errors, [{
    severity: "ERROR",
    sqlstate: "42P05",
    message: 'prepared statement "s" already exists',
  }]);
  assert.equal(await run(client, "s"), "2DCZ first");
  client.close();
});

for (
  const [what, messages] of [
    ["Bind", [frontend.bind({ statement: "nope" }), frontend.execute()]],
    ["Describe", [frontend.describe("S", "nope")]],
  ] as const
) {
  Deno.test(`${what} of a name that the client has not prepared is refused as PostgreSQL does`, async () => {
    await using pooler = await world(1);
    const [client, other] = [await pooler.login(), await pooler.login()];
    await prepare(other, "nope", "select 'secret'");
    await client.send(...messages, frontend.sync());
    const { errors, types } = await client.result();
    assert.equal(types, "EZ");
    assert.deepEqual([errors[0]!.sqlstate, errors[0]!.message], [
      "26000",
      'prepared statement "nope" does not exist',
    ]);
    assert.deepEqual((await client.query("select 1")).rows, [["1"]], "the client lives");
    for (const each of [client, other]) each.close();
  });
}

Deno.test("a client cannot reach a statement by the name that it has on the server", async () => {
  await using pooler = await world(1);
  const [owner, thief] = [await pooler.login(), await pooler.login()];
  await prepare(owner, "s", "select 'secret'");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1"]);
  assert.equal(
    await run(thief, "PGBOUNCER_1"),
    '26000 prepared statement "PGBOUNCER_1" does not exist',
  );
  assert.equal(await prepare(thief, "PGBOUNCER_1", "select 'own'"), "1Z");
  assert.equal(await run(thief, "PGBOUNCER_1"), "2DCZ own");
  assert.equal(await run(owner, "s"), "2DCZ secret");
  for (const each of [owner, thief]) each.close();
});

Deno.test("Close frees the client's name and leaves the server its statement", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 'first'");
  await client.send(frontend.close("S", "s"), frontend.close("S", "never"), frontend.sync());
  assert.equal((await client.result()).types, "33Z");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1"]);
  assert.match(await run(client, "s"), /^26000 /);
  assert.equal(await prepare(client, "s", "select 'second'"), "1Z");
  assert.equal(await run(client, "s"), "2DCZ second");
  client.close();
});

Deno.test("answers keep their order in a pipeline, whether a server was asked or not", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "known", "select 'known'");
  await client.send(frontend.close("S", "known"), frontend.sync());
  await client.result();
  await client.send(
    ...[frontend.parse("select 'new'", "new"), frontend.bind({ statement: "new" })],
    ...[frontend.execute(), frontend.parse("select 'known'", "again")],
    ...[frontend.describe("S", "again"), frontend.close("S", "new")],
    ...[frontend.bind({ statement: "again" }), frontend.execute(), frontend.sync()],
  );
  const { rows, types } = await client.result();
  assert.equal(types, "12DC1tT32DCZ");
  assert.deepEqual(rows, [["new"], ["known"]]);
  client.close();
});

Deno.test("an error takes back what it made the server skip", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "closed", "select 'kept'");
  const failing = [frontend.parse("error 22012"), frontend.bind(), frontend.execute()];
  await client.send(
    ...failing,
    ...[frontend.parse("select 'skipped'", "s"), frontend.close("S", "closed"), frontend.sync()],
  );
  assert.equal((await client.result()).types, "12EZ");
  assert.match(await run(client, "s"), /^26000 /);
  assert.equal(await run(client, "closed"), "2DCZ kept");
  assert.equal(await prepare(client, "s", "select 'now'"), "1Z");
  assert.equal(await run(client, "s"), "2DCZ now");
  client.close();
});

Deno.test("a Parse that fails leaves neither a name nor a statement", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  assert.equal(await prepare(client, "s", "selekt 1"), "EZ");
  assert.deepEqual(namesOf(pooler), []);
  const [server] = pooler.pool().servers.idle;
  assert.equal(server!.statements.count, 0);
  assert.equal(await prepare(client, "s", "select 'right'"), "1Z");
  assert.equal(await run(client, "s"), "2DCZ right");
  client.close();
});

Deno.test("what an error of one segment skipped is there for the next one that was sent already", async () => {
  await using pooler = await world(2);
  const [client, other] = [await pooler.login(), await pooler.login()];
  await prepare(client, "s", "select $1");
  // The client gets a server that does not have it.
  await other.query("begin");
  const failing = [frontend.parse("error 22012"), frontend.bind(), frontend.execute()];
  const running = [frontend.bind({ statement: "s", values: ["x"] }), frontend.execute()];
  await client.send(...failing, ...running, frontend.sync(), ...running, frontend.sync());
  assert.equal((await client.result()).types, "12EZ");
  assert.equal((await client.result()).types, "2DCZ");
  for (const each of [client, other]) each.close();
});

Deno.test("a server keeps no more than max_prepared_statements, least recently used first out", async () => {
  await using pooler = await world(1, "max_prepared_statements = 2");
  const client = await pooler.login();
  for (const name of ["a", "b"]) await prepare(client, name, `select '${name}'`);
  await run(client, "a");
  await prepare(client, "c", "select 'c'");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1", "PGBOUNCER_3"]);
  assert.equal(await run(client, "b"), "2DCZ b", "the client does not notice");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_3", "PGBOUNCER_2"]);
  client.close();
});

Deno.test("an eviction that an error made the server skip is made up for", async () => {
  await using pooler = await world(1, "max_prepared_statements = 1");
  const client = await pooler.login();
  await prepare(client, "a", "select 'a'");
  const failing = [frontend.parse("error 22012"), frontend.bind(), frontend.execute()];
  await client.send(...failing, frontend.parse("select 'b'", "b"), frontend.sync());
  assert.equal((await client.result()).types, "12EZ");
  assert.equal(await run(client, "a"), "2DCZ a");
  assert.equal(await prepare(client, "b", "select 'b'"), "1Z");
  assert.deepEqual(namesOf(pooler), ["PGBOUNCER_3"]);
  client.close();
});

Deno.test("statements that nobody holds are forgotten", async () => {
  await using pooler = await world(1, "max_prepared_statements = 3");
  const client = await pooler.login();
  for (let i = 0; i < 50; i++) {
    await prepare(client, "s", `select '${i}'`);
    await client.send(frontend.close("S", "s"), frontend.sync());
    await client.result();
  }
  assert.equal(namesOf(pooler).length, 3);
  assert.equal(pooler.pooler.statements.count, 3);
  client.close();
  await pooler.settle();
  pooler.postgres.live[0]!.close();
  await pooler.settle();
  assert.deepEqual([pooler.pooler.statements.count, pooler.pooler.statements.byteCount], [0, 0]);
});

Deno.test("names of a client that has gone hold nothing any more", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 1");
  pooler.postgres.live[0]!.close();
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 1);
  client.close();
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 0);
});

// --- the unnamed statement ---

Deno.test("the unnamed statement follows its client, and nobody gets another's", async () => {
  await using pooler = await world(1);
  const [one, two] = [await pooler.login(), await pooler.login()];
  assert.equal(await prepare(one, "", "select 'of one'"), "1Z");
  assert.equal(await run(two, ""), "26000 unnamed prepared statement does not exist");
  assert.equal(await prepare(two, "", "select 'of two'"), "1Z");
  assert.equal(await run(one, ""), "2DCZ of one");
  assert.equal(await run(two, ""), "2DCZ of two");
  await one.send(frontend.describe("S"), frontend.sync());
  assert.equal((await one.result()).types, "tTZ");
  for (const each of [one, two]) each.close();
});

Deno.test("a Query and a Close take the unnamed statement away, as in PostgreSQL", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "", "select 'a'");
  await client.send(frontend.close("S"), frontend.sync());
  assert.equal((await client.result()).types, "3Z");
  assert.match(await run(client, ""), /^26000 unnamed/);
  await client.query("begin");
  await prepare(client, "", "select 'b'");
  await client.query("select 1");
  assert.match(await run(client, ""), /^26000 unnamed/);
  client.close();
});

Deno.test("an unnamed statement that an error made the server skip is not taken for prepared", async () => {
  await using pooler = await world(1);
  const [one, two] = [await pooler.login(), await pooler.login()];
  await prepare(one, "", "select 'of one'");
  const skipped = [frontend.bind({ statement: "none" }), frontend.parse("select 'of two'")];
  await two.send(...skipped, frontend.sync(), frontend.bind(), frontend.execute(), frontend.sync());
  assert.equal((await two.result()).types, "EZ");
  const { rows, types } = await two.result();
  assert.deepEqual([types, rows], ["2DCZ", [["of two"]]]);
  for (const each of [one, two]) each.close();
});

// --- SQL that deallocates ---

for (
  const sql of ["deallocate s", "DEALLOCATE PREPARE S;", ' deallocate\n"s" ; ', 'deallocate"s"']
) {
  Deno.test(`a Query ${JSON.stringify(sql)} frees the client's name, as Close does`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 1");
    const { tags, types } = await client.query(sql);
    assert.deepEqual([types, tags], ["CZ", ["DEALLOCATE"]]);
    assert.match(await run(client, "s"), /^26000 /);
    assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1"], "others may go on using it");
    client.close();
  });
}

Deno.test("DEALLOCATE by Parse, Bind and Execute frees the client's name at its place", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  await client.send(
    ...[frontend.bind({ statement: "s" }), frontend.execute()],
    ...[frontend.parse("DEALLOCATE s"), frontend.bind(), frontend.describe("P")],
    ...[frontend.execute(), frontend.parse("select 'anew'", "s")],
    ...[frontend.bind({ statement: "s" }), frontend.execute(), frontend.sync()],
  );
  const { rows, tags, types } = await client.result();
  assert.equal(types, "2DC12nC12DCZ");
  assert.deepEqual(tags, ["SELECT 1", "DEALLOCATE", "SELECT 1"]);
  assert.deepEqual(rows, [["s"], ["anew"]]);
  client.close();
});

Deno.test("DEALLOCATE in a failed transaction is refused, and the name stays", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  await client.query("begin");
  await client.query("error 22012");
  for (const extended of [false, true]) {
    const result = extended
      ? await client.extended("deallocate s")
      : await client.query("deallocate s");
    assert.deepEqual([result.types, result.errors[0]!.sqlstate], ["EZ", "25P02"]);
  }
  await client.query("rollback");
  assert.equal(await run(client, "s"), "2DCZ s");
  client.close();
});

Deno.test("DEALLOCATE of a name that SQL has prepared is the server's to answer", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  const { errors, types } = await client.query("deallocate other");
  assert.deepEqual([types, errors[0]!.message], [
    "EZ",
    'prepared statement "other" does not exist',
  ]);
  client.close();
});

for (const sql of ["deallocate all", "discard all"]) {
  Deno.test(`${sql} frees all names of the client, and the server's statements are known to be gone`, async () => {
    await using pooler = await world(1);
    const [client, other] = [await pooler.login(), await pooler.login()];
    await prepare(client, "s", "select 's'");
    await prepare(other, "s", "select 's'");
    await client.query(sql);
    assert.deepEqual(namesOf(pooler), []);
    assert.match(await run(client, "s"), /^26000 /);
    assert.equal(await run(other, "s"), "2DCZ s", "another client's are not touched");
    for (const each of [client, other]) each.close();
  });

  Deno.test(`statements sent behind ${sql} before its answer are prepared anew`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 's'");
    const parse = frontend.parse("select 's'", "t");
    const running = [frontend.bind({ statement: "t" }), frontend.execute(), frontend.sync()];
    await client.send(frontend.query(sql), parse, ...running);
    assert.equal((await client.result()).types, "CZ");
    assert.equal((await client.result()).types, "12DCZ");
    client.close();
  });
}

Deno.test("the reset query of a session clears what it clears", async () => {
  await using pooler = await world(1, "server_reset_query_always = true");
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  await pooler.settle();
  assert.deepEqual(namesOf(pooler), []);
  assert.equal(await run(client, "s"), "2DCZ s");
  client.close();
});

// --- what a server does behind our back ---

for (
  const [what, spoil, told] of [
    [
      "whose result has changed",
      (backend: FakeBackend) => backend.outdated = "PGBOUNCER_1",
      "0A000 cached plan must not change result type",
    ],
    [
      "that the server has lost",
      (backend: FakeBackend) => backend.forget("PGBOUNCER_1"),
      '26000 prepared statement "PGBOUNCER_1" does not exist',
    ],
  ] as const
) {
  Deno.test(`a statement ${what} is prepared anew, and outside a transaction nobody notices`, async () => {
    for (
      const [chunking, writeAnswers] of [
        ["whole", "at_once"],
        ["whole", "later"],
        ["random", "either"],
        ["bytes", "later"],
      ] as const
    ) {
      const options = { pooler: "default_pool_size = 1", chunking, writeAnswers };
      await using pooler = await PoolerWorld.open(options);
      const client = await pooler.login();
      await prepare(client, "s", "select $1");
      await run(client, "s");
      spoil(pooler.postgres.live[0]!);
      const first = await run(client, "s", "once");
      // What came in parts is not kept, so it cannot be sent again.
      assert.ok(first === "2DCZ once" || chunking !== "whole" && first === told, first);
      assert.equal(await run(client, "s", "more"), "2DCZ more");
      const ran = pooler.postgres.ran.filter(({ sql }) => sql === "select $1").length;
      assert.equal(ran, first === told ? 2 : 3);
      client.close();
    }
  });

  Deno.test(`a statement ${what} fails in a transaction, and is prepared anew the next time`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 's'");
    await client.query("begin");
    spoil(pooler.postgres.live[0]!);
    assert.equal(await run(client, "s"), told);
    assert.equal(client.status, "E");
    await client.query("rollback");
    assert.equal(await run(client, "s"), "2DCZ s");
    client.close();
  });

  Deno.test(`a statement ${what} is told of where the client has gone on already`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select $1");
    spoil(pooler.postgres.live[0]!);
    const bind = frontend.bind({ statement: "s", values: ["x"] });
    const running = [bind, frontend.execute(), frontend.sync()];
    await client.send(...running, ...running);
    const results = [await client.result(), await client.result()];
    assert.deepEqual(results.map(({ types }) => types), ["EZ", "EZ"]);
    assert.equal(await run(client, "s"), "2DCZ x");
    client.close();
  });
}

Deno.test("who goes on before the ReadyForQuery of what is sent again is served behind it", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  const [backend] = pooler.postgres.live;
  backend!.outdated = "PGBOUNCER_1";
  backend!.pausesBeforeReady = true;
  const bind = frontend.bind({ statement: "s", values: ["first"] });
  await client.send(bind, frontend.execute(), frontend.sync());
  await pooler.settle();
  await client.send(frontend.query("select 'second'"));
  await pooler.settle();
  backend!.wake();
  assert.deepEqual((await client.result()).rows, [["first"]]);
  assert.deepEqual((await client.result()).rows, [["second"]]);
  client.close();
});

Deno.test("statements are described anew too when their result has changed", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  pooler.postgres.live[0]!.outdated = "PGBOUNCER_1";
  await client.send(frontend.describe("S", "s"), frontend.sync());
  assert.equal((await client.result()).types, "tTZ");
  client.close();
});

// --- long and broken messages ---

Deno.test("a long statement is prepared under its name however it is cut", async () => {
  for (const chunking of ["whole", "random", "bytes"] as const) {
    await using pooler = await PoolerWorld.open({ pooler: "default_pool_size = 1", chunking });
    const client = await pooler.login();
    const text = "x".repeat(chunking === "bytes" ? 9_000 : 200_000);
    assert.equal(await prepare(client, "long", `select '${text}'`), "1Z");
    assert.ok(await run(client, "long") === `2DCZ ${text}`);
    client.close();
  }
});

Deno.test("a value of any length goes to a statement under its name", async () => {
  await using pooler = await PoolerWorld.open({
    pooler: "default_pool_size = 1",
    chunking: "random",
  });
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  for (const length of [0, 4_000, 4_096, 5_000, 300_000]) {
    const value = "v".repeat(length);
    assert.ok(await run(client, "s", value) === `2DCZ ${value}`, `${length}`);
  }
  client.close();
});

Deno.test("a named statement of more than 16 MiB ends its client and nobody else", async () => {
  await using pooler = await world(1);
  const [client, other] = [await pooler.login(), await pooler.login()];
  const parse = frontend.parse("x".repeat(5_000), "s");
  new DataView(parse.buffer).setInt32(1, 17_000_000);
  await client.send(parse);
  assert.equal(await client.lastWords(), "FATAL 54000 a named statement may have 16777216 bytes");
  assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
  other.close();
});

Deno.test("a name that does not end in its message ends its client and nobody else", async () => {
  await using pooler = await world(1);
  const [client, other] = [await pooler.login(), await pooler.login()];
  const bind = frontend.bind({ statement: "s".repeat(5_000) });
  await client.send(bind, frontend.sync());
  assert.match(await client.lastWords(), /^FATAL 08P01 a name is too long/);
  assert.deepEqual((await other.query("select 1")).rows, [["1"]]);
  other.close();
});

Deno.test("with max_prepared_statements = 0 names go to the server as they are", async () => {
  await using pooler = await world(1, "max_prepared_statements = 0");
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  assert.deepEqual(namesOf(pooler), ["s"]);
  client.close();
});

Deno.test("in session pooling names go to the server as they are", async () => {
  await using pooler = await world(1, 'pool_mode = "session"');
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  assert.deepEqual(namesOf(pooler), ["s"]);
  client.close();
});

Deno.test("statements that were shared are not trusted after a session has had the server", async () => {
  const mode = (mode: string) => ({
    pooler: `default_pool_size = 1\nserver_reset_query = ""\npool_mode = "${mode}"`,
  });
  await using pooler = await PoolerWorld.open(mode("transaction"));
  const shared = await pooler.login();
  await prepare(shared, "s", "select 's'");
  await pooler.reload(mode("session"));
  const session = await pooler.login();
  await session.query("deallocate all");
  await session.terminate();
  await pooler.settle();
  await pooler.reload(mode("transaction"));
  assert.equal(await run(shared, "s"), "2DCZ s");
  shared.close();
});

Deno.test("Parses sent to servers are counted beside those of clients", async () => {
  await using pooler = await world(1);
  const [one, two] = [await pooler.login(), await pooler.login()];
  for (const client of [one, two]) {
    await prepare(client, "s", "select 's'");
    await client.extended("select 1");
  }
  const { bindCount, clientParseCount, serverParseCount } = pooler.pool().stats;
  assert.deepEqual([clientParseCount, serverParseCount, bindCount], [4, 3, 2]);
  for (const client of [one, two]) client.close();
});

Deno.test("a notice amid the answers does not put them out of step", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  const [backend] = pooler.postgres.live;
  await client.query("begin");
  await pooler.postgres.live[0]!.speak(say.notice("amid"));
  await prepare(client, "s", "raise notice 'amid'");
  assert.match(await run(client, "s"), /^2NCZ /);
  assert.equal(backend?.isClosed ?? false, false);
  client.close();
});

Deno.test("a server that is recovered from a lost client is not trusted to have its statements", async () => {
  await using pooler = await world(1);
  const [lost, next] = [await pooler.login(), await pooler.login()];
  for (const client of [lost, next]) await prepare(client, "s", "select 's'");
  await lost.query("begin");
  // What it takes away is seen by nobody.
  await lost.send(frontend.query("select pg_sleep(1)"), frontend.query("rollback"));
  await lost.send(frontend.parse("deallocate all"), frontend.bind(), frontend.execute());
  await lost.send(frontend.sync());
  lost.close();
  pooler.postgres.wakeAll();
  await pooler.settle();
  assert.equal(pooler.postgres.live.length, 1);
  assert.equal(await run(next, "s"), "2DCZ s");
  next.close();
});
