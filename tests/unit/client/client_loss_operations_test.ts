/** The loss of a client amid what operators do: they suspend, reload, pause, end, and look. */

import assert from "node:assert/strict";
import { backend as say, frontend, textOf } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { readResult } from "../../support/test_client.ts";
import { never, pause, suspend, watch } from "../app/operations_fixture.ts";
import {
  BEGIN,
  loginAndSend,
  oneServer,
  recovering,
  SLEEP,
  statements,
  theServer,
} from "./client_loss_fixture.ts";

Deno.test("a reload says anew whether servers are recovered", async () => {
  await using world = await oneServer();
  await world.reload({ pooler: 'default_pool_size = 1\non_client_loss = "close"' });
  const client = await loginAndSend(world, BEGIN);
  client.close();
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  assert.ok(world.hasLogged("client disconnect while server was not ready (age="));
  await world.reload({ pooler: "default_pool_size = 1" });
  const other = await loginAndSend(world, BEGIN);
  other.close();
  await world.settle();
  assert.equal(theServer(world).state.kind, "idle");
});

Deno.test("a reply that is held back while all is suspended costs the server", async () => {
  await using world = await oneServer();
  const client = await loginAndSend(world, SLEEP);
  const { operations } = world.pooler;
  const suspending = suspend(operations);
  world.postgres.wakeAll();
  await world.settle();
  client.close();
  await world.settle();
  assert.ok(world.hasLogged("not ready: its reply was held back"));
  assert.equal(suspending.outcome, "done");
  operations.resume(undefined);
});

Deno.test("a reply of which only the end of a row is passed on while all is suspended costs the server", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1",
    writeAnswers: "later",
  });
  const client = await loginAndSend(world, SLEEP);
  const [session] = world.clients;
  const [backend] = world.postgres.backends;
  const row = say.dataRow(["x".repeat(2_000)]);
  void backend!.speak(row.subarray(0, 1_000));
  await world.settle();
  const suspending = suspend(world.pooler.operations);
  void backend!.speak(row.subarray(1_000), say.complete("SELECT 1"), say.ready());
  while (session!.relay!.isMidReply) {
    world.network.step();
    await Promise.resolve();
  }
  session!.end("client unexpected eof");
  await world.settle();
  assert.ok(world.hasLogged("not ready: its reply was held back"));
  assert.equal(suspending.outcome, "done");
  world.pooler.operations.resume(undefined);
  client.close();
});

Deno.test("RECONNECT closes a server that recovers once nothing runs on it, and WAIT_CLOSE waits", async () => {
  await using world = await oneServer();
  const server = await recovering(world, BEGIN, SLEEP);
  const { operations } = world.pooler;
  operations.reconnect(undefined);
  const closing = watch(operations.waitClose(undefined, never()));
  await world.settle();
  assert.deepEqual([server.state.kind, closing.outcome], ["recovering", "waiting"]);
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual([server.state.kind, closing.outcome], ["closed", "done"]);
  assert.ok(!statements(world).includes("ROLLBACK"));
});

Deno.test("PAUSE waits for a server that recovers, and closes it then", async () => {
  await using world = await oneServer();
  const server = await recovering(world, BEGIN, SLEEP);
  const { operations } = world.pooler;
  const pausing = pause(operations);
  await world.settle();
  assert.equal(pausing.outcome, "waiting");
  world.postgres.wakeAll();
  await world.settle();
  assert.deepEqual([server.state.kind, pausing.outcome], ["closed", "done"]);
  assert.ok(statements(world).includes("ROLLBACK"));
  operations.resume(undefined);
});

Deno.test("KILL closes a server that recovers at once", async () => {
  await using world = await oneServer();
  const server = await recovering(world, BEGIN, SLEEP);
  world.pooler.operations.kill(undefined);
  assert.equal(server.state.kind, "closed");
  world.pooler.operations.resume(undefined);
});

Deno.test("SHUTDOWN WAIT_FOR_SERVERS waits for a server that recovers", async () => {
  await using world = await oneServer();
  await recovering(world, BEGIN, SLEEP);
  let hasStopped = false;
  void world.pooler.stopped.then(() => hasStopped = true);
  world.pooler.shutdown("wait_for_servers");
  await world.advance(1_000);
  assert.equal(hasStopped, false);
  world.postgres.wakeAll();
  await world.advance(1_000);
  assert.equal(hasStopped, true);
});

Deno.test("server_lifetime holds for a server that has recovered", async () => {
  await using world = await oneServer("server_lifetime = 0");
  const client = await loginAndSend(world, BEGIN);
  client.close();
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  assert.ok(world.hasLogged("server lifetime over"));
});

Deno.test("the console counts a server that recovers among the tested", async () => {
  await using world = await oneServer('admin_users = "ada"');
  await recovering(world, BEGIN, SLEEP);
  const console_ = await world.login({ database: "pgbouncer" });
  await console_.send(frontend.query("show pools where database = 'app'"));
  const messages = await console_.receiveUntilReady();
  const titles = [...textOf(messages[0]!.body).matchAll(/([a-z_]+)\0/g)].map(([, name]) => name);
  const testedCounts = readResult(messages).rows.map((row) => row[titles.indexOf("sv_tested")]);
  assert.deepEqual(testedCounts, ["1"]);
  const servers = await console_.query("show servers");
  assert.equal(servers.rows[0]?.[4], "tested");
  const sockets = await console_.query("show sockets");
  assert.ok(sockets.rows.some((row) => row[4] === "sv_tested"));
  console_.close();
});
