/**
 * Every timeout on a clock that the test moves: not before its time, at most half a second after it,
 * or three quarters when nothing has happened for long, and not after what should have stopped it; nor
 * for time in which the process did not run.
 */

import assert from "node:assert/strict";
import type { ClientSession } from "../../../src/client/client_session.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

/** What every limit of these tests is set to. */
const LIMIT_MS = 7_000;

/** How late a timeout may be. */
const LATEST_MS = 500;

/** The same when nothing has happened for long. */
const LATEST_AT_REST_MS = 750;

const STALL_MS = 600_000;

/** One of which something is awaited, and what was arranged for it. */
interface Scene {
  readonly client: TestClient;
  readonly session: ClientSession;
  /** What should stop the timeout. */
  readonly stop: () => Promise<unknown>;
  readonly others?: readonly TestClient[];
}

interface TimeoutCase {
  readonly setting: string;
  readonly when: string;
  readonly arrange: (world: PoolerWorld) => Promise<Scene>;
  /** What the client is told. */
  readonly told: string;
  /** Whether the server that the client has is closed with it, for the same reason. */
  readonly endsServer?: boolean;
  readonly isCanceled?: boolean;
}

function sessionOf(world: PoolerWorld): ClientSession {
  return world.clients.at(-1)!;
}

/** One that has said so much, and what stops its time. */
async function saying(
  world: PoolerWorld,
  { before = [], messages = [], stop }: {
    before?: readonly string[];
    messages?: readonly Uint8Array[];
    stop: (client: TestClient) => Promise<unknown>;
  },
): Promise<Scene> {
  const client = await world.login();
  for (const sql of before) await client.query(sql);
  await client.send(...messages);
  await world.settle();
  return { client, session: sessionOf(world), stop: () => stop(client) };
}

async function waiting(world: PoolerWorld): Promise<Scene> {
  const [busy, client] = await world.loginInLine();
  const stop = () => busy.query("commit");
  return { client, session: sessionOf(world), stop, others: [busy] };
}

/** Wakes what the client's query sleeps in. */
async function wake(world: PoolerWorld): Promise<void> {
  world.postgres.wakeAll();
  await world.settle();
}

const SLEEP = frontend.query("select pg_sleep(1)");

const CASES: readonly TimeoutCase[] = [
  {
    setting: "client_login_timeout",
    when: "a client says nothing",
    arrange: async (world) => {
      const client = await world.connect();
      await world.settle();
      return { client, session: sessionOf(world), stop: () => client.login({ user: "ada" }) };
    },
    told: "FATAL 57014 client_login_timeout",
  },
  {
    setting: "client_idle_timeout",
    when: "a client asks nothing",
    arrange: (world) =>
      saying(world, { before: ["select 1"], stop: (client) => client.query("select 1") }),
    told: "FATAL 57P05 client_idle_timeout",
  },
  {
    setting: "idle_transaction_timeout",
    when: "a client leaves its transaction alone",
    arrange: (world) =>
      saying(world, { before: ["begin"], stop: (client) => client.query("select 1") }),
    told: "FATAL 25P03 idle transaction timeout",
    endsServer: true,
  },
  {
    setting: "transaction_timeout",
    when: "a transaction goes on",
    arrange: (world) =>
      saying(world, { before: ["begin"], stop: (client) => client.query("commit") }),
    told: "FATAL 25P04 transaction timeout",
    endsServer: true,
  },
  {
    setting: "query_timeout",
    when: "a query runs",
    arrange: (world) => saying(world, { messages: [SLEEP], stop: () => wake(world) }),
    told: "FATAL 57014 query timeout",
    endsServer: true,
    isCanceled: true,
  },
  {
    setting: "query_timeout",
    when: "a query waits for a server",
    arrange: waiting,
    told: "FATAL 57014 query_timeout",
  },
  {
    setting: "query_wait_timeout",
    when: "a client waits",
    arrange: waiting,
    told: "FATAL 53300 query_wait_timeout",
  },
];

/** All limits that could get in the way are off. */
const CALM = "query_wait_timeout = 0\nquery_wait_notify = 0\nserver_idle_timeout = 0\n" +
  'server_check_query = ""\ndefault_pool_size = 1\n';

async function open(setting: string, more = ""): Promise<PoolerWorld> {
  const calm = CALM.split("\n").filter((line) => !line.startsWith(setting)).join("\n");
  return await PoolerWorld.open({ pooler: `${calm}\n${setting} = ${LIMIT_MS / 1_000}\n${more}` });
}

function close({ client, others = [] }: Scene): void {
  for (const each of [client, ...others]) each.close();
}

