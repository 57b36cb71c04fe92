/** Shared prepared statements of which a server knows no more, or otherwise, behind our back. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import type { FakeBackend } from "../../support/fake_postgres.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { prepare, run, world } from "./statements_fixture.ts";

for (
  const [what, spoil, told] of [
    [
      "whose result has changed",
      (backend: FakeBackend) => backend.statements.outdated = "PGBOUNCER_1",
      "0A000 cached plan must not change result type",
    ],
    [
      "that the server has lost",
      (backend: FakeBackend) => backend.statements.forget("PGBOUNCER_1"),
      '26000 prepared statement "PGBOUNCER_1" does not exist',
    ],
  ] as const
) {
  Deno.test(`a statement ${what} is prepared anew, and outside a transaction nobody notices`, async () => {
    for (
      const [chunking, writeAnswers] of [
        ["whole", "at_once"],
        ["whole", "later"],
        ["random", "either"],
        ["bytes", "later"],
      ] as const
    ) {
      const options = { pooler: "default_pool_size = 1", chunking, writeAnswers };
      await using pooler = await PoolerWorld.open(options);
      const client = await pooler.login();
      await prepare(client, "s", "select $1");
      await run(client, "s");
      spoil(pooler.postgres.live[0]!);
      const first = await run(client, "s", "once");
      // What came in parts is not kept, so it cannot be sent again.
      assert.ok(first === "2DCZ once" || chunking !== "whole" && first === told, first);
      assert.equal(await run(client, "s", "more"), "2DCZ more");
      const ran = pooler.postgres.ran.filter(({ sql }) => sql === "select $1").length;
      assert.equal(ran, first === told ? 2 : 3);
      client.close();
    }
  });

  Deno.test(`a statement ${what} fails in a transaction, and is prepared anew the next time`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 's'");
    await client.query("begin");
    spoil(pooler.postgres.live[0]!);
    assert.equal(await run(client, "s"), told);
    assert.equal(client.status, "E");
    await client.query("rollback");
    assert.equal(await run(client, "s"), "2DCZ s");
    client.close();
  });

  Deno.test(`a statement ${what} is told of where the client has gone on already`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select $1");
    spoil(pooler.postgres.live[0]!);
    const bind = frontend.bind({ statement: "s", values: ["x"] });
    const running = [bind, frontend.execute(), frontend.sync()];
    await client.send(...running, ...running);
    const results = [await client.result(), await client.result()];
    assert.deepEqual(results.map(({ types }) => types), ["EZ", "EZ"]);
    assert.equal(await run(client, "s"), "2DCZ x");
    client.close();
  });
}

Deno.test("who goes on before the ReadyForQuery of what is sent again is served behind it", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  const [backend] = pooler.postgres.live;
  backend!.statements.outdated = "PGBOUNCER_1";
  backend!.pausesBeforeReady = true;
  const bind = frontend.bind({ statement: "s", values: ["first"] });
  await client.send(bind, frontend.execute(), frontend.sync());
  await pooler.settle();
  await client.send(frontend.query("select 'second'"));
  await pooler.settle();
  backend!.wake();
  assert.deepEqual((await client.result()).rows, [["first"]]);
  assert.deepEqual((await client.result()).rows, [["second"]]);
  client.close();
});

Deno.test("statements are described anew too when their result has changed", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select $1");
  pooler.postgres.live[0]!.statements.outdated = "PGBOUNCER_1";
  await client.send(frontend.describe("S", "s"), frontend.sync());
  assert.equal((await client.result()).types, "tTZ");
  client.close();
});
