/**
 * Shared prepared statements where much is under way at once, fails in the middle, or is sent by
 * nobody in his right mind.
 */

import assert from "node:assert/strict";
import { backend as say, frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

/** A world whose clients share one server. */
function world(lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `default_pool_size = 1\n${lines}` });
}

const running = (statement: string, value = "x") => [
  frontend.bind({ statement, values: [value] }),
  frontend.execute(),
];

/** Something that fails when it runs. */
const FAILING = [frontend.parse("error 22012"), frontend.bind(), frontend.execute()];

/** The answers to so many segments: their messages, and the rows. */
async function answers(client: TestClient, count: number): Promise<string[]> {
  const told: string[] = [];
  for (let i = 0; i < count; i++) {
    const { errors, rows, types } = await client.result();
    told.push([types, ...rows.flat(), ...errors.map(({ sqlstate }) => sqlstate)].join(" "));
  }
  return told;
}

/** Prepares a statement under a name, or runs it, by itself. */
async function alone(client: TestClient, ...messages: readonly Uint8Array[]): Promise<string> {
  await client.send(...messages, frontend.sync());
  return (await answers(client, 1))[0]!;
}

Deno.test("a rollback that was prepared in a failed transaction is not run for a name that nobody has", async () => {
  await using pooler = await world();
  const [client, other] = [await pooler.login(), await pooler.login()];
  assert.equal(await alone(client, frontend.parse("rollback", "first")), "1Z");
  await client.query("begin");
  await client.query("error 22012");
  assert.equal(await alone(client, frontend.parse("rollback", "second")), "1Z");
  await client.query("rollback");
  assert.equal(await alone(other, ...running("nope")), "EZ 26000");
  for (const each of [client, other]) each.close();
});

Deno.test("nor is what somebody has prepared by SQL under the name that nothing has", async () => {
  await using pooler = await PoolerWorld.open({
    pooler: 'default_pool_size = 1\nserver_reset_query = ""\npool_mode = "session"',
  });
  const session = await pooler.login();
  await alone(session, frontend.parse("select 'theirs'", "PGBOUNCER_0"));
  await session.terminate();
  await pooler.reload({
    pooler: 'default_pool_size = 1\nserver_reset_query = ""\npool_mode = "transaction"',
  });
  const client = await pooler.login();
  await alone(client, frontend.parse("select 's'", "s"));
  await client.send(frontend.parse("select 's'", "s"), frontend.sync());
  const { errors: [error] } = await client.result();
  assert.equal(error?.message, 'prepared statement "s" already exists');
  pooler.postgres.live[0]!.statements.prepare("PGBOUNCER_0", "select 'theirs'");
  assert.equal(await alone(client, ...running("nope")), "EZ 26000");
  client.close();
});

Deno.test("a second Parse of a name never takes the place of a statement that the server has lost", async () => {
  await using pooler = await world();
  const [client, other] = [await pooler.login(), await pooler.login()];
  for (const each of [client, other]) {
    assert.equal(await alone(each, frontend.parse("select 'first'", "s")), "1Z");
  }
  pooler.postgres.live[0]!.statements.forget("PGBOUNCER_1");
  assert.equal(await alone(client, frontend.parse("select 'second'", "s")), "EZ 42P05");
  assert.equal(await alone(other, ...running("s")), "2DCZ first");
  for (const each of [client, other]) each.close();
});

Deno.test("who goes on after an error without a Sync does not get another's unnamed statement", async () => {
  await using pooler = await world();
  const [one, two] = [await pooler.login(), await pooler.login()];
  await alone(one, frontend.parse("select pg_sleep(1)", "sleep"));
  await alone(two, frontend.parse("select 'of two'"));
  await one.send(...running("nope"));
  await pooler.settle();
  // The server skips it; the next segment keeps the link.
  const sleeping = [...running("sleep"), frontend.sync()];
  await one.send(frontend.parse("select 'of one'"), frontend.sync(), ...sleeping);
  await pooler.settle();
  await one.send(...running(""), frontend.sync());
  await pooler.settle();
  pooler.postgres.wakeAll();
  const told = await answers(one, 3);
  assert.ok(!told.join().includes("of two"), told.join());
  assert.deepEqual(told.slice(0, 2), ["EZ 26000", "2DCZ "]);
  for (const each of [one, two]) each.close();
});

