/** Floods of logins that never end, and those who come in earnest meanwhile. */

import assert from "node:assert/strict";
import { PgError } from "../../../src/wire/pg_error.ts";
import { frontend } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { proxyLine } from "../../support/proxy_headers.ts";
import { LoginRefused, TestClient } from "../../support/test_client.ts";

const TOO_MANY = "FATAL 53300 too many logins under way (max_login_clients)";

const ATTACKER = "192.0.2.66";

const HONEST = "10.0.0.7";

/** Connections that send `bytes` and nothing more, and leave when they are ended. */
async function flood(
  world: PoolerWorld,
  { bytes = new Uint8Array(), count, host = () => ATTACKER }: {
    count: number;
    bytes?: Uint8Array;
    host?: (at: number) => string;
  },
): Promise<void> {
  for (let at = 0; at < count; at++) {
    world.network.sourceHost = host(at);
    const client = await world.connect();
    if (bytes.length > 0) await client.send(bytes);
    void client.receiveUntilEnd().then(() => client.close());
  }
  world.network.sourceHost = HONEST;
}

function halfOpenCount(world: PoolerWorld): number {
  return world.clients.filter(({ state }) => state.kind === "startup" || state.kind === "login")
    .length;
}

Deno.test("10,000 half-open logins from one address end each other, and nobody else notices", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "scram-sha-256"' });
  world.network.sourceHost = HONEST;
  const served = await world.login();
  const early = await world.connect();
  const startup = frontend.startup({ user: "ada", database: "app" });
  await early.send(startup);
  await flood(world, { count: 10_000 });
  await world.settle();
  assert.equal(halfOpenCount(world), 100, "the limit where none is set");
  assert.ok(world.clients.length <= 102, "those that were ended are gone");
  assert.deepEqual((await served.query("select 1")).errors, []);
  await early.finishLogin(ADA);
  const late = await world.login();
  assert.deepEqual((await late.query("select 1")).errors, []);
  for (const client of [served, early, late]) client.close();
});

Deno.test("half-open logins from many addresses end the oldest, and newcomers get in", async () => {
  const pooler = 'auth_type = "md5"\nmax_login_clients = 50';
  await using world = await PoolerWorld.open({ pooler });
  const startup = frontend.startup({ user: "ada", database: "app" });
  const host = (at: number) => `192.0.${at >> 8}.${at & 255}`;
  await flood(world, { count: 300, bytes: startup, host });
  await world.settle();
  assert.equal(halfOpenCount(world), 50);
  const newcomer = await world.login();
  await flood(world, { count: 300, bytes: startup, host });
  assert.deepEqual((await newcomer.query("select 1")).errors, []);
  newcomer.close();
});

Deno.test("addresses of one IPv6 subnet count as one", async () => {
  const pooler = 'auth_type = "md5"\nmax_login_clients = 5';
  await using world = await PoolerWorld.open({ pooler });
  world.network.sourceHost = "2001:db8:1::1";
  const honest = await world.connect();
  await honest.send(frontend.startup({ user: "ada", database: "app" }));
  await flood(world, { count: 40, host: (at) => `2001:db8:0:66::${at.toString(16)}` });
  await honest.finishLogin(ADA);
  honest.close();
});

Deno.test("who is ended is told so, and the log once for all of them", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_login_clients = 2" });
  const first = await world.connect();
  await flood(world, { count: 4, host: () => "127.0.0.1" });
  assert.equal(await first.lastWords(), TOO_MANY);
  assert.deepEqual(world.log.filter((line) => line.includes("C-0x")), []);
  await world.advance(10_500);
  const said = world.log.filter((line) => line.includes("max_login_clients"));
  assert.equal(said.length, 1);
  assert.match(said[0]!, /max_login_clients: 3 connections .* the last of them from 127\.0\.0\.1$/);
  await world.advance(20_000);
  assert.equal(world.log.filter((line) => line.includes("max_login_clients")).length, 1);
});

