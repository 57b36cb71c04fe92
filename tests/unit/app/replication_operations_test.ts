/** Clients that replicate, amid what operators do, and in what the console shows. */

import assert from "node:assert/strict";
import { showClients } from "../../../src/admin/show_clients.ts";
import { showHistograms } from "../../../src/admin/show_histograms.ts";
import { showLists } from "../../../src/admin/show_lists.ts";
import { showPools } from "../../../src/admin/show_pools.ts";
import { showServers } from "../../../src/admin/show_servers.ts";
import type { ConsoleContext } from "../../../src/admin/console_context.ts";
import { CancelDesk } from "../../../src/client/cancel_request.ts";
import { PeerDesk } from "../../../src/client/peer_desk.ts";
import { backend as say, frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { readResult as readShown } from "../admin/shown_result.ts";
import { never, pause, suspend, TWO } from "./operations_fixture.ts";
import {
  loginOptions,
  privatePools,
  processIds,
  replicate,
  stream,
} from "./replication_fixture.ts";

// --- what operators do ---

Deno.test("PAUSE leaves streams alone and does not wait for them; newcomers wait for RESUME", async () => {
  await using world = await PoolerWorld.open();
  const streaming = await stream(world);
  const { operations } = world.pooler;
  const pausing = pause(operations);
  await world.settle();
  assert.equal(pausing.outcome, "done");
  await world.postgres.live[0]!.speak(say.copyData("wal"));
  assert.equal((await streaming.receive())?.type, "d");
  const newcomer = await world.connect();
  const login = newcomer.login(loginOptions());
  await world.advance(10_000);
  assert.deepEqual(processIds(world), [1001]);
  operations.resume(undefined);
  await login;
  assert.deepEqual(processIds(world), [1001, 1002]);
  for (const client of [streaming, newcomer]) client.close();
});

Deno.test("PAUSE waits for one that replicates and does not stream, as for any session", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const client = await replicate(world);
  const pausing = pause(world.pooler.operations, "app");
  await world.settle();
  assert.equal(pausing.outcome, "waiting");
  await client.query("select 1");
  await client.terminate();
  await world.settle();
  assert.equal(pausing.outcome, "done");
});

Deno.test("PAUSE waits no longer for one that begins to stream", async () => {
  await using world = await PoolerWorld.open();
  const client = await replicate(world, "true");
  const pausing = pause(world.pooler.operations);
  await client.send(frontend.query("start_replication"));
  await world.advance(1_000);
  assert.equal(pausing.outcome, "done");
  world.pooler.operations.resume(undefined);
  await client.send(frontend.copyDone());
  await client.result();
  const again = pause(world.pooler.operations);
  await world.settle();
  assert.equal(again.outcome, "waiting", "the stream is over, the session is not");
  client.close();
});

for (
  const [what, act] of [
    ["RECONNECT", (world: PoolerWorld) => world.pooler.operations.reconnect("app")],
    [
      "a reload that leads elsewhere",
      (world: PoolerWorld) =>
        world.reload({ sections: TWO.replace('"127.0.0.1"', '"127.0.0.1"\ndbname = "b"') }),
    ],
  ] as const
) {
  Deno.test(`${what} closes streams at once, and their clients are told why`, async () => {
    await using world = await PoolerWorld.open({ sections: TWO });
    const clients = [await stream(world), await replicate(world)];
    const elsewhere = await world.login({ ...loginOptions(), database: "other" });
    await act(world);
    for (const client of clients) {
      assert.equal(await client.lastWords(), "FATAL 57P01 database configuration changed");
    }
    assert.equal((await elsewhere.query("select 1")).types, "TDCZ");
    await world.pooler.operations.waitClose(undefined, never());
    elsewhere.close();
  });
}

Deno.test("a reload that takes a database away ends its streams", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const client = await stream(world);
  await world.reload({ sections: TWO.replace("databases.app", "databases.new") });
  assert.equal(await client.lastWords(), "FATAL 57P01 database removed");
  await world.settle();
  assert.deepEqual(privatePools(world), []);
});

Deno.test("KILL and KILL_CLIENT end streams like other clients", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const { operations } = world.pooler;
  const [first, second] = [await stream(world), await stream(world)];
  operations.killClient(world.clients[0]!.id);
  assert.equal(await first.lastWords(), "FATAL 57P01 admin forced disconnect");
  await world.settle();
  assert.deepEqual(processIds(world), [1002]);
  operations.kill("app");
  assert.equal(await second.lastWords(), "FATAL 57P01 admin forced disconnect");
  await world.settle();
  assert.deepEqual(processIds(world), []);
});