Deno.test("with room for one, what is evicted behind DEALLOCATE ALL is not taken away twice", async () => {
  await using pooler = await world("max_prepared_statements = 1");
  const client = await pooler.login();
  await alone(client, frontend.parse("select 'a'", "a"));
  await client.send(
    frontend.query("deallocate all"),
    ...[frontend.parse("select 'b'", "b"), frontend.sync()],
    frontend.query("deallocate all"),
  );
  assert.deepEqual(await answers(client, 3), ["CZ", "1Z", "CZ"]);
  const [server] = pooler.pool().servers.idle;
  assert.equal(server!.statements.count, 0);
  assert.equal(pooler.pooler.statements.count, 0);
  assert.equal(await alone(client, frontend.parse("select 'c'", "c"), ...running("c")), "12DCZ c");
  client.close();
});

Deno.test("a statement prepared behind DEALLOCATE ALL is remembered if its eviction is skipped", async () => {
  await using pooler = await world("max_prepared_statements = 1");
  const [client, other] = [await pooler.login(), await pooler.login()];
  await client.send(
    frontend.query("deallocate all"),
    ...[frontend.parse("select 'b'", "b"), frontend.sync()],
    ...[...FAILING, frontend.parse("select 'c'", "c"), frontend.sync()],
  );
  assert.deepEqual(await answers(client, 3), ["CZ", "1Z", "12EZ 22012"]);
  assert.equal(await alone(other, frontend.parse("select 'b'", "b"), ...running("b")), "12DCZ b");
  for (const each of [client, other]) each.close();
});

Deno.test("DEALLOCATE ALL hidden in a Query of a client that prepares nothing is seen", async () => {
  await using pooler = await world();
  const [client, other] = [await pooler.login(), await pooler.login()];
  await alone(client, frontend.parse("select 's'", "s"));
  assert.equal((await other.query("select 1; deallocate all")).types, "TDCCZ");
  await client.query("begin");
  assert.equal(await alone(client, ...running("s")), "2DCZ s");
  await client.query("commit");
  for (const each of [client, other]) each.close();
});

Deno.test("a statement evicted and to be prepared again behind an error is not taken for present", async () => {
  await using pooler = await world("max_prepared_statements = 1");
  const [client, other] = [await pooler.login(), await pooler.login()];
  for (const name of ["a", "b"]) {
    for (const each of [client, other]) await alone(each, frontend.parse(`select '${name}'`, name));
  }
  await alone(client, frontend.parse("select 'c'", "c"));
  const told = await alone(client, ...running("a"), ...running("b"), ...FAILING, ...running("a"));
  assert.equal(told, "2DC2DC12EZ a b 22012");
  await other.query("begin");
  assert.equal(await alone(other, ...running("a")), "2DCZ a");
  assert.equal(await alone(other, ...running("b")), "2DCZ b");
  await other.query("commit");
  for (const each of [client, other]) each.close();
});

Deno.test("a name that is closed before its Parse is known to have failed is let go of once", async () => {
  await using pooler = await world();
  const [client, other] = [await pooler.login(), await pooler.login()];
  await alone(other, frontend.parse("select 'x'", "mine"));
  await client.send(
    ...[...FAILING, frontend.parse("select 'x'", "s"), frontend.sync()],
    ...[frontend.close("S", "s"), frontend.sync()],
  );
  assert.deepEqual(await answers(client, 2), ["12EZ 22012", "3Z"]);
  assert.equal(holdersOf(pooler), 2);
  // And a Close that is skipped as well does not bring it back.
  await client.send(
    ...[...FAILING, frontend.parse("select 'x'", "s"), frontend.sync()],
    ...[...FAILING, frontend.close("S", "s"), frontend.sync()],
  );
  assert.deepEqual(await answers(client, 2), ["12EZ 22012", "12EZ 22012"]);
  assert.equal(holdersOf(pooler), 2);
  assert.equal(await alone(client, ...running("s")), "EZ 26000");
  for (const each of [client, other]) each.close();
});

/** How often the statements of the idle server are held in all. */
function holdersOf(pooler: PoolerWorld): number {
  let count = 0;
  for (const server of pooler.pool().servers.idle) {
    for (const { statement } of server.statements.all()) count += statement.holderCount;
  }
  return count;
}

