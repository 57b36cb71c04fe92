/** The startup parameter `replication`: what a connection for replication is asked for by. Pure. */

import { PgError } from "./pg_error.ts";
import { SQLSTATE } from "./sqlstate.ts";

/** What a connection is for: SQL, the changes of one database, or the files and WAL of them all. */
export type Replication = "none" | "logical" | "physical";

/** The words for yes and no; any beginning of one that fits no other means the same. */
const WORDS: readonly (readonly [word: string, shortest: number, isYes: boolean])[] = [
  ["true", 1, true],
  ["false", 1, false],
  ["yes", 1, true],
  ["no", 1, false],
  ["on", 2, true],
  ["off", 2, false],
  ["1", 1, true],
  ["0", 1, false],
];

/**
 * Reads the value of `replication`, or its absence.
 * Source: PostgreSQL, ProcessStartupPacket() and parse_bool().
 * @throws {PgError} If PostgreSQL would not take it.
 */
export function readReplication(value: string | undefined): Replication {
  if (value === undefined) return "none";
  if (value === "database") return "logical";
  const asked = value.toLowerCase();
  for (const [word, shortest, isYes] of WORDS) {
    if (asked.length >= shortest && word.startsWith(asked)) return isYes ? "physical" : "none";
  }
  throw new PgError(
    SQLSTATE.invalidParameterValue,
    `invalid value for parameter "replication": "${value}"`,
    { hint: 'Valid values are: "false", 0, "true", 1, "database".' },
  );
}
