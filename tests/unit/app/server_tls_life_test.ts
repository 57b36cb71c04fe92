/** TLS with servers while they live: cancel requests, reloads, and the pools of those who are no clients. */

import assert from "node:assert/strict";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import { SimTls } from "../../support/sim_tls_context.ts";
import type { TestClient } from "../../support/test_client.ts";
import { makeTlsMaterial, toClients } from "../../support/tls_material.ts";

const MATERIAL = makeTlsMaterial();

const TLS = { context: new SimTls().makeContext(toClients(MATERIAL.server)) };

const AUTHORITY = MATERIAL.authority.certificate;

const LINES = 'server_tls_sslmode = "verify-full"\nserver_tls_ca_file = "ca"\n';

const SECTIONS = `
[users.ada]
password = "secret"
[databases."*"]
host = "db.example"
`;

const OPTIONS: WorldOptions = {
  pooler: LINES,
  sections: SECTIONS,
  tlsFiles: { ca: AUTHORITY },
  postgres: { address: { kind: "tcp", host: "db.example", port: 5432, backlog: 16 } },
};

async function open(options: WorldOptions = {}): Promise<PoolerWorld> {
  const pooler = LINES + (options.pooler ?? "");
  const world = await PoolerWorld.open({ ...OPTIONS, ...options, pooler });
  world.postgres.tls = TLS;
  return world;
}

/** A client whose query is running. */
async function sleeper(world: PoolerWorld): Promise<TestClient> {
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  return client;
}

Deno.test("a cancel request goes to its server in TLS, by the same name", async () => {
  await using world = await open();
  const client = await sleeper(world);
  await world.cancel(client.cancelKey!);
  assert.equal(world.postgres.canceled.length, 1);
  assert.deepEqual(world.postgres.packets.slice(-2), ["request", "cancel tls"]);
  assert.deepEqual(world.postgres.serverNames, ["db.example", "db.example"]);
  client.close();
});

Deno.test("a cancel request goes directly where its server did", async () => {
  await using world = await open({ pooler: 'server_tls_negotiation = "direct"' });
  const client = await sleeper(world);
  await world.cancel(client.cancelKey!);
  assert.deepEqual(world.postgres.packets, ["direct", "login tls", "direct", "cancel tls"]);
  client.close();
});

Deno.test("a key is never sent in plain text for a server in TLS, nor in TLS for one that is not", async () => {
  for (const isTls of [true, false]) {
    await using world = await PoolerWorld.open({
      ...OPTIONS,
      pooler: 'server_tls_sslmode = "prefer"',
    });
    world.postgres.tls = isTls ? TLS : undefined;
    const client = await sleeper(world);
    world.postgres.tls = isTls ? undefined : TLS;
    await world.cancel(client.cancelKey!);
    assert.equal(world.postgres.packets.at(-1), isTls ? "request" : "cancel plain");
    assert.equal(world.postgres.canceled.length, isTls ? 0 : 1);
    if (isTls) assert.ok(world.hasLogged("failed cancel request: server refused SSL"));
    world.postgres.wakeAll();
    client.close();
  }
});

Deno.test("a cancel request whose handshake takes too long is given up, and harms nobody", async () => {
  await using world = await open({ pooler: "server_connect_timeout = 3" });
  const client = await sleeper(world);
  const requester = await world.connect();
  const before = world.network.connections.length;
  await requester.send(frontend.cancelRequest(client.cancelKey!));
  while (world.network.connections.length === before) await eventTurn();
  world.network.connections.at(-1)!.dialer.stall();
  await world.advance(3_500);
  assert.ok(world.hasLogged("failed cancel request: "));
  assert.equal(world.postgres.cancelRequestCount, 0);
  await requester.receiveUntilEnd();
  world.postgres.wakeAll();
  await client.receiveReply();
  assert.equal((await client.query("select 1")).types, "TDCZ");
  requester.close();
  client.close();
});

Deno.test("a cancel request goes by the context of its server, though a reload has brought another", async () => {
  await using world = await open();
  const client = await sleeper(world);
  const pooler = 'server_tls_sslmode = "require"';
  assert.ok(await world.reload({ ...OPTIONS, pooler }));
  await world.cancel(client.cancelKey!);
  assert.equal(world.postgres.canceled.length, 1);
  client.close();
});

Deno.test("who replicates and who looks up secrets has servers in TLS as well", async () => {
  await using world = await open({
    pooler: 'auth_type = "md5"\nauth_user = "ada"\n',
  });
  world.postgres.secrets.set("eve", [["eve", "pass"]]);
  assert.equal(await world.outcome({ user: "eve", password: "pass" }), "in");
  const client = await world.connect();
  await client.login({
    user: "ada",
    database: "app",
    password: "secret",
    parameters: { replication: "database" },
  });
  client.close();
  await world.settle();
  assert.ok(world.postgres.packets.every((packet) => packet !== "login plain"));
  assert.equal(world.postgres.packets.filter((packet) => packet === "login tls").length, 3);
});

/** Whether a reload closes idle servers of two databases: `app`, and `own`, which has its own words. */
async function closedBy(change: (world: PoolerWorld) => WorldOptions): Promise<string[]> {
  const own = '[databases.own]\nhost = "db.example"\nserver_tls_ca_file = "other"';
  const tlsFiles = { ca: AUTHORITY, other: AUTHORITY };
  const options = { ...OPTIONS, sections: SECTIONS + own, tlsFiles };
  await using world = await open(options);
  for (const database of ["app", "own"]) assert.equal(await world.outcome({ database }), "in");
  assert.equal(world.postgres.live.length, 2);
  assert.ok(await world.reload({ ...options, ...change(world) }));
  await world.settle();
  const left = world.postgres.live.map(({ database }) => database);
  return ["app", "own"].filter((database) => !left.includes(database));
}

Deno.test("a reload closes those servers whose settings or files of TLS have changed", async () => {
  const both = `${AUTHORITY}`;
  assert.notEqual(both, "");
  assert.deepEqual(await closedBy(() => ({})), []);
  assert.deepEqual(await closedBy(() => ({ pooler: `${LINES}server_tls_protocols = "all"` })), [
    "app",
    "own",
  ]);
  assert.deepEqual(
    await closedBy(() => ({ pooler: `${LINES}server_channel_binding = "disable"` })),
    [
      "app",
      "own",
    ],
  );
});
