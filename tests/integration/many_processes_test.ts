/** Several processes on one port: cancel requests that land on the wrong one, and rolling restarts. */

import assert from "node:assert/strict";
import { GuardedDir } from "../../scripts/guarded_process.ts";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { unprivilegedIds } from "../../scripts/unprivileged.ts";
import { pgbench } from "../support/commands.ts";
import { show } from "../support/console.ts";
import { eventually, within } from "../support/eventually.ts";
import { ask, errorText, logIn } from "../support/logins.ts";
import { frontend } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";

const shared = sharedPostgres();

/** Where the kernel deals connections out among the listeners of a port. */
const HAS_FLEETS = Deno.build.os === "linux";

const PEER_IDS = [1, 2, 3] as const;

/** A port and a folder that several processes have in common. */
class Fleet implements AsyncDisposable {
  readonly port = freePort();
  readonly dir: string;
  readonly #resources: AsyncDisposableStack;

  private constructor(dir: GuardedDir, resources: AsyncDisposableStack) {
    this.dir = dir.path;
    this.#resources = resources;
  }

  static async make(): Promise<Fleet> {
    await using resources = new AsyncDisposableStack();
    const dir = resources.use(await GuardedDir.make("fleet-", unprivilegedIds()));
    return new Fleet(dir, resources.move());
  }

