/** What becomes of the server of a client that is lost amid something. */

import assert from "node:assert/strict";
import { RECOVERY_LIMIT_MS } from "../../../src/maintenance/server_expiry.ts";
import { backend as say, frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";
import {
  assertServedByFirst,
  BEGIN,
  loginAndSend,
  oneServer,
  recovering,
  SLEEP,
  statements,
  theServer,
  WHO,
} from "./client_loss_fixture.ts";

/** More than the longest recovery, with the rounds of the janitor. */
const TOO_LONG_MS = RECOVERY_LIMIT_MS + 1_000;

const SELECT = frontend.query("select 1");

/** What a client may have sent before it leaves, and what is run in the end. */
const LOSSES: readonly (readonly [string, readonly Uint8Array[], readonly string[]])[] = [
  ["Parse without Sync", [frontend.parse("select 1")], ["ROLLBACK", "check"]],
  [
    "an executed statement without Sync",
    [frontend.parse("select 1"), frontend.bind(), frontend.execute(), frontend.flush()],
    ["select 1", "ROLLBACK", "check"],
  ],
  [
    "Parse behind a Sync",
    [frontend.sync(), frontend.parse("select 1")],
    ["ROLLBACK", "check"],
  ],
  ["a message that fails without Sync", [frontend.describe("S", "x")], ["check"]],
  [
    "COPY from the client",
    [frontend.query("copy t from stdin"), frontend.copyData("1")],
    ["copy t from stdin", "check"],
  ],
  [
    "an extended COPY without Sync",
    [frontend.parse("copy t from stdin"), frontend.bind(), frontend.execute(), frontend.flush()],
    ["copy t from stdin", "check"],
  ],
  ["BEGIN", [BEGIN], ["begin", "ROLLBACK", "check"]],
  [
    "a failed transaction",
    [BEGIN, frontend.query("error 22012")],
    ["begin", "error 22012", "ROLLBACK", "check"],
  ],
  [
    "extended messages in a transaction",
    [BEGIN, frontend.parse("select 1"), frontend.bind()],
    ["begin", "ROLLBACK", "check"],
  ],
  [
    "a COPY in a transaction",
    [BEGIN, frontend.query("copy t from stdin")],
    ["begin", "copy t from stdin", "ROLLBACK", "check"],
  ],
];

for (const [what, messages, expected] of LOSSES) {
  for (const how of ["vanishes", "says goodbye"] as const) {
    Deno.test(`the server of a client that ${how} after ${what} is ready for the next one`, async () => {
      await using world = await oneServer();
      const client = await loginAndSend(world, ...messages);
      if (how === "vanishes") client.close();
      else await client.terminate();
      await world.settle();
      world.check();
      assert.deepEqual(statements(world), expected);
      assert.equal(theServer(world).state.kind, "idle");
      await assertServedByFirst(world);
    });
  }
}

Deno.test("a recovery takes any chunking and any answer of writes, and the client that waits is served", async () => {
  for (const chunking of ["whole", "bytes", "random"] as const) {
    for (const writeAnswers of ["at_once", "later"] as const) {
      await using world = await PoolerWorld.open({
        pooler: "default_pool_size = 1",
        ...{ chunking, writeAnswers },
      });
      const client = await loginAndSend(world, BEGIN, SLEEP, SELECT);
      const next = await loginAndSend(world, WHO);
      assert.equal(world.pool().waiting.size, 1);
      client.close();
      const result = await next.result();
      assert.deepEqual([result.types, result.rows[0]?.[0]], ["TDCZ", "1001"]);
      next.close();
    }
  }
});

Deno.test("a pipeline of a hundred whose client never reads is read to its end", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1",
    bufferBytes: 70_000,
  });
  const rows = `rows 5 '${"x".repeat(500)}'`;
  const request = [frontend.parse(rows), frontend.bind(), frontend.execute(), frontend.sync()];
  const client = await loginAndSend(world, ...Array.from({ length: 100 }, () => request).flat());
  assert.ok(world.postgres.ran.length < 100, "the server cannot say more, and reads no more");
  client.close();
  await world.settle();
  assert.equal(statements(world).filter((sql) => sql === rows).length, 100);
  await assertServedByFirst(world);
});

