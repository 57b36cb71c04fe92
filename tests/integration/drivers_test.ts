/**
 * The clients people have (psql, pgbench, node-postgres, postgres.js) in every pool mode, many over
 * few servers, with passwords on both sides: each gets its own rows, and all of them.
 */

import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import postgresJs from "postgres";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import {
  type ProgramResult,
  runProgram,
  startWorld,
  token,
  until,
  type World,
} from "./support/world.ts";

const postgres = await startPostgres();
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

const MODES = ["session", "transaction", "statement"] as const;
type PoolMode = typeof MODES[number];

/** Those in which a transaction can be open. */
const TRANSACTIONAL = ["session", "transaction"] as const;

/** A world in which clients log in with SCRAM and share a few servers. */
function sharedWorld(poolMode: PoolMode, poolSize = 3): Promise<World> {
  return startWorld(postgres, {
    pooler: { pool_mode: poolMode, default_pool_size: poolSize, auth_type: "scram-sha-256" },
  });
}

/** postgres.js, connected through Sluice; named statements only where a server stays with its client. */
function postgresJsOf(world: World, poolMode: PoolMode, max: number) {
  const sql = postgresJs({
    ...world.driverOptions,
    max,
    prepare: poolMode === "session",
    onnotice: () => {},
  });
  return { sql, [Symbol.asyncDispose]: () => sql.end({ timeout: 5 }) };
}

/** Asks one thing in one of four ways and checks that it is that which comes back. */
async function askOnce(client: pg.Client, round: number): Promise<void> {
  const mine = token();
  switch (round % 4) {
    case 0: {
      const { rows } = await client.query(`select '${mine}' as mine`);
      return assert.deepEqual(rows, [{ mine }]);
    }
    case 1: {
      const text = "select $1::text as mine, $2::int as round";
      const { rows } = await client.query(text, [mine, round]);
      return assert.deepEqual(rows, [{ mine, round }]);
    }
    case 2: {
      const count = round % 50;
      const { rows } = await client.query(`select '${mine}' from generate_series(1, ${count})`);
      return assert.equal(rows.length, count);
    }
    default:
      return await assert.rejects(client.query("select $1::int", [mine]), { code: "22P02" });
  }
}

for (const poolMode of MODES) {
  Deno.test(`node-postgres: 25 clients over 3 servers get their own rows in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode);
    // A session keeps its server: there clients come and go, so that all get a turn.
    // None ends with an error: the driver tells it, and would leave, before ReadyForQuery has come.
    const [sessions, rounds] = poolMode === "session" ? [4, 18] : [1, 78];
    await Promise.all(Array.from({ length: 25 }, async () => {
      for (let session = 0; session < sessions; session++) {
        const client = new pg.Client(world.driverOptions);
        await client.connect();
        for (let round = 0; round < rounds; round++) await askOnce(client, round);
        await client.end();
      }
    }));
    assert.equal((await world.backends()).length, 3);
  });

  Deno.test(`postgres.js: pipelined queries get their own rows in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode);
    await using driver = postgresJsOf(world, poolMode, poolMode === "session" ? 3 : 12);
    const { sql } = driver;
    await Promise.all(Array.from({ length: 2000 }, async (_, round) => {
      const mine = token();
      if (round % 10 === 9) {
        return await assert.rejects(sql`select ${mine}::int as mine`, { code: "22P02" });
      }
      assert.deepEqual([...await sql`select ${mine}::text as mine`], [{ mine }]);
    }));
    assert.equal((await world.backends()).length, 3);
  });

  Deno.test(`node-postgres: an error leaves the client usable in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode, 1);
    const client = await world.driver();
    for (let round = 0; round < 3; round++) {
      await assert.rejects(client.query("select 1; select 1/0; select 2"), { code: "22012" });
      await assert.rejects(client.query("selec 1"), { code: "42601" });
      await assert.rejects(client.query("select $1::int / 0", [1]), { code: "22012" });
      await assert.rejects(client.query("select * from nowhere where x = $1", [1]), {
        code: "42P01",
      });
      assert.deepEqual((await client.query("select $1::text as x", ["ok"])).rows, [{ x: "ok" }]);
    }
    assert.equal((await world.backends()).length, 1);
  });

  Deno.test(`a result of 30 MB arrives whole in ${poolMode} pooling, others being served meanwhile`, async () => {
    await using world = await sharedWorld(poolMode, 2);
    const [big, small] = [await world.driver(), await world.driver()];
    let isDone = false;
    const receiving = big.query<{ i: number; text: string }>({
      text: "select i, repeat(chr(97 + i % 26), 1000) as text from generate_series(1, $1) as i",
      values: [30_000],
    }).finally(() => isDone = true);
    let served = 0;
    while (!isDone) {
      await askOnce(small, served);
      served += 1;
    }
    const { rows } = await receiving;
    assert.equal(rows.length, 30_000);
    for (const [at, { i, text }] of rows.entries()) {
      assert.equal(i, at + 1);
      assert.equal(text, String.fromCharCode(97 + i % 26).repeat(1000));
    }
    assert.ok(served > 0);
  });

  Deno.test(`postgres.js: a cursor fetches row by row in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode, 2);
    await using driver = postgresJsOf(world, poolMode, 2);
    const { sql } = driver;
    let sum = 0;
    for await (const rows of sql`select i from generate_series(1, 1000) as i`.cursor(70)) {
      // Somebody else's query comes between.
      const mine = token();
      const other = await sql`select ${mine}::text as mine`;
      assert.deepEqual([...other], [{ mine }]);
      for (const row of rows) sum += row["i"];
    }
    assert.equal(sum, 500_500);
  });
}

