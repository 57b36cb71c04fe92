/** The parameters that drivers expect of a PostgreSQL session and that the console has for show. */

import { PGBOUNCER_VERSION } from "./version.ts";

/** Announced at login, in this order. */
export const ANNOUNCED_PARAMETERS: readonly (readonly [name: string, value: string])[] = [
  ["server_version", `${PGBOUNCER_VERSION}/bouncer`],
  ["client_encoding", "UTF8"],
  ["server_encoding", "UTF8"],
  ["DateStyle", "ISO"],
  ["TimeZone", "GMT"],
  ["standard_conforming_strings", "on"],
  ["is_superuser", "on"],
];

/** What SHOW answers for the parameters that drivers ask for or set before anything else. */
const FIXED_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ["client_encoding", "UTF8"],
  ["default_transaction_isolation", "read committed"],
  ["standard_conforming_strings", "on"],
  ["datestyle", "ISO"],
  ["timezone", "GMT"],
]);

/** The value of such a parameter, named in lower case; undefined if it is none. */
export function fixedParameter(name: string): string | undefined {
  return FIXED_PARAMETERS.get(name);
}
