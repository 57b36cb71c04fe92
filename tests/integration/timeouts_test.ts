/** The limits of time: who is ended by them, what is told, and what becomes of the server. */

import assert from "node:assert/strict";
import { show } from "../support/console.ts";
import { eventually, within } from "../support/eventually.ts";
import { logIn, outcome } from "../support/logins.ts";
import { frontend, utf8 } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { leftovers, startBefore, target } from "../support/pooler_trouble.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TcpBackend } from "../support/tcp_backend.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection, serverOf } from "../support/toml_config.ts";

const shared = sharedPostgres();

// --- timeouts ---

/** A database where all are the superuser, and users with limits of their own. */
async function startWithLimits(
  pooler: ConfigSection,
  users: Readonly<Record<string, ConfigSection>>,
): Promise<SluiceProcess> {
  const postgres = shared.get();
  const forced = { user: "postgres", password: postgres.password, dbname: "postgres" };
  const named = Object.entries(users).map(([name, own]) =>
    [name, { password: "x", ...own }] as const
  );
  return await startSluice({
    config: configFor(postgres, {
      pooler: { pool_mode: "transaction", ...pooler },
      databases: { app: { ...serverOf(postgres), ...forced } },
      users: Object.fromEntries(named),
    }),
  });
}

/** Logs in, runs `queries` and waits; answers the error that ends it. */
async function lastWords(
  sluice: SluiceProcess,
  user: string,
  queries: readonly string[],
): Promise<string> {
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.login({ user, database: "app" });
  for (const sql of queries.slice(0, -1)) await client.query(sql);
  const last = queries.at(-1);
  const asked = last === undefined ? client.result() : client.query(last);
  const isLast = ({ severity }: { severity?: string }) => severity === "FATAL";
  let report = (await within("an answer, or the end", asked)).errors.find(isLast);
  report ??= (await within("the end", client.result())).errors.find(isLast);
  client.close();
  return `${report?.severity} ${report?.sqlstate} ${report?.message}`;
}

const IDLE = "FATAL 57P05 client_idle_timeout";
const IDLE_TRANSACTION = "FATAL 25P03 idle transaction timeout";
const TRANSACTION = "FATAL 25P04 transaction timeout";
const QUERY = "FATAL 57014 query timeout";

Deno.test("clients are closed at the limits of time that are set for all", async () => {
  const several = {
    client_idle_timeout: 0.3,
    idle_transaction_timeout: 0.3,
    query_timeout: 0.3,
  };
  const cases: readonly (readonly [ConfigSection, readonly [readonly string[], string][]])[] = [
    [several, [
      [["select 1"], IDLE],
      [[], IDLE],
      [["begin"], IDLE_TRANSACTION],
      [["begin", "select no_such_thing", "select 1"], IDLE_TRANSACTION],
      [["select pg_sleep(5)"], QUERY],
    ]],
    [{ transaction_timeout: 0.3 }, [
      [["begin"], TRANSACTION],
      [["begin", "select pg_sleep(5)"], TRANSACTION],
    ]],
  ];
  await Promise.all(cases.map(async ([pooler, ends]) => {
    await using sluice = await startWithLimits(pooler, { ann: {} });
    await Promise.all(ends.map(async ([queries, expected]) => {
      assert.equal(await lastWords(sluice, "ann", queries), expected);
    }));
  }));
});

/**
 * Half a second, in which everything has ended that is due, and the rest for a busy machine: the other
 * limits are far longer. How exact it is, is the unit tests' business, which have the time in hand.
 */
const LATEST_MS = 5_000;

/** Answers what ends a client as `lastWords()` does, and throws if it is early, or late by too much. */
async function timely(limitMs: number, ending: () => Promise<string>): Promise<string> {
  const startedAtMs = performance.now();
  const words = await ending();
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs >= limitMs && tookMs < limitMs + LATEST_MS, `${words} after ${tookMs} ms`);
  return words;
}

