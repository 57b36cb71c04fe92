/** All pools of one pooler, found by database and user. */

/** What a registry holds. */
export interface Registered {
  readonly database: string;
  readonly user: string;
}

/** Finds pools by the names under which clients see them. */
export class PoolRegistry<P extends Registered> {
  readonly #byDatabase = new Map<string, Map<string, P>>();

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

  /** The pools of a database. */
  ofDatabase(database: string): P[] {
    return [...this.#byDatabase.get(database)?.values() ?? []];
  }

  /** Every pool. */
  *all(): Generator<P, void, void> {
    for (const byUser of this.#byDatabase.values()) yield* byUser.values();
  }

  /** Forgets a pool. */
  remove(pool: P): void {
    const byUser = this.#byDatabase.get(pool.database);
    if (byUser?.get(pool.user) !== pool) return;
    byUser.delete(pool.user);
    if (byUser.size === 0) this.#byDatabase.delete(pool.database);
  }
}