for (const poolMode of TRANSACTIONAL) {
  Deno.test(`node-postgres: transactions of many clients do not mix in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode, poolMode === "session" ? 10 : 3);
    const first = await world.driver();
    await first.query("create table entries (who text, kept bool)");
    await first.end();
    await Promise.all(Array.from({ length: 10 }, async () => {
      const client = new pg.Client(world.driverOptions);
      await client.connect();
      for (let round = 0; round < 12; round++) {
        const mine = token();
        const isKept = round % 3 !== 0;
        await client.query("begin");
        await client.query("insert into entries values ($1, $2)", [mine, isKept]);
        const { rows } = await client.query("select who from entries where who = $1", [mine]);
        assert.deepEqual(rows, [{ who: mine }]);
        if (round % 6 === 0) await assert.rejects(client.query("select 1/0"), { code: "22012" });
        await client.query(isKept ? "commit" : "rollback");
      }
      await client.end();
    }));
    assert.deepEqual(
      await world.direct(
        `select count(*)::int as count, bool_and(kept) as kept from ${world.user}.entries`,
      ),
      [{ count: 80, kept: true }],
    );
  });

  Deno.test(`postgres.js: begin() commits and rolls back in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode, 3);
    await using driver = postgresJsOf(world, poolMode, poolMode === "session" ? 3 : 8);
    const { sql } = driver;
    await sql`create table entries (x int)`;
    await Promise.all(Array.from({ length: 40 }, async (_, i) => {
      const transaction = sql.begin(async (sql) => {
        await sql`insert into entries values (${i})`;
        const undone = sql.savepoint(async (sql) => {
          await sql`insert into entries values (${i + 1000})`;
          throw new Error("back to the savepoint");
        });
        await assert.rejects(undone, /back to the savepoint/);
        if (i % 2 === 1) throw new Error("odd");
      });
      if (i % 2 === 1) await assert.rejects(transaction, /odd/);
      else await transaction;
    }));
    assert.deepEqual([...await sql`select count(*)::int, sum(x)::int from entries`], [
      { count: 20, sum: 380 },
    ]);
  });

  Deno.test(`a declared cursor is fetched from in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode, 2);
    const clients = [await world.driver(), await world.driver()] as const;
    const sums = [0, 0] as [number, number];
    for (const [at, client] of clients.entries()) {
      await client.query("begin");
      const from = at * 1000;
      await client.query(
        `declare c cursor for select i from generate_series(${from + 1}, ${from + 100}) as i`,
      );
    }
    for (let round = 0; round < 10; round++) {
      for (const [at, client] of clients.entries()) {
        const { rows } = await client.query<{ i: number }>("fetch 10 from c");
        for (const { i } of rows) sums[at as 0 | 1] += i;
      }
    }
    for (const client of clients) await client.query("commit");
    assert.deepEqual(sums, [5050, 105_050]);
  });

  Deno.test(`a named portal is executed piece by piece in ${poolMode} pooling`, async () => {
    await using world = await sharedWorld(poolMode, 1);
    const client = await world.connect();
    await client.query("begin");
    await client.send(
      frontend.parse("select i from generate_series(1, 5) as i"),
      frontend.bind({ portal: "p" }),
      frontend.execute("p", 2),
      frontend.sync(),
    );
    assert.equal((await client.result()).types, "12DDsZ");
    await client.send(frontend.execute("p", 2), frontend.sync());
    assert.deepEqual((await client.result()).rows, [["3"], ["4"]]);
    await client.send(frontend.execute("p"), frontend.close("P", "p"), frontend.sync());
    assert.equal((await client.result()).types, "DC3Z");
    assert.equal((await client.query("commit")).status, "I");
  });
}

Deno.test("node-postgres: named statements work in session pooling and are gone with the session", async () => {
  await using world = await sharedWorld("session", 1);
  for (let session = 0; session < 3; session++) {
    const client = new pg.Client(world.driverOptions);
    await client.connect();
    for (let round = 0; round < 3; round++) {
      const { rows } = await client.query({
        name: "named",
        text: `select $1::int + ${session} as x`,
        values: [round],
      });
      assert.deepEqual(rows, [{ x: round + session }]);
    }
    await client.end();
  }
  assert.equal((await world.backends()).length, 1);
});

Deno.test("node-postgres: LISTEN brings notifications in session pooling, to the listener alone", async () => {
  await using world = await sharedWorld("session", 2);
  const [listener, other] = [await world.driver(), await world.driver()];
  const heard: string[] = [];
  const strayed: unknown[] = [];
  listener.on("notification", ({ channel, payload }) => heard.push(`${channel}: ${payload}`));
  other.on("notification", (message) => strayed.push(message));
  await listener.query("listen news");
  for (let i = 0; i < 5; i++) await other.query("select pg_notify('news', $1)", [`item ${i}`]);
  await world.direct("notify news, 'item 5'");
  const all = Array.from({ length: 6 }, (_, i) => `news: item ${i}`);
  await until("all notifications", () => heard.length === all.length);
  assert.deepEqual(heard, all);
  assert.deepEqual(strayed, []);
});

Deno.test("postgres.js: listen() works in session pooling", async () => {
  await using world = await sharedWorld("session", 3);
  await using driver = postgresJsOf(world, "session", 1);
  const { promise, resolve } = Promise.withResolvers<string>();
  const { unlisten } = await driver.sql.listen("news", resolve);
  await driver.sql.notify("news", "read all about it");
  assert.equal(await promise, "read all about it");
  await unlisten();
});

Deno.test("a wrong password is told to the driver as PostgreSQL tells it", async () => {
  await using world = await sharedWorld("transaction");
  const client = new pg.Client({ ...world.driverOptions, password: "wrong" });
  await assert.rejects(client.connect(), { code: "28P01", severity: "FATAL" });
});

/** Runs a script in psql, unaligned and without headers. */
function psql(world: World, script: string, ...args: string[]): Promise<ProgramResult> {
  return runProgram("psql", {
    args: ["-X", "-A", "-t", "-q", ...args],
    env: world.libpqEnv,
    stdin: script,
  });
}

for (const poolMode of MODES) {
  Deno.test({
    name: `psql runs a script in ${poolMode} pooling`,
    ignore: isMissing("psql"),
    async fn() {
      await using world = await sharedWorld(poolMode, 1);
      const script = `
        create table t (x int primary key, y text);
        insert into t select i, 'row ' || i from generate_series(1, 100) as i;
        select 1/0;
        select count(*), max(y) from t;
        select x from t where x < 3 order by x \\g
        select 'a' as a, 2 as b \\gdesc
        do $$ begin raise notice 'noticed'; end $$;
        select y from t where x = 7 \\gset
        \\echo :y
        \\d t
      `;
      const { code, stdout, stderr } = await psql(world, script);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^100\|row 99\n1\n2\na\|text\nb\|integer\nrow 7\n/);
      assert.match(stdout, /x\|integer\|\|not null/);
      assert.match(stderr, /ERROR: {2}division by zero/);
      assert.match(stderr, /NOTICE: {2}noticed/);
      assert.equal((await world.backends()).length, 1);
    },
  });
}

for (const poolMode of TRANSACTIONAL) {
  Deno.test({
    name: `psql's --single-transaction and ROLLBACK hold in ${poolMode} pooling`,
    ignore: isMissing("psql"),
    async fn() {
      await using world = await sharedWorld(poolMode, 1);
      const failed = await psql(
        world,
        "create table t (x int);\ninsert into t values ('x');\n",
        ...["-v", "ON_ERROR_STOP=1", "--single-transaction"],
      );
      assert.equal(failed.code, 3);
      const { stdout } = await psql(
        world,
        `select to_regclass('t') is null;
         begin; create table t (x int); rollback;
         select to_regclass('t') is null;
         begin; create table t (x int); savepoint s; select 1/0; rollback to s; commit;
         select to_regclass('t') is null;`,
      );
      assert.equal(stdout, "t\nt\nf\n");
    },
  });
}

