/**
 * One PostgreSQL for all tests of a file: started before the first of them and removed after the
 * last, so that a test costs only its own pooler. For tests that leave the server as they found it.
 */

import {
  type Postgres,
  type PostgresOptions,
  startPostgres,
} from "../../scripts/postgres_fixture.ts";

/** Where a file's tests find their PostgreSQL. */
export interface SharedPostgres {
  /** The running server. @throws {Error} Outside of a test. */
  get(): Postgres;
}

/**
 * Has PostgreSQL started before the tests of the calling file. `prepare` makes the roles and tables
 * they need. With `isWanted` false nothing is started: for a file whose tests are all ignored here.
 */
export function sharedPostgres(
  options: PostgresOptions & {
    readonly prepare?: (postgres: Postgres) => Promise<void>;
    readonly isWanted?: boolean;
  } = {},
): SharedPostgres {
  const { isWanted = true, prepare, ...rest } = options;
  let running: Postgres | undefined;
  if (isWanted) {
    Deno.test.beforeAll(async () => {
      running = await startPostgres(rest);
      await prepare?.(running);
    });
    Deno.test.afterAll(async () => {
      await running?.[Symbol.asyncDispose]();
    });
  }
  return {
    get() {
      if (running === undefined) throw new Error("There is no PostgreSQL outside of a test");
      return running;
    },
  };
}
