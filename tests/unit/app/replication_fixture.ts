/** What the tests of clients that replicate share. */

import assert from "node:assert/strict";
import type { ServerPool } from "../../../src/client/relay.ts";
import { frontend } from "../../support/messages.ts";
import { ADA, type PoolerWorld } from "../../support/pooler_world.ts";
import type { LoginOptions, TestClient } from "../../support/test_client.ts";

type Kind = "true" | "database";

/** How one logs in that replicates. */
export function loginOptions(
  replication: string = "database",
  parameters: Readonly<Record<string, string>> = {},
): LoginOptions {
  return { ...ADA, parameters: { replication, ...parameters } };
}

/** Logs in one that replicates. */
export function replicate(world: PoolerWorld, replication: Kind = "database"): Promise<TestClient> {
  return world.login(loginOptions(replication));
}

/** The same, in COPY in both directions. */
export async function stream(world: PoolerWorld, replication: Kind = "true"): Promise<TestClient> {
  const client = await replicate(world, replication);
  await client.send(frontend.query("start_replication"));
  assert.equal((await client.receive())?.type, "W");
  return client;
}

/** Pools, those of clients that replicate included. */
export function poolsOf(world: PoolerWorld): ServerPool[] {
  return [...world.pooler.pools.registry.all()];
}

/** Those with one client and one server. */
export function privatePools(world: PoolerWorld): ServerPool[] {
  return poolsOf(world).filter(({ isPrivate }) => isPrivate);
}

/** The process IDs of the servers that there are. */
export function processIds(world: PoolerWorld): number[] {
  return world.postgres.live.map(({ processId }) => processId);
}
