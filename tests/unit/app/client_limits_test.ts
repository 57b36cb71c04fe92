/** How many clients may log in, by database and user, and how many may wait. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, USERS } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const DATABASES = '[databases.app]\nhost = "127.0.0.1"\n[databases.other]\nhost = "127.0.0.1"\n';

const OF_DATABASE = "FATAL 53300: client connections exceeded (max_db_client_connections)";

const OF_USER = "FATAL 53300: client connections exceeded (max_user_client_connections)";

const CROWDED = "too many clients wait for a server (max_waiting_clients)";

function close(...clients: readonly TestClient[]): void {
  for (const client of clients) client.close();
}

for (
  const [where, pooler, app] of [
    ["the settings", "max_db_client_connections = 1", ""],
    ["the database", "max_db_client_connections = 7", "max_db_client_connections = 1\n"],
  ] as const
) {
  Deno.test(`max_db_client_connections of ${where} bounds the clients of a database, of all users`, async () => {
    await using world = await PoolerWorld.open({
      pooler,
      sections: DATABASES.replace("[databases.other]", `${app}[databases.other]`) + USERS,
    });
    const first = await world.login();
    assert.equal(await world.outcome({ user: "bob" }), OF_DATABASE);
    assert.ok(world.hasLogged(`pooler error: ${OF_DATABASE.slice(13)}`));
    assert.ok(world.hasLogged(`closing because: ${OF_DATABASE.slice(13)} (age=0s)`));
    const other = await world.login({ database: "other" });
    first.close();
    await world.settle();
    close(await world.login({ user: "bob" }), other);
  });
}

for (
  const [where, pooler, ada] of [
    ["the settings", "max_user_client_connections = 1", ""],
    ["the user", "max_user_client_connections = 7", "max_user_client_connections = 1\n"],
  ] as const
) {
  Deno.test(`max_user_client_connections of ${where} bounds the clients of a user, in all databases`, async () => {
    await using world = await PoolerWorld.open({
      pooler: `${pooler}\nadmin_users = "ada"`,
      sections: DATABASES + USERS.replace("[users.bob]", `${ada}[users.bob]`),
    });
    const first = await world.login();
    assert.equal(await world.outcome({ database: "other" }), OF_USER);
    const bob = await world.login({ user: "bob" });
    close(await world.login({ database: "pgbouncer" }));
    await world.settle();
    first.close();
    await world.settle();
    close(await world.login({ database: "other" }), bob);
  });
}

Deno.test("limits of clients are told to nobody who has not proved who it is", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'auth_type = "plain"\nmax_user_client_connections = 1\nmax_db_client_connections = 1',
  });
  const first = await world.login();
  assert.match(await world.outcome({ password: "wrong" }), /^FATAL 28P01/);
  assert.equal(await world.outcome(), OF_DATABASE);
  first.close();
});

Deno.test("the limit of a forced user's clients is that of the user they log in as", async () => {
  await using world = await PoolerWorld.open({
    sections: `[databases.app]\nhost = "127.0.0.1"\nuser = "owner"\n` +
      `[users.owner]\nmax_user_client_connections = 1\n${USERS}`,
  });
  close(await world.login(), await world.login({ user: "bob" }));
});

Deno.test("a lowered limit of clients ends nobody, and a raised one lets others in at once", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await world.login(), await world.login()];
  const { operations } = world.pooler;
  operations.set("max_user_client_connections", "1");
  assert.equal(await world.outcome(), OF_USER);
  for (const client of clients) await client.query("select 1");
  operations.set("max_user_client_connections", "3");
  close(await world.login(), ...clients);
});

Deno.test("SHOW DATABASES counts the clients that a limit counts, SHOW USERS those of the console too", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'admin_users = "ada"\nmax_db_client_connections = 9\nmax_user_client_connections = 8',
    sections: DATABASES + USERS,
  });
  const clients = [await world.login(), await world.login({ user: "bob" })];
  const console = await world.login({ database: "pgbouncer" });
  const shown = async (sql: string, { name, at }: { name: string; at: number }) => {
    const { rows } = await console.query(sql);
    return rows.find(([first]) => first === name)!.slice(at, at + 2);
  };
  assert.deepEqual(await shown("SHOW DATABASES", { name: "app", at: 13 }), ["9", "2"]);
  assert.deepEqual(await shown("SHOW DATABASES", { name: "other", at: 13 }), ["9", "0"]);
  assert.deepEqual(await shown("SHOW USERS", { name: "ada", at: 6 }), ["8", "2"]);
  close(console, ...clients);
});

for (
  const [where, pooler, app, ada] of [
    ["the settings", "max_waiting_clients = 1", "", ""],
    ["the database", "max_waiting_clients = 9", "max_waiting_clients = 1\n", ""],
    ["the user", "", "max_waiting_clients = 9\n", "max_waiting_clients = 1\n"],
  ] as const
) {
  Deno.test(`max_waiting_clients of ${where}: one too many gets an error for each request, and goes on`, async () => {
    await using world = await PoolerWorld.open({
      pooler: `default_pool_size = 1\n${pooler}`,
      sections: DATABASES.replace("[databases.other]", `${app}[databases.other]`) +
        USERS.replace("[users.bob]", `${ada}[users.bob]`),
    });
    const [busy, waiting] = await world.loginInLine();
    const late = await world.login();
    const { errors, status, types } = await late.query("select 1");
    assert.deepEqual([types, status], ["EZ", "I"]);
    assert.deepEqual(
      errors.map(({ message, severity, sqlstate }) => [severity, sqlstate, message]),
      [["ERROR", "53300", CROWDED]],
    );
    assert.ok(world.hasLogged(`pooler error: ${CROWDED}`));
    await late.send(
      ...[frontend.parse("select 2"), frontend.bind(), frontend.execute(), frontend.sync()],
      frontend.query("select 3"),
    );
    assert.deepEqual([(await late.result()).types, (await late.result()).types], ["EZ", "EZ"]);
    await busy.query("commit");
    assert.equal((await waiting.result()).types, "TDCZ");
    assert.deepEqual((await late.query("select 'served'")).rows, [["served"]]);
    close(busy, waiting, late);
  });
}

Deno.test("max_waiting_clients skips to the Sync of what is still to come, and drops the rest of a message", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\nmax_waiting_clients = 1",
  });
  const [busy, waiting] = await world.loginInLine();
  const late = await world.login();
  await late.send(frontend.parse("select 1"));
  await world.settle();
  await late.send(frontend.bind(), frontend.execute(), frontend.sync());
  assert.equal((await late.result()).types, "EZ");
  const long = frontend.query(`select '${"x".repeat(30_000)}'`);
  await late.send(long.subarray(0, 20_000));
  await world.settle();
  await late.send(long.subarray(20_000));
  assert.equal((await late.result()).types, "EZ");
  await busy.query("commit");
  await waiting.result();
  assert.equal((await late.query("select 1")).types, "TDCZ");
  close(busy, waiting, late);
});

Deno.test("max_waiting_clients lets one go that has asked and said goodbye in one breath", async () => {
  await using world = await PoolerWorld.open({
    pooler: "default_pool_size = 1\nmax_waiting_clients = 1",
  });
  const [busy, waiting] = await world.loginInLine();
  const late = await world.login();
  await late.send(frontend.query("select 1"), frontend.terminate());
  await world.settle();
  assert.equal(world.pool().clientCount, 2);
  close(busy, waiting, late);
});

Deno.test("max_waiting_clients counts nobody who logs in, so that many may come at once", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_waiting_clients = 1" });
  const clients = await Promise.all([1, 2, 3].map(() => world.login()));
  close(...clients);
});

Deno.test("max_waiting_clients does not count while an operator makes all wait", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_waiting_clients = 1" });
  const clients = [await world.login(), await world.login(), await world.login()];
  const stop = new AbortController();
  await world.pooler.operations.pause(undefined, stop.signal);
  for (const client of clients) await client.send(frontend.query("select 1"));
  await world.settle();
  assert.equal(world.pool().waiting.size, 3);
  world.pooler.operations.resume(undefined);
  for (const client of clients) assert.equal((await client.result()).types, "TDCZ");
  close(...clients);
});

Deno.test("max_client_conn = 0 lets nobody in but to the console", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'max_client_conn = 0\nadmin_users = "ada"',
  });
  assert.equal(
    await world.outcome(),
    "FATAL 53300: no more connections allowed (max_client_conn)",
  );
  assert.equal(await world.outcome({ database: "pgbouncer" }), "in");
});