for (const { arrange, endsServer = false, isCanceled = false, setting, told, when } of CASES) {
  Deno.test(`${setting}, when ${when}: neither early nor late, and the log and the server follow`, async () => {
    await using world = await open(setting);
    const scene = await arrange(world);
    await world.advance(LIMIT_MS - 1);
    assert.ok(scene.session.isOpen, "early");
    await world.advance(1 + LATEST_MS);
    assert.ok(!scene.session.isOpen, "late");
    assert.equal(await scene.client.lastWords(), told);
    const reason = told.replace(/^FATAL \w+ /, "");
    assert.ok(world.hasLogged(` pooler error: ${reason}`));
    assert.ok(world.hasLogged(` closing because: ${reason} (age=7s)`));
    await world.settle();
    if (endsServer) {
      assert.ok(world.hasLogged(`5432 closing because: ${reason} (age=`));
      assert.equal(world.pool().servers.count, 0);
    }
    assert.equal(world.postgres.cancelRequestCount, isCanceled ? 1 : 0);
    close(scene);
  });

  Deno.test(`${setting}, when ${when}: not after what should have stopped it`, async () => {
    await using world = await open(setting);
    const scene = await arrange(world);
    await world.advance(LIMIT_MS - 20);
    await scene.stop();
    await world.advance(LIMIT_MS - 100);
    assert.ok(scene.session.isOpen);
    close(scene);
  });

  Deno.test(`${setting}, when ${when}: time in which the process did not run does not count`, async () => {
    await using world = await open(setting);
    const scene = await arrange(world);
    await world.advance(2_000);
    world.clock.stall(STALL_MS);
    await world.advance(LIMIT_MS - 4_000);
    assert.ok(scene.session.isOpen, "early");
    await world.advance(2_000 + LATEST_MS);
    assert.ok(!scene.session.isOpen, "late");
    close(scene);
  });

  Deno.test(`${setting}, when ${when}: what it is set to meanwhile counts from the beginning`, async () => {
    await using world = await open(setting);
    const set = (ms: number) => world.pooler.operations.set(setting, String(ms / 1_000));
    const scene = await arrange(world);
    await world.advance(LIMIT_MS - 1);
    set(2 * LIMIT_MS);
    await world.advance(3_000);
    assert.ok(scene.session.isOpen, "early");
    set(0);
    await world.advance(2 * LIMIT_MS);
    assert.ok(scene.session.isOpen, "0 is no limit");
    set(LIMIT_MS);
    await world.advance(LATEST_AT_REST_MS);
    assert.ok(!scene.session.isOpen, "late");
    close(scene);
  });
}

Deno.test("an answer that came while the process did not run is seen before anything is judged", async () => {
  await using world = await open("query_timeout");
  const client = await world.login();
  await client.send(SLEEP);
  await world.advance(LIMIT_MS - 300);
  world.postgres.wakeAll();
  world.clock.stall(STALL_MS);
  // The janitor's timer comes first.
  world.clock.advance(0);
  await world.settle();
  await world.advance(1_000);
  assert.equal((await client.result()).types, "TDCZ");
  client.close();
});

for (
  const [setting, pooler, stop] of [
    ["server_idle_timeout", "", "select 1"],
    ["server_lifetime", "", undefined],
  ] as const
) {
  Deno.test(`${setting} closes a free server, neither early nor late`, async () => {
    await using world = await open(setting, pooler);
    const client = await world.login();
    await client.query("select 1");
    await world.advance(LIMIT_MS - 1);
    assert.equal(world.pool().servers.count, 1, "early");
    if (stop !== undefined) {
      await client.query(stop);
      await world.advance(LIMIT_MS - 1);
      assert.equal(world.pool().servers.count, 1, "used meanwhile");
    }
    await world.advance(1 + LATEST_MS);
    assert.equal(world.pool().servers.count, 0, "late");
    const reason = setting === "server_lifetime" ? "server lifetime over" : "server idle timeout";
    assert.ok(world.hasLogged(`5432 closing because: ${reason}`));
    client.close();
  });
}

Deno.test("server_lifetime of a database goes before the one for all", async () => {
  await using world = await PoolerWorld.open({
    pooler: `${CALM}server_lifetime = 2`,
    sections: `[databases.app]\nhost = "127.0.0.1"\nserver_lifetime = 7\n` +
      '[databases.other]\nhost = "127.0.0.1"\n[users.ada]\npassword = "x"\n',
  });
  const clients = [await world.login(), await world.login({ database: "other" })];
  await world.advance(LIMIT_MS - 1);
  assert.deepEqual([world.pool().servers.count, world.pool("other").servers.count], [1, 0]);
  await world.advance(1 + LATEST_MS);
  assert.equal(world.pool().servers.count, 0);
  for (const client of clients) client.close();
});

Deno.test("server_connect_timeout gives a silent server up in time, and not for a time we did not run", async () => {
  await using world = await open("server_connect_timeout");
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(2_000);
  world.clock.stall(STALL_MS);
  await world.advance(LIMIT_MS - 4_000);
  assert.equal(world.pool().servers.login.size, 1, "early");
  await world.advance(2_000 + LATEST_MS);
  assert.equal(world.pool().servers.login.size, 0, "late");
  assert.ok(world.hasLogged("closing because: connect timeout"));
  client.close();
});

