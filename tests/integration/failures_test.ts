/** Servers that refuse or cannot be reached, and what their clients get to know. */

import assert from "node:assert/strict";
import { freePort, startPostgres } from "../../scripts/postgres_fixture.ts";
import { BlackHole } from "../support/black_hole.ts";
import { show } from "../support/console.ts";
import { eventually } from "../support/eventually.ts";
import { logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { backend, frontend } from "../support/messages.ts";
import { startSluice } from "../support/pooler_process.ts";
import { CACHED, loginError, startBefore, target } from "../support/pooler_trouble.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TcpBackend } from "../support/tcp_backend.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, tomlConfig } from "../support/toml_config.ts";

const shared = sharedPostgres({
  async prepare(postgres) {
    await postgres.sql("create role alice login password 'right'");
    await postgres.sql("create role lonely login password 'right' connection limit 1");
    await postgres.sql("create role nowhere login password 'right' connection limit 0");
  },
});

// --- refused by the server ---

Deno.test("a login that the server refuses is told at once, in its words, and to newcomers as cached", async () => {
  await using sluice = await startSluice({
    config: configFor(shared.get(), {
      pooler: { client_login_timeout: 8 },
      users: {
        alice: { password: "wrong" },
        nowhere: { password: "right" },
      },
    }),
  });
  const startedAtMs = performance.now();
  const refusals: readonly (readonly [Partial<LoginTarget>, string, string])[] = [
    [{ user: "alice" }, "28P01", 'password authentication failed for user "alice"'],
    [{ user: "postgres", database: "no" }, "3D000", 'database "no" does not exist'],
    [{ user: "nowhere" }, "53300", 'too many connections for role "nowhere"'],
  ];
  for (const [who, sqlstate, words] of refusals) {
    const to = { ...target(sluice), ...who };
    assert.equal(await outcome(to), `${sqlstate} ${words}`);
    assert.equal(await outcome(to), `${sqlstate} ${CACHED}${words} (server_login_retry)`);
  }
  assert.ok(performance.now() - startedAtMs < 5_000, "it took its time");
  await sluice.waitForLog(
    /S-0x.* postgres\/alice@127\.0\.0\.1:\d+ closing because: server login failed: FATAL password/,
  );
});

Deno.test("a login that the server refuses is told to all who wait for it", async () => {
  const allWait = Promise.withResolvers<void>();
  await using server = new TcpBackend(async (conn) => {
    await conn.startup();
    await allWait.promise;
    await conn.send(backend.error("3D000", "no such thing", "FATAL"));
  });
  await using sluice = await startBefore(server.port, { client_login_timeout: 8 });
  const several = Array.from({ length: 3 }, () => loginError(sluice));
  await eventually("all wait", async () => {
    return (await show(sluice, "pools")).some(({ cl_waiting: count }) => count === 3);
  });
  allWait.resolve();
  const expected = { severity: "FATAL", sqlstate: "3D000", message: "no such thing" };
  assert.deepEqual(await Promise.all(several), [expected, expected, expected]);
});

Deno.test("a server that refuses another connection costs nobody anything while one is in use", async () => {
  await using sluice = await startSluice({
    config: configFor(shared.get(), {
      pooler: { pool_mode: "transaction", default_pool_size: 2, server_login_retry: 0.1 },
      users: { lonely: { password: "right" } },
    }),
  });
  const [first, second] = [
    await logIn(target(sluice, "lonely")),
    await logIn(target(sluice, "lonely")),
  ];
  await first.query("begin");
  const waiting = second.query("select 'served' as x");
  await sluice.waitForLog(/closing because: server login failed: FATAL too many connections/);
  await first.query("commit");
  assert.equal((await waiting).rows[0]?.x, "served");
  for (const client of [first, second]) await client.end();
});

Deno.test("a server that is starting up keeps its clients waiting, not turned away", async () => {
  const starting = backend.error("57P03", "the database system is starting up", "FATAL");
  await using server = new TcpBackend(async (conn, index) => {
    if (index < 3) {
      await conn.startup();
      await conn.send(starting);
    } else {
      await conn.logIn();
      await conn.serve("up");
    }
  });
  await using sluice = await startBefore(server.port, {
    pool_mode: "transaction",
    server_login_retry: 0.1,
  });
  const several = Array.from({ length: 3 }, () => outcome(target(sluice), "select 1"));
  assert.deepEqual(await Promise.all(several), ["up", "up", "up"]);
});

