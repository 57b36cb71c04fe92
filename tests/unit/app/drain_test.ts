/** SHUTDOWN WAIT_FOR_TRANSACTIONS: a transaction goes on to its end, and nothing begins after it. */

import assert from "node:assert/strict";
import { frontend, readReport } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { LoginRefused } from "../../support/test_client.ts";
import { pause } from "./operations_fixture.ts";

Deno.test("a drain ends idle clients at once and the others when their transactions end", async () => {
  await using world = await PoolerWorld.open();
  const [idle, linked] = [await world.login(), await world.login()];
  await linked.query("begin");
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(await idle.lastWords(), "FATAL 57P01 pooler is shutting down");
  assert.deepEqual((await linked.query("select 1")).rows, [["1"]]);
  await linked.send(frontend.query("commit"));
  const last = await linked.receiveUntilEnd();
  assert.deepEqual(last.map(({ type }) => type), ["C", "Z", "E"], "the answer comes whole");
  linked.close();
  await world.advance(1_000);
  assert.ok(world.hasLogged("shutting down: as transactions end"));
});

Deno.test("a drain serves those who wait already, and tells newcomers that it ends", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = await world.loginInLine();
  world.pooler.shutdown("wait_for_transactions");
  const newcomer = await world.connect();
  await assert.rejects(
    newcomer.login({ user: "ada", database: "app" }),
    (error) => error instanceof LoginRefused && error.report.sqlstate === "57P03",
  );
  newcomer.close();
  await linked.send(frontend.query("commit"));
  assert.equal(await linked.lastWords(), "FATAL 57P01 pooler is shutting down");
  const served = await waiting.receiveUntilEnd();
  assert.deepEqual(served.map(({ type }) => type), ["T", "D", "C", "Z", "E"]);
  waiting.close();
});

Deno.test("a drain ends a client that calls off its wait", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const [linked, waiting] = await world.loginInLine();
  world.pooler.shutdown("wait_for_transactions");
  await world.cancel(waiting.cancelKey!);
  const told = await waiting.receiveUntilEnd();
  assert.deepEqual(
    told.filter(({ type }) => type === "E").map(({ body }) => readReport(body).sqlstate),
    ["57014", "57P01"],
  );
  await linked.send(frontend.query("commit"));
  assert.equal(await linked.lastWords(), "FATAL 57P01 pooler is shutting down");
  waiting.close();
});

Deno.test("a drain ends clients of session pooling between two transactions", async () => {
  await using world = await PoolerWorld.open({ pooler: 'pool_mode = "session"' });
  const [idle, linked] = [await world.login(), await world.login()];
  await idle.query("select 1");
  await linked.query("begin");
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(await idle.lastWords(), "FATAL 57P01 pooler is shutting down");
  await linked.send(frontend.query("commit"));
  const last = await linked.receiveUntilEnd();
  assert.deepEqual(last.map(({ type }) => type), ["C", "Z", "E"]);
  linked.close();
});

Deno.test("a drain does not wait for those whom a pause keeps waiting", async () => {
  await using world = await PoolerWorld.open();
  const waiting = await world.login();
  pause(world.pooler.operations);
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  world.pooler.shutdown("wait_for_transactions");
  assert.equal(await waiting.lastWords(), "FATAL 57P01 pooler is shutting down");
});

Deno.test("a drain with a limit ends the rest when that has passed", async () => {
  await using world = await PoolerWorld.open();
  const linked = await world.login();
  await linked.query("begin");
  let hasStopped = false;
  void world.pooler.stopped.then(() => hasStopped = true);
  world.pooler.shutdown("wait_for_transactions", 10_000);
  await world.advance(9_500);
  assert.deepEqual((await linked.query("select 1")).rows, [["1"]]);
  await world.advance(1_000);
  assert.equal(await linked.lastWords(), "FATAL 57P01 pooler is shutting down");
  await world.advance(1_000);
  assert.equal(hasStopped, true);
  const told = world.log.filter((line) => line.includes("clients that have not ended in time: 1"));
  assert.equal(told.length, 1);
});