Deno.test("server_login_retry is waited for, and then it is tried again at once", async () => {
  await using world = await open("server_login_retry");
  world.network.obstruct(world.postgres.address, "refused");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  const attempts = () =>
    world.log.filter((line) => line.includes("because: connect failed (")).length;
  assert.equal(attempts(), 1);
  await world.advance(LIMIT_MS - 1);
  assert.equal(attempts(), 1, "early");
  assert.equal(
    await world.outcome(),
    "FATAL 08001: server login has been failing, cached error: connect failed (server_login_retry)",
  );
  await world.advance(1 + LATEST_MS);
  assert.equal(attempts(), 2, "late");
  client.close();
});

Deno.test("query_wait_notify tells who waits, neither early nor late, and once", async () => {
  await using world = await open("query_wait_notify");
  const scene = await waiting(world);
  await world.advance(LIMIT_MS - 1);
  assert.equal(scene.session.hasWaitNotice, false, "early");
  await world.advance(1 + LATEST_MS);
  assert.equal(scene.session.hasWaitNotice, true, "late");
  await world.advance(2 * LIMIT_MS);
  await scene.stop();
  const { notices, types } = await scene.client.result();
  assert.equal(types, "NTDCZ");
  assert.deepEqual(
    notices.map(({ message, severity, sqlstate }) => [severity, sqlstate, message]),
    [
      [
        "NOTICE",
        "00000",
        "No server connection available in postgres backend, client being queued",
      ],
    ],
  );
  close(scene);
});

Deno.test("pool_idle_timeout and autodb_idle_timeout forget a pool, neither early nor late", async () => {
  for (
    const [setting, database] of [["pool_idle_timeout", "app"], ["autodb_idle_timeout", "made_up"]]
  ) {
    await using world = await PoolerWorld.open({
      pooler: `${CALM}server_lifetime = 0\n${setting} = 7`,
      sections: `[databases.app]\nhost = "127.0.0.1"\n[databases."*"]\nhost = "127.0.0.1"\n` +
        '[users.ada]\npassword = "x"\n',
    });
    const client = await world.login({ database: database! });
    await client.query("select 1");
    client.close();
    await world.settle();
    const pools = () => [...world.pooler.pools.registry.all()].length;
    await world.advance(LIMIT_MS - 1);
    assert.equal(pools(), 1, `${setting}: early`);
    // From the round that found it empty.
    await world.advance(1 + 333 + LATEST_MS);
    assert.equal(pools(), 0, `${setting}: late`);
  }
});

/** A client whose query has been cancelled by a request that the server does not end yet. */
async function cancelHeld(world: PoolerWorld) {
  world.postgres.holdsCancels = true;
  const client = await world.login();
  await client.send(SLEEP);
  await world.settle();
  const canceling = world.cancel(client.cancelKey!);
  return { client, canceling, result: await client.result() };
}

Deno.test("cancel_wait_timeout gives a request up, neither early nor late, and not for a time we did not run", async () => {
  await using world = await open("cancel_wait_timeout");
  const { client, canceling, result } = await cancelHeld(world);
  assert.equal(result.errors[0]?.sqlstate, "57014");
  await world.advance(2_000);
  world.clock.stall(STALL_MS);
  await world.advance(LIMIT_MS - 4_000);
  assert.equal(world.pool().servers.beingCanceled.size, 1, "early");
  await world.advance(2_000 + LATEST_MS);
  assert.equal(world.pool().servers.count, 0, "late");
  await canceling;
  client.close();
});

Deno.test("suspend_timeout drops who owes something, neither early nor late, and not for a time we did not run", async () => {
  await using world = await open("suspend_timeout");
  const client = await world.login();
  await client.send(frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 5_000));
  await world.settle();
  const session = sessionOf(world);
  const suspended = world.pooler.operations.suspend(new AbortController().signal);
  await world.advance(2_000);
  world.clock.stall(STALL_MS);
  await world.advance(LIMIT_MS - 4_000);
  assert.ok(session.isOpen, "early");
  await world.advance(2_000 + LATEST_MS);
  assert.ok(!session.isOpen, "late");
  await suspended;
  assert.equal(await client.lastWords(), "FATAL 57P01 suspend_timeout");
  client.close();
});

Deno.test("an answer to a cancel request that came while the thread was held up is seen before it is given up", async () => {
  await using world = await open("cancel_wait_timeout");
  const { client, canceling } = await cancelHeld(world);
  await world.advance(LIMIT_MS - 300);
  world.postgres.releaseCancels();
  world.clock.stall(800);
  // The request's timer comes first.
  world.clock.advance(0);
  await world.settle();
  await canceling;
  await world.advance(1_000);
  assert.equal(world.pool().servers.idle.length, 1);
  client.close();
});