// --- out of reach ---

Deno.test("who waits for a server out of reach gets the reason at the deadline, newcomers at once", async () => {
  await using sluice = await startBefore(freePort(), { client_login_timeout: 3 });
  const startedAtMs = performance.now();
  const waiting = loginError(sluice);
  await sluice.waitForLog(/closing because: connect failed/);
  const newcomer = await loginError(sluice);
  const newcomerMs = performance.now() - startedAtMs;
  assert.deepEqual(newcomer, {
    severity: "FATAL",
    sqlstate: "08001",
    message: `${CACHED}connect failed (server_login_retry)`,
  });
  assert.ok(newcomerMs < 2_500, `the newcomer waited ${newcomerMs} ms`);
  assert.deepEqual(await waiting, {
    severity: "FATAL",
    sqlstate: "08006",
    message: "client_login_timeout (server down)",
    detail: "connect failed",
  });
  assert.ok(performance.now() - startedAtMs > 2_950, "who waits has until the deadline");
});

Deno.test("a server that does not answer is given up after server_connect_timeout", async () => {
  await using hole = await BlackHole.make();
  await using sluice = await startBefore(hole.port, {
    server_connect_timeout: 0.2,
    client_login_timeout: 1.5,
  });
  const waiting = loginError(sluice);
  await sluice.waitForLog(/S-0x.* closing because: connect timeout/);
  const { message, sqlstate } = await loginError(sluice);
  assert.deepEqual([sqlstate, message], [
    "08001",
    `${CACHED}connect timeout (server_login_retry)`,
  ]);
  assert.equal((await waiting).detail, "connect timeout");
});

Deno.test("a server that goes silent in the middle of the login is given up likewise", async () => {
  await using server = new TcpBackend(async (conn) => {
    await conn.startup();
    await conn.untilGone();
  });
  await using sluice = await startBefore(server.port, {
    server_connect_timeout: 0.2,
    server_login_retry: 0.1,
    client_login_timeout: 2,
  });
  const waiting = loginError(sluice);
  await server.waitForCount(2);
  await sluice.waitForLog(/S-0x.* closing because: connect timeout/);
  assert.equal((await waiting).detail, "connect timeout");
});

Deno.test("a host name that cannot be looked up is told as such", async () => {
  await using sluice = await startSluice({
    config: tomlConfig({
      databases: { "*": { host: "no-such-host.invalid" } },
      users: { postgres: { password: "x" } },
    }),
  });
  const waiting = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await waiting.send(frontend.startup({ user: "postgres" }));
  await sluice.waitForLog(
    /S-0x.*no-such-host\.invalid:5432 closing because: server DNS lookup failed/,
    { timeoutMs: 30_000 }, // Resolvers differ in how long they go on asking.
  );
  const { message } = await loginError(sluice);
  assert.equal(message, `${CACHED}server DNS lookup failed (server_login_retry)`);
  waiting.close();
});

Deno.test("attempts are paced by server_login_retry, however many clients come", async () => {
  await using server = new TcpBackend(async (conn) => {
    await conn.startup();
  });
  await using sluice = await startBefore(server.port, {
    server_login_retry: 2,
    client_login_timeout: 10,
    // Else each attempt is two connections, since it may be the version that is not understood.
    server_protocol: "3.0",
  });
  const waiting = loginError(sluice);
  await server.waitForCount(1);
  for (let i = 0; i < 50; i++) await loginError(sluice);
  await server.waitForCount(3);
  const { detail, sqlstate } = await waiting;
  assert.deepEqual([sqlstate, detail], ["08006", "server conn crashed?"]);
  const times = server.acceptedAtMs;
  for (const [i, atMs] of times.slice(1).entries()) {
    const pauseMs = atMs - times[i]!;
    // The janitor, who tries again, comes round three times a second. On a busy machine some of the
    // pause is over before this process sees the first of two attempts.
    assert.ok(pauseMs > 1_000, `a pause of ${pauseMs} ms`);
  }
});