for (
  const [how, deallocating] of [
    ["a Query", [frontend.query("deallocate all")]],
    ["a Query", [frontend.query("DISCARD ALL;")]],
    ["Execute", [frontend.parse("deallocate all"), frontend.bind(), frontend.execute()]],
    ["Execute of a name", [
      ...[frontend.parse("deallocate all", "d"), frontend.bind({ statement: "d" })],
      frontend.execute(),
    ]],
  ] as const
) {
  Deno.test(`names given in one breath with ${how} that deallocates all are new ones`, async () => {
    await using pooler = await world();
    const client = await pooler.login();
    await alone(client, frontend.parse("select 'old'", "s"), frontend.parse("select 'x'", "t"));
    await client.send(
      ...deallocating,
      ...[frontend.parse("select 'new'", "s"), ...running("s")],
      ...[frontend.parse("select 'x'", "u"), ...running("u"), frontend.sync()],
    );
    const isQuery = how === "a Query";
    const told = await answers(client, isQuery ? 2 : 1);
    const shown = isQuery ? ["CZ", "12DC12DCZ new x"] : ["12C12DC12DCZ new x"];
    assert.deepEqual(told, shown);
    assert.equal(await alone(client, ...running("s"), ...running("u")), "2DC2DCZ new x");
    assert.equal(await alone(client, ...running("t")), "EZ 26000");
    client.close();
  });
}

Deno.test("DEALLOCATE ALL that fails takes no name away", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await alone(client, frontend.parse("select 's'", "s"));
  await client.query("begin");
  await client.query("error 22012");
  for (const sql of ["deallocate all", "discard all"]) {
    assert.equal((await client.query(sql)).types, "EZ");
    assert.equal((await client.extended(sql)).types, "EZ");
  }
  await client.query("rollback");
  assert.equal(await alone(client, ...running("s")), "2DCZ s");
  client.close();
});

Deno.test("statements in flight that end with their server are let go of", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await client.send(
    ...[frontend.parse("select 'a'", "a"), frontend.close("S", "a"), frontend.sync()],
    frontend.query("misbehave fatal"),
    ...[frontend.parse("select 'b'", "b"), frontend.close("S", "b"), frontend.sync()],
  );
  await client.receiveUntilEnd();
  client.close();
  await pooler.settle();
  const { byteCount, count } = pooler.pooler.statements;
  assert.deepEqual([count, byteCount], [0, 0]);
});

Deno.test("a client with too many names leaves nothing behind", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  const names = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => frontend.parse("select 1", `s${from + i}`));
  for (let from = 0; from < 65_536; from += 16_384) {
    await client.send(...names(from, 16_384), frontend.sync());
    await client.receiveUntilReady();
  }
  await client.send(frontend.parse("select 'one more'", "more"), frontend.sync());
  assert.equal(await client.lastWords(), "FATAL 08P01 too many prepared statements");
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 0);
});

Deno.test("a client with too many names is refused in a freeze too", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  const names = Array.from({ length: 65_536 }, (_, i) => frontend.parse("select 1", `s${i}`));
  for (let from = 0; from < names.length; from += 8_192) {
    await client.send(...names.slice(from, from + 8_192), frontend.sync());
    await client.receiveUntilReady();
  }
  const long = frontend.parse(`select '${"x".repeat(20_000)}'`, "more");
  await client.send(long.subarray(0, 10_000));
  await pooler.settle();
  const { relay } = pooler.clients[0]!;
  relay!.freeze();
  await client.send(long.subarray(10_000), frontend.sync());
  assert.equal(await client.lastWords(), "FATAL 08P01 too many prepared statements");
});

Deno.test("statements are not trusted after one has had the server for whom they are not shared", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await alone(client, frontend.parse("select 's'", "s"));
  await pooler.reload({ pooler: "default_pool_size = 1\nmax_prepared_statements = 0" });
  const raw = await pooler.login();
  await raw.query("deallocate all");
  await client.query("begin");
  assert.equal(await alone(client, ...running("s")), "2DCZ s");
  await client.query("commit");
  for (const each of [client, raw]) each.close();
});

Deno.test("what follows a COPY without a Sync of its own has its answers at their places", async () => {
  for (const isPatient of [true, false]) {
    await using pooler = await world("max_prepared_statements = 1");
    const client = await pooler.login();
    for (const name of ["a", "b"]) await alone(client, frontend.parse(`select '${name}'`, name));
    const copying = [frontend.parse("copy t from stdin"), frontend.bind(), frontend.execute()];
    // This Sync is ignored.
    await client.send(...copying, frontend.sync());
    if (isPatient) await pooler.settle();
    await client.send(frontend.copyData("of t"), frontend.copyDone());
    // Which the server has to be told of first.
    await client.send(...running("a"), frontend.sync());
    assert.deepEqual(await answers(client, 1), ["12GC2DCZ a"]);
    assert.equal(await alone(client, ...running("b")), "2DCZ b");
    client.close();
  }
});

