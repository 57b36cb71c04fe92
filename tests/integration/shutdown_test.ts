/** How Sluice ends: by signal and by the console, at once or when clients or servers are done. */

import assert from "node:assert/strict";
import { exists } from "../../scripts/cache_dir.ts";
import { BlackHole } from "../support/black_hole.ts";
import { show } from "../support/console.ts";
import { eventually, within } from "../support/eventually.ts";
import { logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { frontend } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection, tomlConfig } from "../support/toml_config.ts";

const shared = sharedPostgres();

/** Far less than anything that might be waited for takes, and enough for an end on a busy machine. */
const AT_ONCE_MS = 8_000;

/** Transaction pooling over one server, with a unix socket and a pid file in the process's folder. */
async function start(pooler: ConfigSection = {}): Promise<SluiceProcess> {
  return await startSluice({
    config: configFor(shared.get(), {
      pooler: {
        pool_mode: "transaction",
        default_pool_size: 1,
        unix_socket_dir: "{dir}",
        pidfile: "{dir}/sluice.pid",
        ...pooler,
      },
    }),
  });
}

function tcp({ port }: SluiceProcess): LoginTarget {
  return { port, user: "postgres" };
}

/** The unix socket of a process, whose port 0 no driver can be told. */
async function overUnix({ dir }: SluiceProcess): Promise<TestClient> {
  return new TestClient(await Deno.connect({ transport: "unix", path: `${dir}/.s.PGSQL.0` }));
}

async function overTcp({ port }: SluiceProcess): Promise<TestClient> {
  const client = await TestClient.connect({ hostname: "127.0.0.1", port });
  await client.login({ user: "postgres" });
  return client;
}

/** Until the port is closed, newcomers are told; nobody is let in. */
async function noLongerOverTcp({ port }: SluiceProcess): Promise<void> {
  await eventually("the port is closed", async () => {
    const client = await TestClient.connect({ hostname: "127.0.0.1", port }).catch(
      (error: unknown) => assert.ok(error instanceof Deno.errors.ConnectionRefused),
    );
    if (client === undefined) return true;
    await client.send(frontend.startup({ user: "postgres" }));
    assert.equal(await farewell(client), `FATAL ${IN_SHUTDOWN}`);
    return false;
  });
}

/** What a client was told at its end. */
async function farewell(client: TestClient): Promise<string> {
  const { errors, status } = await within("the connection is over", client.result());
  assert.equal(status, undefined, "the connection is over");
  const [report] = errors;
  client.close();
  return `${report?.severity} ${report?.sqlstate} ${report?.message}`;
}

/** Awaits the end and checks that it is a good one that leaves nothing behind. */
async function endsWell(sluice: SluiceProcess): Promise<void> {
  await eventually("the process has ended", () => / process down\n$/.test(sluice.log()));
  assert.equal((await sluice.exited).code, 0);
  assert.equal(await exists(`${sluice.dir}/.s.PGSQL.0`), false, "the unix socket is gone");
  assert.equal(await exists(`${sluice.dir}/sluice.pid`), false, "the pid file is gone");
  assert.doesNotMatch(sluice.log(), /internal error|Uncaught/);
  await eventually("no server is left in PostgreSQL", async () => {
    const rows = await shared.get().sql(
      "select 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
    );
    return rows.length === 0;
  });
}

const IN_SHUTDOWN = "57P03 pooler is shutting down";

Deno.test("SIGTERM waits for the clients, serves them, and takes no new ones", async () => {
  // At once, not when something comes: what the kernel keeps is lost with the listener.
  await using sluice = await start({ tcp_defer_accept: 0 });
  const clients = [await logIn(tcp(sluice)), await logIn(tcp(sluice))];
  const halfway = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  // One round trip on another connection, so that the pooler has surely accepted the one before.
  assert.equal(await outcome(tcp(sluice)), "in");
  sluice.signal("SIGTERM");
  await sluice.waitForLog(/shutting down: when all clients/);
  await noLongerOverTcp(sluice);
  await halfway.send(frontend.startup({ user: "postgres" }));
  assert.equal(await farewell(halfway), `FATAL ${IN_SHUTDOWN}`);
  const newcomer = await overUnix(sluice);
  await newcomer.send(frontend.startup({ user: "postgres" }));
  assert.equal(await farewell(newcomer), `FATAL ${IN_SHUTDOWN}`);
  for (const client of clients) {
    assert.equal((await client.query("select 1")).rowCount, 1);
    await client.query("begin");
    await client.query("commit");
  }
  await clients[0]!.end();
  assert.equal((await clients[1]!.query("select 1")).rowCount, 1);
  const console_ = await overUnix(sluice);
  await console_.login({ user: "postgres", database: "pgbouncer" });
  assert.equal((await console_.query("show clients")).rows.length, 2);
  assert.doesNotMatch(sluice.log(), /process down/);
  await clients[1]!.end();
  // A client of the console is not waited for.
  assert.equal(await farewell(console_), "FATAL 57P01 pooler is shutting down");
  await endsWell(sluice);
});

