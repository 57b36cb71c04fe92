/**
 * COPY and other bulk: in and out, in both protocols, with errors on the way; and the pooler's memory,
 * which must not grow with what passes through, however slow either side is.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgresJs from "postgres";
import { pssBytes } from "../../scripts/bench/process_stats.ts";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend, int32, join, readInt32, utf8 } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import type { TestClient } from "../support/test_client.ts";
import { pidOf, runProgram, startWorld, until, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

const MODES = ["session", "transaction", "statement"] as const;
const MEGABYTE = 1_048_576;

/** How much the pooler may grow under any load; far below what passes through it. */
const MEMORY_LIMIT_BYTES = 24 * MEGABYTE;

/** Only Linux tells a process's share of memory. */
const hasMemoryFigures = Deno.build.os === "linux";

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

Deno.test("a client that vanishes in a COPY never puts its server back", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await client.query("create table t (x text)");
  const pid = await pidOf(client);
  await startCopy(client, "G", frontend.query("copy t from stdin"));
  await client.send(frontend.copyData("one\n"));
  client.close();
  const next = await world.connect();
  assert.deepEqual(await copied(next), []);
  assert.notEqual(await pidOf(next), pid);
  await world.untilBackendCount(1);
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

/**
 * Reads messages and throws their bodies away, since a test that keeps 100 MB cannot tell its own slowness
 * from the pooler's. Counts the bytes of the bodies of one type, up to ReadyForQuery.
 */
async function drain(client: TestClient, type: string): Promise<number> {
  let counted = 0;
  let header = new Uint8Array(0);
  let current = "";
  let remaining = 0;
  for await (let chunk of client.stream.chunks()) {
    while (chunk.length > 0) {
      if (remaining === 0) {
        const taken = chunk.subarray(0, 5 - header.length);
        header = join(header, taken);
        chunk = chunk.subarray(taken.length);
        if (header.length < 5) break;
        current = String.fromCharCode(header[0]!);
        remaining = readInt32(header, 1) - 4;
        header = new Uint8Array(0);
        assert.notEqual(current, "E");
      }
      const count = Math.min(remaining, chunk.length);
      if (current === type) counted += count;
      remaining -= count;
      chunk = chunk.subarray(count);
      if (current === "Z" && remaining === 0) return counted;
    }
  }
  throw new Error("The connection ended before ReadyForQuery");
}

/** Runs something and checks that the pooler has not grown meanwhile; looks again and again. */
async function assertBoundedMemory(world: World, action: () => Promise<void>): Promise<void> {
  if (!hasMemoryFigures) return await action();
  const before = await pssBytes(world.sluice.pid);
  let most = 0;
  let isOver = false;
  const looking = (async () => {
    while (!isOver) {
      most = Math.max(most, await pssBytes(world.sluice.pid) - before);
      await world.backends();
    }
  })();
  try {
    await action();
  } finally {
    isOver = true;
    await looking;
  }
  assert.ok(most < MEMORY_LIMIT_BYTES, `grew by ${Math.round(most / MEGABYTE)} MB`);
}

/** One query of each kind, so that what is loaded and compiled once is not counted. */
async function warmUp(client: TestClient): Promise<void> {
  for (let i = 0; i < 50; i++) {
    await client.query("copy (select repeat('x', 1000) from generate_series(1, 500)) to stdout");
  }
}

Deno.test("50 MB go through COPY in each direction without being held in memory", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await warmUp(client);
  await client.query("create unlogged table t (x text)");
  const line = `${"x".repeat(1023)}\n`;
  const piece = frontend.copyData(line.repeat(64));
  const pieceCount = 800;
  await assertBoundedMemory(world, async () => {
    await startCopy(client, "G", frontend.query("copy t from stdin"));
    for (let i = 0; i < pieceCount; i++) await client.send(piece);
    await client.send(frontend.copyDone());
    assert.deepEqual((await client.result()).tags, [`COPY ${pieceCount * 64}`]);
    await client.send(frontend.query("copy t to stdout"));
    assert.equal(await drain(client, "d"), pieceCount * 64 * line.length);
  });
});