Deno.test("SUSPEND holds a stream in both directions, and RESUME loses nothing", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  const { operations } = world.pooler;
  const suspending = suspend(operations);
  const backend = world.postgres.live[0]!;
  await backend.speak(say.copyData("wal"));
  await client.send(frontend.copyData("status"));
  await world.settle();
  assert.deepEqual([suspending.outcome, backend.copied], ["done", []]);
  operations.resume(undefined);
  assert.equal((await client.receive())?.type, "d");
  await world.settle();
  assert.deepEqual(backend.copied, ["status"]);
  client.close();
});

for (const mode of ["wait_for_servers", "wait_for_clients", "wait_for_transactions"] as const) {
  Deno.test(`SHUTDOWN ${mode} does not wait for a stream, which goes on as long as others are waited for`, async () => {
    await using world = await PoolerWorld.open();
    const [streaming, linked] = [await stream(world), await world.login()];
    await linked.query("begin");
    world.pooler.shutdown(mode);
    await world.advance(5_000);
    await world.postgres.live[0]!.speak(say.copyData("wal"));
    assert.equal((await streaming.receive())?.type, "d");
    await linked.send(frontend.query("commit"));
    await linked.receiveUntilReady();
    linked.close();
    await world.advance(1_000);
    assert.equal(await streaming.lastWords(), "FATAL 57P01 pooler is shutting down");
    await world.advance(1_000);
    await world.pooler.stopped;
  });
}

/** Asks of the console what these tests look at. */
function consoleOf({ clock, network, pooler }: PoolerWorld): ConsoleContext {
  const limits = {
    network,
    clock,
    streamOptions: () => pooler.pools.streamOptions(),
    waitTimeoutMs: () => 0,
    connectTimeoutMs: () => 0,
  };
  const peers = new PeerDesk({
    ...limits,
    ownId: () => 0,
    peer: () => undefined,
    maxWaiting: () => 1,
  });
  const cancels = new CancelDesk({ ...limits, clients: pooler.clients, peers, log: undefined! });
  return {
    operations: pooler.operations,
    clients: pooler.clients,
    pools: pooler.pools.registry,
    loopLag: pooler.loopLag,
    names: pooler.names,
    clock,
    cancels,
    peers,
    config: () => pooler.live.config,
    userNames: () => pooler.live.credentials.keys(),
  } as Partial<ConsoleContext> as ConsoleContext;
}

// --- what the console shows ---

Deno.test("SHOW CLIENTS and SHOW SERVERS say what a connection replicates, and join the two sides", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await world.login(), await replicate(world), await stream(world)];
  await clients[0]!.query("begin");
  const context = consoleOf(world);
  const shown = readShown(showClients(context)).rows;
  assert.deepEqual(shown.map((row) => [row["replication"], row["state"]]), [
    ["none", "active"],
    ["logical", "active"],
    ["physical", "active"],
  ]);
  const servers = readShown(showServers(context)).rows;
  assert.deepEqual(servers.map((row) => row["replication"]), ["none", "logical", "physical"]);
  assert.deepEqual(servers.map((row) => row["link"]), shown.map((row) => row["ptr"]));
  for (const client of clients) client.close();
});

Deno.test("SHOW POOLS has one row for a database and user, those who replicate included", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await replicate(world), await world.login(), await stream(world)];
  await clients[1]!.query("begin");
  const rows = readShown(showPools(consoleOf(world))).rows;
  assert.deepEqual(
    rows.map((row) => [row["database"], row["user"], row["cl_active"], row["sv_active"]]),
    [["app", "ada", "3", "3"], ["pgbouncer", "pgbouncer", "0", "0"]],
  );
  for (const client of clients) client.close();
});

Deno.test("SHOW LISTS and SHOW HISTOGRAMS know pools by name, not one for each that replicates", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await replicate(world), await world.login(), await stream(world)];
  const context = consoleOf(world);
  const lists = readShown(showLists(context)).rows;
  const counts = new Map(lists.map(({ items, list }) => [list, items]));
  assert.deepEqual([counts.get("pools"), counts.get("used_servers")], ["2", "3"]);
  assert.equal(readShown(showHistograms(context)).rows.length, 4);
  for (const client of clients) client.close();
});

Deno.test("the log says of a login what it is to replicate", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await replicate(world), await world.login()];
  const attempts = world.log.filter((line) => line.includes("login attempt"))
    .map((line) => line.slice(line.indexOf("db=")));
  assert.deepEqual(attempts, [
    "db=app user=ada tls=no replication=database",
    "db=app user=ada tls=no replication=no",
  ]);
  for (const client of clients) client.close();
});
