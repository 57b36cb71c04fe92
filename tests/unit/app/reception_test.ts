/** Who is let in, by whom a client is served, and what is left of it when it has gone. */

import assert from "node:assert/strict";
import { frontend, readReport } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import type { LoginOptions } from "../../support/test_client.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import { SQLSTATE } from "../../../src/wire/sqlstate.ts";

function withSocket(lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `unix_socket_dir = "/run/sluice"\n${lines}` });
}

/** Logs in over the unix socket, as a process of this user ID. */
async function overSocket(
  world: PoolerWorld,
  { uid, ...login }: LoginOptions & { uid: number },
): Promise<string> {
  world.network.peerUid = uid;
  return await (await world.connectBySocket()).outcome(login);
}

const CONSOLE: LoginOptions = { user: "pgbouncer", database: "pgbouncer" };

Deno.test("Reception lets its own user's processes into the console, without a password", async () => {
  await using world = await withSocket();
  assert.equal(await overSocket(world, { ...CONSOLE, uid: 1_000 }), "in");
});

Deno.test("Reception lets nobody in who is told to go before that, its own user's process neither", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'unix_socket_dir = "/run/sluice"',
    // Too little for what is said of the protocol's version, as long as nobody reads that.
    bufferBytes: 8,
  });
  world.network.peerUid = 1_000;
  const client = await world.connectBySocket();
  await client.send(frontend.startup({ user: "pgbouncer", database: "pgbouncer" }, 9));
  await world.settle();
  const [session] = world.clients;
  assert.equal(session?.state.kind, "login");
  session?.end("killed", new PgError(SQLSTATE.adminShutdown, "killed"));
  await client.receiveUntilEnd();
  client.close();
  await world.settle();
  assert.equal(world.hasLogged("internal error"), false);
});

for (
  const [who, login] of [
    ["root", { ...CONSOLE, uid: 0 }],
    ["a process of another user", { ...CONSOLE, uid: 1_001 }],
    ["its own user's process by another name", { ...CONSOLE, user: "ada", uid: 1_000 }],
  ] as const
) {
  Deno.test(`Reception does not let ${who} into the console for being there`, async () => {
    await using world = await withSocket('auth_type = "plain"');
    assert.match(await overSocket(world, { password: "wrong", ...login }), /^FATAL/);
  });
}

Deno.test("Reception does not take a client over TCP for its own user's process", async () => {
  await using world = await withSocket('auth_type = "plain"');
  world.network.peerUid = 1_000;
  const outcome = await world.outcome({ ...CONSOLE, password: "wrong" });
  assert.match(outcome, /^FATAL/);
});

Deno.test("Reception lets nobody in while the pooler is ending, but into the console", async () => {
  await using world = await withSocket();
  const inside = await world.login();
  const late = await world.connect();
  // Accepted before the listener is closed, asks afterwards.
  await world.settle();
  world.pooler.shutdown("wait_for_clients");
  assert.equal(await late.outcome(ADA), "FATAL 57P03: pooler is shutting down");
  assert.equal(await overSocket(world, { ...CONSOLE, uid: 1_000 }), "in");
  inside.close();
});

Deno.test("Reception keeps the console reachable when max_client_conn is reached", async () => {
  await using world = await withSocket("max_client_conn = 1");
  const inside = await world.login();
  assert.equal(
    await world.outcome(),
    "FATAL 53300: no more connections allowed (max_client_conn)",
  );
  assert.equal(await overSocket(world, { ...CONSOLE, uid: 1_000 }), "in");
  inside.close();
});

Deno.test("Reception counts logins and clients of a pool, and forgets who has gone", async () => {
  await using world = await PoolerWorld.open();
  const clients = [await world.login(), await world.login()];
  const pool = world.pool();
  assert.deepEqual([pool.clientCount, pool.stats.clientLoginCount], [2, 2]);
  const key = clients[0]!.cancelKey!;
  assert.equal(world.pooler.clients.findByCancelKey(key)?.user, "ada");
  for (const client of clients) client.close();
  await world.settle();
  assert.deepEqual([pool.clientCount, pool.stats.clientLoginCount], [0, 2]);
  assert.equal(world.pooler.clients.findByCancelKey(key), undefined);
});

Deno.test("Reception gives every client a key of its own, with the peer's number in it", async () => {
  await using world = await PoolerWorld.open({ pooler: "peer_id = 5" });
  const clients = [await world.login(), await world.login()];
  const keys = clients.map(({ cancelKey }) => [...cancelKey!]);
  assert.notDeepEqual(keys[0], keys[1]);
  for (const key of keys) assert.deepEqual(key.slice(1, 3), [5, 0]);
  for (const client of clients) client.close();
});

Deno.test("Reception cancels by a client's key, and logs a key that is nobody's", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  await world.cancel(new Uint8Array(8).fill(9));
  assert.ok(world.hasLogged("failed cancel request (unknown key)"));
  assert.equal(world.postgres.cancelRequestCount, 0);
  await world.cancel(client.cancelKey!);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  client.close();
});

Deno.test("Reception asks a link for the pool mode of its user and database", async () => {
  await using world = await PoolerWorld.open({
    sections: `[databases.app]\nhost = "127.0.0.1"\npool_mode = "transaction"
[users.ada]\npassword = "x"\npool_mode = "session"\n[users.bob]\npassword = "x"\n`,
  });
  const [ada, bob] = [await world.login(), await world.login({ user: "bob" })];
  for (const client of [ada, bob]) await client.query("select 1");
  await world.settle();
  const linked = ["ada", "bob"].map((user) => world.pool("app", user).servers.active.size);
  assert.deepEqual(linked, [1, 0]);
  ada.close();
  bob.close();
});

Deno.test("Reception tells a client of auth_type any without a forced user that the fault is ours", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "any"' });
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  const told = (await client.receiveUntilEnd()).find(({ type }) => type === "E");
  assert.equal(readReport(told!.body).message, "bouncer config error");
  assert.ok(world.hasLogged('ERROR database "app": auth_type=any requires a forced user'));
  client.close();
});