Deno.test("a second SIGTERM ends it at once", async () => {
  await using sluice = await start();
  const client = await overTcp(sluice);
  await client.query("begin");
  sluice.signal("SIGTERM");
  await sluice.waitForLog(/shutting down: when all clients/);
  sluice.signal("SIGTERM");
  assert.equal(await farewell(client), "FATAL 57P01 pooler is shutting down");
  await endsWell(sluice);
});

Deno.test("SIGINT drops who waits for a server, and lets who has one finish the transaction", async () => {
  await using sluice = await start();
  const [holder, waiter, idle] = [
    await overTcp(sluice),
    await overTcp(sluice),
    await overTcp(sluice),
  ];
  await holder.query("begin");
  await waiter.send(frontend.query("select 1"));
  await eventually("one waits", async () => {
    const pools = await show(sluice, "pools");
    return pools.some(({ cl_waiting: count }) => count === 1);
  });
  sluice.signal("SIGINT");
  assert.equal(await farewell(waiter), "FATAL 57P01 server shutting down");
  assert.equal((await holder.query("select 1")).rows.length, 1);
  assert.doesNotMatch(sluice.log(), /process down/);
  assert.deepEqual((await holder.query("commit")).tags, ["COMMIT"]);
  for (const client of [holder, idle]) {
    assert.equal(await farewell(client), "FATAL 57P01 pooler is shutting down");
  }
  await endsWell(sluice);
});

Deno.test("SIGINT lets a session keep its server to its end, in session pooling", async () => {
  await using sluice = await start({ pool_mode: "session" });
  const client = await overTcp(sluice);
  await client.query("select 1");
  sluice.signal("SIGINT");
  await sluice.waitForLog(/shutting down: when all servers/);
  assert.equal((await client.query("select 1")).rows.length, 1);
  await client.terminate();
  await endsWell(sluice);
});

Deno.test("SIGINT leaves the console in reach by the unix socket, and nothing else", async () => {
  await using sluice = await start();
  const holder = await overTcp(sluice);
  await holder.query("begin");
  sluice.signal("SIGINT");
  await sluice.waitForLog(/shutting down/);
  await noLongerOverTcp(sluice);
  const newcomer = await overUnix(sluice);
  await newcomer.send(frontend.startup({ user: "postgres" }));
  assert.equal(await farewell(newcomer), `FATAL ${IN_SHUTDOWN}`);
  const console_ = await overUnix(sluice);
  await console_.login({ user: "postgres", database: "pgbouncer" });
  assert.equal((await console_.query("show servers")).rows.length, 1);
  console_.close();
  await holder.query("commit");
  assert.equal(await farewell(holder), "FATAL 57P01 pooler is shutting down");
  await endsWell(sluice);
});

Deno.test("a second SIGINT ends it at once", async () => {
  await using sluice = await start();
  const client = await overTcp(sluice);
  await client.query("begin");
  sluice.signal("SIGINT");
  await sluice.waitForLog(/shutting down: when all servers/);
  sluice.signal("SIGINT");
  assert.equal(await farewell(client), "FATAL 57P01 pooler is shutting down");
  await endsWell(sluice);
});

Deno.test("SIGINT comes to an end although clients go on asking without a pause", async () => {
  await using sluice = await start({ default_pool_size: 5 });
  const work = async (client: TestClient): Promise<string> => {
    for (;;) {
      const { errors, status } = await client.query("select pg_sleep(0.05)");
      if (status !== undefined) continue;
      client.close();
      return `${errors[0]?.sqlstate} ${errors[0]?.message}`;
    }
  };
  const working: Promise<string>[] = [];
  for (let i = 0; i < 5; i++) working.push(work(await overTcp(sluice)));
  await eventually("all have a server", async () => {
    return (await show(sluice, "pools")).some(({ sv_active: count }) => count === 5);
  });
  const startedAtMs = performance.now();
  sluice.signal("SIGINT");
  await eventually("it ends", () => / process down\n$/.test(sluice.log()), 5_000)
    .catch((error: unknown) => {
      sluice.signal("SIGQUIT");
      throw error;
    });
  for (const words of await Promise.all(working)) assert.match(words, /^57P01 .*shutting down$/);
  assert.ok(performance.now() - startedAtMs < 5_000);
  await endsWell(sluice);
});

