/**
 * Statistics by database: adds up pools, keeps what freed pools had counted, and averages over the
 * last period or from its beginning until now. Pure.
 */

import { averages, PoolStats, STAT_NAMES, type StatValues } from "./pool_stats.ts";

/** One database's figures. */
export interface DatabaseStats {
  readonly database: string;
  readonly totals: StatValues;
  readonly averages: StatValues;
}

/** What had been counted at a moment. */
interface Count {
  readonly atMs: number;
  readonly totals: ReadonlyMap<string, StatValues>;
}

/** All statistics of one pooler. */
export class StatsBook {
  readonly #pools = new Map<PoolStats, string>();
  readonly #retired = new Map<string, PoolStats>();
  #periodStart: Count;
  /** Of the period before, which has ended; of the first one as long as that has not. */
  #lastPeriodStart: Count;

  constructor(nowMs: number) {
    this.#periodStart = this.#lastPeriodStart = { atMs: nowMs, totals: new Map() };
  }

  /** Counters for a new pool of `database`. */
  open(database: string): PoolStats {
    const stats = new PoolStats();
    this.#pools.set(stats, database);
    return stats;
  }

  /** Keeps the counters of a pool that is freed: a total never goes down. */
  retire(stats: PoolStats): void {
    const database = this.#pools.get(stats);
    if (database === undefined) return;
    this.#pools.delete(stats);
    // Names that came to nothing must not be kept for ever.
    if (STAT_NAMES.every((name) => stats[name] === 0)) return;
    const retired = this.#retired.get(database) ?? new PoolStats();
    retired.add(stats);
    this.#retired.set(database, retired);
  }

  /** Ends a period. Returns its averages over all databases. */
  endPeriod(nowMs: number): StatValues {
    this.#lastPeriodStart = this.#periodStart;
    this.#periodStart = { atMs: nowMs, totals: this.#totals() };
    return averagesBetween(this.#lastPeriodStart, this.#periodStart);
  }

  /**
   * Every database that has counted anything, by name. Averages are, as in PgBouncer, from the
   * beginning of the last whole period until now.
   */
  databases(nowMs: number): DatabaseStats[] {
    const { atMs, totals: before } = this.#lastPeriodStart;
    return [...this.#totals()]
      .map(([database, totals]) => ({
        database,
        totals,
        averages: averages(before.get(database) ?? new PoolStats(), totals, nowMs - atMs),
      }))
      .sort((a, b) => a.database < b.database ? -1 : 1);
  }

  /** The same averages, over all databases. */
  overallAverages(nowMs: number): StatValues {
    return averagesBetween(this.#lastPeriodStart, { atMs: nowMs, totals: this.#totals() });
  }

  #totals(): Map<string, PoolStats> {
    const totals = new Map<string, PoolStats>();
    const addTo = (database: string, stats: StatValues) => {
      const total = totals.get(database) ?? new PoolStats();
      total.add(stats);
      totals.set(database, total);
    };
    for (const [database, stats] of this.#retired) addTo(database, stats);
    for (const [stats, database] of this.#pools) addTo(database, stats);
    return totals;
  }
}

/** Over all databases. */
function averagesBetween(before: Count, now: Count): StatValues {
  return averages(
    sumOf(before.totals.values()),
    sumOf(now.totals.values()),
    now.atMs - before.atMs,
  );
}

function sumOf(all: Iterable<StatValues>): StatValues {
  const sum = new PoolStats();
  for (const stats of all) sum.add(stats);
  return sum;
}