Deno.test("behind a trusted proxy the client's address counts", async () => {
  const pooler = `auth_type = "md5"
max_login_clients = 5
proxy_protocol = true
proxy_trusted = "10.0.0.2"`;
  await using world = await PoolerWorld.open({ pooler });
  const viaProxy = { host: () => "10.0.0.2" };
  world.network.sourceHost = "10.0.0.2";
  const honest = await world.connect();
  await honest.send(proxyLine(HONEST, 1), frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  await flood(world, { count: 40, bytes: proxyLine(ATTACKER, 1), ...viaProxy });
  await honest.finishLogin(ADA);
  honest.close();
});

Deno.test("a cancel request that is being carried out is not ended for a login", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_login_clients = 1" });
  const victim = await world.login();
  await victim.query("begin");
  const server = [...world.pool().servers.active][0]!;
  // The server does not answer: the request stays under way.
  world.network.obstruct(server.address, "black hole");
  const canceler = await world.connect();
  await victim.send(frontend.query("select pg_sleep(1)"));
  await canceler.send(frontend.cancelRequest(victim.cancelKey!));
  await world.settle();
  await flood(world, { count: 10, host: () => "127.0.0.1" });
  await world.settle();
  world.network.obstruct(server.address, undefined);
  assert.deepEqual(await canceler.receiveUntilEnd(), []);
  assert.ok(world.hasLogged("successfully sent cancel request"), world.log.join("\n"));
  canceler.close();
  victim.close();
});

Deno.test("who has proved who it is does not count, however long it waits for a server", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_login_clients = 2" });
  world.network.obstruct({ kind: "tcp", host: "127.0.0.1", port: 5432 }, "black hole");
  const waiting: TestClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    await world.settle();
    waiting.push(client);
  }
  world.network.obstruct({ kind: "tcp", host: "127.0.0.1", port: 5432 }, undefined);
  for (const client of waiting) await client.finishLogin(ADA);
  for (const client of waiting) client.close();
});

Deno.test("half-open logins take no place of max_client_conn, and logins at once not one too many", async () => {
  const pooler = 'auth_type = "md5"\nmax_client_conn = 2\nmax_login_clients = 1000';
  await using world = await PoolerWorld.open({ pooler });
  await flood(world, { count: 200 });
  await world.settle();
  assert.equal(halfOpenCount(world), 200);
  const clients = await Promise.all([1, 2, 3].map(() => world.connect()));
  const startup = frontend.startup({ user: "ada", database: "app" });
  for (const client of clients) await client.send(startup);
  await world.settle();
  const outcomes = await Promise.allSettled(clients.map((client) => client.finishLogin(ADA)));
  const refused = outcomes.filter((outcome) => outcome.status === "rejected");
  assert.equal(refused.length, 1);
  assert.ok(refused[0]!.reason instanceof LoginRefused);
  assert.match(
    refused[0]!.reason.message,
    /53300: no more connections allowed \(max_client_conn\)/,
  );
  await assert.rejects(world.login({ password: "wrong" }), /max_client_conn/);
  for (const client of clients) client.close();
  await world.settle();
  assert.equal(world.pooler.clients.admittedCount, 0);
});

Deno.test("who is ended is hung up on, whether it leaves or not", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_login_clients = 2" });
  const clients = [];
  for (let i = 0; i < 6; i++) clients.push(await world.connect());
  await world.settle();
  assert.equal(world.clients.length, 2);
  for (const client of clients) client.close();
});

Deno.test("who has left no longer counts, nor who is on its way out", async () => {
  const pooler = "max_login_clients = 3\nmax_client_conn = 1";
  await using world = await PoolerWorld.open({ pooler });
  for (let i = 0; i < 5; i++) {
    const passing = await world.connect();
    await world.settle();
    passing.close();
    await world.settle();
  }
  const halfOpen = [];
  for (let i = 0; i < 4; i++) halfOpen.push(await world.connect());
  await world.settle();
  assert.equal(halfOpenCount(world), 3);
  for (const client of halfOpen) client.close();
  const leaving = await world.login();
  // It is told to go, and does not.
  world.clients.at(-1)!.end("told to go", new PgError("57P01", "told to go"));
  await world.settle();
  assert.equal(world.clients.at(-1)!.state.kind, "closing");
  const next = await world.login();
  for (const client of [leaving, next]) client.close();
});
