/**
 * When a server goes back to its pool, and in what condition: only when nothing is outstanding, and
 * without anything left of the client that had it.
 */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend } from "../support/messages.ts";
import type { TestClient } from "../support/test_client.ts";
import { pidOf, startWorld, token, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** One server for all. */
const SHARED = { pool_mode: "transaction", default_pool_size: 1 } as const;

const MODES = ["session", "transaction", "statement"] as const;

/** The messages of one statement in the extended protocol, without a Sync. */
function unsynced(sql: string): Uint8Array[] {
  return [frontend.parse(sql), frontend.bind(), frontend.describe("P"), frontend.execute()];
}

/** Checks that another client has to wait for the one server, and gets its answer once `letGo` is done. */
async function assertHolds(world: World, letGo: () => Promise<void>): Promise<void> {
  const client = await world.connect();
  const mine = token();
  await client.send(frontend.query(`select '${mine}'`));
  await world.untilWaiting(1);
  await letGo();
  assert.equal(valueOf(await client.result()), mine);
}

Deno.test("a server with several Syncs in flight stays with its client until the last is answered", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const gate = await world.gate();
  const tokens = [token(), token(), token()] as const;
  await client.send(
    ...[...unsynced(`select '${tokens[0]}'`), frontend.sync()],
    ...[...unsynced(gate.query(tokens[1])), frontend.sync()],
    ...[...unsynced(`select '${tokens[2]}'`), frontend.sync()],
  );
  assert.equal(valueOf(await client.result()), tokens[0]);
  await assertHolds(world, async () => {
    await gate.open();
    assert.equal(valueOf(await client.result()), tokens[1]);
    assert.equal(valueOf(await client.result()), tokens[2]);
  });
});

Deno.test("a server with several Queries in flight stays with its client until the last is answered", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const gate = await world.gate();
  const tokens = [token(), token()] as const;
  await client.send(
    frontend.query(`select '${tokens[0]}'`),
    frontend.query(gate.query(tokens[1])),
  );
  assert.equal(valueOf(await client.result()), tokens[0]);
  await assertHolds(world, async () => {
    await gate.open();
    assert.equal(valueOf(await client.result()), tokens[1]);
  });
});

Deno.test("a client that has flushed but not synced keeps its server", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const mine = token();
  await client.send(...unsynced(`select '${mine}'`), frontend.flush());
  let types = "";
  while (!types.endsWith("C")) types += (await client.receive())?.type ?? "C";
  assert.equal(types, "12TDC");
  await assertHolds(world, async () => {
    await client.send(frontend.sync());
    assert.equal((await client.result()).types, "Z");
  });
});

Deno.test("a Flush with nothing before it holds no server", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  await client.query("select 1");
  await client.send(frontend.flush());
  const other = await world.connect();
  assert.equal(valueOf(await other.query("select 2")), "2");
  assert.equal(valueOf(await client.query("select 3")), "3");
});

Deno.test("a client in a transaction keeps its server until COMMIT", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  assert.equal((await client.query("begin")).status, "T");
  await assertHolds(world, async () => {
    assert.equal((await client.query("commit")).status, "I");
  });
});

Deno.test("a client in a failed transaction keeps its server until ROLLBACK", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  await client.query("begin");
  assert.equal((await client.query("select 1/0")).status, "E");
  await assertHolds(world, async () => {
    assert.equal((await client.query("rollback")).status, "I");
  });
});

Deno.test("an error in the extended protocol skips to the Sync, and the server goes back", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const failing = "select 1 / (x - 1) from generate_series(1, 1) as x";
  await client.send(...unsynced(failing), ...unsynced("select 1"), frontend.sync());
  const { types, errors, status } = await client.result();
  assert.deepEqual([types, errors[0]?.sqlstate, status], ["12TEZ", "22012", "I"]);
  await world.untilPool({ sv_idle: 1, sv_active: 0 });
  assert.equal(valueOf(await client.query("select 2")), "2");
});