Deno.test("a client whose query finds no server gets the reason at query_wait_timeout", async () => {
  let isUp = true;
  await using server = new TcpBackend(async (conn) => {
    await conn.startup();
    if (!isUp) return;
    await conn.send(backend.authentication(0), backend.keyData(1, 1), backend.ready());
    await conn.receive();
  });
  await using sluice = await startBefore(server.port, {
    pool_mode: "transaction",
    query_wait_timeout: 1,
  });
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.login({ user: "postgres" });
  const other = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await other.login({ user: "postgres" });
  isUp = false;
  assert.equal((await other.query("select 1")).errors[0]?.message, "server conn crashed?");
  const { errors } = await client.query("select 1");
  assert.deepEqual(errors, [{
    severity: "FATAL",
    sqlstate: "53300",
    message: "query_wait_timeout",
    detail: "server conn crashed?",
  }]);
  for (const each of [client, other]) each.close();
});

Deno.test("logins work again when PostgreSQL comes back, without a restart of the pooler", async () => {
  await using postgres = await startPostgres();
  await using sluice = await startSluice({
    config: configFor(postgres, { pooler: { server_login_retry: 0.3, client_login_timeout: 30 } }),
  });
  assert.equal(await outcome(target(sluice)), "in");
  await postgres.stop("immediate");
  await sluice.waitForLog(/S-0x.* closing because: (idle server got dirty|server conn crashed)/);
  const waiting = outcome(target(sluice), "select 'back'");
  await sluice.waitForLog(/S-0x.* closing because: connect failed/);
  assert.equal(await outcome(target(sluice)), `08001 ${CACHED}connect failed (server_login_retry)`);
  await postgres.restart();
  assert.equal(await waiting, "back");
  assert.equal(await outcome(target(sluice)), "in");
});

// --- several hosts ---

Deno.test("a dead host of several is passed over without a pause", async () => {
  const { port } = shared.get();
  for (const policy of ["round-robin", "disable"]) {
    await using sluice = await startSluice({
      config: configFor(shared.get(), {
        pooler: { client_login_timeout: 3 },
        databases: {
          "*": { host: "127.0.0.2,127.0.0.1", port, load_balance_hosts: policy, pool_size: 4 },
        },
      }),
    });
    assert.equal(await outcome(target(sluice)), "in", policy);
    const clients = [];
    for (let i = 0; i < 4; i++) clients.push(await logIn(target(sluice)));
    const queries = clients.map((client) => client.query("select 1"));
    assert.equal((await Promise.all(queries)).length, 4);
    for (const client of clients) await client.end();
  }
});

/** Two servers at one port of two addresses. */
function twoServers(): [TcpBackend, TcpBackend] {
  const first = new TcpBackend(async (conn) => {
    await conn.logIn();
    await conn.serve("first");
  });
  const second = new TcpBackend(async (conn) => {
    await conn.logIn();
    await conn.serve("second");
  }, { hostname: "127.0.0.2", port: first.port });
  return [first, second];
}

Deno.test("load_balance_hosts takes the hosts in turn, or stays with the first that works", async () => {
  for (const [policy, counts] of [["round-robin", [2, 2]], ["disable", [4, 0]]] as const) {
    const servers = twoServers();
    await using first = servers[0];
    await using second = servers[1];
    await using sluice = await startSluice({
      config: tomlConfig({
        databases: {
          "*": { host: "127.0.0.1,127.0.0.2", port: first.port, load_balance_hosts: policy },
        },
        users: { postgres: { password: "x" } },
      }),
    });
    const clients = [];
    for (let i = 0; i < 4; i++) {
      const client = await logIn(target(sluice));
      assert.equal((await client.query("select 1")).rowCount, 1);
      clients.push(client);
    }
    assert.deepEqual([first.count, second.count], counts, policy);
    for (const client of clients) await client.end();
  }
});

Deno.test("when the host in use dies, the next one is taken", async () => {
  for (const policy of ["round-robin", "disable"]) {
    const servers = twoServers();
    await using second = servers[1];
    await using first = servers[0];
    await using sluice = await startSluice({
      config: tomlConfig({
        pooler: { pool_mode: "transaction" },
        databases: {
          "*": { host: "127.0.0.1,127.0.0.2", port: first.port, load_balance_hosts: policy },
        },
        users: { postgres: { password: "x" } },
      }),
    });
    const client = await logIn(target(sluice));
    const whoAnswers = async () => (await client.query("select 1")).rows[0]?.x as string;
    assert.equal(await whoAnswers(), "first");
    await first[Symbol.asyncDispose]();
    await sluice.waitForLog(/S-0x.*@127\.0\.0\.1:\d+ closing because: server conn crashed/);
    for (let i = 0; i < 3; i++) assert.equal(await whoAnswers(), "second", policy);
    assert.ok(second.count > 0);
    await client.end();
  }
});