Deno.test("a user's own limits of time go before those for all, and are neither early nor late", async () => {
  const limits = {
    client_idle_timeout: 60,
    idle_transaction_timeout: 60,
    query_timeout: 60,
    query_wait_timeout: 60,
    transaction_timeout: 60,
  };
  await using sluice = await startWithLimits({ ...limits, default_pool_size: 4 }, {
    idle: { client_idle_timeout: 0.6 },
    idle_tx: { idle_transaction_timeout: 0.6 },
    tx: { transaction_timeout: 0.6 },
    query: { query_timeout: 0.6 },
    wait: { query_wait_timeout: 0.6 },
    ann: {},
  });
  const first = await logIn({ ...target(sluice, "ann"), database: "app" });
  const last = (user: string, queries: string[]) =>
    timely(600, () => lastWords(sluice, user, queries));
  const words = await Promise.all([
    last("idle", ["select 1"]),
    last("idle_tx", ["begin"]),
    last("tx", ["begin"]),
    last("query", ["select pg_sleep(30)"]),
  ]);
  assert.deepEqual(words, [IDLE, IDLE_TRANSACTION, TRANSACTION, QUERY]);
  const holders = [first];
  for (let i = 1; i < 4; i++) {
    holders.push(await logIn({ ...target(sluice, "ann"), database: "app" }));
  }
  for (const holder of holders) await holder.query("begin");
  assert.equal(await last("wait", ["select 1"]), "FATAL 53300 query_wait_timeout");
  for (const holder of holders) await holder.end();
});

Deno.test("a user's own 0 frees from the limits of time that others have", async () => {
  const limits = (seconds: number) => ({
    client_idle_timeout: seconds,
    idle_transaction_timeout: seconds,
    query_timeout: seconds,
    transaction_timeout: seconds,
  });
  await using sluice = await startWithLimits(limits(0.3), { free: limits(0), ann: {} });
  const [idle, idleTx, busy] = await Promise.all(
    [1, 2, 3].map(() => logIn({ ...target(sluice, "free"), database: "app" })),
  );
  await idleTx!.query("begin");
  const running = busy!.query("select pg_sleep(1)");
  assert.equal(await lastWords(sluice, "ann", ["select pg_sleep(30)"]), QUERY);
  assert.equal((await running).rowCount, 1);
  assert.equal((await idleTx!.query("commit")).command, "COMMIT");
  assert.equal((await idle!.query("select 1")).rowCount, 1);
  for (const client of [idle, idleTx, busy]) await client!.end();
});

Deno.test("client_idle_timeout leaves alone who is in a transaction, query_timeout who has asked nothing", async () => {
  await using sluice = await startWithLimits({}, {
    ann: { client_idle_timeout: 0.2 },
    bob: { query_timeout: 0.2 },
    eve: { client_idle_timeout: 0.2 },
  });
  const in_ = (user: string) => logIn({ ...target(sluice, user), database: "app" });
  const [ann, bob] = [await in_("ann"), await in_("bob")];
  await ann.query("begin");
  await bob.query("begin");
  // Both limits are long over when the same limit has ended somebody else twice.
  for (let i = 0; i < 2; i++) assert.equal(await lastWords(sluice, "eve", []), IDLE);
  for (const client of [ann, bob]) {
    assert.equal((await client.query("commit")).command, "COMMIT");
    await client.end();
  }
});

Deno.test("a transaction that takes too long ends on the server as well", async () => {
  const postgres = shared.get();
  const inTransaction = async () => {
    const rows = await postgres.sql(
      "select 1 from pg_stat_activity where state = 'idle in transaction'",
    );
    return rows.length;
  };
  for (const setting of ["idle_transaction_timeout", "transaction_timeout"]) {
    await using sluice = await startWithLimits({ [setting]: 0.3, default_pool_size: 1 }, {
      ann: {},
    });
    const ending = lastWords(sluice, "ann", ["begin"]);
    await eventually("the transaction is open", async () => await inTransaction() === 1);
    await ending;
    await eventually("the transaction is over", async () => await inTransaction() === 0);
    const next = await outcome({ ...target(sluice, "ann"), database: "app" });
    assert.equal(next, "in", "the pool goes on");
  }
});

