/** Whether a pool may open one more server. Pure. */

/** The sizes of one pool. */
export interface PoolSizes {
  readonly poolSize: number;
  /** Servers to keep even when nobody waits. */
  readonly minPoolSize: number;
  /** Allowed in addition, once waiting gets long. */
  readonly reservePoolSize: number;
  readonly reservePoolTimeoutMs: number;
}

/** What the decision depends on. */
export interface PoolSituation {
  readonly serverCount: number;
  /** Logins under way that are waited for. */
  readonly loginCount: number;
  /** Those who wait, without as many as servers are about to come free for. */
  readonly waitingCount: number;
  /** How long the oldest waiter has waited. */
  readonly oldestWaitMs: number;
}

/** Whether to open a server for those who wait. One at a time, so a storm stays bounded. */
export function mayOpenServer(sizes: PoolSizes, now: PoolSituation): boolean {
  if (now.waitingCount === 0 || now.loginCount > 0) return false;
  if (now.serverCount < sizes.poolSize) return true;
  const isReserveOpen = sizes.reservePoolTimeoutMs > 0 &&
    now.oldestWaitMs >= sizes.reservePoolTimeoutMs;
  return isReserveOpen && now.serverCount < sizes.poolSize + sizes.reservePoolSize;
}

/** Whether to open a server ahead of need, for `min_pool_size`. */
export function mayOpenSpareServer(sizes: PoolSizes, now: PoolSituation): boolean {
  const wanted = Math.min(sizes.minPoolSize, sizes.poolSize);
  return now.loginCount === 0 && now.serverCount < wanted;
}
