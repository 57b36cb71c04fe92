/**
 * Clients that are lost amid something: PostgreSQL's backend serves the next one, and nothing is left
 * of the client before.
 */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { saysItIsOver } from "../support/connection_end.ts";
import { frontend } from "../support/messages.ts";
import type { TestClient } from "../support/test_client.ts";
import { pidOf, startWorld, token, until, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** One server for all. */
const SHARED = { pool_mode: "transaction", default_pool_size: 1 } as const;

const MODES = ["session", "transaction"] as const;

/** The messages of one statement in the extended protocol, without a Sync. */
function unsynced(sql: string): Uint8Array[] {
  return [frontend.parse(sql), frontend.bind(), frontend.describe("P"), frontend.execute()];
}

/** Waits until PostgreSQL runs something for the world. */
async function untilRunning(world: World): Promise<void> {
  await world.untilBackends("a running query", ([backend]) => backend?.state === "active");
}

/** Asserts that the next client is served by the same backend, and gets what it asked for. */
async function assertServedBy(world: World, pid: number): Promise<void> {
  const next = await world.connect();
  const mine = token();
  const { rows, types } = await next.query(`select pg_backend_pid(), '${mine}'`);
  assert.deepEqual([rows, types], [[[String(pid), mine]], "TDCZ"]);
}

/** Ways to leave without having finished. */
const DEPARTURES:
  readonly (readonly [name: string, leave: (client: TestClient) => Promise<void>])[] = [
    ["vanishes", (client) => Promise.resolve(client.close())],
    ["terminates", (client) => client.terminate()],
  ];

for (const poolMode of MODES) {
  for (const [name, leave] of DEPARTURES) {
    Deno.test(`a transaction whose client ${name} is rolled back, and its server goes on in ${poolMode} pooling`, async () => {
      await using world = await startWorld(postgres, {
        pooler: { ...SHARED, pool_mode: poolMode },
      });
      const client = await world.connect();
      await client.query("create table t (x int)");
      await client.query("begin; insert into t values (1); set timezone = 'Asia/Tokyo'");
      const pid = await pidOf(client);
      await leave(client);
      const next = await world.connect();
      assert.deepEqual((await next.query("select x from t")).rows, []);
      assert.equal(valueOf(await next.query("show timezone")), "UTC");
      assert.equal(await pidOf(next), pid);
      const [{ state } = { state: "" }] = await world.backends();
      assert.equal(state, "idle");
    });
  }
}

Deno.test("a failed transaction whose client vanishes does not keep its server from the next one", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const pid = await pidOf(client);
  await client.query("begin");
  assert.equal((await client.query("select 1/0")).status, "E");
  client.close();
  await assertServedBy(world, pid);
});

for (const poolMode of [...MODES, "statement"] as const) {
  Deno.test(`a query of ten minutes whose client vanishes holds its server no longer in ${poolMode} pooling`, async () => {
    await using world = await startWorld(postgres, { pooler: { ...SHARED, pool_mode: poolMode } });
    const client = await world.connect();
    const pid = await pidOf(client);
    await client.send(frontend.query("select pg_sleep(600)"));
    await untilRunning(world);
    client.close();
    await assertServedBy(world, pid);
  });
}

Deno.test("what was executed without a Sync is not committed when its client is lost", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  for (const [, leave] of DEPARTURES) {
    const client = await world.connect();
    await client.query("create table if not exists t (x int)");
    const pid = await pidOf(client);
    await client.send(...unsynced("insert into t values (1)"), frontend.flush());
    while ((await client.receive())?.type !== "C");
    await leave(client);
    await assertServedBy(world, pid);
    const next = await world.connect();
    assert.equal(valueOf(await next.query("select count(*) from t")), "0");
  }
});

Deno.test("a cut COPY to PostgreSQL leaves no row, in a transaction or not", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  for (const begin of ["select 1", "begin"]) {
    const client = await world.connect();
    await client.query("create table if not exists t (x text)");
    const pid = await pidOf(client);
    await client.query(begin);
    await client.send(frontend.query("copy t from stdin"));
    await client.receive();
    for (let i = 0; i < 100; i++) await client.send(frontend.copyData("row\n".repeat(1_000)));
    client.close();
    await assertServedBy(world, pid);
    const next = await world.connect();
    assert.equal(valueOf(await next.query("select count(*) from t")), "0");
  }
});

Deno.test("an extended COPY without a Sync that is cut leaves no row", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  await client.query("create table t (x text)");
  const pid = await pidOf(client);
  await client.send(...unsynced("copy t from stdin"), frontend.flush());
  while ((await client.receive())?.type !== "G");
  await client.send(frontend.copyData("one\n"));
  client.close();
  await assertServedBy(world, pid);
  const next = await world.connect();
  assert.equal(valueOf(await next.query("select count(*) from t")), "0");
});

for (
  const [what, sql] of [
    ["a COPY", "copy (select repeat('x', 1000) from generate_series(1, 500000)) to stdout"],
    ["rows", "select repeat('x', 1000) from generate_series(1, 500000)"],
    ["rows longer than any buffer", "select repeat('x', 20000000) from generate_series(1, 25)"],
  ] as const
) {
  Deno.test(`500 MB of ${what} whose client vanishes in the middle stop, and their server goes on`, async () => {
    await using world = await startWorld(postgres, { pooler: SHARED });
    const client = await world.connect();
    const pid = await pidOf(client);
    await client.send(frontend.query(sql));
    await client.receive();
    await untilRunning(world);
    client.close();
    await assertServedBy(world, pid);
  });
}

