/** Servers that refuse, vanish, keep silent or talk nonsense, and what their clients get to know. */

import assert from "node:assert/strict";
import { freePort, type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { pgbench } from "../support/commands.ts";
import { show } from "../support/console.ts";
import { eventually, within } from "../support/eventually.ts";
import { logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { backend, frontend, type ReportFields, utf8 } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { BlackHole } from "../support/black_hole.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { GARBAGE, TcpBackend } from "../support/tcp_backend.ts";
import { LoginRefused, readResult, TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection, serverOf, tomlConfig } from "../support/toml_config.ts";

const shared = sharedPostgres({
  async prepare(postgres) {
    await postgres.sql("create role alice login password 'right'");
    await postgres.sql("create role lonely login password 'right' connection limit 1");
    await postgres.sql("create role nowhere login password 'right' connection limit 0");
  },
});

/** A pooler in front of a port of 127.0.0.1, whose clients need no password. */
async function startBefore(
  port: number,
  pooler: ConfigSection = {},
  database: ConfigSection = {},
): Promise<SluiceProcess> {
  return await startSluice({
    config: tomlConfig({
      pooler: { admin_users: "postgres", ...pooler },
      databases: { "*": { host: "127.0.0.1", port, ...database } },
      users: { postgres: { password: "x" } },
    }),
  });
}

function target({ port }: SluiceProcess, user = "postgres"): LoginTarget {
  return { port, user };
}

/** Logs in and answers the error it ended with. */
async function loginError(sluice: SluiceProcess, database = "postgres"): Promise<ReportFields> {
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  try {
    await client.login({ user: "postgres", database });
  } catch (error) {
    if (error instanceof LoginRefused) return error.report;
    throw error;
  } finally {
    client.close();
  }
  throw new Error("The login succeeded");
}

const CACHED = "server login has been failing, cached error: ";

// --- refused by the server ---

Deno.test("a login that the server refuses is told to all who wait, at once and in its words", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { client_login_timeout: 8 },
      users: {
        alice: { password: "wrong" },
        nowhere: { password: "right" },
      },
    }),
  });
  const startedAtMs = performance.now();
  const refusals: readonly (readonly [Partial<LoginTarget>, string])[] = [
    [{ user: "alice" }, '28P01 password authentication failed for user "alice"'],
    [{ user: "postgres", database: "no" }, '3D000 database "no" does not exist'],
    [{ user: "nowhere" }, '53300 too many connections for role "nowhere"'],
  ];
  for (const [who, expected] of refusals) {
    const several = Array.from({ length: 3 }, () => outcome({ ...target(sluice), ...who }));
    assert.deepEqual(await Promise.all(several), [expected, expected, expected]);
    const late = await outcome({ ...target(sluice), ...who });
    const [sqlstate, ...words] = expected.split(" ");
    assert.equal(late, `${sqlstate} ${CACHED}${words.join(" ")} (server_login_retry)`);
  }
  assert.ok(performance.now() - startedAtMs < 5_000, "it took its time");
  await sluice.waitForLog(
    /S-0x.* postgres\/alice@127\.0\.0\.1:\d+ closing because: server login failed: FATAL password/,
  );
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
  await using sluice = await startBefore(freePort(), { client_login_timeout: 1.2 });
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
  assert.ok(newcomerMs < 1_000, `the newcomer waited ${newcomerMs} ms`);
  assert.deepEqual(await waiting, {
    severity: "FATAL",
    sqlstate: "08006",
    message: "client_login_timeout (server down)",
    detail: "connect failed",
  });
  assert.ok(performance.now() - startedAtMs > 1_150, "who waits has until the deadline");
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
    server_login_retry: 0.6,
    client_login_timeout: 2.5,
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
    // The janitor, who tries again, comes round three times a second.
    assert.ok(pauseMs > 550 && pauseMs < 2_000, `a pause of ${pauseMs} ms`);
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

// --- servers that die ---

/** What is left in the pooler of the database that was worked on. */
async function leftovers(sluice: SluiceProcess): Promise<Record<string, number>> {
  const clients = (await show(sluice, "clients")).filter(({ database }) =>
    database !== "pgbouncer"
  );
  const servers = await show(sluice, "servers");
  return {
    clients: clients.length,
    activeServers: servers.filter(({ state }) => state !== "idle" && state !== "used").length,
    servers: servers.length,
  };
}

