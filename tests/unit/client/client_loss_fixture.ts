/** Clients that are lost amid something, and their servers: what the tests of those have in common. */

import assert from "node:assert/strict";
import type { ServerSession } from "../../../src/server/server_session.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const CHECK = /^SELECT '[0-9a-f]{32}'$/;

export const SLEEP = frontend.query("select pg_sleep(1)");

export const BEGIN = frontend.query("begin");

/** Asks for the number of the backend that answers. */
export const WHO = frontend.query("select session id");

/** A world with one server for all. */
export function oneServer(lines = "", mode = "transaction"): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `pool_mode = "${mode}"\ndefault_pool_size = 1\n${lines}` });
}

/** The statements run so far; those of the check are called that. */
export function statements(world: PoolerWorld): string[] {
  return world.postgres.ran.map(({ sql }) => CHECK.test(sql) ? "check" : sql);
}

/** A client that has sent this and got what there is to get. */
export async function loginAndSend(
  world: PoolerWorld,
  ...messages: readonly Uint8Array[]
): Promise<TestClient> {
  const client = await world.login();
  await client.send(...messages);
  await world.settle();
  return client;
}

/** The only server of the pool. */
export function theServer(world: PoolerWorld): ServerSession {
  const [server, ...others] = world.pool().servers.all();
  assert.ok(server !== undefined && others.length === 0);
  return server;
}

/** The server of a client that says goodbye behind these; it recovers until sleepers are woken. */
export async function recovering(
  world: PoolerWorld,
  ...messages: readonly Uint8Array[]
): Promise<ServerSession> {
  const client = await loginAndSend(world, ...messages, frontend.terminate());
  client.close();
  const server = theServer(world);
  assert.equal(server.state.kind, "recovering");
  return server;
}

/** Asserts that a newcomer is served by the first backend, with nothing of anybody else's. */
export async function assertServedByFirst(world: PoolerWorld): Promise<void> {
  const next = await world.login();
  const result = await next.query("select session id");
  assert.deepEqual([result.types, result.rows[0]?.[0], result.status], ["TDCZ", "1001", "I"]);
  next.close();
  await world.settle();
}