  /** Starts a process; it is ended with the fleet. */
  async start(pooler: ConfigSection = {}, sections = ""): Promise<SluiceProcess> {
    const config = configFor(shared.get(), {
      pooler: {
        so_reuseport: true,
        listen_port: this.port,
        pool_mode: "transaction",
        default_pool_size: 4,
        unix_socket_dir: this.dir,
        ...pooler,
      },
    });
    return this.#resources.use(await startSluice({ config: `${config}\n${sections}` }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/** Three processes that know each other by their unix sockets. */
async function startPeers(fleet: Fleet): Promise<void> {
  // Abstract, so that no folder is needed for each.
  const directoryOf = (id: number) => `@${fleet.dir}/${id}`;
  const peers = PEER_IDS.map((id) =>
    `[peers.${id}]\nhost = "${directoryOf(id)}"\nport = ${fleet.port}\n`
  ).join("");
  for (const id of PEER_IDS) {
    await fleet.start({ peer_id: id, unix_socket_dir: directoryOf(id) }, peers);
  }
}

async function connectTo(fleet: Fleet, peerId: number): Promise<TestClient> {
  const path = `\0${fleet.dir}/${peerId}/.s.PGSQL.${fleet.port}`;
  return new TestClient(await Deno.connect({ transport: "unix", path }));
}

async function untilRunning(count: number): Promise<void> {
  await eventually(`${count} endless queries`, async () => {
    const rows = await shared.get().sql(
      "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(600)'",
    );
    return rows.length === count;
  });
}

/** Cancels a client's query over a connection. What that answers, and the errors of the query. */
async function cancel(client: TestClient, canceler: TestClient) {
  await canceler.send(frontend.cancelRequest(client.cancelKey!));
  const answer = await canceler.receiveUntilEnd();
  canceler.close();
  const { errors } = await within("the query is cancelled", client.result());
  return { answer, errors };
}

Deno.test({
  name: "of three processes on one port, each passes on cancel requests for clients of the others",
  ignore: !HAS_FLEETS,
  async fn() {
    await using fleet = await Fleet.make();
    await startPeers(fleet);
    for (const minor of [0, 2]) {
      const clients = await Promise.all(PEER_IDS.map((id) => connectTo(fleet, id)));
      for (const client of clients) {
        await client.login({ user: "postgres", minor });
        await client.send(frontend.query("select pg_sleep(600)"));
      }
      assert.deepEqual(clients.map(({ cancelKey }) => cancelKey![1]), [...PEER_IDS]);
      await untilRunning(PEER_IDS.length);
      for (const [at, client] of clients.entries()) {
        // The next one: surely the wrong one.
        const canceler = await connectTo(fleet, PEER_IDS[(at + 1) % PEER_IDS.length]!);
        const { answer, errors } = await cancel(client, canceler);
        assert.deepEqual(answer, []);
        assert.deepEqual(errors.map(({ sqlstate }) => sqlstate), ["57014"]);
        await untilRunning(PEER_IDS.length - 1 - at);
      }
      for (const client of clients) client.close();
    }
    const rows = await show({ port: fleet.port }, "peer_pools");
    assert.equal(rows.length, PEER_IDS.length - 1);
    await cancelByCommonPort(fleet);
  },
});

/** Cancels a query at each of the processes, by whichever the kernel chooses for that. */
async function cancelByCommonPort(fleet: Fleet): Promise<void> {
  const seen = new Set<number>();
  const address = { hostname: "127.0.0.1", port: fleet.port };
  for (let tries = 0; seen.size < PEER_IDS.length && tries < 60; tries++) {
    const client = await TestClient.connect(address);
    await client.login({ user: "postgres" });
    const peerId = client.cancelKey![1]!;
    if (!seen.has(peerId)) {
      seen.add(peerId);
      await client.send(frontend.query("select pg_sleep(600)"));
      await untilRunning(1);
      const canceler = await TestClient.connect(address);
      const { errors } = await cancel(client, canceler);
      assert.equal(errors[0]?.sqlstate, "57014");
    }
    client.close();
  }
  assert.deepEqual([...seen].sort(), [...PEER_IDS]);
}

/** Connects by npm:pg, asks and leaves, again and again; returns what went wrong, and how often it went well. */
function reconnecting(fleet: Fleet): { readonly errors: string[]; end(): Promise<number> } {
  const errors: string[] = [];
  let isOver = false;
  const loop = async (host: string) => {
    let count = 0;
    while (!isOver) {
      try {
        await ask({ host, port: fleet.port, user: "postgres" }, "select 1");
        count += 1;
      } catch (error) {
        errors.push(errorText(error));
      }
    }
    return count;
  };
  const loops = ["127.0.0.1", fleet.dir, "127.0.0.1"].map(loop);
  return {
    errors,
    end: async () => {
      isOver = true;
      return (await Promise.all(loops)).reduce((sum, count) => sum + count);
    },
  };
}

Deno.test({
  name: "a start that fails takes nothing from the process that runs",
  ignore: !HAS_FLEETS,
  async fn() {
    await using fleet = await Fleet.make();
    const settings = { pidfile: `${fleet.dir}/sluice.pid` };
    const first = await fleet.start(settings);
    // A port of another kind, which is taken: known only when it is tried.
    const taken = Deno.listen({ hostname: "127.0.0.13", port: fleet.port });
    const missing = `${fleet.dir}/missing/ready`;
    for (
      const [broken, reason] of [
        // Were there another one of TCP, that would do.
        [{ listen_addr: "127.0.0.13" }, /address already in use/],
        [{ readiness_file: missing }, /Cannot write the readiness file/],
      ] as const
    ) {
      await assert.rejects(fleet.start({ ...settings, ...broken }), reason);
      assert.equal(await Deno.readTextFile(settings.pidfile), `${first.pid}\n`);
      for (const host of ["127.0.0.1", fleet.dir]) {
        await ask({ host, port: fleet.port, user: "postgres" }, "select 1");
      }
    }
    taken.close();
  },
});

Deno.test({
  name:
    "a newcomer that is killed leaves a unix socket that the next start takes over, beside the first",
  ignore: !HAS_FLEETS,
  async fn() {
    await using fleet = await Fleet.make();
    const settings = { pidfile: `${fleet.dir}/sluice.pid` };
    const first = await fleet.start(settings);
    const second = await fleet.start(settings);
    second.signal("SIGKILL");
    await within("the second ends", second.exited);
    const bySocket = { host: fleet.dir, port: fleet.port, user: "postgres" };
    await assert.rejects(ask(bySocket, "select 1"), { code: "ECONNREFUSED" });
    await ask({ ...bySocket, host: "127.0.0.1" }, "select 1");
    first.signal("SIGHUP");
    const warning = `WARNING nobody listens on unix:${fleet.dir}/.s.PGSQL.${fleet.port}: `;
    await eventually("the first says so", () => first.log().includes(warning));
    const third = await fleet.start(settings);
    await ask(bySocket, "select 1");
    assert.equal(await Deno.readTextFile(settings.pidfile), `${third.pid}\n`);
    first.signal("SIGTERM");
    assert.equal((await within("the first ends", first.exited)).code, 0);
    assert.equal(first.log().split(warning).length, 2, "said by the reload alone");
    assert.doesNotMatch(first.log(), / (ERROR|FATAL) |internal error/);
    await ask(bySocket, "select 1");
    assert.equal(await Deno.readTextFile(settings.pidfile), `${third.pid}\n`);
  },
});

Deno.test({
  name: "a rolling restart refuses nobody and cuts nobody off, by SIGTERM and as transactions end",
  ignore: !HAS_FLEETS || isMissing("pgbench"),
  async fn() {
    await using fleet = await Fleet.make();
    const settings = { pidfile: `${fleet.dir}/sluice.pid` };
    const first = await fleet.start(settings);
    const driver = reconnecting(fleet);
    const script = `${fleet.dir}/transaction.sql`;
    await Deno.writeTextFile(script, "begin;\nselect 1;\nselect 2;\nend;\n");
    const running = pgbench({ port: fleet.port, user: "postgres" }, [
      ...["--no-vacuum", "--connect", "--client=4", "--time=2", `--file=${script}`],
    ]);
    const second = await fleet.start(settings);
    const console = await logIn({
      host: fleet.dir,
      port: fleet.port,
      user: "postgres",
      database: "pgbouncer",
    });
    first.signal("SIGTERM");
    assert.equal((await within("the first ends", first.exited)).code, 0);
    const third = await fleet.start(settings);
    await console.query("shutdown wait_for_transactions");
    assert.equal((await within("the second ends", second.exited)).code, 0);
    await console.end();
    const { code, stderr, stdout } = await running;
    const count = await driver.end();
    assert.deepEqual(driver.errors, []);
    assert.ok(count > 10, `${count} logins`);
    assert.deepEqual([code, stderr], [0, ""], stdout);
    assert.match(stdout, /number of failed transactions: 0 /);
    assert.equal(await Deno.readTextFile(settings.pidfile), `${third.pid}\n`);
    for (const process of [first, second, third]) {
      assert.deepEqual(process.log().match(/.*(internal error|nobody listens).*/g), null);
    }
    await third.stop("SIGTERM");
    const left = await Array.fromAsync(Deno.readDir(fleet.dir), ({ name }) => name);
    assert.deepEqual(left, ["transaction.sql"]);
  },
});
