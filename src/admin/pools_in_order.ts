/** All pools in the order in which the console lists them, and as many rows as it has for them. */

import type { ServerPool } from "../client/relay.ts";
import type { PoolRegistry } from "../pool/pool_registry.ts";
import { byName } from "./listing.ts";

/** Every pool, by database and then by user. */
export function poolsInOrder(pools: PoolRegistry<ServerPool>): ServerPool[] {
  return [...pools.all()].sort((a, b) => byName(a.database, b.database) || byName(a.user, b.user));
}

/**
 * The same, with all of one database and user together: the pool that clients share, if there is
 * one, and before or after it those that are some client's own. So each name has one row.
 */
export function poolsByName(pools: PoolRegistry<ServerPool>): PoolGroup[] {
  const groups: PoolGroup[] = [];
  let group: ServerPool[] = [];
  for (const pool of poolsInOrder(pools)) {
    const [first] = group;
    const isOfGroup = first?.database === pool.database && first.user === pool.user;
    if (!isOfGroup) {
      group = [];
      groups.push({ database: pool.database, user: pool.user, pools: group });
    }
    group.push(pool);
  }
  return groups;
}

/** Pools of one name. */
export interface PoolGroup {
  readonly database: string;
  readonly user: string;
  readonly pools: readonly ServerPool[];
}