/** What no client may experience. */
const WITHOUT_A_WORD: ReportFields = {
  severity: "",
  sqlstate: "",
  message: "the connection ended",
};

/** Many clients at work, each until it is told of an error or work is over. */
class Workers {
  #isOver = false;
  readonly #working: Promise<readonly ReportFields[]>[] = [];

  /** Logs them in and lets them begin. */
  static async start(sluice: SluiceProcess, count: number): Promise<Workers> {
    const workers = new Workers();
    for (let i = 0; i < count; i++) {
      const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
      await client.login({ user: "postgres" });
      workers.#working.push(workers.#work(client));
    }
    return workers;
  }

  /** Ends the work; answers what each client was told that could not go on. */
  async finish(): Promise<(readonly ReportFields[])[]> {
    this.#isOver = true;
    return (await Promise.all(this.#working)).filter((errors) => errors.length > 0);
  }

  async #work(client: TestClient): Promise<readonly ReportFields[]> {
    try {
      while (!this.#isOver) {
        for (const sql of ["begin", "select pg_sleep(0.002)", "commit"]) {
          const { errors, status } = await client.query(sql);
          if (status === undefined && errors.length === 0) return [WITHOUT_A_WORD];
          if (status === undefined || errors.length > 0) return [...errors, ...await rest(client)];
        }
      }
      return [];
    } finally {
      client.close();
    }
  }
}

/** The errors that still come before the connection ends; none if it goes on. */
async function rest(client: TestClient): Promise<readonly ReportFields[]> {
  if (client.status === "I") return [];
  return readResult(await client.receiveUntilEnd()).errors;
}

/** What a client may be told when its server dies: by the server itself, or by the pooler. */
const LOST =
  /^FATAL (08006 server conn crashed\?|57P0[13] |(08...|57P03) server login has been failing)/;

for (
  const [what, end] of [
    ["is restarted", (postgres: Postgres) => postgres.restart()],
    ["crashes and comes back", async (postgres: Postgres) => {
      await postgres.kill();
      await postgres.restart();
    }],
    ["loses a backend to kill -9", async (postgres: Postgres) => {
      const rows = await postgres.sql(
        "select pid from pg_stat_activity where backend_type = 'client backend' " +
          "and application_name = 'work' limit 1",
      );
      Deno.kill(rows[0]?.["pid"] as number, "SIGKILL");
    }],
  ] as const
) {
  Deno.test(`clients hear of it when PostgreSQL ${what} under load, and the pool recovers`, async () => {
    await using postgres = await startPostgres();
    await using sluice = await startSluice({
      config: configFor(postgres, {
        pooler: { pool_mode: "transaction", default_pool_size: 4, server_login_retry: 0.2 },
        databases: { "*": { ...serverOf(postgres), application_name: "work" } },
      }),
    });
    const workers = await Workers.start(sluice, 12);
    await eventually("all work", async () => {
      const stats = await show(sluice, "stats");
      return stats.some(({ total_xact_count: count }) => Number(count) > 100);
    });
    await end(postgres);
    await eventually("logins work again", async () => await outcome(target(sluice)) === "in");
    const errors = await workers.finish();
    assert.ok(errors.length > 0, "those whose server is lost are told");
    for (const [first, ...more] of errors) {
      assert.match(`${first?.severity} ${first?.sqlstate} ${first?.message}`, LOST);
      assert.deepEqual(more, [], "the reason is told once");
    }
    await eventually("nobody is left over", async () => {
      const { activeServers, clients } = await leftovers(sluice);
      return clients === 0 && activeServers === 0;
    });
    const backends = await postgres.sql(
      "select 1 from pg_stat_activity where application_name = 'work'",
    );
    assert.equal(backends.length, (await leftovers(sluice))["servers"]);
    assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
  });
}

Deno.test({
  name: "pgbench works again after PostgreSQL was restarted in the middle of a run",
  ignore: isMissing("pgbench"),
  async fn() {
    await using postgres = await startPostgres();
    await using sluice = await startSluice({
      config: configFor(postgres, {
        pooler: { pool_mode: "transaction", default_pool_size: 4, server_login_retry: 0.2 },
      }),
    });
    const to = target(sluice);
    const made = await pgbench(to, ["-i", "-q", "-I", "dtgp"]);
    assert.equal(made.code, 0, made.stderr);
    const running = pgbench(to, ["-n", "-S", "-c", "8", "-T", "2"]);
    await eventually("it runs", async () => {
      const stats = await show(sluice, "stats");
      return stats.some(({ total_xact_count: count }) => Number(count) > 500);
    });
    await postgres.restart();
    const { code, stderr } = await running;
    // If no query was running at that moment, nobody has noticed.
    if (code !== 0) {
      assert.match(stderr, /terminating connection|server conn crashed|server login has/);
    }
    await eventually("logins work again", async () => await outcome(to) === "in");
    const again = await pgbench(to, ["-n", "-S", "-c", "8", "-t", "50"]);
    assert.equal(again.code, 0, again.stderr);
    await eventually("nobody is left over", async () => {
      const { activeServers, clients } = await leftovers(sluice);
      return clients === 0 && activeServers === 0;
    });
  },
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

Deno.test("an idle server that PostgreSQL ends is not handed out", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({
    config: configFor(postgres, { pooler: { pool_mode: "transaction" } }),
  });
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.login({ user: "postgres" });
  const pid = async () => (await client.query("select pg_backend_pid()")).rows[0]?.[0];
  const before = await pid();
  await postgres.sql(`select pg_terminate_backend(${before})`);
  await sluice.waitForLog(/S-0x.* closing because: idle server got dirty: terminating connection/);
  assert.notEqual(await pid(), before);
  // A server in use says itself why it ends.
  await client.query("begin");
  await postgres.sql(`select pg_terminate_backend(${await pid()})`);
  const [report] = (await client.result()).errors;
  assert.equal(report?.sqlstate, "57P01");
  assert.equal(await client.receive(), undefined, "the client is closed, without another error");
  client.close();
});

// --- servers that talk nonsense ---

Deno.test("a server that talks nonsense in the login is closed, and the reason told", async () => {
  const nonsense: Readonly<Record<string, readonly Uint8Array[]>> = {
    "at the start": [GARBAGE],
    "after the authentication": [backend.authentication(0), GARBAGE],
    "rows before the login is over": [backend.dataRow(["x"])],
    "an authentication without an end": [backend.authentication(5, utf8("abc"))],
    "a login that ends before it has begun": [backend.ready()],
  };
  const attempts = Object.entries(nonsense).map(async ([when, messages]) => {
    await using server = new TcpBackend(async (conn) => {
      await conn.startup();
      await conn.send(...messages);
      await conn.untilGone();
    });
    await using sluice = await startBefore(server.port, { client_login_timeout: 1 });
    const { detail, message, sqlstate } = await loginError(sluice);
    await eventually("the server is closed", () => server.openCount === 0);
    assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
    return { when, detail, told: `${sqlstate} ${message}` };
  });
  for (const { detail, told, when } of await Promise.all(attempts)) {
    assert.match(
      told,
      /^(08006 client_login_timeout \(server down\)|.* server login failed: )/,
      when,
    );
    assert.match(`${detail} ${told}`, /server/, when);
  }
});

Deno.test("a server that talks nonsense in an answer is closed with its client, who is told who says so", async () => {
  const answers: readonly Uint8Array[] = [
    GARBAGE,
    // A whole answer first, then nonsense in the same breath.
    new Uint8Array([...backend.rowDescription(["x"]), ...GARBAGE]),
    // Lengths that cannot be.
    utf8("D\xff\xff\xff\xff").slice(0, 5),
    new Uint8Array([0x54, 0x80, 0, 0, 0]),
    // A ReadyForQuery of the wrong length, and one of an unknown status.
    new Uint8Array([0x5a, 0, 0, 0, 6, 0x49, 0x49]),
    new Uint8Array([0x5a, 0, 0, 0, 5, 0x58]),
  ];
  await using server = new TcpBackend(async (conn, index) => {
    await conn.logIn();
    await conn.receive();
    await conn.send(answers[index]!);
    await conn.untilGone();
  });
  await using sluice = await startBefore(server.port, { pool_mode: "transaction" });
  for (const [i] of answers.entries()) {
    const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
    await client.login({ user: "postgres" });
    const { errors, status } = await client.query("select 1");
    assert.equal(status, undefined, "the client is closed");
    assert.equal(errors.at(-1)?.severity, "FATAL", `answer ${i}`);
    assert.equal(errors.at(-1)?.sqlstate, "08P01");
    assert.match(errors.at(-1)?.message ?? "", /server/);
    client.close();
    await eventually("the server is closed", () => server.openCount === 0);
  }
  assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
});

Deno.test("an idle server that talks nonsense is closed, and nobody else is harmed", async () => {
  const nonsense = [
    GARBAGE,
    backend.dataRow(["x"]),
    backend.error("XX000", "by the way"),
    utf8("Z"),
  ];
  await using server = new TcpBackend(async (conn, index) => {
    await conn.logIn();
    await conn.receive();
    const answer = [backend.rowDescription(["x"]), backend.dataRow(["1"]), backend.complete("S 1")];
    await conn.send(...answer, backend.ready());
    const what = nonsense[index];
    if (what === undefined) return await conn.untilGone();
    await conn.send(what);
    // One lone byte is no nonsense before more has come.
    if (what.length === 1) await conn.send(GARBAGE);
    await conn.untilGone();
  });
  await using sluice = await startBefore(server.port, { pool_mode: "transaction" });
  const client = await logIn(target(sluice));
  for (const [i] of nonsense.entries()) {
    assert.equal((await client.query("select 1")).rowCount, 1);
    await eventually(`server ${i} is closed`, () => server.openCount === 0);
  }
  assert.equal((await client.query("select 1")).rowCount, 1);
  await client.end();
  assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
});

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
  const { errors } = await within("an answer, or the end", asked);
  const report = errors[0] ?? (await within("the end", client.result())).errors[0];
  client.close();
  return `${report?.severity} ${report?.sqlstate} ${report?.message}`;
}

const IDLE = "FATAL 57P05 client_idle_timeout";
const IDLE_TRANSACTION = "FATAL 25P03 idle transaction timeout";
const TRANSACTION = "FATAL 25P04 transaction timeout";
const QUERY = "FATAL 57014 query timeout";

Deno.test("clients are closed at the limits of time that are set for all", async () => {
  const limit = { idle: "client_idle_timeout", idleTx: "idle_transaction_timeout" };
  const cases: readonly (readonly [ConfigSection, readonly string[], string])[] = [
    [{ [limit.idle]: 0.3 }, ["select 1"], IDLE],
    [{ [limit.idle]: 0.3 }, [], IDLE],
    [{ [limit.idleTx]: 0.3 }, ["begin"], IDLE_TRANSACTION],
    [{ [limit.idleTx]: 0.3 }, ["begin", "select no_such_thing", "select 1"], IDLE_TRANSACTION],
    [{ transaction_timeout: 0.3 }, ["begin"], TRANSACTION],
    [{ transaction_timeout: 0.3 }, ["begin", "select pg_sleep(5)"], TRANSACTION],
    [{ query_timeout: 0.3 }, ["select pg_sleep(5)"], QUERY],
  ];
  const ends = cases.map(async ([pooler, queries, expected]) => {
    await using sluice = await startWithLimits(pooler, { ann: {} });
    const words = await lastWords(sluice, "ann", queries);
    return [expected, words.startsWith("ERROR") ? expected : words];
  });
  for (const [expected, words] of await Promise.all(ends)) assert.equal(words, expected);
});

Deno.test("a user's own limits of time go before those for all", async () => {
  await using sluice = await startWithLimits({
    client_idle_timeout: 60,
    idle_transaction_timeout: 60,
    query_timeout: 60,
    transaction_timeout: 60,
  }, {
    idle: { client_idle_timeout: 0.2 },
    idle_tx: { idle_transaction_timeout: 0.2 },
    tx: { transaction_timeout: 0.2 },
    query: { query_timeout: 0.2 },
  });
  const words = await Promise.all([
    lastWords(sluice, "idle", ["select 1"]),
    lastWords(sluice, "idle_tx", ["begin"]),
    lastWords(sluice, "tx", ["begin"]),
    lastWords(sluice, "query", ["select pg_sleep(30)"]),
  ]);
  assert.deepEqual(words, [IDLE, IDLE_TRANSACTION, TRANSACTION, QUERY]);
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
