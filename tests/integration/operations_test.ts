/** What operators do at the console while clients work: nobody loses a transaction by it. */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { show } from "../support/console.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, errorText, logIn, outcome } from "../support/logins.ts";
import { frontend } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";

const shared = sharedPostgres();

const CLIENTS = 8;

async function start(
  pooler: ConfigSection = {},
  postgres = shared.get(),
): Promise<SluiceProcess> {
  return await startSluice({
    config: configFor(postgres, {
      pooler: { pool_mode: "transaction", default_pool_size: 3, ...pooler },
    }),
  });
}

async function openConsole({ port }: SluiceProcess): Promise<Client> {
  return await logIn({ port, user: "postgres", database: "pgbouncer" });
}

/** Clients that run one transaction after the other. */
class Load implements AsyncDisposable {
  /** Transactions that were committed. */
  doneCount = 0;
  /** What went wrong in a transaction that had begun. */
  readonly failures: string[] = [];
  /** How clients ended between two transactions. */
  readonly farewells: string[] = [];
  #isOver = false;
  readonly #running: Promise<void>[] = [];

  static async begin({ port }: SluiceProcess): Promise<Load> {
    const load = new Load();
    for (let i = 0; i < CLIENTS; i++) {
      load.#running.push(load.#run(await logIn({ port, user: "postgres" })));
    }
    return load;
  }

  /** Resolves when as many more transactions have been committed. */
  async more(count = 50): Promise<void> {
    const goal = this.doneCount + count;
    await eventually(`${count} more transactions`, () => {
      return this.doneCount >= goal || this.failures.length > 0;
    });
  }

  /** Resolves when every client has been sent away. */
  async whenAllHaveGone(): Promise<void> {
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.whenAllHaveGone();
  }

  async #run(client: Client): Promise<void> {
    while (!this.#isOver) {
      let hasBegun = false;
      try {
        await client.query("begin");
        hasBegun = true;
        await client.query("select 1");
        await client.query("commit");
        this.doneCount += 1;
      } catch (error) {
        (hasBegun ? this.failures : this.farewells).push(errorText(error));
        break;
      }
    }
    await client.end();
  }
}

Deno.test("every command can be given to a busy Sluice, and no transaction fails", async () => {
  await using sluice = await start();
  const admin = await openConsole(sluice);
  await using load = await Load.begin(sluice);
  await load.more();
  const tagOf = async (sql: string) => (await admin.query(sql)).command;
  const session = [
    ["PAUSE", "RESUME"],
    ["PAUSE postgres", "RESUME postgres"],
    ["RECONNECT", "WAIT_CLOSE"],
    ["RECONNECT postgres", "WAIT_CLOSE postgres"],
    ["SUSPEND", "RESUME"],
    ["DISABLE postgres", "ENABLE postgres"],
    ["SET default_pool_size = 2", "RELOAD"],
    ["RELOAD", "RELOAD"],
  ] as const;
  for (const pair of session) {
    // The driver reads of a tag what comes before an underscore.
    for (const sql of pair) assert.equal(await tagOf(sql), /^[A-Z]+/.exec(sql)![0], sql);
    await load.more();
    assert.deepEqual([load.failures, load.farewells], [[], []], pair.join());
  }
  await admin.end();
});

Deno.test("PAUSE, a restart of PostgreSQL and RESUME cost no client its transaction", async () => {
  await using postgres = await startPostgres();
  await using sluice = await start({}, postgres);
  const admin = await openConsole(sluice);
  await using load = await Load.begin(sluice);
  await load.more();
  await admin.query("PAUSE");
  const before = load.doneCount;
  await postgres.restart();
  assert.equal((await show(sluice, "pools"))[0]?.["sv_active"], 0);
  await admin.query("RESUME");
  await load.more();
  assert.ok(load.doneCount > before);
  assert.deepEqual([load.failures, load.farewells], [[], []]);
  await admin.end();
});

Deno.test("a drain under load cuts no transaction, and the process ends by itself", async () => {
  await using sluice = await start();
  const admin = await openConsole(sluice);
  await using load = await Load.begin(sluice);
  await load.more();
  assert.equal((await admin.query("SHUTDOWN WAIT_FOR_TRANSACTIONS 60")).command, "SHUTDOWN");
  await load.whenAllHaveGone();
  assert.deepEqual(load.failures, []);
  assert.equal(load.farewells.length, CLIENTS);
  const gone = /^57P01 |Connection terminated|not queryable/;
  for (const farewell of load.farewells) assert.match(farewell, gone);
  await admin.end();
  assert.equal((await sluice.exited).code, 0);
});

Deno.test("a drain refuses newcomers with 57P03 as long as somebody is in a transaction", async () => {
  await using sluice = await start();
  const to = { port: sluice.port, user: "postgres" };
  const client = await logIn(to);
  await client.query("begin");
  const admin = await openConsole(sluice);
  await admin.query("SHUTDOWN WAIT_FOR_TRANSACTIONS");
  assert.equal(await outcome(to), "57P03 pooler is shutting down");
  assert.equal((await client.query("select 1")).rows.length, 1);
  await client.query("commit");
  assert.equal((await sluice.exited).code, 0);
  for (const each of [client, admin]) await each.end();
});

Deno.test("^C on a PAUSE that waits resumes", async () => {
  await using sluice = await start();
  const client = await logIn({ port: sluice.port, user: "postgres" });
  await client.query("begin");
  const to = { hostname: "127.0.0.1", port: sluice.port };
  const admin = await TestClient.connect(to);
  await admin.login({ user: "postgres", database: "pgbouncer" });
  const pausing = admin.query("PAUSE");
  await sluice.waitForLog(/ PAUSE command issued/);
  const canceler = await TestClient.connect(to);
  await canceler.send(frontend.cancelRequest(admin.cancelKey!));
  await canceler.receiveUntilEnd();
  canceler.close();
  const { errors, status } = await pausing;
  assert.deepEqual([errors[0]?.sqlstate, status], ["57014", "I"]);
  const other = await logIn({ port: sluice.port, user: "postgres" });
  assert.equal((await other.query("select 1")).rows.length, 1);
  await client.query("commit");
  for (const each of [client, other]) await each.end();
  admin.close();
});

Deno.test("KILL sends everybody of a database away, and RESUME lets them come back", async () => {
  await using sluice = await start();
  const to = { port: sluice.port, user: "postgres" };
  const client = await logIn(to);
  await client.query("begin");
  const admin = await openConsole(sluice);
  assert.equal((await admin.query("KILL postgres")).command, "KILL");
  await assert.rejects(client.query("select 1"));
  await client.end();
  const waiting = outcome(to);
  await eventually("the newcomer waits", async () => {
    const rows = await show(sluice, "pools");
    return rows.some(({ database, cl_waiting: count }) => database === "postgres" && count === 1);
  });
  await admin.query("RESUME postgres");
  assert.equal(await waiting, "in");
  await admin.end();
});
