/** Clients that replicate: each with a server of its own, whatever else goes on. */

import assert from "node:assert/strict";
import { showClients } from "../../../src/admin/show_clients.ts";
import { showHistograms } from "../../../src/admin/show_histograms.ts";
import { showLists } from "../../../src/admin/show_lists.ts";
import { showPools } from "../../../src/admin/show_pools.ts";
import { showServers } from "../../../src/admin/show_servers.ts";
import type { ConsoleContext } from "../../../src/admin/console_context.ts";
import { CancelDesk } from "../../../src/client/cancel_request.ts";
import type { ServerPool } from "../../../src/client/relay.ts";
import { backend as say, frontend, join } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { LoginRefused, type TestClient } from "../../support/test_client.ts";
import { readResult as readShown } from "../admin/console_fixture.ts";
import { pause, suspend, TWO } from "./operations_fixture.ts";

type Kind = "true" | "database";

function loginOptions(
  replication: string = "database",
  parameters: Readonly<Record<string, string>> = {},
) {
  return { ...ADA, parameters: { replication, ...parameters } };
}

/** Logs in one that replicates. */
function replicate(world: PoolerWorld, replication: Kind = "database"): Promise<TestClient> {
  return world.login(loginOptions(replication));
}

/** The same, in COPY in both directions. */
async function stream(world: PoolerWorld, replication: Kind = "true"): Promise<TestClient> {
  const client = await replicate(world, replication);
  await client.send(frontend.query("start_replication"));
  assert.equal((await client.receive())?.type, "W");
  return client;
}

/** Whether one is let in, or with what words it is not. */
async function outcome(world: PoolerWorld, options = loginOptions()): Promise<string> {
  const client = await world.connect();
  try {
    await client.login(options);
    return "in";
  } catch (error) {
    if (!(error instanceof LoginRefused)) throw error;
    return error.message;
  } finally {
    client.close();
    await world.settle();
  }
}

function poolsOf(world: PoolerWorld): ServerPool[] {
  return [...world.pooler.pools.registry.all()];
}

function privatePools(world: PoolerWorld): ServerPool[] {
  return poolsOf(world).filter(({ isPrivate }) => isPrivate);
}

function ids(world: PoolerWorld): number[] {
  return world.postgres.live.map(({ processId }) => processId);
}

/** Asks of the console what these tests look at. */
function consoleOf({ clock, network, pooler }: PoolerWorld): ConsoleContext {
  const cancels = new CancelDesk({
    clients: pooler.clients,
    network,
    clock,
    log: undefined!,
    streamOptions: () => pooler.pools.streamOptions(),
    waitTimeoutMs: () => 0,
    connectTimeoutMs: () => 0,
  });
  return {
    clients: pooler.clients,
    pools: pooler.pools.registry,
    clock,
    cancels,
    config: () => pooler.live.config,
    userNames: () => pooler.live.credentials.keys(),
  } as Partial<ConsoleContext> as ConsoleContext;
}

// --- login ---

for (const value of ["true", "on", "1", "database"]) {
  Deno.test(`a login with replication = ${value} reaches a server of its own as it was sent`, async () => {
    await using world = await PoolerWorld.open({
      pooler: 'pool_mode = "statement"\nignore_startup_parameters = "options"',
    });
    const asked = {
      replication: value,
      options: "-c datestyle=ISO -c extra_float_digits=3",
      application_name: "standby",
    };
    const client = await world.login({ ...ADA, parameters: asked });
    assert.deepEqual(
      Object.fromEntries(world.postgres.live[0]!.asked),
      { user: "ada", database: "app", ...asked },
    );
    assert.equal(client.parameters.get("application_name"), "standby");
    client.close();
  });
}

