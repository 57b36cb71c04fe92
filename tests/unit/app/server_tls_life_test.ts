/** TLS with servers while they live: cancel requests, reloads, and the pools of those who are no clients. */

import assert from "node:assert/strict";
import { PgError } from "../../../src/wire/pg_error.ts";
import { bundle } from "../../support/certificates.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import { SimTls } from "../../support/sim_tls_context.ts";
import type { TestClient } from "../../support/test_client.ts";
import { makeTlsMaterial, toClients } from "../../support/tls_material.ts";

const MATERIAL = makeTlsMaterial();

const TLS = { context: new SimTls().makeContext(toClients(MATERIAL.server)) };

const AUTHORITY = MATERIAL.authority.certificate;

const LINES = 'server_tls_sslmode = "verify-full"\nserver_tls_ca_file = "ca"\n';

const NO_LINE = { severity: "FATAL", sqlstate: "28000", message: "no pg_hba.conf entry" };

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

Deno.test("a cancel request is in plain text for a server that is, though TLS was tried before", async () => {
  await using world = await PoolerWorld.open({
    ...OPTIONS,
    pooler: 'server_tls_sslmode = "prefer"',
  });
  world.postgres.tls = TLS;
  world.postgres.onLogin = (isTls) => isTls ? NO_LINE : undefined;
  const client = await sleeper(world);
  await world.cancel(client.cancelKey!);
  assert.deepEqual(world.postgres.packets, [
    ...["request", "login tls", "login plain", "cancel plain"],
  ]);
  client.close();
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
  await client.receiveUntilReady();
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

const OWN = '[databases.own]\nhost = "db.example"\nserver_tls_ca_file = "other"\n';

/** Whose idle servers a reload closes: those of `app`, and of `own`, which has its own words. */
async function closedBy({ files = {}, lines = "", own = "" }: {
  files?: WorldOptions["tlsFiles"];
  lines?: string;
  own?: string;
}): Promise<string> {
  const tlsFiles = { ca: AUTHORITY, other: AUTHORITY };
  await using world = await open({ sections: SECTIONS + OWN, tlsFiles });
  for (const database of ["app", "own"]) assert.equal(await world.outcome({ database }), "in");
  assert.equal(world.postgres.live.length, 2);
  Object.assign(tlsFiles, files);
  const pooler = `${LINES}default_pool_size = 5\n${lines}`;
  assert.ok(await world.reload({ ...OPTIONS, pooler, sections: SECTIONS + OWN + own }));
  await world.settle();
  const left = world.postgres.live.map(({ database }) => database);
  return ["app", "own"].filter((database) => !left.includes(database)).join();
}

Deno.test("a reload closes those servers whose settings or files of TLS have changed", async () => {
  const both = bundle(AUTHORITY, MATERIAL.otherAuthority.certificate);
  assert.equal(await closedBy({}), "");
  assert.equal(await closedBy({ lines: 'server_tls_protocols = "tlsv1.3"' }), "app,own");
  assert.equal(await closedBy({ lines: 'server_channel_binding = "disable"' }), "app,own");
  assert.equal(await closedBy({ own: 'server_tls_sslmode = "require"' }), "own");
  assert.equal(await closedBy({ own: 'server_tls_sslmode = "disable"' }), "own");
  assert.equal(await closedBy({ own: 'server_channel_binding = "disable"' }), "own");
  assert.equal(await closedBy({ files: { ca: both } }), "app");
  assert.equal(await closedBy({ files: { other: both } }), "own");
});

Deno.test("a linked server is closed at its release after a reload, and the next one is as it says", async () => {
  await using world = await open();
  const client = await world.login();
  await client.query("begin");
  const pooler = 'server_tls_sslmode = "disable"';
  assert.ok(await world.reload({ ...OPTIONS, pooler }));
  assert.equal((await client.query("select 1")).status, "T");
  await client.query("commit");
  await client.query("select 1");
  assert.equal(world.postgres.live.length, 1);
  assert.deepEqual(world.postgres.packets, ["request", "login tls", "login plain"]);
  assert.ok(world.hasLogged("closing because: TLS settings changed"));
  client.close();
});

Deno.test("a reload with a bad file changes nothing", async () => {
  const tlsFiles = { ca: AUTHORITY };
  await using world = await open({ tlsFiles });
  assert.equal(await world.outcome(), "in");
  tlsFiles.ca = new Uint8Array([1]);
  assert.equal(await world.reload({ ...OPTIONS, pooler: LINES }), false);
  assert.equal(world.postgres.live.length, 1);
});

Deno.test("a server that is given up at any moment leaves no connection behind", async () => {
  for (let count = 0;; count++) {
    await using world = await PoolerWorld.open({
      ...OPTIONS,
      isAutomatic: false,
      pooler: 'server_tls_sslmode = "allow"',
    });
    world.postgres.tls = TLS;
    // Plain text first, and then TLS: all the ways in one login.
    world.postgres.onLogin = (isTls) => isTls ? undefined : NO_LINE;
    const client = await connectWhileStepping(world);
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    while (world.pooler.pools.registry.ofDatabase("app").length === 0) {
      await eventTurn();
      world.network.step();
    }
    for (let step = 0; step < count; step++) {
      await eventTurn();
      world.network.step();
    }
    const [server] = world.pool().servers.all();
    const wasIdle = server!.state.kind === "idle";
    world.pool().close(new PgError("57P01", "given up"), "given up");
    client.close();
    await world.settle();
    assert.deepEqual(world.network.connections, [], `after ${count} steps`);
    if (wasIdle) return;
  }
});

async function connectWhileStepping(world: PoolerWorld): Promise<TestClient> {
  const connecting = world.connect();
  await world.settle();
  return await connecting;
}
