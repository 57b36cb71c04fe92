/** What several lists of the console have in common. Pure. */

import type { DatabaseConfig } from "../config/config.ts";

/** How hosts are chosen; undefined where there is no choice. */
export function loadBalanceOf(database: DatabaseConfig | undefined): string | undefined {
  return database !== undefined && database.hosts.length > 1
    ? database.loadBalanceHosts
    : undefined;
}

/** Orders pools or databases as the console lists them. */
export function byName(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** The counts of all, added up. */
export function sum<T>(all: readonly T[], countOf: (each: T) => number): number {
  return all.reduce((total, each) => total + countOf(each), 0);
}