Deno.test("a client that replicates is greeted with its own server's parameters, not with the pool's", async () => {
  await using world = await PoolerWorld.open();
  const ordinary = await world.login();
  const client = await world.login(loginOptions("database", { TimeZone: "Asia/Tokyo" }));
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  assert.equal(ordinary.parameters.get("TimeZone"), "Etc/UTC");
  const next = await world.login();
  assert.equal(next.parameters.get("TimeZone"), "Etc/UTC");
  assert.deepEqual(await client.query("show timezone").then(({ rows }) => rows), [["Asia/Tokyo"]]);
  assert.equal(world.postgres.ran.length, 1, "nothing was set");
  for (const each of [ordinary, client, next]) each.close();
});

Deno.test("a database's own startup parameters are given to a replication server, the client's before them", async () => {
  await using world = await PoolerWorld.open({
    sections: `[databases.app]
host = "127.0.0.1"
dbname = "real"
user = "bob"
timezone = "Asia/Tokyo"
application_name = "pooled"
[users.ada]
password = "secret"
`,
  });
  const client = await world.login(loginOptions("database", { application_name: "own" }));
  assert.deepEqual(Object.fromEntries(world.postgres.live[0]!.asked), {
    user: "bob",
    database: "real",
    timezone: "Asia/Tokyo",
    application_name: "own",
    replication: "database",
  });
  client.close();
});

for (const [value, ran] of [["true", []], ["database", ["set TimeZone = 'UTC'"]]] as const) {
  Deno.test(`connect_query with replication = ${value} is run ${ran.length} times`, async () => {
    await using world = await PoolerWorld.open({
      sections: `[databases.app]
host = "127.0.0.1"
connect_query = "set TimeZone = 'UTC'"
[users.ada]
password = "secret"
`,
    });
    const client = await replicate(world, value);
    assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ran);
    client.close();
  });
}

Deno.test("who replicates proves who it is as others do", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "scram-sha-256"' });
  assert.equal(await outcome(world, { ...loginOptions(), password: "secret" }), "in");
  const wrong = await outcome(world, { ...loginOptions(), password: "wrong" });
  assert.match(wrong, /28P01/);
  assert.equal(world.postgres.backends.length, 1);
});

Deno.test("the server's own refusal is what a client is told that may not replicate", async () => {
  await using world = await PoolerWorld.open();
  world.postgres.refusal = {
    severity: "FATAL",
    sqlstate: "42501",
    message: "must be superuser or replication role to start walsender",
  };
  assert.equal(
    await outcome(world),
    "FATAL 42501: must be superuser or replication role to start walsender",
  );
  world.postgres.refusal = undefined;
  assert.equal(await outcome(world), "in", "the next one is asked anew");
});

Deno.test("replication is refused of the console, a disabled database, and one that there is not", async () => {
  await using world = await PoolerWorld.open({ pooler: 'stats_users = "ada"', sections: TWO });
  const of = (database: string) => outcome(world, { ...loginOptions("true"), database });
  assert.equal(await of("pgbouncer"), "FATAL 0A000: the console has nothing to replicate");
  assert.equal(await of("replication"), "FATAL 3D000: no such database: replication");
  world.pooler.operations.disable("app");
  assert.equal(await of("app"), 'FATAL 57P03: database "app" is disabled');
  assert.deepEqual(poolsOf(world), []);
});

Deno.test("what physical replication needs is said to whom it fails for", async () => {
  await using world = await PoolerWorld.open({ sections: TWO });
  const client = await world.connect();
  const startup = { user: "ada", database: "replication", replication: "true" };
  await client.send(frontend.startup(startup));
  const error = (await client.receiveUntilEnd()).find(({ type }) => type === "E");
  assert.match(new TextDecoder().decode(error!.body), /HPhysical replication needs a database/);
  client.close();
});

Deno.test("after RECONNECT a client that still logs in gets a server that was opened after it", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  const login = client.login(loginOptions());
  await world.settle();
  const old = [...privatePools(world)[0]!.servers.login];
  world.network.obstruct(world.postgres.address, undefined);
  world.pooler.operations.reconnect(undefined);
  await login;
  assert.equal((await client.query("select 1")).types, "TDCZ");
  assert.deepEqual(old.map(({ state }) => state.kind), ["closed"]);
  client.close();
});

// --- one to one ---

