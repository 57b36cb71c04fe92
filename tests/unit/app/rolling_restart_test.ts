/**
 * The end of a pooler beside which another has come (`so_reuseport`): who connected before is served
 * as if nothing were, so that no client notices.
 */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { TestClient } from "../../support/test_client.ts";

const MODES = ["wait_for_clients", "wait_for_transactions"] as const;

const REFUSED = "FATAL 57P03: pooler is shutting down";

/** A pooler that shares its port, or one that does not. */
function openWorld(lines = "so_reuseport = true"): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: lines });
}

/** Whether the pooler has come to its end. */
function endOf({ pooler }: PoolerWorld): { hasEnded: boolean } {
  const end = { hasEnded: false };
  void pooler.stopped.then(() => end.hasEnded = true);
  return end;
}

for (const mode of MODES) {
  Deno.test(`who is in the queue of the listener, or has said nothing yet, is served: ${mode}`, async () => {
    await using world = await openWorld();
    const silent = await world.connect();
    await world.settle();
    const queued = new TestClient(await world.dial());
    world.pooler.shutdown(mode);
    const end = endOf(world);
    for (const client of [silent, queued]) {
      await client.login(ADA);
      assert.deepEqual((await client.query("select 'alive'")).rows, [["alive"]]);
      if (mode === "wait_for_transactions") {
        await world.advance(400);
        assert.equal((await client.query("select 'still'")).rows[0]?.[0], "still");
        await world.advance(2_000);
        assert.equal(await client.lastWords(), "FATAL 57P01 pooler is shutting down");
      } else client.close();
    }
    await world.advance(1_000);
    assert.equal(end.hasEnded, true);
  });

  Deno.test(`the listener is closed at once, and the pooler waits for who logs in: ${mode}`, async () => {
    await using world = await openWorld();
    const silent = await world.connect();
    await world.settle();
    world.pooler.shutdown(mode);
    const end = endOf(world);
    await assert.rejects(world.dial(), { message: "connect failed" });
    await world.advance(2_000);
    assert.equal(end.hasEnded, false);
    silent.close();
    await world.advance(1_000);
    assert.equal(end.hasEnded, true);
  });

  Deno.test(`a client of the console is not waited for: ${mode}`, async () => {
    await using world = await openWorld("so_reuseport = true\nadmin_users = 'ada'");
    const admin = await world.login({ database: "pgbouncer" });
    const end = endOf(world);
    world.pooler.shutdown(mode);
    await world.advance(1_000);
    assert.equal(end.hasEnded, true);
    admin.close();
  });

  Deno.test(`who comes later, by a unix socket that is still in place, is told: ${mode}`, async () => {
    await using world = await openWorld('so_reuseport = true\nunix_socket_dir = "/run/sluice"');
    const silent = await world.connect();
    await world.settle();
    world.pooler.shutdown(mode);
    assert.equal(await (await world.connectBySocket()).outcome(ADA), REFUSED);
    silent.close();
  });
}

Deno.test("cancel requests of peers find their clients until the last of them has left", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'so_reuseport = true\nlisten_addr = "127.0.0.1,127.0.0.11"\npeer_id = 1',
    sections: '[databases."*"]\nhost = "127.0.0.1"\n[users.ada]\npassword = "secret"\n' +
      '[peers.1]\nhost = "127.0.0.11"\n',
  });
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  world.pooler.shutdown("wait_for_clients");
  await assert.rejects(world.dial(), { message: "connect failed" });
  const dialPeer = async () => new TestClient(await world.dial("127.0.0.11"));
  assert.equal(await (await dialPeer()).outcome(ADA), REFUSED);
  const canceler = await dialPeer();
  await canceler.send(frontend.cancelRequest(client.cancelKey!));
  await canceler.receiveUntilEnd();
  canceler.close();
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  client.close();
});

Deno.test("a unix socket that leads nowhere is told of when somebody reloads or ends the pooler, once each", async () => {
  const pooler = 'so_reuseport = true\nunix_socket_dir = "/run/sluice"';
  await using world = await openWorld(pooler);
  const warnings = () =>
    world.log.filter((line) => line.includes("WARNING nobody listens on unix:/run/sluice/"));
  await world.reload({ pooler });
  assert.equal(warnings().length, 0);
  world.network.isSocketDeserted = true;
  await world.advance(60_000);
  assert.equal(warnings().length, 0, "nothing watches it");
  await world.reload({ pooler });
  assert.equal(warnings().length, 1);
  const client = await world.login();
  for (let count = 1; count <= 2; count++) world.pooler.shutdown("wait_for_clients");
  await world.settle();
  assert.equal(warnings().length, 2);
  client.close();
});

Deno.test("where no other process is, who has not logged in is told that the pooler ends", async () => {
  await using world = await openWorld("");
  const silent = await world.connect();
  const client = await world.login();
  world.pooler.shutdown("wait_for_clients");
  assert.equal(await silent.outcome(ADA), REFUSED);
  client.close();
});

Deno.test("a drain leaves a client that has just come alone for 5 s, unless it idles after a transaction", async () => {
  await using world = await openWorld();
  const [idle, used] = [await world.login(), await world.login()];
  await used.query("select 1");
  world.pooler.shutdown("wait_for_transactions");
  await world.advance(4_000);
  assert.equal(await used.lastWords(), "FATAL 57P01 pooler is shutting down");
  await idle.send(frontend.query("begin"));
  assert.equal((await idle.result()).status, "T");
  await world.advance(4_000);
  await idle.send(frontend.query("commit"));
  const last = await idle.receiveUntilEnd();
  assert.deepEqual(last.map(({ type }) => type), ["C", "Z", "E"]);
  idle.close();
});

Deno.test("a drain ends a client that has just come and asks for nothing", async () => {
  await using world = await openWorld();
  const idle = await world.login();
  world.pooler.shutdown("wait_for_transactions");
  const end = endOf(world);
  await world.advance(4_500);
  assert.equal(end.hasEnded, false);
  await world.advance(1_500);
  assert.equal(await idle.lastWords(), "FATAL 57P01 pooler is shutting down");
  assert.equal(end.hasEnded, true);
});

Deno.test("a drain waits for who says nothing no longer than for who has just come", async () => {
  await using world = await openWorld("so_reuseport = true\nclient_login_timeout = 0");
  const [old, silent] = [await world.connect(), await world.connect()];
  await old.send(frontend.startup({ user: "ada", database: "app" }).subarray(0, 6));
  await world.advance(4_000);
  world.pooler.shutdown("wait_for_transactions");
  const end = endOf(world);
  await world.advance(500);
  assert.equal(end.hasEnded, false);
  await world.advance(2_000);
  assert.equal(end.hasEnded, true);
  old.close();
  silent.close();
});

Deno.test("a drain leaves a client alone that has just come and is held up for a second by its own connecting", async () => {
  await using world = await openWorld();
  const client = await world.login();
  await client.query("select 1");
  world.pooler.shutdown("wait_for_transactions");
  await world.advance(1_100);
  assert.deepEqual((await client.query("select 'still'")).rows, [["still"]]);
  await world.advance(3_000);
  assert.equal(await client.lastWords(), "FATAL 57P01 pooler is shutting down");
});

Deno.test("the end at once waits for nobody", async () => {
  await using world = await openWorld();
  const silent = await world.connect();
  await world.settle();
  world.pooler.shutdown("wait_for_clients");
  const end = endOf(world);
  world.pooler.shutdown("immediate");
  await world.advance(1_000);
  assert.equal(end.hasEnded, true);
  silent.close();
});
