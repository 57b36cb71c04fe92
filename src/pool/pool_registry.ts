/** All pools of one pooler, found by database and user, and those that clients do not share. */

/** What a registry holds. */
export interface Registered {
  readonly database: string;
  readonly user: string;
}

/** Finds pools by the names under which clients see them. */
export class PoolRegistry<P extends Registered> {
  readonly #byDatabase = new Map<string, Map<string, P>>();
  readonly #private = new Set<P>();

  /** The pool of a database and a user, made if there is none. */
  findOrMake(database: string, user: string, make: () => P): P {
    let byUser = this.#byDatabase.get(database);
    if (byUser === undefined) {
      byUser = new Map();
      this.#byDatabase.set(database, byUser);
    }
    let pool = byUser.get(user);
    if (pool === undefined) {
      pool = make();
      byUser.set(user, pool);
    }
    return pool;
  }

  /** Whether this very pool is found by its names. */
  has(pool: P): boolean {
    return this.#byDatabase.get(pool.database)?.get(pool.user) === pool;
  }

  /** Takes in a pool that clients do not share: it is listed, and not found by its names. */
  addPrivate(pool: P): void {
    this.#private.add(pool);
  }

  /** The pools of a database, private ones last. */
  ofDatabase(database: string): P[] {
    const pools = [...this.#byDatabase.get(database)?.values() ?? []];
    for (const pool of this.#private) if (pool.database === database) pools.push(pool);
    return pools;
  }

  /** Every pool, private ones last. */
  *all(): Generator<P, void, void> {
    for (const byUser of this.#byDatabase.values()) yield* byUser.values();
    yield* this.#private;
  }

  /** Forgets a pool. */
  remove(pool: P): void {
    if (this.#private.delete(pool)) return;
    const byUser = this.#byDatabase.get(pool.database);
    if (byUser?.get(pool.user) !== pool) return;
    byUser.delete(pool.user);
    if (byUser.size === 0) this.#byDatabase.delete(pool.database);
  }
}