Deno.test("each client that replicates has a server of its own beside the pool, however full that is", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const linked = await world.login();
  await linked.query("begin");
  const clients = [await replicate(world), await replicate(world), await replicate(world, "true")];
  const answers = await Promise.all(clients.map((client) => client.query("select session id")));
  const servers = new Set(answers.map(({ rows }) => rows[0]![0]));
  assert.equal(servers.size, 3);
  assert.equal(world.pool().servers.count, 1);
  await linked.query("commit");
  assert.deepEqual(await linked.query("select session id").then(({ rows }) => rows[0]![0]), "1001");
  world.check();
  for (const client of [linked, ...clients]) client.close();
});

Deno.test("a replication server is linked from the login on, though nothing is asked", async () => {
  await using world = await PoolerWorld.open({
    pooler: "server_idle_timeout = 5\nserver_check_delay = 1\nserver_lifetime = 5",
  });
  const client = await replicate(world);
  assert.equal(world.clients[0]!.state.kind, "active");
  await world.advance(3_600_000);
  assert.deepEqual(ids(world), [1001]);
  assert.equal(world.postgres.live[0]!.received, "");
  client.close();
});

for (
  const how of ["says goodbye", "says goodbye in a stream", "vanishes", "vanishes in a stream"]
) {
  Deno.test(`the server of a client that ${how} is told goodbye and never used again`, async () => {
    await using world = await PoolerWorld.open();
    const client = how.endsWith("stream") ? await stream(world) : await replicate(world);
    if (how.startsWith("says")) await client.terminate();
    else client.close();
    await world.settle();
    assert.deepEqual(ids(world), []);
    assert.ok(world.postgres.backends[0]!.isTerminated);
    assert.ok(world.hasLogged("replication client was closed"));
    assert.deepEqual(privatePools(world), []);
    assert.deepEqual(
      world.postgres.ran.map(({ sql }) => sql).filter((sql) => sql !== "start_replication"),
      [],
      "there is no reset",
    );
    const next = await replicate(world);
    assert.deepEqual(ids(world), [1002]);
    next.close();
  });
}

Deno.test("a client that vanishes in the middle of a message takes its server with it, without a word", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  await client.send(frontend.copyData("x".repeat(100)).subarray(0, 50));
  await world.settle();
  client.close();
  await world.settle();
  assert.deepEqual(ids(world), []);
  assert.ok(world.hasLogged("client disconnect while server was not ready"));
});

Deno.test("what a vanished client's server still runs is cancelled", async () => {
  await using world = await PoolerWorld.open();
  const client = await replicate(world);
  await client.send(frontend.query("select pg_sleep(9)"));
  await world.settle();
  client.close();
  await world.settle();
  assert.equal(world.postgres.cancelRequestCount, 1);
});

Deno.test("a client is told what its server said at its end", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  await world.postgres.live[0]!.terminate();
  assert.equal(
    await client.lastWords(),
    "FATAL 57P01 terminating connection due to administrator command",
  );
  await world.settle();
  assert.deepEqual(privatePools(world), []);
});

Deno.test("a client whose server vanishes is told so", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  world.postgres.live[0]!.close();
  assert.match(await client.lastWords(), /^FATAL 08006 server conn crashed/);
});

Deno.test("a client that gives up its login leaves no server and no pool behind", async () => {
  await using world = await PoolerWorld.open({ pooler: "client_login_timeout = 20" });
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(
    frontend.startup({ user: "ada", database: "app", replication: "true" }),
  );
  await world.settle();
  assert.equal(privatePools(world).length, 1);
  client.close();
  await world.advance(1_000);
  assert.deepEqual(privatePools(world), []);
});

// --- streams ---