Deno.test("a pipeline of a hundred whose client reads nothing is read to its end", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const pid = await pidOf(client);
  const request = [...unsynced("select repeat('x', 100000)"), frontend.sync()];
  await client.send(...Array.from({ length: 100 }, () => request).flat());
  await untilRunning(world);
  client.close();
  await assertServedBy(world, pid);
});

Deno.test("clients are served that wait while the server of a lost one is brought back", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const pid = await pidOf(client);
  const waiting = await world.connectMany(5);
  await client.query("begin");
  await client.send(frontend.query("select pg_sleep(600)"));
  await untilRunning(world);
  const marks = waiting.map(() => token());
  for (const [at, each] of waiting.entries()) {
    await each.send(frontend.query(`select pg_backend_pid(), '${marks[at]}'`));
  }
  await world.untilWaiting(5);
  client.close();
  for (const [at, each] of waiting.entries()) {
    assert.deepEqual((await each.result()).rows, [[String(pid), marks[at]]]);
  }
});

Deno.test("the loss of a client costs the server after a request in part, and the log says so", async () => {
  await using world = await startWorld(postgres, { pooler: SHARED });
  const client = await world.connect();
  const pid = await pidOf(client);
  await client.send(frontend.query(`select '${"x".repeat(20_000)}'`).subarray(0, 10_000));
  await world.untilPool({ sv_active: 1 });
  client.close();
  const next = await world.connect();
  assert.notEqual(await pidOf(next), pid);
  await until("a line in the log", () => world.sluice.log().includes("a request was sent in part"));
});

/** What a client may be amid when it is lost; whatever it writes is of a client that is lost. */
const AMID: readonly ((client: TestClient) => Promise<void>)[] = [
  async (client) => {
    await client.query("begin; insert into t values ('lost')");
  },
  async (client) => {
    await client.query("begin; insert into t values ('lost')");
    await client.query("select 1/0");
  },
  async (client) => {
    await client.query("begin; insert into t values ('lost'); set timezone = 'Asia/Tokyo'");
    await client.send(frontend.query("select 'lost', pg_sleep(600)"));
  },
  (client) => client.send(frontend.query("select 'lost', pg_sleep(600)")),
  (client) => client.send(frontend.query("select 'lost'")),
  (client) =>
    client.send(frontend.query("select 'lost', repeat('x', 1000) from generate_series(1, 100000)")),
  (client) =>
    client.send(
      frontend.query("copy (select 'lost' from generate_series(1, 1000000)) to stdout"),
    ),
  (client) => client.send(frontend.query("copy t from stdin"), frontend.copyData("lost\n")),
  async (client) => {
    await client.send(frontend.query("copy t from stdin"));
    await client.receive();
    await client.send(frontend.copyData("lost\n".repeat(10_000)));
  },
  (client) => client.send(...unsynced("insert into t values ('lost')"), frontend.flush()),
  (client) =>
    client.send(
      ...Array.from({ length: 20 }, () => [...unsynced("select 'lost'"), frontend.sync()]).flat(),
    ),
];

/** Waits for what a client does, which may end with its connection. */
async function untilClosed(doing: Promise<void>): Promise<void> {
  try {
    await doing;
  } catch (error) {
    if (!saysItIsOver(error)) throw error;
  }
}

/** A following client: whatever it gets must be its own. */
async function assertUntouched(client: TestClient): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const mine = token();
    const result = await client.query(`select '${mine}', pg_sleep(0.001)`);
    assert.deepEqual([result.types, result.rows, result.status], ["TDCZ", [[mine, ""]], "I"]);
    const other = token();
    const again = await client.extended(
      `select '${other}', current_setting('timezone'), pg_current_xact_id_if_assigned()`,
    );
    assert.deepEqual([again.types, again.rows], ["12TDCZ", [[other, "UTC", null]]]);
  }
}

Deno.test("fifty clients that vanish at once, again and again, cost none of five servers and disturb nobody", async () => {
  await using world = await startWorld(postgres, {
    pooler: { ...SHARED, default_pool_size: 5, max_client_conn: 200 },
  });
  const first = await world.connect();
  await first.query("create table t (x text)");
  // All five are there before the first is lost.
  await world.openServers(5);
  const pids = (await world.untilBackendCount(5)).map(({ pid }) => pid).toSorted();
  for (let round = 0; round < 6; round++) {
    const lost = await world.connectMany(50);
    const busy = lost.map((client, at) => untilClosed(AMID[(at + round) % AMID.length]!(client)));
    // Five of them have a server, and those who wait are lost while they do.
    await until("five are busy", async () => {
      const states = (await world.backends()).map(({ state }) => state);
      return states.every((state) => state !== "idle");
    });
    const following = await world.connectMany(10);
    const served = following.map(assertUntouched);
    for (const client of lost) client.close();
    await Promise.all([...served, ...busy]);
    for (const client of following) client.close();
    await world.untilPool({ sv_active: 0, sv_tested: 0, cl_waiting: 0 });
  }
  assert.deepEqual((await first.query("select * from t")).rows, []);
  assert.deepEqual((await world.backendPids()).toSorted(), pids);
});
