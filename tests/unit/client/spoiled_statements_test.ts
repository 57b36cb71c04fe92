/** Shared prepared statements of which a server knows no more, or otherwise, behind our back. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import type { FakeBackend } from "../../support/fake_postgres.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { prepare, run, runDescribed, world } from "./statements_fixture.ts";

/** A client that was told once what the result is like takes any other for that one. */
const CHANGED = "0A000 cached plan must not change result type";

const changeResult = (backend: FakeBackend) => backend.statements.outdated = "PGBOUNCER_1";

for (
  const [what, { spoil, told, running, answers }] of [
    ["whose result has changed", {
      spoil: changeResult,
      told: CHANGED,
      running: runDescribed,
      answers: "2TDCZ",
    }],
    ["that the server has lost", {
      spoil: (backend: FakeBackend) => backend.statements.forget("PGBOUNCER_1"),
      told: '26000 prepared statement "PGBOUNCER_1" does not exist',
      running: run,
      answers: "2DCZ",
    }],
  ] as const
) {
  Deno.test(`a statement ${what} is prepared anew, and outside a transaction nobody notices`, async () => {
    for (const writeAnswers of ["at_once", "later"] as const) {
      const options = { pooler: "default_pool_size = 1", writeAnswers };
      await using pooler = await PoolerWorld.open(options);
      const client = await pooler.login();
      await prepare(client, "s", "select $1");
      await running(client, "s");
      spoil(pooler.postgres.live[0]!);
      assert.equal(await running(client, "s", "once"), `${answers} once`);
      assert.equal(await running(client, "s", "more"), `${answers} more`);
      assert.equal(pooler.postgres.ran.filter(({ sql }) => sql === "select $1").length, 3);
      client.close();
    }
  });

  Deno.test(`a statement ${what} fails in a transaction, and is prepared anew the next time`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 's'");
    await client.query("begin");
    spoil(pooler.postgres.live[0]!);
    assert.equal(await running(client, "s"), told);
    assert.equal(client.status, "E");
    await client.query("rollback");
    assert.equal(await running(client, "s"), `${answers} s`);
    client.close();
  });

  Deno.test(`a statement ${what} is told of where the client has gone on already`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select $1");
    spoil(pooler.postgres.live[0]!);
    const bind = frontend.bind({ statement: "s", values: ["x"] });
    const bound = [bind, frontend.describe("P"), frontend.execute(), frontend.sync()];
    await client.send(...bound, ...bound);
    const results = [await client.result(), await client.result()];
    assert.deepEqual(results.map(({ types }) => types), ["EZ", "EZ"]);
    assert.equal(await running(client, "s"), `${answers} x`);
    client.close();
  });
}

for (
  const [chunking, writeAnswers] of [
    ["random", "either"],
    ["bytes", "later"],
  ] as const
) {
  Deno.test(`a statement that the server has lost is prepared anew, asked for in parts (${chunking})`, async () => {
    const options = { pooler: "default_pool_size = 1", chunking, writeAnswers };
    await using pooler = await PoolerWorld.open(options);
    const client = await pooler.login();
    await prepare(client, "s", "select $1");
    pooler.postgres.live[0]!.statements.forget("PGBOUNCER_1");
    const first = await run(client, "s", "once");
    // What came in parts is not kept, so it cannot be sent again.
    const told = '26000 prepared statement "PGBOUNCER_1" does not exist';
    assert.ok(first === "2DCZ once" || first === told, first);
    assert.equal(await run(client, "s", "more"), "2DCZ more");
    client.close();
  });
}

Deno.test("a Query that fails at a name of its own SQL is not sent again: it may have had effects", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  // As JDBC closes what it has no more use for.
  await client.send(frontend.close("S", "s"), frontend.query("deallocate unknown"));
  const { errors: [error], types } = await client.result();
  assert.deepEqual([types, error?.sqlstate], ["3EZ", "26000"]);
  assert.equal(pooler.postgres.live[0]!.received, "CQ");
  client.close();
});

Deno.test("a Flush in what is sent again has no answer: what is prepared anew behind it is seen by nobody", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  for (const name of ["s", "t"]) await prepare(client, name, `select '${name}'`);
  for (const name of ["PGBOUNCER_1", "PGBOUNCER_2"]) {
    pooler.postgres.live[0]!.statements.forget(name);
  }
  const running = ["s", "t"].map((statement) => [frontend.bind({ statement }), frontend.execute()]);
  await client.send(...running[0]!, frontend.flush(), ...running[1]!, frontend.sync());
  const { rows, types } = await client.result();
  assert.deepEqual([types, rows], ["2DC2DCZ", [["s"], ["t"]]]);
  client.close();
});

Deno.test("an unnamed statement that is sent again behind a lost one is there afterwards", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  pooler.postgres.live[0]!.statements.forget("PGBOUNCER_1");
  const running = [frontend.bind({ statement: "s", values: ["x"] }), frontend.execute()];
  await client.send(...running, frontend.parse("select 'unnamed'"), frontend.sync());
  assert.equal((await client.result()).types, "2DC1Z");
  assert.equal(await run(client, ""), "2DCZ unnamed");
  const closing = [frontend.parse("select 'unnamed'"), frontend.close("S", ""), frontend.sync()];
  pooler.postgres.live[0]!.statements.forget("PGBOUNCER_1");
  await client.send(...running, ...closing);
  assert.equal((await client.result()).types, "2DC13Z");
  assert.equal(await run(client, ""), "26000 unnamed prepared statement does not exist");
  client.close();
});

// --- who would take a result for another ---

