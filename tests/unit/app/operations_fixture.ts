/** What the tests of the operators' commands share. */

import assert from "node:assert/strict";
import type { DatabaseOperations } from "../../../src/app/database_operations.ts";
import { PgError } from "../../../src/wire/pg_error.ts";

/** Two databases. */
export const TWO = `[databases.app]
host = "127.0.0.1"
[databases.other]
host = "127.0.0.1"
[users.ada]
password = "secret"
`;

/** How a command that takes time stands. */
export interface Watched {
  outcome: "waiting" | "done" | "failed";
  error: unknown;
}

/** Watches one. */
export function watch(command: Promise<void>): Watched {
  const watched: Watched = { outcome: "waiting", error: undefined };
  command.then(() => {
    watched.outcome = "done";
  }, (error: unknown) => {
    watched.outcome = "failed";
    watched.error = error;
  });
  return watched;
}

/** Of a command that nobody gives up. */
export function never(): AbortSignal {
  return new AbortController().signal;
}

/** Gives a PAUSE. */
export function pause(
  operations: DatabaseOperations,
  database?: string,
  signal = never(),
): Watched {
  return watch(operations.pause(database, signal));
}

/** Gives a SUSPEND. */
export function suspend(operations: DatabaseOperations): Watched {
  return watch(operations.suspend(never()));
}

/** `SQLSTATE message` of the error with which a command is refused. */
export function refusal(command: () => unknown): string {
  try {
    command();
  } catch (error) {
    assert.ok(error instanceof PgError, String(error));
    assert.equal(error.severity, "ERROR");
    return `${error.sqlstate} ${error.message}`;
  }
  return "not refused";
}