Deno.test("no limit of time ends a stream, or who waits to begin one", async () => {
  await using world = await PoolerWorld.open({
    pooler: [
      "query_timeout = 1\nclient_idle_timeout = 1\nidle_transaction_timeout = 1",
      "transaction_timeout = 1\nserver_lifetime = 1\nserver_idle_timeout = 1",
      "query_wait_timeout = 1\nclient_login_timeout = 1\nserver_check_delay = 1",
    ].join("\n"),
  });
  const [streaming, idle] = [await stream(world), await replicate(world)];
  const inTransaction = await replicate(world);
  await inTransaction.query("begin");
  for (let hour = 1; hour <= 4; hour++) {
    await world.advance(3_600_000);
    await streaming.send(frontend.copyData(`status ${hour}`));
    await world.postgres.live[0]!.speak(say.copyData(`wal ${hour}`));
    assert.equal((await streaming.receive())?.type, "d");
  }
  assert.equal(world.postgres.live[0]!.copied.at(-1), "status 4");
  assert.equal((await idle.query("select 1")).types, "TDCZ");
  assert.equal((await inTransaction.query("commit")).status, "I");
  for (const client of [streaming, idle, inTransaction]) client.close();
});

Deno.test("data goes both ways at once, and CopyDone from both sides leads back to commands", async () => {
  await using world = await PoolerWorld.open({ chunking: "random" });
  const client = await stream(world);
  const backend = world.postgres.live[0]!;
  for (let i = 0; i < 50; i++) {
    await backend.speak(say.copyData(`wal ${i}`));
    await client.send(frontend.copyData(`status ${i}`));
  }
  await client.send(frontend.copyDone());
  const { copied, status, tags, types } = await client.result();
  assert.deepEqual(copied, Array.from({ length: 50 }, (_, i) => `wal ${i}`));
  assert.deepEqual([tags, status, types.slice(-3)], [["START_REPLICATION"], "I", "cCZ"]);
  assert.deepEqual(backend.copied, Array.from({ length: 50 }, (_, i) => `status ${i}`));
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  await client.send(frontend.query("start_replication"), frontend.copyDone());
  assert.equal((await client.result()).types, "WcCZ");
  client.close();
});

Deno.test("a stream of hours counts as no query's time", async () => {
  await using world = await PoolerWorld.open();
  const client = await stream(world);
  await world.advance(3_600_000);
  await client.send(frontend.copyDone());
  await client.result();
  const { queryCount, queryTimeUs, xactTimeUs } = privatePools(world)[0]!.stats;
  assert.deepEqual([queryCount, queryTimeUs, xactTimeUs], [1, 0, 0]);
  client.close();
});

Deno.test("a stream's server is read no faster than its client reads", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000 });
  const client = await stream(world);
  const wal = join(...Array(1_000).fill(say.copyData("x".repeat(100))));
  const speaking = world.postgres.live[0]!.speak(wal);
  await world.settle();
  const { bytesSent } = privatePools(world)[0]!.stats;
  assert.ok(bytesSent < 30_000, `${bytesSent} bytes were read for a client that reads nothing`);
  for (let i = 0; i < 1_000; i++) assert.equal((await client.receive())?.type, "d");
  await speaking;
  client.close();
});

Deno.test("a stream's client is read no faster than its server reads", async () => {
  await using world = await PoolerWorld.open({ bufferBytes: 1_000 });
  const client = await stream(world);
  const toServer = world.network.connections.find(({ address }) => address === "127.0.0.1:5432")!;
  toServer.acceptor.stall();
  const sending = client.send(join(...Array(100).fill(frontend.copyData("x".repeat(1_000)))));
  await world.settle();
  const { bytesReceived } = privatePools(world)[0]!.stats;
  assert.ok(bytesReceived < 30_000, `${bytesReceived} bytes were read for a server that waits`);
  toServer.acceptor.unstall();
  await sending;
  await world.settle();
  assert.equal(world.postgres.live[0]!.copied.length, 100);
  client.close();
});

Deno.test("a cancel request reaches the server of the client that replicates", async () => {
  await using world = await PoolerWorld.open();
  const [other, client] = [await replicate(world), await replicate(world)];
  for (const each of [other, client]) await each.send(frontend.query("select pg_sleep(9)"));
  await world.settle();
  await world.cancel(client.cancelKey!);
  assert.deepEqual((await client.result()).errors.map(({ sqlstate }) => sqlstate), ["57014"]);
  assert.deepEqual(world.postgres.canceled.map(({ processId }) => processId), [1002]);
  assert.equal((await client.query("select 1")).types, "TDCZ", "on the same server");
  assert.deepEqual(ids(world), [1001, 1002]);
  for (const each of [other, client]) each.close();
});