Deno.test("the rest of a row that the client had in part does not reach the next one", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1",
    bufferBytes: 1_000,
  });
  const client = await world.login();
  const sending = client.send(frontend.query(`rows 20 '${"x".repeat(9_000)}'`));
  await world.settle();
  assert.equal(theServer(world).isBetweenMessages, false);
  client.close();
  await sending;
  await world.settle();
  await assertServedByFirst(world);
});

Deno.test("the query of a client that says goodbye is run to its end, for a time", async () => {
  await using world = await oneServer();
  await recovering(world, SLEEP, SELECT);
  await world.advance(RECOVERY_LIMIT_MS - 1_000);
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual(statements(world), ["select pg_sleep(1)", "select 1", "check"]);
  assert.equal(world.postgres.cancelRequestCount, 0);
  await assertServedByFirst(world);
});

Deno.test("a server that does not come to an end in time is closed, and the next client gets another", async () => {
  await using world = await oneServer();
  await recovering(world, SLEEP);
  const next = await loginAndSend(world, WHO);
  await world.advance(TOO_LONG_MS);
  assert.ok(world.hasLogged("client disconnect while server was not ready: recovery timed out"));
  assert.equal((await next.result()).rows[0]?.[0], "1002");
  next.close();
});

// --- modes ---

Deno.test("a session's server is rolled back, checked and reset", async () => {
  await using world = await oneServer("", "session");
  const client = await loginAndSend(world, BEGIN);
  client.close();
  await world.settle();
  assert.deepEqual(statements(world), ["begin", "ROLLBACK", "check", "DISCARD ALL"]);
  await assertServedByFirst(world);
});

Deno.test("server_reset_query_always holds for a server that has recovered too", async () => {
  await using world = await oneServer("server_reset_query_always = true");
  const client = await loginAndSend(world, BEGIN);
  client.close();
  await world.settle();
  assert.deepEqual(statements(world), ["begin", "ROLLBACK", "check", "DISCARD ALL"]);
});

Deno.test("a running statement in statement mode is cancelled, and its server checked", async () => {
  await using world = await oneServer("", "statement");
  const client = await loginAndSend(world, SLEEP);
  client.close();
  await world.settle();
  assert.deepEqual(statements(world), ["select pg_sleep(1)", "check"]);
  await assertServedByFirst(world);
});

Deno.test("parameters that a server reports while it recovers are known afterwards", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { TimeZone: "Zone/A" } });
  await client.query("begin");
  await client.send(SLEEP, frontend.query("set TimeZone = 'Zone/B'"), frontend.query("commit"));
  await world.settle();
  // Says goodbye, so that all of it is run.
  await client.terminate();
  await world.settle();
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(world.postgres.backends[0]!.parameters.get("TimeZone"), "Zone/B");
  const next = await world.login({ parameters: { TimeZone: "Zone/A" } });
  const result = await next.query("show TimeZone");
  assert.deepEqual(result.rows, [["Zone/A"]]);
  next.close();
});

Deno.test("parameters that a rollback takes back are those of before", async () => {
  await using world = await oneServer();
  const client = await world.login({ parameters: { TimeZone: "Zone/A" } });
  await client.query("begin");
  await client.query("set TimeZone = 'Zone/B'");
  client.close();
  await world.settle();
  for (const zone of ["Zone/A", "Zone/B"]) {
    const next = await world.login({ parameters: { TimeZone: zone } });
    assert.deepEqual((await next.query("show TimeZone")).rows, [[zone]]);
    next.close();
  }
});

// --- what cannot be recovered, or is not to be ---

