/** SHOW DNS_HOSTS and DNS_ZONES: names of servers, and the zones that are watched. */

import type { KnownName, KnownZone } from "../net/dns_cache.ts";
import type { ConsoleContext } from "./console_context.ts";
import { int4, int8, type ShownTable, table, text } from "./result_set.ts";

/** Answers SHOW DNS_HOSTS. */
export function showDnsHosts({ names }: ConsoleContext): ShownTable {
  return table([
    text("hostname", ({ name }: KnownName) => name),
    int8("ttl", ({ ttlMs }: KnownName) => Math.ceil(ttlMs / 1000)),
    text("addrs", ({ addresses }: KnownName) => addresses.join(",")),
  ], names.names);
}

/** Answers SHOW DNS_ZONES. */
export function showDnsZones({ names }: ConsoleContext): ShownTable {
  return table([
    text("zonename", ({ name }: KnownZone) => name),
    int8("serial", ({ serial }: KnownZone) => serial),
    int4("count", ({ nameCount }: KnownZone) => nameCount),
  ], names.zones);
}