Deno.test("query_timeout ends the query on the server as well", async () => {
  const postgres = shared.get();
  await using sluice = await startWithLimits({ query_timeout: 0.3 }, { ann: {} });
  assert.equal(await lastWords(sluice, "ann", ["select pg_sleep(30) /* long */"]), QUERY);
  await eventually("the query has ended", async () => {
    const rows = await postgres.sql(
      "select 1 from pg_stat_activity where state = 'active' and query like '%/* long */' " +
        "and pid <> pg_backend_pid()",
    );
    return rows.length === 0;
  }, 5_000);
});

Deno.test("a client that waits too long for a server is told so, its database's limit first", async () => {
  const postgres = shared.get();
  const forced = { user: "postgres", password: postgres.password, dbname: "postgres" };
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { pool_mode: "transaction", default_pool_size: 1, query_wait_timeout: 20 },
      databases: { app: { ...serverOf(postgres), ...forced, query_wait_timeout: 0.3 } },
      users: { patient: { password: "x", query_wait_timeout: 10 }, ann: { password: "x" } },
    }),
  });
  const holder = await logIn({ ...target(sluice, "ann"), database: "app" });
  await holder.query("begin");
  const patient = await logIn({ ...target(sluice, "patient"), database: "app" });
  const waiting = patient.query("select 'served' as x");
  assert.equal(
    await lastWords(sluice, "ann", ["select 1"]),
    "FATAL 53300 query_wait_timeout",
  );
  await holder.query("commit");
  assert.equal((await waiting).rows[0]?.x, "served");
  for (const client of [holder, patient]) await client.end();
});

Deno.test("query_timeout counts while a client waits for a server, too", async () => {
  await using sluice = await startWithLimits({ default_pool_size: 1 }, {
    ann: {},
    bob: { query_timeout: 0.3 },
  });
  const holder = await logIn({ ...target(sluice, "ann"), database: "app" });
  await holder.query("begin");
  assert.equal(await lastWords(sluice, "bob", ["select 1"]), "FATAL 57014 query_timeout");
  await holder.query("commit");
  await holder.end();
});

Deno.test("client_login_timeout ends who connects and says nothing, or stops in the middle of a login", async () => {
  await using sluice = await startSluice({
    config: configFor(shared.get(), {
      pooler: { auth_type: "scram-sha-256", client_login_timeout: 0.5 },
    }),
  });
  const connect = () => TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  const [silent, stuck] = [await connect(), await connect()];
  await stuck.send(
    new Uint8Array([0, 0, 0, 23, 0, 3, 0, 0, ...utf8("user\0postgres\0\0")]),
  );
  assert.equal((await stuck.receive())?.type, "R");
  const expected = [{ severity: "FATAL", sqlstate: "57014", message: "client_login_timeout" }];
  assert.deepEqual((await stuck.result()).errors, expected);
  assert.deepEqual((await silent.result()).errors, expected);
  for (const client of [silent, stuck]) client.close();
});

Deno.test("who is told an error and does not hang up is hung up on", async () => {
  await using sluice = await startSluice({
    config: configFor(shared.get(), { pooler: { client_login_timeout: 0.3 } }),
  });
  const stubborn: TestClient[] = [];
  for (let i = 0; i < 5; i++) {
    stubborn.push(await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port }));
  }
  for (const client of stubborn) {
    assert.equal((await client.receiveUntilEnd()).length, 1);
  }
  await eventually("the pooler has forgotten them", async () => {
    try {
      for (const client of stubborn) await client.send(utf8("x"));
      return false;
    } catch {
      return true; // Writing fails only when the other side is closed for both directions.
    }
  });
  for (const client of stubborn) client.close();
});