Deno.test("who is not told anew what the result is like is told that it has changed, until it asks or prepares again", async () => {
  await using pooler = await world(2);
  const [asks, prepares] = [await pooler.login(), await pooler.login()];
  for (const client of [asks, prepares]) {
    await prepare(client, "s", "select $1");
    await prepare(client, "other", "select 'other'");
    assert.equal(await run(client, "s"), "2DCZ x");
  }
  pooler.postgres.live.forEach(changeResult);
  for (const client of [asks, prepares, asks, prepares]) {
    assert.equal(
      await run(client, "s"),
      CHANGED,
      "whichever server it has, and prepared anew there",
    );
    assert.equal(await run(client, "other"), "2DCZ other");
  }
  await asks.send(frontend.describe("S", "s"), frontend.sync());
  assert.equal((await asks.result()).types, "tTZ");
  assert.equal(await run(asks, "s"), "2DCZ x");
  assert.equal(await run(prepares, "s"), CHANGED);
  await prepares.send(
    ...[frontend.close("S", "s"), frontend.parse("select $1", "s"), frontend.sync()],
  );
  assert.equal((await prepares.result()).types, "31Z");
  assert.equal(await run(prepares, "s"), "2DCZ x");
  for (const client of [asks, prepares]) client.close();
});

Deno.test("who prepares what has changed for others is told nothing of it", async () => {
  await using pooler = await world(1);
  const [client, late] = [await pooler.login(), await pooler.login()];
  await prepare(client, "s", "select $1");
  changeResult(pooler.postgres.live[0]!);
  assert.equal(await run(client, "s"), CHANGED);
  await prepare(late, "mine", "select $1");
  assert.equal(await run(late, "mine"), "2DCZ x");
  assert.equal(await run(client, "s"), CHANGED);
  for (const each of [client, late]) each.close();
});

for (
  const [what, spoil, described] of [
    ["whose result has changed", changeResult, "1tEZ"],
    [
      "that the server has lost",
      (backend: FakeBackend) => backend.statements.forget("PGBOUNCER_1"),
      "1tTZ",
    ],
  ] as const
) {
  const running = [
    frontend.bind({ statement: "mine", values: ["x"] }),
    ...[frontend.describe("P"), frontend.execute()],
  ];
  const another = frontend.parse("select $1", "another");
  for (
    const [how, messages, answers] of [
      ["describes it", [frontend.describe("S", "mine")], described],
      ["runs it", running, "12TDCZ"],
      ["runs it behind another", [another, ...running], "112TDCZ"],
      ["runs it before another", [...running, another], "1EZ"],
    ] as const
  ) {
    Deno.test(`who prepares a statement ${what}, and ${how} at once, gets ${answers}`, async () => {
      await using pooler = await world(1);
      const [client, late] = [await pooler.login(), await pooler.login()];
      await prepare(client, "s", "select $1");
      spoil(pooler.postgres.live[0]!);
      await late.send(frontend.parse("select $1", "mine"), ...messages, frontend.sync());
      assert.equal((await late.result()).types, answers);
      assert.equal(await runDescribed(late, "mine"), "2TDCZ x");
      assert.equal(await run(late, "mine"), "2DCZ x");
      for (const each of [client, late]) each.close();
    });
  }
}

Deno.test("a result that has changed is told of in PostgreSQL's words, which drivers go by", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  changeResult(pooler.postgres.live[0]!);
  const told = [];
  for (let round = 0; round < 2; round++) {
    await client.send(frontend.bind({ statement: "s" }), frontend.execute(), frontend.sync());
    const { errors: [error], types } = await client.result();
    const { message, routine, severity, sqlstate } = error!;
    told.push({ message, routine, severity, sqlstate, types });
  }
  assert.equal(told[0]!.routine, "RevalidateCachedQuery");
  assert.deepEqual(told[1], told[0]);
  client.close();
});

Deno.test("who asks for each column in a format of its own is told that the result has changed", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  changeResult(pooler.postgres.live[0]!);
  for (let round = 0; round < 2; round++) {
    await client.send(
      frontend.bind({ statement: "s", values: ["x"], resultFormats: [0, 1] }),
      ...[frontend.describe("P"), frontend.execute(), frontend.sync()],
    );
    const { errors: [error] } = await client.result();
    assert.equal(`${error!.sqlstate} ${error!.message}`, CHANGED);
  }
  assert.equal(await runDescribed(client, "s"), "2TDCZ x");
  client.close();
});

Deno.test("who goes on before the ReadyForQuery of what is sent again is served behind it", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  const [backend] = pooler.postgres.live;
  backend!.statements.outdated = "PGBOUNCER_1";
  backend!.pausesBeforeReady = true;
  const bind = frontend.bind({ statement: "s", values: ["first"] });
  await client.send(bind, frontend.describe("P"), frontend.execute(), frontend.sync());
  await pooler.settle();
  await client.send(frontend.query("select 'second'"));
  await pooler.settle();
  backend!.wake();
  assert.deepEqual((await client.result()).rows, [["first"]]);
  assert.deepEqual((await client.result()).rows, [["second"]]);
  client.close();
});

Deno.test("a Describe of a statement whose result has changed is told of it once, behind its parameters", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  pooler.postgres.live[0]!.statements.outdated = "PGBOUNCER_1";
  for (const answers of ["tEZ", "tTZ"]) {
    await client.send(frontend.describe("S", "s"), frontend.sync());
    assert.equal((await client.result()).types, answers);
  }
  assert.equal(await run(client, "s"), "2DCZ x");
  client.close();
});
