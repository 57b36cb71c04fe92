/**
 * What a test needs that not every machine has. Such a test is reported as ignored where its need is not
 * met: `Deno.test({ name, ignore: isMissing("psql", "postgresql-15"), fn })`. With
 * `SLUICE_TEST_REQUIRE_ALL=1`, as in CI, nothing is ignored: the test runs, and fails without its need.
 */

import { delimiter, join } from "node:path";
import { hasDebianPostgres } from "../../scripts/embedded_postgres.ts";
import { SLAPD } from "./slapd.ts";

/**
 * A program found by PATH, Debian's PostgreSQL 15 server or LDAP server, or `/etc/pam.d` to put services
 * for PAM into.
 */
export type Need = "psql" | "pgbench" | "openssl" | "ss" | "postgresql-15" | "slapd" | "pam.d";

/** Whether a test that needs all of these has to be ignored here. */
export function isMissing(...needs: readonly Need[]): boolean {
  if (Deno.env.get("SLUICE_TEST_REQUIRE_ALL") === "1") return false;
  return !needs.every(isHere);
}

/** Whether this machine has an address. */
export function canListen(hostname: string): boolean {
  try {
    using _listener = Deno.listen({ hostname, port: 0 });
    return true;
  } catch {
    return false; // Whatever the reason: this machine has no such address.
  }
}

function isHere(need: Need): boolean {
  if (need === "postgresql-15") return hasDebianPostgres();
  if (need === "pam.d") return Deno.uid() === 0 && isFile("/etc/pam.d/other");
  if (need === "slapd") return isFile(SLAPD);
  const folders = (Deno.env.get("PATH") ?? "").split(delimiter);
  return folders.some((folder) => isFile(join(folder, need)));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    const isNotThere = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.PermissionDenied;
    if (isNotThere) return false;
    throw error;
  }
}