Deno.test("a parameter of 100 MB in one message is passed on in pieces", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await warmUp(client);
  const size = 100 * MEGABYTE;
  await assertBoundedMemory(world, async () => {
    // A Bind with one binary parameter, built by hand so that it need not be held here either.
    const bindStart = join(utf8("\0\0"), new Uint8Array([0, 1, 0, 1, 0, 1]), int32(size));
    const bindEnd = new Uint8Array([0, 0]);
    await client.send(
      frontend.parse("select length($1::bytea), md5($1::bytea)"),
      ...[utf8("B"), int32(4 + bindStart.length + size + bindEnd.length), bindStart],
    );
    const piece = new Uint8Array(MEGABYTE);
    const md5 = createHash("md5");
    for (let i = 0; i < size / MEGABYTE; i++) {
      piece.fill(i);
      md5.update(piece);
      await client.send(piece);
    }
    await client.send(bindEnd, frontend.execute(), frontend.sync());
    assert.deepEqual((await client.result()).rows, [[String(size), md5.digest("hex")]]);
  });
});

Deno.test("a value of 100 MB in one row is passed on in pieces", async () => {
  await using world = await sharedWorld();
  const client = await world.connect();
  await warmUp(client);
  const size = 100 * MEGABYTE;
  await assertBoundedMemory(world, async () => {
    await client.send(frontend.query(`select repeat('x', ${size})`));
    assert.equal(await drain(client, "D"), size + 6);
  });
});

Deno.test("a client that reads slowly slows its server down and costs the pooler no memory", async () => {
  await using world = await sharedWorld(2);
  const [slow, other] = await world.connectMany(2);
  await warmUp(slow!);
  const [lineCount, lineBytes] = [60_000, 1000];
  await assertBoundedMemory(world, async () => {
    const sql = `copy (select repeat('x', ${lineBytes - 1}) from generate_series(1, ${lineCount}))`;
    await slow!.send(frontend.query(`${sql} to stdout`));
    // Nothing is read, so the server comes to a halt.
    const stuck = "select wait_event = 'ClientWrite' as stuck from pg_stat_activity " +
      `where usename = '${world.user}' and state = 'active'`;
    await until("a server that cannot go on", async () => {
      return (await world.direct(stuck))[0]?.["stuck"] === true;
    });
    for (let i = 0; i < 200; i++) assert.equal(valueOf(await other!.query("select 1")), "1");
    assert.equal((await world.direct(stuck))[0]?.["stuck"], true);
    assert.equal(await drain(slow!, "d"), lineCount * lineBytes);
  });
  assert.equal(valueOf(await slow!.query("select 'alive'")), "alive");
});

Deno.test("a server that reads slowly slows its client down and costs the pooler no memory", async () => {
  await using world = await sharedWorld(2);
  const [client, other] = await world.connectMany(2);
  await warmUp(client!);
  await client!.query("create unlogged table t (x text)");
  const gate = await world.gate();
  await client!.query(
    `create function hold() returns trigger language plpgsql as
     $$ begin perform 1 from (${gate.query("x")}) as gate; return new; end $$;
     create trigger hold before insert on t for each row when (new.x = 'hold') execute function hold()`,
  );
  await assertBoundedMemory(world, async () => {
    await startCopy(client!, "G", frontend.query("copy t from stdin"));
    await client!.send(frontend.copyData("hold\n"));
    const piece = frontend.copyData(`${"x".repeat(1023)}\n`.repeat(64));
    let sentCount = 0;
    const sending = (async () => {
      for (; sentCount < 600; sentCount++) await client!.send(piece);
    })();
    // The pieces in flight fill the buffers of the kernel, and then nothing goes on.
    let before = -1;
    await until("a client that cannot go on", async () => {
      const isStuck = sentCount === before;
      before = sentCount;
      for (let i = 0; i < 50; i++) await other!.query("select 1");
      return isStuck;
    });
    assert.ok(sentCount < 600, "all was taken though nobody read it");
    await gate.open();
    await sending;
    await client!.send(frontend.copyDone());
    assert.deepEqual((await client!.result()).tags, [`COPY ${600 * 64 + 1}`]);
  });
});