/** What pgbench is run with, by pool mode; its script of updates needs transactions. */
const BENCHES: readonly (readonly [poolMode: PoolMode, protocol: string, builtin: string])[] = [
  ["session", "simple", "tpcb-like"],
  ["session", "extended", "tpcb-like"],
  ["session", "prepared", "tpcb-like"],
  ["transaction", "simple", "tpcb-like"],
  ["transaction", "extended", "tpcb-like"],
  ["statement", "simple", "select-only"],
  ["statement", "extended", "select-only"],
];

for (const poolMode of MODES) {
  Deno.test({
    name: `pgbench works in ${poolMode} pooling, and its accounts balance`,
    ignore: isMissing("pgbench"),
    async fn() {
      const clientCount = 16;
      await using world = await sharedWorld(poolMode, poolMode === "session" ? clientCount : 4);
      const env = world.libpqEnv;
      const made = await runProgram("pgbench", {
        args: ["-i", "-I", "dtgp", "-q"],
        // It makes its tables in a transaction.
        env: poolMode === "statement" ? world.directLibpqEnv : env,
      });
      assert.equal(made.code, 0, made.stderr);
      for (const [, protocol, builtin] of BENCHES.filter(([mode]) => mode === poolMode)) {
        const { code, stdout, stderr } = await runProgram("pgbench", {
          args: ["-n", "-M", protocol, "-b", builtin, "-c", String(clientCount), "-t", "40"],
          env,
        });
        assert.equal(code, 0, stderr);
        assert.match(stdout, /actually processed: 640\/640/);
        assert.match(stdout, /failed transactions: 0 /);
      }
      const schema = world.user;
      const [sums] = await world.direct(
        `select (select sum(abalance) from ${schema}.pgbench_accounts)::text as accounts,
           (select sum(tbalance) from ${schema}.pgbench_tellers)::text as tellers,
           (select sum(bbalance) from ${schema}.pgbench_branches)::text as branches,
           (select coalesce(sum(delta), 0) from ${schema}.pgbench_history)::text as history`,
      );
      assert.equal(new Set(Object.values(sums!)).size, 1, JSON.stringify(sums));
    },
  });
}