/** Extended messages with a Query behind them and no Sync between: allowed, and answered once if they fail. */
for (const sql of ["select 1", "selec 1"]) {
  Deno.test(`a Query behind an unsynced ${sql} leaves neither client nor server confused`, async () => {
    await using world = await startWorld(postgres, { pooler: SHARED });
    const [client, other] = await world.connectMany(2);
    for (let round = 0; round < 2; round++) {
      await client!.send(...unsynced(sql), frontend.query("select 2"), frontend.sync());
      const isGood = sql === "select 1";
      assert.equal((await client!.result()).types, isGood ? "12TDCTDCZ" : "EZ");
      if (isGood) assert.equal((await client!.result()).types, "Z");
      for (const each of [client!, other!]) {
        const mine = token();
        assert.equal(valueOf(await each.query(`select '${mine}'`)), mine);
      }
    }
  });
}

/** Has a client ask, and another be served by the same server afterwards, again and again. */
async function keepsSharing(ask: (client: TestClient) => Promise<void>): Promise<void> {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const [client, other] = await world.connectMany(2);
  const [before] = await world.backends();
  for (let round = 0; round < 3; round++) {
    await ask(client!);
    const mine = token();
    assert.equal(valueOf(await other!.query(`select '${mine}'`)), mine);
  }
  assert.deepEqual((await world.backends()).map(({ pid }) => pid), [before!.pid]);
}

/** As JDBC drivers do, which close portals and statements together with what they ask next. */
Deno.test("a Close without a Sync before a Query costs no server, and holds none", () => {
  const closes = [frontend.close("P", "gone"), frontend.close("S", "gone")];
  return keepsSharing(async (client) => {
    await client.send(...closes, frontend.query("begin"));
    assert.equal((await client.result()).types, "33CZ");
    await client.send(...closes, frontend.query("select 1"), frontend.query("commit"));
    assert.equal((await client.result()).types, "33TDCZ");
    assert.equal((await client.result()).types, "CZ");
  });
});

/** As JDBC drivers do with `autosave`. */
Deno.test("BEGIN without a Sync before a SAVEPOINT by Query costs no server, and holds none", () =>
  keepsSharing(async (client) => {
    await client.send(
      ...[...unsynced("begin"), frontend.query("savepoint a")],
      ...[...unsynced("select 1"), frontend.sync()],
    );
    assert.equal((await client.result()).types, "12nCCZ");
    assert.equal((await client.result()).types, "12TDCZ");
    assert.equal((await client.query("commit")).status, "I");
  }));

Deno.test("a transaction sent in one piece is answered message by message", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const [client, other] = await world.connectMany(2);
  const statements = ["begin", "create table t (x int)", "insert into t values (1)", "commit"];
  await client!.send(...statements.map((sql) => frontend.query(sql)));
  for (const status of ["T", "T", "T", "I"]) {
    assert.equal((await client!.result()).status, status);
  }
  assert.equal(valueOf(await other!.query("select x from t")), "1");
});

Deno.test("a named statement works within one piece in transaction pooling", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  await client.send(
    ...[frontend.parse("select 1", "named"), frontend.bind({ statement: "named" })],
    ...[frontend.execute(), frontend.close("S", "named"), frontend.sync()],
  );
  assert.equal((await client.result()).types, "12DC3Z");
});

for (const poolMode of MODES) {
  Deno.test(`one Query with many results has one ReadyForQuery in ${poolMode} pooling`, async () => {
    await using world = await startWorld(postgres, { pooler: { ...SHARED, pool_mode: poolMode } });
    const client = await world.connect();
    const many = await client.query("select 1; select 2 where false; set local timezone = 'UTC'");
    assert.equal(many.types.replaceAll(/[NS]/g, ""), "TDCTCCZ");
    assert.deepEqual((await client.query("")).types, "IZ");
    assert.deepEqual((await client.extended("")).types, "12nIZ");
  });

  Deno.test(`FunctionCall works in ${poolMode} pooling`, async () => {
    await using world = await startWorld(postgres, { pooler: { ...SHARED, pool_mode: poolMode } });
    const client = await world.connect();
    const [row] = await world.direct("select 'pg_backend_pid'::regproc::oid::int as oid");
    await client.send(frontend.functionCall(Number(row?.["oid"])));
    const [answer, ready] = await client.receiveUntilReady();
    assert.deepEqual([answer?.type, ready?.type], ["V", "Z"]);
    const pid = new TextDecoder().decode(answer?.body.subarray(4));
    assert.deepEqual([pid], (await world.backendPids()).map(String));
  });
}