Deno.test("a cancel request that is not answered dooms nothing of a client that replicates", async () => {
  await using world = await PoolerWorld.open({ pooler: "cancel_wait_timeout = 1" });
  const client = await stream(world);
  world.postgres.holdsCancels = true;
  const canceling = world.cancel(client.cancelKey!);
  await world.advance(2_000);
  await canceling;
  assert.ok(world.hasLogged("successfully sent cancel request"));
  // Else this would wait for as long as the stream goes on.
  await world.pooler.operations.waitClose(undefined, new AbortController().signal);
  await world.postgres.live[0]!.speak(say.copyData("wal"));
  assert.equal((await client.receive())?.type, "d");
  client.close();
});

// --- limits ---

Deno.test("max_replication_connections bounds them all, and who leaves makes room", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_replication_connections = 2" });
  const clients = [await replicate(world), await stream(world)];
  const refusal =
    "FATAL 53300: no more replication connections allowed (max_replication_connections)";
  assert.equal(await outcome(world), refusal);
  assert.equal(world.postgres.backends.length, 2, "no server was asked");
  assert.equal(await outcome(world, ADA as ReturnType<typeof loginOptions>), "in", "to the pool");
  clients[0]!.close();
  await world.settle();
  assert.equal(await outcome(world), "in");
  clients[1]!.close();
});

Deno.test("a database has a limit of its own, and one of 0 is none", async () => {
  await using world = await PoolerWorld.open({
    pooler: "max_replication_connections = 0",
    sections: `[databases.app]
host = "127.0.0.1"
max_replication_connections = 1
[databases.other]
host = "127.0.0.1"
[users.ada]
password = "secret"
`,
  });
  const client = await world.login({ ...loginOptions(), database: "other" });
  const own = await replicate(world);
  assert.equal(
    await outcome(world),
    'FATAL 53300: no more replication connections allowed (max_replication_connections of database "app")',
  );
  const others: TestClient[] = [];
  for (let i = 0; i < 12; i++) {
    others.push(await world.login({ ...loginOptions(), database: "other" }));
  }
  for (const each of [client, own, ...others]) each.close();
});

Deno.test("who was told to go takes nobody's place, though it has not hung up yet", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_replication_connections = 1" });
  const told = await stream(world);
  world.pooler.operations.reconnect(undefined);
  assert.equal(await outcome(world), "in");
  told.close();
});

Deno.test("who has not proved who it is takes nobody's place", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'max_replication_connections = 1\nauth_type = "scram-sha-256"',
  });
  const silent = await world.connect();
  await silent.send(frontend.startup({ user: "ada", database: "app", replication: "true" }));
  await world.settle();
  assert.equal(await outcome(world), "in");
  silent.close();
});

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
  assert.deepEqual(ids(world), [1001]);
  operations.resume(undefined);
  await login;
  assert.deepEqual(ids(world), [1001, 1002]);
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
    await world.pooler.operations.waitClose(undefined, new AbortController().signal);
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
  assert.deepEqual(ids(world), [1002]);
  operations.kill("app");
  assert.equal(await second.lastWords(), "FATAL 57P01 admin forced disconnect");
  await world.settle();
  assert.deepEqual(ids(world), []);
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
  assert.equal(readShown(showHistograms(context)).rows.length, 3);
  for (const client of clients) client.close();
});

Deno.test("the log says of a login what it is to replicate", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await replicate(world), await world.login()];
  const attempts = world.log.filter((line) => line.includes("login attempt"))
    .map((line) => line.slice(line.indexOf("db=")));
  assert.deepEqual(attempts, [
    "db=app user=ada tls=no replication=logical",
    "db=app user=ada tls=no",
  ]);
  for (const client of clients) client.close();
});
