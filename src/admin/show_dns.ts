/**
 * SHOW DNS_HOSTS and DNS_ZONES: names are looked up by the system at each dial and not kept, so
 * there are no rows.
 */

import type { ConsoleContext } from "./console_context.ts";
import { int4, int8, type ShownTable, table, text } from "./result_set.ts";

const nothing = (): undefined => undefined;

/** Answers SHOW DNS_HOSTS. */
export function showDnsHosts(_context: ConsoleContext): ShownTable {
  return table([text("hostname", nothing), int8("ttl", nothing), text("addrs", nothing)], []);
}

/** Answers SHOW DNS_ZONES. */
export function showDnsZones(_context: ConsoleContext): ShownTable {
  return table([text("zonename", nothing), int8("serial", nothing), int4("count", nothing)], []);
}