/** With a server that is closed where its client was lost. */
const CLOSING = { ...SHARED, on_client_loss: "close" } as const;

/** Ways to leave without having finished. */
const DEPARTURES:
  readonly (readonly [name: string, leave: (client: TestClient) => Promise<void>])[] = [
    ["vanishes", (client) => Promise.resolve(client.close())],
    ["terminates", (client) => client.terminate()],
  ];

for (const poolMode of ["session", "transaction"] as const) {
  for (const [name, leave] of DEPARTURES) {
    Deno.test(`a client that ${name} in a transaction takes its server along in ${poolMode} pooling, if told so`, async () => {
      await using world = await startWorld(postgres, {
        pooler: { ...CLOSING, pool_mode: poolMode },
      });
      const client = await world.connect();
      await client.query("create table t (x int); insert into t values (1)");
      await client.query("begin; update t set x = 2; set timezone = 'Asia/Tokyo'");
      const pid = await pidOf(client);
      await leave(client);
      const next = await world.connect();
      // Without the end of the other transaction this update would wait for ever.
      assert.deepEqual((await next.query("update t set x = x + 10 returning x")).rows, [["11"]]);
      assert.equal(valueOf(await next.query("show timezone")), "UTC");
      assert.notEqual(await pidOf(next), pid);
      await world.untilBackends("the end", (all) => all.every((backend) => backend.pid !== pid));
    });
  }
}

Deno.test("a client that vanishes with a reply due never puts its server back, if told so", async () => {
  await using world = await startWorld(postgres, { pooler: CLOSING });
  const client = await world.connect();
  const gate = await world.gate();
  await client.send(frontend.query(gate.query(token())));
  const [{ pid } = { pid: 0 }] = await world.untilBackends("a query at the gate", (all) => {
    return all[0]?.state === "active";
  });
  await assertHolds(world, () => Promise.resolve(client.close()));
  await gate.open();
  await world.untilBackends("the end", (all) => all.every((backend) => backend.pid !== pid));
  assert.equal((await world.backends()).length, 1);
});

Deno.test("a client that vanishes with a Sync due never puts its server back, if told so", async () => {
  await using world = await startWorld(postgres, { pooler: CLOSING });
  const client = await world.connect();
  const pid = await pidOf(client);
  await client.send(...unsynced("select 1"), frontend.flush());
  while ((await client.receive())?.type !== "C");
  client.close();
  const next = await world.connect();
  assert.notEqual(await pidOf(next), pid);
});

Deno.test("a client that vanishes before it has read its result never puts its server back, if told so", async () => {
  await using world = await startWorld(postgres, { pooler: CLOSING });
  const client = await world.connect();
  const pid = await pidOf(client);
  await client.send(
    frontend.query("select repeat('x', 10000) from generate_series(1, 10000)"),
  );
  await world.untilBackends("a running query", (all) => all[0]?.state === "active");
  client.close();
  const next = await world.connect();
  assert.notEqual(await pidOf(next), pid);
  await world.untilBackendCount(1);
});

Deno.test("a client that vanishes in the middle of a message never puts its server back", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const pid = await pidOf(client);
  const message = frontend.query(`select '${"x".repeat(20_000)}'`);
  await client.send(message.subarray(0, 10_000));
  await world.untilPool({ sv_active: 1 });
  client.close();
  const next = await world.connect();
  assert.notEqual(await pidOf(next), pid);
  await world.untilBackendCount(1);
});

