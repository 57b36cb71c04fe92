/** Which Sluice this is. The version stands in `deno.json` alone; this file alone reads it there. */

// deno-lint-ignore house/import-order -- the version has one place, and that is the manifest
import manifest from "../../deno.json" with { type: "json" };

/** `x.y.z` of this Sluice. */
const SLUICE_VERSION: string = manifest.version;

/** The PgBouncer whose console, settings and words this Sluice has. */
export const PGBOUNCER_VERSION = "1.26.0";

/** `PgBouncer 1.26.0 (Sluice x.y.z)`: begins as the tools that ask for it expect. */
export function versionText(): string {
  return `PgBouncer ${PGBOUNCER_VERSION} (Sluice ${SLUICE_VERSION})`;
}
