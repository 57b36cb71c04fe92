/** SQL that takes prepared statements away which clients share: DEALLOCATE, DISCARD, a reset query. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { namesOf, prepare, run, world } from "./statements_fixture.ts";

for (
  const sql of ["deallocate s", "DEALLOCATE PREPARE S;", ' deallocate\n"s" ; ', 'deallocate"s"']
) {
  Deno.test(`a Query ${JSON.stringify(sql)} frees the client's name, as Close does`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 1");
    const { tags, types } = await client.query(sql);
    assert.deepEqual([types, tags], ["CZ", ["DEALLOCATE"]]);
    assert.match(await run(client, "s"), /^26000 /);
    assert.deepEqual(namesOf(pooler), ["PGBOUNCER_1"], "others may go on using it");
    client.close();
  });
}

Deno.test("DEALLOCATE by Parse, Bind and Execute frees the client's name at its place", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  await client.send(
    ...[frontend.bind({ statement: "s" }), frontend.execute()],
    ...[frontend.parse("DEALLOCATE s"), frontend.bind(), frontend.describe("P")],
    ...[frontend.execute(), frontend.parse("select 'anew'", "s")],
    ...[frontend.bind({ statement: "s" }), frontend.execute(), frontend.sync()],
  );
  const { rows, tags, types } = await client.result();
  assert.equal(types, "2DC12nC12DCZ");
  assert.deepEqual(tags, ["SELECT 1", "DEALLOCATE", "SELECT 1"]);
  assert.deepEqual(rows, [["s"], ["anew"]]);
  client.close();
});

Deno.test("DEALLOCATE in a failed transaction is refused, and the name stays", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  await client.query("begin");
  await client.query("error 22012");
  for (const extended of [false, true]) {
    const result = extended
      ? await client.extended("deallocate s")
      : await client.query("deallocate s");
    assert.deepEqual([result.types, result.errors[0]!.sqlstate], ["EZ", "25P02"]);
  }
  await client.query("rollback");
  assert.equal(await run(client, "s"), "2DCZ s");
  client.close();
});

Deno.test("DEALLOCATE of a name that SQL has prepared is the server's to answer", async () => {
  await using pooler = await world(1);
  const client = await pooler.login();
  const { errors, types } = await client.query("deallocate other");
  assert.deepEqual([types, errors[0]!.message], [
    "EZ",
    'prepared statement "other" does not exist',
  ]);
  client.close();
});

for (const sql of ["deallocate all", "discard all"]) {
  Deno.test(`${sql} frees all names of the client, and the server's statements are known to be gone`, async () => {
    await using pooler = await world(1);
    const [client, other] = [await pooler.login(), await pooler.login()];
    await prepare(client, "s", "select 's'");
    await prepare(other, "s", "select 's'");
    await client.query(sql);
    assert.deepEqual(namesOf(pooler), []);
    assert.match(await run(client, "s"), /^26000 /);
    assert.equal(await run(other, "s"), "2DCZ s", "another client's are not touched");
    for (const each of [client, other]) each.close();
  });

  Deno.test(`statements sent behind ${sql} before its answer are prepared anew`, async () => {
    await using pooler = await world(1);
    const client = await pooler.login();
    await prepare(client, "s", "select 's'");
    const parse = frontend.parse("select 's'", "t");
    const running = [frontend.bind({ statement: "t" }), frontend.execute(), frontend.sync()];
    await client.send(frontend.query(sql), parse, ...running);
    assert.equal((await client.result()).types, "CZ");
    assert.equal((await client.result()).types, "12DCZ");
    client.close();
  });
}

Deno.test("the reset query of a session clears what it clears", async () => {
  await using pooler = await world(1, "server_reset_query_always = true");
  const client = await pooler.login();
  await prepare(client, "s", "select 's'");
  await pooler.settle();
  assert.deepEqual(namesOf(pooler), []);
  assert.equal(await run(client, "s"), "2DCZ s");
  client.close();
});
