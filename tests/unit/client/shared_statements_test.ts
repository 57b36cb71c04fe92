/** Prepared statements in transaction pooling: what clients share and what they see of it. */

import assert from "node:assert/strict";
import { backend as say, frontend, join } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { namesOf, parseCount, prepare, run, world } from "./statements_fixture.ts";

Deno.test("a statement follows its client to a server that does not know it", async () => {
  await using pooler = await world(2);
  const [client, other] = [await pooler.login(), await pooler.login()];
  assert.equal(await prepare(client, "s", "select $1"), "1Z");
  await other.query("begin");
  const first = pooler.postgres.live.find(({ status }) => status === "T")!;
  assert.equal(await run(client, "s", "elsewhere"), "2DCZ elsewhere");
  assert.equal(first.statements.names.length, 1, "it was prepared on the server that is taken now");
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
