/**
 * Bulk: what passes through must not be held in the pooler, however much it is, in however big messages,
 * and however slow either side is. (Memory is looked at on Linux only.)
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { anonymousBytes } from "../../scripts/bench/process_stats.ts";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend, int32, join, readInt32, utf8 } from "../support/messages.ts";
import type { TestClient } from "../support/test_client.ts";
import { startWorld, until, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

const MEGABYTE = 1_048_576;

/** How much the pooler may grow under any load; far below what passes through it. */
const MEMORY_LIMIT_BYTES = 24 * MEGABYTE;

/** Only Linux tells a process's share of memory. */
const hasMemoryFigures = Deno.build.os === "linux";

function sharedWorld(poolSize = 1): Promise<World> {
  return startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: poolSize },
  });
}

/** Begins a COPY from the client. */
async function startCopyIn(client: TestClient, sql: string): Promise<void> {
  await client.send(frontend.query(sql));
  assert.equal((await client.receive())?.type, "G");
}

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
  // Its share of the runtime's own pages would grow by megabytes when another test's process ends.
  const before = await anonymousBytes(world.sluice.pid);
  let most = 0;
  let isOver = false;
  const looking = (async () => {
    while (!isOver) {
      most = Math.max(most, await anonymousBytes(world.sluice.pid) - before);
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
    await startCopyIn(client, "copy t from stdin");
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
    const becomesStuck = () =>
      until("a server that cannot go on", async () => {
        return (await world.direct(stuck))[0]?.["stuck"] === true;
      });
    await becomesStuck();
    for (let i = 0; i < 200; i++) assert.equal(valueOf(await other!.query("select 1")), "1");
    // It may have had to wait for the pooler before; one that nothing holds is done by now.
    await becomesStuck();
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
    await startCopyIn(client!, "copy t from stdin");
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