Deno.test("SIGQUIT ends it at once, whatever goes on, and every client is told", async () => {
  await using sluice = await start();
  const [idle, holder, waiter] = [
    await overTcp(sluice),
    await overTcp(sluice),
    await overTcp(sluice),
  ];
  await holder.query("begin");
  await holder.send(frontend.query("select pg_sleep(60)"));
  await waiter.send(frontend.query("select 1"));
  await eventually("one waits", async () => {
    const pools = await show(sluice, "pools");
    return pools.some(({ cl_waiting: count }) => count === 1);
  });
  const silent = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  const startedAtMs = performance.now();
  sluice.signal("SIGQUIT");
  for (const client of [idle, holder, waiter]) {
    assert.equal(await farewell(client), "FATAL 57P01 pooler is shutting down");
  }
  await sluice.exited;
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs < AT_ONCE_MS, `it took ${tookMs} ms, although nobody is waited for`);
  silent.close();
  assert.match(sluice.log(), / process down\n$/);
  // What ran goes on in PostgreSQL; it is no business of the next test.
  await shared.get().sql(
    "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)%' " +
      "and pid <> pg_backend_pid()",
  );
});

Deno.test("a client that does not take its farewell does not hold up the end", async () => {
  await using sluice = await start();
  const stubborn: TestClient[] = [];
  for (let i = 0; i < 20; i++) stubborn.push(await overTcp(sluice));
  const startedAtMs = performance.now();
  sluice.signal("SIGQUIT");
  await sluice.exited;
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs < AT_ONCE_MS, `it took ${tookMs} ms`);
  for (const client of stubborn) client.close();
});

Deno.test("SIGHUP in a shutdown does not undo it", async () => {
  await using sluice = await start();
  const client = await overTcp(sluice);
  sluice.signal("SIGTERM");
  await sluice.waitForLog(/shutting down/);
  sluice.signal("SIGHUP");
  await sluice.waitForLog(/configuration reloaded/);
  await noLongerOverTcp(sluice);
  assert.equal((await client.query("select 1")).rows.length, 1);
  await client.terminate();
  await endsWell(sluice);
});

Deno.test("a client that does not read its answer does not hold up the end", async () => {
  await using sluice = await start();
  const slow = await overTcp(sluice);
  await slow.send(frontend.query("select repeat('x', 1000000) from generate_series(1, 500)"));
  assert.equal((await slow.receive())?.type, "T");
  const startedAtMs = performance.now();
  sluice.signal("SIGQUIT");
  await sluice.exited;
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs < AT_ONCE_MS, `it took ${tookMs} ms`);
  slow.close();
});

Deno.test("a server that does not answer does not hold up the end", async () => {
  await using hole = await BlackHole.make();
  await using sluice = await startSluice({
    config: tomlConfig({
      databases: { "*": { host: "127.0.0.1", port: hole.port } },
      users: { postgres: { password: "x" } },
    }),
  });
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.send(frontend.startup({ user: "postgres" }));
  assert.equal((await client.receive())?.type, "R");
  const startedAtMs = performance.now();
  sluice.signal("SIGQUIT");
  assert.equal(await farewell(client), "FATAL 57P01 pooler is shutting down");
  await sluice.exited;
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs < AT_ONCE_MS, `it took ${tookMs} ms`);
});

Deno.test("without clients every signal ends it at once, servers included", async () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
    await using sluice = await start();
    assert.equal(await outcome(tcp(sluice)), "in");
    sluice.signal(signal);
    await endsWell(sluice);
  }
});

Deno.test("SHUTDOWN at the console ends it at once, without an answer", async () => {
  await using sluice = await start();
  const client = await overTcp(sluice);
  const console_ = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await console_.login({ user: "postgres", database: "pgbouncer" });
  const { errors, tags } = await console_.query("shutdown;");
  assert.deepEqual(tags, []);
  assert.equal(errors[0]?.message, "pooler is shutting down");
  assert.equal(await farewell(client), "FATAL 57P01 pooler is shutting down");
  console_.close();
  await endsWell(sluice);
});

Deno.test("SHUTDOWN WAIT_FOR_CLIENTS and WAIT_FOR_SERVERS at the console wait", async () => {
  for (const mode of ["WAIT_FOR_CLIENTS", "wait_for_servers"]) {
    await using sluice = await start();
    const client = await overTcp(sluice);
    await client.query("begin");
    const console_ = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
    await console_.login({ user: "postgres", database: "pgbouncer" });
    const { status, tags } = await console_.query(`shutdown ${mode}`);
    assert.deepEqual([tags, status], [["SHUTDOWN"], "I"]);
    assert.equal((await client.query("select 1")).rows.length, 1);
    // Who asked may go on looking.
    assert.ok((await console_.query("show servers")).rows.length > 0);
    await client.query("commit");
    await client.terminate();
    console_.close();
    await endsWell(sluice);
  }
});
