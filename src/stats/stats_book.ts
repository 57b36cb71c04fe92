/**
 * Statistics by database: adds up pools, keeps what freed pools had counted, and averages over the
 * last period. Pure.
 */

import { averages, PoolStats, STAT_NAMES, type StatValues } from "./pool_stats.ts";

/** One database's figures. */
export interface DatabaseStats {
  readonly database: string;
  readonly totals: StatValues;
  readonly averages: StatValues;
}

/** All statistics of one pooler. */
export class StatsBook {
  readonly #pools = new Map<PoolStats, string>();
  readonly #retired = new Map<string, PoolStats>();
  #periodStart = new Map<string, StatValues>();
  #averages = new Map<string, StatValues>();
  #overallAverages: StatValues = new PoolStats();
  #periodStartMs: number;

  constructor(nowMs: number) {
    this.#periodStartMs = nowMs;
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

  /** Ends a period: averages are of the period that ended last. */
  endPeriod(nowMs: number): void {
    const totals = this.#totals();
    const elapsedMs = nowMs - this.#periodStartMs;
    this.#averages = new Map(
      [...totals].map(([database, now]) => {
        const before = this.#periodStart.get(database) ?? new PoolStats();
        return [database, averages(before, now, elapsedMs)];
      }),
    );
    const before = sumOf(this.#periodStart.values());
    this.#overallAverages = averages(before, sumOf(totals.values()), elapsedMs);
    this.#periodStart = new Map([...totals].map(([name, stats]) => [name, stats.snapshot()]));
    this.#periodStartMs = nowMs;
  }

  /** Every database that has counted anything, by name. */
  databases(): DatabaseStats[] {
    return [...this.#totals()]
      .map(([database, totals]) => ({
        database,
        totals,
        averages: this.#averages.get(database) ?? new PoolStats(),
      }))
      .sort((a, b) => a.database < b.database ? -1 : 1);
  }

  /** Averages over all databases, for the log. */
  overallAverages(): StatValues {
    return this.#overallAverages;
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

function sumOf(all: Iterable<StatValues>): StatValues {
  const sum = new PoolStats();
  for (const stats of all) sum.add(stats);
  return sum;
}
