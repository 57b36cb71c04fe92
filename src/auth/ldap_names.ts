/**
 * What becomes of a user's name in a directory's own languages: names of entries (RFC 4514) and search
 * filters (RFC 4515). Names come from clients that have not proved anything. Pure.
 */

import { type LdapSimpleBind, USER_PLACEHOLDER } from "./ldap_options.ts";
import { isTooLongName } from "./user_list.ts";

/** What PostgreSQL does not ask a directory for, since it has a meaning there; and what is no name. */
// deno-lint-ignore no-control-regex
const UNFIT_TO_SEARCH = /[*()\\/\x00-\x1f\x7f]/;

// deno-lint-ignore no-control-regex
const UNFIT = /[\x00-\x1f\x7f]/;

/** Whether a directory is asked for such a name at all. */
export function isFitForLdap(user: string, kind: "simple" | "search"): boolean {
  if (user === "" || isTooLongName(user)) return false;
  return !(kind === "search" ? UNFIT_TO_SEARCH : UNFIT).test(user);
}

/** The name of the user's entry: escaped where prefix and suffix are of a DN, not of DOMAIN\user. */
export function entryNameOf({ prefix, suffix }: LdapSimpleBind, user: string): string {
  const isDn = prefix.includes("=") || suffix.includes("=");
  return `${prefix}${isDn ? escapeDnValue(user) : user}${suffix}`;
}

/** The filter that finds the user. */
export function userFilterOf(filter: string, user: string): string {
  return filter.replaceAll(USER_PLACEHOLDER, () => escapeFilterValue(user));
}

function escapeDnValue(value: string): string {
  return value.replace(/["+,;<>\\]|^[ #]| $/g, "\\$&");
}

function escapeFilterValue(value: string): string {
  // deno-lint-ignore no-control-regex
  return value.replace(/[*()\\\x00]/g, (character) => {
    return `\\${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
