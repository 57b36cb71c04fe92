/** All pools in the order in which the console lists them. */

import type { ServerPool } from "../client/relay.ts";
import type { PoolRegistry } from "../pool/pool_registry.ts";
import { byName } from "./listing.ts";

/** Every pool, by database and then by user. */
export function poolsInOrder(pools: PoolRegistry<ServerPool>): ServerPool[] {
  return [...pools.all()].sort((a, b) => byName(a.database, b.database) || byName(a.user, b.user));
}