/** Losses after which it is not certain what the server will answer. */
const HOPELESS: readonly (readonly [string, readonly Uint8Array[], string])[] = [
  [
    "a query in part",
    [frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 5_000)],
    "a request was sent in part",
  ],
  [
    "CopyData in part",
    [frontend.query("copy t from stdin"), frontend.copyData("12345").subarray(0, 7)],
    "a request was sent in part",
  ],
  [
    "an extended COPY whose Sync is sent",
    [
      ...[frontend.parse("copy t from stdin"), frontend.bind(), frontend.execute()],
      frontend.sync(),
    ],
    "answers out of step with requests",
  ],
  [
    "a Query amid extended messages",
    [frontend.parse("select 1"), SLEEP],
    "answers out of step with requests",
  ],
];

for (const [what, messages, reason] of HOPELESS) {
  Deno.test(`the server of a client that vanishes after ${what} is closed`, async () => {
    await using world = await oneServer();
    const client = await loginAndSend(world, ...messages);
    client.close();
    await world.settle();
    assert.equal(world.pool().servers.count, 0);
    assert.ok(world.hasLogged(`client disconnect while server was not ready: ${reason} (age=`));
    const next = await world.login();
    assert.equal((await next.query("select session id")).rows[0]?.[0], "1002");
    next.close();
  });
}

Deno.test("a server that is given the parameters of a client that vanishes is closed", async () => {
  await using world = await oneServer();
  const first = await world.login({ parameters: { TimeZone: "Zone/A" } });
  await first.query("begin");
  const client = await world.login({ parameters: { TimeZone: "Zone/B" } });
  await client.send(SELECT);
  await world.settle();
  const server = theServer(world);
  const link = world.network.connections.find(({ dialer }) => dialer === server.stream);
  await first.send(frontend.query("commit"));
  while (world.clients[1]?.state.kind !== "active") {
    world.network.step();
    await Promise.resolve();
  }
  link!.acceptor.stall();
  client.close();
  await world.settle();
  assert.ok(world.hasLogged("not ready: its session parameters were being set"));
  assert.equal(server.state.kind, "closed");
  first.close();
});

for (
  const [what, end] of [
    ["query_timeout", (world: PoolerWorld) => world.advance(2_000)],
    ["KILL_CLIENT", (world: PoolerWorld) => {
      world.pooler.operations.killClient(world.clients[0]!.id);
      return world.settle();
    }],
    ["a message that is none", async (world: PoolerWorld, client: TestClient) => {
      await client.send(new Uint8Array([0x21, 0, 0, 0, 4]));
      await world.settle();
    }],
  ] as const
) {
  Deno.test(`the server of a client that is ended by ${what} is closed, and its query cancelled`, async () => {
    await using world = await oneServer("query_timeout = 1");
    const client = await loginAndSend(world, SLEEP);
    const server = theServer(world);
    await end(world, client);
    assert.equal(server.state.kind, "closed");
    assert.equal(world.postgres.cancelRequestCount, 1);
    client.close();
  });
}

Deno.test("a server that dies while it recovers is closed, and the next client gets another", async () => {
  await using world = await oneServer();
  await recovering(world, SLEEP);
  const next = await loginAndSend(world, WHO);
  world.postgres.backends[0]!.close();
  assert.equal((await next.result()).rows[0]?.[0], "1002");
  next.close();
});

Deno.test("a server that speaks on behind the last answer is closed", async () => {
  await using world = await oneServer();
  await recovering(world, SLEEP);
  const [backend] = world.postgres.backends;
  backend!.postscript = say.dataRow(["not asked for"]);
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  assert.ok(world.hasLogged("not ready: answers out of step with requests"));
});

Deno.test("a session's server that has once spoken out of turn is closed", async () => {
  await using world = await oneServer("", "session");
  const client = await loginAndSend(world, frontend.query("misbehave second_ready"));
  client.close();
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  assert.ok(world.hasLogged("not ready: answers out of step with requests"));
});