Deno.test("what a client asked that vanished while it waited is not done", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const holder = await world.connect();
  await holder.query("create table t (x text)");
  await holder.query("begin");
  const [leaver, patient] = await world.connectMany(2);
  await leaver!.send(frontend.query("insert into t values ('leaver')"));
  await world.untilWaiting(1);
  await patient!.send(frontend.query("insert into t values ('patient')"));
  await world.untilWaiting(2);
  leaver!.close();
  await world.untilWaiting(1);
  await holder.query("commit");
  await patient!.result();
  assert.deepEqual((await holder.query("select x from t")).rows, [["patient"]]);
  await world.untilPool({ cl_waiting: 0, cl_active: 2 });
});

Deno.test("a client that leaves between two transactions leaves its server to the next", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  for (const [, leave] of DEPARTURES) {
    const client = await world.connect();
    const pid = await pidOf(client);
    await leave(client);
    assert.equal(await pidOf(await world.connect()), pid);
  }
});

Deno.test("nothing of a session is left for the next one after server_reset_query", async () => {
  await using world = await startWorld(postgres, { pooler: { ...SHARED, pool_mode: "session" } });
  const client = await world.connect();
  await client.query("create temp table mine (x int); set work_mem = '7MB'; listen mine");
  await client.query("prepare mine as select 1; select pg_advisory_lock(4711)");
  await client.query("declare mine cursor with hold for select 1");
  const pid = await pidOf(client);
  await client.terminate();
  const next = await world.connect();
  assert.equal(await pidOf(next), pid);
  assert.equal(valueOf(await next.query("select to_regclass('pg_temp.mine')")), null);
  assert.notEqual(valueOf(await next.query("show work_mem")), "7MB");
  const left = await next.query(
    `select (select count(*) from pg_prepared_statements) + (select count(*) from pg_cursors)
       + (select count(*) from pg_listening_channels())
       + (select count(*) from pg_locks where locktype = 'advisory' and pid = ${pid})`,
  );
  assert.equal(valueOf(left), "0");
});

Deno.test("a client waiting in session pooling is served when the session before it has been reset", async () => {
  await using world = await startWorld(postgres, { pooler: { ...SHARED, pool_mode: "session" } });
  const client = await world.connect();
  await client.query("set work_mem = '7MB'");
  const next = await world.connect();
  await next.send(frontend.query("show work_mem"));
  await world.untilWaiting(1);
  await client.terminate();
  assert.notEqual(valueOf(await next.result()), "7MB");
});

Deno.test("a server whose reset query fails is closed", async () => {
  await using world = await startWorld(postgres, {
    pooler: { ...SHARED, pool_mode: "session", server_reset_query: "select 1/0" },
  });
  const client = await world.connect();
  const pid = await pidOf(client);
  await client.terminate();
  assert.notEqual(await pidOf(await world.connect()), pid);
  await world.untilBackendCount(1);
});

Deno.test("a server is not reset in transaction pooling", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const [client, next] = await world.connectMany(2);
  await client!.query("set work_mem = '7MB'");
  assert.equal(valueOf(await next!.query("show work_mem")), "7MB");
});

Deno.test("server_reset_query_always resets in transaction pooling too", async () => {
  await using world = await startWorld(postgres, {
    pooler: { ...SHARED, server_reset_query_always: true },
  });
  const [client, next] = await world.connectMany(2);
  await client!.query("set work_mem = '7MB'");
  const pid = await pidOf(client!);
  assert.notEqual(valueOf(await next!.query("show work_mem")), "7MB");
  assert.equal(await pidOf(next!), pid);
});

Deno.test("a notification for an idle server does not close it", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  await client.query("listen news");
  const pid = await pidOf(client);
  await world.direct("notify news, 'for nobody'");
  const other = await world.connect();
  const { rows, types } = await other.query("select pg_backend_pid()");
  assert.deepEqual(rows, [[String(pid)]]);
  // PostgreSQL may tell it as late as now, in front of the answer.
  assert.match(types, /^A?TDCZ$/);
});
