/** Servers that die or talk nonsense, and what becomes of those who had them. */

import assert from "node:assert/strict";
import { freePort, type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { pgbench } from "../support/commands.ts";
import { show } from "../support/console.ts";
import { eventually } from "../support/eventually.ts";
import { logIn, outcome } from "../support/logins.ts";
import { backend, frontend, type ReportFields, utf8 } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { leftovers, loginError, startBefore, target } from "../support/pooler_trouble.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { GARBAGE, TcpBackend } from "../support/tcp_backend.ts";
import { LoginRefused, readResult, TestClient } from "../support/test_client.ts";
import { configFor, serverOf } from "../support/toml_config.ts";

const shared = sharedPostgres({
  prepare: async (postgres) => void await postgres.sql("create role alice login password 'right'"),
});

// --- servers that die ---

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
    "a message that is announced too long": [utf8("S\x7f\x7f\x7f\x7fabc")],
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
  const answered = nonsense.map(() => Promise.withResolvers<void>());
  await using server = new TcpBackend(async (conn, index) => {
    await conn.logIn();
    await conn.receive();
    const answer = [backend.rowDescription(["x"]), backend.dataRow(["1"]), backend.complete("S 1")];
    await conn.send(...answer, backend.ready());
    const what = nonsense[index];
    if (what === undefined) return await conn.untilGone();
    // Right behind the answer it would be the client's still.
    await answered[index]!.promise;
    await conn.send(what);
    // One lone byte is no nonsense before more has come.
    if (what.length === 1) await conn.send(GARBAGE);
    await conn.untilGone();
  });
  await using sluice = await startBefore(server.port, { pool_mode: "transaction" });
  const client = await logIn(target(sluice));
  for (const [i] of nonsense.entries()) {
    assert.equal((await client.query("select 1")).rowCount, 1);
    answered[i]!.resolve();
    await eventually(`server ${i} is closed`, () => server.openCount === 0);
  }
  assert.equal((await client.query("select 1")).rowCount, 1);
  await client.end();
  assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
});

// --- nothing is left over ---

/** How many descriptors a process has open. */
function descriptorCount(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

Deno.test({
  name: "no descriptor is left open, in whatever way clients and servers come and go",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const postgres = shared.get();
    await using nonsense = new TcpBackend(async (conn, index) => {
      if (index % 3 === 0) await conn.send(GARBAGE);
      if (index % 3 === 1) await conn.logIn();
    });
    await using sluice = await startSluice({
      config: configFor(postgres, {
        pooler: {
          pool_mode: "transaction",
          server_login_retry: 0,
          server_idle_timeout: 0.2,
          client_login_timeout: 0.5,
          query_wait_timeout: 0.5,
        },
        databases: {
          "*": serverOf(postgres),
          nonsense: { host: "127.0.0.1", port: nonsense.port },
          nobody: { host: "127.0.0.1", port: freePort() },
        },
        users: { alice: { password: "wrong" } },
      }),
    });
    const before = descriptorCount(sluice.pid);
    const ways: readonly ((client: TestClient) => Promise<unknown>)[] = [
      () => Promise.resolve(),
      (client) => client.send(utf8("\0\0")),
      (client) => client.send(GARBAGE),
      (client) => client.send(frontend.sslRequest()),
      (client) => client.send(frontend.cancelRequest(new Uint8Array(8))),
      (client) => client.send(frontend.startup({ user: "postgres" })),
      (client) => client.login({ user: "nobody" }),
      (client) => client.login({ user: "alice" }),
      (client) => client.login({ user: "postgres", database: "no" }),
      (client) => client.login({ user: "postgres", database: "nobody" }),
      (client) => client.login({ user: "postgres", database: "nonsense" }),
      (client) => client.login({ user: "postgres" }),
      async (client) => {
        await client.login({ user: "postgres" });
        await client.query("begin");
        await client.send(frontend.query("select pg_sleep(30)"));
      },
      async (client) => {
        await client.login({ user: "postgres" });
        await client.query("select 1");
        await client.terminate();
      },
    ];
    for (let round = 0; round < 5; round++) {
      await Promise.all(ways.map(async (way) => {
        const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
        try {
          await way(client);
        } catch (error) {
          if (!(error instanceof LoginRefused)) throw error;
        }
        client.close();
      }));
    }
    await eventually("all is closed", () => descriptorCount(sluice.pid) <= before);
    assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
  },
});