Deno.test("a name that does not exist costs nobody else a thing", async () => {
  await using pooler = await world();
  const [client, other] = [await pooler.login(), await pooler.login()];
  await alone(client, frontend.parse("select 's'", "s"));
  assert.equal(await alone(other, ...running("nope")), "EZ 26000");
  await other.query("delete from t");
  await alone(client, ...running("s"));
  const parses = [...pooler.postgres.live[0]!.received].filter((each) => each === "P").length;
  assert.equal(parses, 1);
  for (const each of [client, other]) each.close();
});

Deno.test("a name on the server that somebody else has taken is freed", async () => {
  await using pooler = await PoolerWorld.open({
    pooler: 'default_pool_size = 1\nserver_reset_query = ""\npool_mode = "session"',
  });
  const session = await pooler.login();
  await alone(session, frontend.parse("select 'theirs'", "PGBOUNCER_1"));
  await session.terminate();
  await pooler.reload({
    pooler: 'default_pool_size = 1\nserver_reset_query = ""\npool_mode = "transaction"',
  });
  const client = await pooler.login();
  assert.equal(await alone(client, frontend.parse("select 's'", "s")), "EZ 42P05");
  assert.equal(await alone(client, frontend.parse("select 's'", "s"), ...running("s")), "12DCZ s");
  client.close();
});

for (const chunking of ["whole", "random", "bytes"] as const) {
  Deno.test(`a long unnamed statement is kept for another server, sent ${chunking}`, async () => {
    await using pooler = await PoolerWorld.open({ pooler: "default_pool_size = 1", chunking });
    const [client, other] = [await pooler.login(), await pooler.login()];
    const text = "x".repeat(chunking === "bytes" ? 9_000 : 40_000);
    assert.equal(await alone(client, frontend.parse(`select '${text}'`)), "1Z");
    assert.equal(await alone(other, frontend.parse("select 'other'")), "1Z");
    assert.ok(await alone(client, ...running("")) === `2DCZ ${text}`);
    for (const each of [client, other]) each.close();
  });
}

Deno.test("who breaks the protocol behind what is sent again is ended, and what the server says meanwhile dropped", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await alone(client, frontend.parse("select 's'", "s"));
  const [backend] = pooler.postgres.live;
  backend!.statements.outdated = "PGBOUNCER_1";
  backend!.pausesBeforeReady = true;
  backend!.postscript = say.parameterStatus("TimeZone", "Mars");
  await client.send(...running("s"), frontend.sync());
  await pooler.settle();
  await client.send(new Uint8Array([0x7a, 0, 0, 0, 4]));
  await pooler.settle();
  backend!.wake();
  assert.match(await client.lastWords(), /^FATAL 08P01 unknown pkt/);
});

Deno.test("a name that is closed behind an error is what it was made behind that, or free", async () => {
  for (
    const [again, answers, then] of [[true, "31EZ", "2DCZ new"], [false, "3EZ", "1Z"]] as const
  ) {
    await using pooler = await world();
    const client = await pooler.login();
    await alone(client, frontend.parse("select 'old'", "s"));
    const anew = (sql: string) => [frontend.close("S", "s"), frontend.parse(sql, "s")];
    const wrong = frontend.bind({ statement: "unknown" });
    const behind = again ? [...anew("select 'new'"), wrong] : [frontend.close("S", "s"), wrong];
    await client.send(
      ...[wrong, ...anew("select 'skipped'"), frontend.sync()],
      ...[...behind, frontend.close("S", "s"), frontend.sync()],
    );
    assert.equal((await client.result()).types, "EZ");
    assert.equal((await client.result()).types, answers);
    const next = again ? running("s") : [frontend.parse("select 'free'", "s")];
    assert.equal((await alone(client, ...next)).trim(), then);
    client.close();
  }
});

Deno.test("an unnamed statement that an error kept from being prepared is not there, though it was used behind that", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await alone(client, frontend.parse("select 'old'"));
  const wrong = frontend.bind({ statement: "unknown" });
  await client.send(
    ...[wrong, frontend.parse("select 'skipped'"), frontend.sync()],
    ...[wrong, frontend.describe("S"), frontend.sync()],
  );
  for (let i = 0; i < 2; i++) assert.equal((await client.result()).types, "EZ");
  assert.equal(await alone(client, ...running("")), "EZ 26000");
  client.close();
});