Deno.test("a client that does not read its answer is ended by query_timeout like any other", async () => {
  const postgres = shared.get();
  await using sluice = await startWithLimits({ query_timeout: 0.5 }, { ann: {} });
  const slow = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await slow.login({ user: "ann", database: "app" });
  await slow.send(
    frontend.query("select repeat('x', 1000000) /* much */ from generate_series(1, 1000)"),
  );
  await eventually("the server is busy with it", async () => {
    const rows = await postgres.sql(
      "select 1 from pg_stat_activity where query like '%/* much */%' and pid <> pg_backend_pid()",
    );
    return rows.length === 1;
  });
  await sluice.waitForLog(/app\/ann@\S+ closing because: query timeout/);
  await eventually("nothing is left of it", async () => {
    const rows = await postgres.sql(
      "select 1 from pg_stat_activity where query like '%/* much */%' and pid <> pg_backend_pid()",
    );
    return rows.length === 0 && (await leftovers(sluice))["clients"] === 0;
  });
  slow.close();
});

Deno.test("a cancel request that is not answered is given up after cancel_wait_timeout, and its server goes", async () => {
  await using server = new TcpBackend(async (conn, index) => {
    if (index === 0) await conn.logIn();
    // The first is the server and the second the request; neither hears an answer to anything.
    await conn.untilGone();
  });
  await using sluice = await startBefore(server.port, {
    pool_mode: "transaction",
    cancel_wait_timeout: 0.3,
    server_protocol: "3.0",
  });
  const connect = () => TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  const [asking, canceling] = [await connect(), await connect()];
  await asking.login({ user: "postgres", database: "postgres" });
  await asking.send(frontend.query("select pg_sleep(30)"));
  await eventually("the query is under way", async () => {
    return (await show(sluice, "pools")).some(({ sv_active: count }) => count === 1);
  });
  const startedAtMs = performance.now();
  await canceling.send(frontend.cancelRequest(asking.cancelKey!));
  await canceling.receiveUntilEnd();
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs >= 295 && tookMs < LATEST_MS, `given up after ${tookMs} ms`);
  asking.close();
  await sluice.waitForLog(/S-0x.* closing because: cancel request was not answered/);
  canceling.close();
});

Deno.test("SUSPEND waits for suspend_timeout, and drops who still owes a part of a message", async () => {
  await using sluice = await startWithLimits({ suspend_timeout: 0.3 }, { ann: {} });
  const owing = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await owing.login({ user: "ann", database: "app" });
  const other = await logIn({ ...target(sluice, "ann"), database: "app" });
  await owing.send(frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 5_000));
  await eventually("the part has come", async () => {
    return (await show(sluice, "pools")).some(({ sv_active: count }) => count === 1);
  });
  const console = await logIn({ ...target(sluice), database: "pgbouncer" });
  const startedAtMs = performance.now();
  await console.query("suspend");
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs >= 295 && tookMs < LATEST_MS, `suspended after ${tookMs} ms`);
  assert.equal(await owing.lastWords(), "FATAL 57P01 suspend_timeout");
  await sluice.waitForLog(/app\/ann@\S+ closing because: suspend_timeout/);
  await console.query("resume");
  assert.equal((await other.query("select 1")).rowCount, 1);
  for (const client of [console, other]) await client.end();
  owing.close();
});

Deno.test("empty pools are forgotten after pool_idle_timeout, those of * after autodb_idle_timeout", async () => {
  for (const [setting, other] of [["pool", "autodb"], ["autodb", "pool"]]) {
    await using sluice = await startSluice({
      config: configFor(shared.get(), {
        pooler: {
          pool_mode: "transaction",
          server_lifetime: 0,
          [`${setting}_idle_timeout`]: 0.3,
          [`${other}_idle_timeout`]: 0,
        },
        databases: {
          postgres: serverOf(shared.get()),
          "*": serverOf(shared.get()),
        },
      }),
    });
    const databases = async () =>
      (await show(sluice, "pools")).map(({ database }) => database).filter((name) =>
        name !== "pgbouncer"
      ).sort();
    for (const database of ["postgres", "template1"]) {
      assert.equal(await outcome({ ...target(sluice), database }), "in");
    }
    const left = setting === "pool" ? [] : ["postgres"];
    await eventually(`only ${left} is left`, async () => {
      return (await databases()).join() === left.join();
    });
  }
});
