/** COPY in and out, in both protocols, with errors on the way and data that comes too late. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgresJs from "postgres";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend, join } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import type { TestClient } from "../support/test_client.ts";
import { pidOf, runProgram, startWorld, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

const MODES = ["session", "transaction", "statement"] as const;
function sharedWorld(poolSize = 1, poolMode = "transaction"): Promise<World> {
  return startWorld(postgres, { pooler: { pool_mode: poolMode, default_pool_size: poolSize } });
}

/** Sends a request and reads up to the first message of a type. */
async function startCopy(client: TestClient, type: "G" | "H", ...ask: Uint8Array[]): Promise<void> {
  await client.send(...ask);
  for (;;) {
    const received = await client.receive();
    assert.ok(received !== undefined && received.type !== "E", `no ${type} but ${received?.type}`);
    if (received.type === type) return;
  }
}

/** A request in the extended protocol, Sync included. */
function extended(sql: string): Uint8Array[] {
  return [frontend.parse(sql), frontend.bind(), frontend.execute(), frontend.sync()];
}

/** What the table has. */
async function copied(client: TestClient): Promise<(string | null)[]> {
  return (await client.query("select x from t order by x")).rows.flat();
}

for (const poolMode of MODES) {
  Deno.test(`COPY in by a Query works in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const client = await world.connect();
    await client.query("create table t (x text)");
    await startCopy(client, "G", frontend.query("copy t from stdin"));
    await client.send(frontend.copyData("one\ntw"), frontend.copyData("o\n"), frontend.copyDone());
    assert.deepEqual((await client.result()).tags, ["COPY 2"]);
    assert.deepEqual(await copied(client), ["one", "two"]);
  });

  Deno.test(`COPY out by a Query works in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const client = await world.connect();
    const { copied, tags, types } = await client.query(
      "copy (select i from generate_series(1, 3) i) to stdout",
    );
    assert.deepEqual([types, copied.join(""), tags], ["HdddcCZ", "1\n2\n3\n", ["COPY 3"]]);
  });

  Deno.test(`COPY in the extended protocol works in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const [client, other] = await world.connectMany(2);
    await client!.query("create table t (x text)");
    // As libpq does: a Sync at once, which the server ignores, and another at the end.
    await startCopy(client!, "G", ...extended("copy t from stdin"));
    await client!.send(frontend.copyData("one\n"), frontend.copyDone(), frontend.sync());
    assert.deepEqual((await client!.result()).tags, ["COPY 1"]);
    const out = await (async () => {
      await client!.send(...extended("copy t to stdout"));
      return await client!.result();
    })();
    assert.deepEqual([out.copied.join(""), out.status], ["one\n", "I"]);
    if (poolMode !== "session") assert.deepEqual(await copied(other!), ["one"]);
    assert.deepEqual(await copied(client!), ["one"]);
  });

  Deno.test(`CopyFail ends a COPY in ${poolMode} pooling, and the client lives`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const client = await world.connect();
    await client.query("create table t (x text)");
    await startCopy(client, "G", frontend.query("copy t from stdin"));
    await client.send(frontend.copyData("one\n"), frontend.copyFail("changed my mind"));
    const { errors, status } = await client.result();
    assert.deepEqual([errors[0]?.sqlstate, status], ["57014", "I"]);
    assert.match(errors[0]!.message, /changed my mind/);
    assert.deepEqual(await copied(client), []);
  });

  Deno.test(`an error in a COPY with data still coming hurts nobody in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode === "session" ? 2 : 1, poolMode);
    const [client, other] = await world.connectMany(2);
    await client!.query("create table t (x int)");
    for (const end of [frontend.copyDone(), frontend.copyFail("no")]) {
      await startCopy(client!, "G", frontend.query("copy t from stdin"));
      await client!.send(frontend.copyData("not a number\n"));
      const { errors, status } = await client!.result();
      assert.deepEqual([errors[0]?.sqlstate, status], ["22P02", "I"]);
      // The server is free by now: what still comes must not reach whoever has it next.
      assert.equal(valueOf(await other!.query("select 'mine'")), "mine");
      await client!.send(...Array.from({ length: 50 }, () => frontend.copyData("5\n")), end);
      assert.equal(valueOf(await other!.query("select 'mine'")), "mine");
      assert.equal(valueOf(await client!.query("select count(*) from t")), "0");
    }
    assert.equal((await world.backends()).length, poolMode === "session" ? 2 : 1);
  });

  Deno.test(`an error in an extended COPY skips to the Sync in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(1, poolMode);
    const client = await world.connect();
    await client.query("create table t (x int)");
    await startCopy(client, "G", ...extended("copy t from stdin").slice(0, -1), frontend.flush());
    await client.send(frontend.copyData("not a number\n"));
    assert.equal((await client.receive())?.type, "E");
    await client.send(frontend.copyData("5\n"), frontend.copyDone(), frontend.sync());
    assert.deepEqual((await client.result()).types, "Z");
    assert.deepEqual(await copied(client), []);
  });
}

Deno.test("a client that vanishes in a COPY leaves nothing of it, and its server to the next one", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await client.query("create table t (x text)");
  const pid = await pidOf(client);
  await startCopy(client, "G", frontend.query("copy t from stdin"));
  await client.send(frontend.copyData("one\n"));
  client.close();
  const next = await world.connect();
  assert.deepEqual(await copied(next), []);
  assert.equal(await pidOf(next), pid);
});

Deno.test("a COPY without its end holds the server", async () => {
  await using world = await sharedWorld();
  const [client, other] = await world.connectMany(2);
  await client!.query("create table t (x text)");
  await startCopy(client!, "G", frontend.query("copy t from stdin"));
  await client!.send(frontend.copyData("one\n"));
  await other!.send(frontend.query("select count(*) from t"));
  await world.untilWaiting(1);
  await client!.send(frontend.copyDone());
  await client!.result();
  assert.equal(valueOf(await other!.result()), "1");
});

Deno.test("late COPY data does not make its client wait for a server", async () => {
  await using world = await startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: 1, query_wait_timeout: 0.3 },
  });
  const [client, other] = await world.connectMany(2);
  await client!.query("create table t (x int)");
  await startCopy(client!, "G", frontend.query("copy t from stdin"));
  await client!.send(frontend.copyData("not a number\n"));
  await client!.result();
  await other!.query("begin");
  await client!.send(frontend.copyData("5\n"), frontend.copyDone());
  await other!.query("select pg_sleep(0.9); commit");
  assert.equal(valueOf(await client!.query("select 'alive'")), "alive");
});

Deno.test("late COPY data of which a part is still to come holds the server", async () => {
  await using world = await sharedWorld();
  const [client, other] = await world.connectMany(2);
  await client!.query("create table t (x int)");
  await startCopy(client!, "G", frontend.query("copy t from stdin"));
  const late = frontend.copyData("5\n".repeat(100_000));
  await client!.send(frontend.copyData("not a number\n"), late.subarray(0, 100_000));
  assert.equal((await client!.result()).errors[0]?.sqlstate, "22P02");
  await other!.send(frontend.query("select 'mine'"));
  await world.untilWaiting(1);
  await client!.send(late.subarray(100_000), frontend.copyDone());
  assert.equal(valueOf(await other!.result()), "mine");
  assert.equal(valueOf(await client!.query("select count(*) from t")), "0");
});

Deno.test("COPY data may be sent before the server has answered", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await client.query("create table t (x text)");
  await client.send(
    frontend.query("copy t from stdin"),
    ...[frontend.copyData("one\n"), frontend.copyDone(), frontend.query("select 'next'")],
  );
  assert.deepEqual((await client.result()).tags, ["COPY 1"]);
  assert.equal(valueOf(await client.result()), "next");
  assert.deepEqual(await copied(client), ["one"]);
  await world.untilPool({ sv_idle: 1, sv_active: 0 });
});

Deno.test("two COPYs in one Query are both fed", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await client.query("create table t (x text)");
  await startCopy(client, "G", frontend.query("copy t from stdin; copy t from stdin; select 1"));
  await client.send(frontend.copyData("one\n"), frontend.copyDone());
  while ((await client.receive())?.type !== "G");
  await client.send(frontend.copyData("two\n"), frontend.copyDone());
  assert.equal(valueOf(await client.result()), "1");
  assert.deepEqual(await copied(client), ["one", "two"]);
});

Deno.test("every message may arrive byte by byte", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  const other = await world.connect();
  const conversation = join(
    frontend.query("create table t (x text)"),
    frontend.query("copy t from stdin"),
    ...[frontend.copyData("one\n"), frontend.copyDone()],
    ...extended("select 'text' as a, x from t"),
    frontend.query("select 1/0; select 1"),
  );
  for (const byte of conversation) {
    await client.send(new Uint8Array([byte]));
    // So that no two bytes share a piece; somebody else's query in between is a good test besides.
    if (byte % 16 === 0) assert.equal((await world.pool())["cl_waiting"], 0);
  }
  assert.deepEqual((await client.result()).tags, ["CREATE TABLE"]);
  assert.deepEqual((await client.result()).tags, ["COPY 1"]);
  assert.deepEqual((await client.result()).rows, [["text", "one"]]);
  assert.equal((await client.result()).errors[0]?.sqlstate, "22012");
  assert.equal(valueOf(await other.query("select 2")), "2");
});

/** postgres.js with one connection; its `writable()` and `readable()` speak COPY. */
function postgresJsOf(world: World) {
  const sql = postgresJs({ ...world.driverOptions, max: 1, prepare: false });
  return { sql, [Symbol.asyncDispose]: () => sql.end({ timeout: 5 }) };
}

Deno.test("postgres.js copies in and out by streams", async () => {
  await using world = await sharedWorld();
  await using driver = postgresJsOf(world);
  const { sql } = driver;
  await sql`create table t (i int, x text)`;
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\trow ${i}\n`);
  await pipeline(Readable.from(lines), await sql`copy t from stdin`.writable());
  assert.deepEqual([...await sql`select count(*)::int, sum(i)::int from t`], [
    { count: 20_000, sum: 199_990_000 },
  ]);
  const received: string[] = [];
  const readable = await sql`copy (select * from t order by i) to stdout`.readable();
  readable.on("data", (chunk: Uint8Array) => received.push(new TextDecoder().decode(chunk)));
  await once(readable, "end");
  assert.equal(received.join(""), lines.join(""));
});

Deno.test({
  name: "psql copies in and out by \\copy and by files",
  ignore: isMissing("psql"),
  async fn() {
    await using world = await sharedWorld();
    const lines = Array.from({ length: 5000 }, (_, i) => `${i},"a, b"\n`).join("");
    const made = await runProgram("psql", {
      args: ["-X", "-q", "-c", "create table t (i int, x text)"].concat(
        ["-c", "\\copy t from pstdin with (format csv)"],
      ),
      env: world.libpqEnv,
      stdin: lines,
    });
    assert.deepEqual([made.code, made.stderr], [0, ""]);
    const { stdout } = await runProgram("psql", {
      args: ["-X", "-q", "-c", "copy (select * from t order by i) to stdout with (format csv)"],
      env: world.libpqEnv,
    });
    assert.equal(stdout, lines);
  },
});