Deno.test("a name that is closed twice, the first time behind an error, is free", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  const close = frontend.close("S", "s");
  const wrong = frontend.bind({ statement: "unknown" });
  const skipped = [wrong, close, frontend.sync()];
  for (
    const [messages, types, then] of [
      [[...skipped, close, frontend.sync()], ["EZ", "3Z"], "E"],
      [[...skipped, ...skipped], ["EZ", "EZ"], "2DC"],
      [[close, close, frontend.sync(), ...skipped], ["33Z", "EZ"], "E"],
    ] as const
  ) {
    await alone(client, frontend.close("S", "s"), frontend.parse("select 's'", "s"));
    await client.send(...messages);
    for (const each of types) assert.equal((await client.result()).types, each);
    const bound = [frontend.bind({ statement: "s" }), frontend.execute(), frontend.sync()];
    await client.send(...bound);
    assert.equal((await client.result()).types, `${then}Z`);
    await alone(client, frontend.close("S", "s"), frontend.parse("select 'free'", "s"));
    assert.equal((await alone(client, ...running("s"))).trim(), "2DCZ free");
  }
  await client.send(...skipped, ...skipped);
  for (let i = 0; i < 2; i++) assert.equal((await client.result()).types, "EZ");
  for (const backend of pooler.postgres.live) backend.close();
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 1, "the client holds it");
  client.close();
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 0);
});

Deno.test("nor does a DEALLOCATE ALL that is skipped give back a name that is closed behind it", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await alone(client, frontend.parse("select 's'", "s"), frontend.parse("deallocate all", "all"));
  await client.send(
    ...[frontend.bind({ statement: "unknown" }), ...running("all"), frontend.sync()],
    ...[frontend.close("S", "s"), frontend.sync()],
  );
  assert.deepEqual(await answers(client, 2), ["EZ 26000", "3Z"]);
  assert.equal(
    await alone(client, frontend.parse("select 'free'", "s"), ...running("s")),
    "12DCZ free",
  );
  client.close();
});

Deno.test("to close names that nobody has takes no longer while thousands of others are being closed", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  await client.send(frontend.bind({ statement: "unknown" }));
  for (let thousand = 0; thousand < 30; thousand++) {
    const names = Array.from({ length: 1_000 }, (_, place) => `s${thousand}_${place}`);
    const messages = (name: string) => [
      frontend.parse("select 's'", name),
      frontend.close("S", name),
    ];
    await client.send(...names.flatMap(messages));
  }
  const startMs = performance.now();
  await client.send(...new Array<Uint8Array>(8_000).fill(frontend.close("S", "x")));
  await client.send(frontend.sync());
  assert.deepEqual(await answers(client, 1), ["EZ 26000"]);
  // It was four times as much.
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < 2_500, `${tookMs} ms`);
  client.close();
});

Deno.test("a name that was to be given anew behind an error is what it was if that is skipped, too", async () => {
  await using pooler = await world();
  const client = await pooler.login();
  const close = frontend.close("S", "s");
  const parse = frontend.parse("select 'new'", "s");
  const anew = [close, parse];
  const wrong = frontend.bind({ statement: "unknown" });
  for (
    const [messages, types, then] of [
      [[wrong, close, frontend.sync(), wrong, parse], ["EZ", "EZ"], "2DCZ old"],
      [[wrong, ...anew, frontend.sync(), wrong, ...anew], ["EZ", "EZ"], "2DCZ old"],
      [[wrong, ...anew, frontend.sync(), ...anew, wrong, ...anew], ["EZ", "31EZ"], "2DCZ new"],
      [[wrong, close, frontend.sync(), ...anew, wrong, close], ["EZ", "31EZ"], "2DCZ new"],
      [[wrong, close, frontend.sync(), parse], ["EZ", "1Z"], "2DCZ new"],
    ] as const
  ) {
    await alone(client, frontend.close("S", "s"), frontend.parse("select 'old'", "s"));
    await client.send(...messages, frontend.sync());
    for (const each of types) assert.equal((await client.result()).types, each);
    assert.equal((await alone(client, ...running("s"))).trim(), then);
  }
  for (const backend of pooler.postgres.live) backend.close();
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 1, "the client holds what its name means");
  client.close();
  await pooler.settle();
  assert.equal(pooler.pooler.statements.count, 0);
});

Deno.test("who gives a name anew behind errors for ever takes no more memory for it", async () => {
  await using pooler = await PoolerWorld.open({
    pooler: "default_pool_size = 1\nmax_prepared_statements = 1",
  });
  const client = await pooler.login();
  const wrong = frontend.bind({ statement: "unknown" });
  for (let i = 0; i < 300; i++) {
    const parse = frontend.parse(`select '${i}'`, "s");
    // What has no Sync keeps the link.
    await client.send(wrong, frontend.close("S", "s"), frontend.sync(), parse, frontend.flush());
    assert.equal((await client.result()).types, i === 0 ? "EZ" : "1EZ");
  }
  const { count } = pooler.pooler.statements;
  assert.ok(count < 100, String(count));
  client.close();
});
