/**
 * What a server is beside others of its database, and which of them `target_session_attrs` asks for.
 * Pure. Source: libpq, "target_session_attrs", with its words for what does not suit.
 */

import type { TargetSessionAttrs } from "../config/settings.ts";

/** A primary may be read-only by `default_transaction_read_only`; a standby always is. */
export type ServerRole = "read_write_primary" | "read_only_primary" | "standby";

/** What a server may have set for new sessions, and a client for its own. */
export const READ_ONLY = "default_transaction_read_only";

/** The roles by the number of rows that `ROLE_QUERY` answers. */
const ROLE_BY_COUNT: readonly ServerRole[] = ["read_write_primary", "read_only_primary", "standby"];

/**
 * Asks a server for its role: the number of rows is the answer, which stands in the CommandComplete.
 * What a client has set for its session does not count, nor what stands in its `search_path`.
 */
export const ROLE_QUERY: string = "SELECT 1 FROM pg_catalog.generate_series(1, CASE " +
  "WHEN pg_catalog.pg_is_in_recovery() THEN 2 " +
  "WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) " +
  "'default_transaction_read_only'::pg_catalog.text AND reset_val OPERATOR(pg_catalog.=) " +
  "'on'::pg_catalog.text) THEN 1 ELSE 0 END)";

/** The role that the tag of `ROLE_QUERY`'s CommandComplete tells; undefined if it is none. */
export function answeredRole(tag: string | undefined): ServerRole | undefined {
  const count = /^SELECT (\d)$/.exec(tag ?? "")?.[1];
  return count === undefined ? undefined : ROLE_BY_COUNT[Number(count)];
}

/** The role that a server reports at login, as since PostgreSQL 14; undefined if it does not. */
export function reportedRole(parameters: ReadonlyMap<string, string>): ServerRole | undefined {
  const isStandby = parameters.get("in_hot_standby");
  const isReadOnly = parameters.get(READ_ONLY);
  if (isStandby === undefined || isReadOnly === undefined) return undefined;
  if (isStandby === "on") return "standby";
  return isReadOnly === "on" ? "read_only_primary" : "read_write_primary";
}

/** What is wrong with a role, in libpq's words; undefined if nothing is. */
export function roleProblem(attrs: TargetSessionAttrs, role: ServerRole): string | undefined {
  switch (attrs) {
    case "any":
      return undefined;
    case "read-write":
      return role === "read_write_primary" ? undefined : "session is read-only";
    case "read-only":
      return role === "read_write_primary" ? "session is not read-only" : undefined;
    case "primary":
      return role === "standby" ? "server is in hot standby mode" : undefined;
    case "standby":
    case "prefer-standby":
      return role === "standby" ? undefined : "server is not in hot standby mode";
  }
}
