/** What Sluice holds when nobody is there, and whether it is the same as before. */

import { show, type ShownRow } from "../../tests/support/console.ts";
import { anonymousBytes, descriptorCount } from "../bench/process_stats.ts";

/** What Sluice holds. */
export interface IdleState {
  /** Connections to servers that are free, by pool. */
  readonly freeServers: Readonly<Record<string, number>>;
  /** Connections to servers in any other state. */
  readonly busyServers: number;
  /** Clients, but for who asks. */
  readonly clients: number;
  readonly descriptors: number;
  /** Memory that is no part of any file: of the program's pages the share depends on who else runs it. */
  readonly memoryBytes: number;
}

/** How much more memory than before there may be, as a share. */
const MEMORY_TOLERANCE = 0.1;

/** Who may ask the console, and which process answers. */
export interface ConsoleTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

/** Looks into Sluice by its console, and at it from outside. */
export async function readIdleState(target: ConsoleTarget, pid: number): Promise<IdleState> {
  const servers = await show(target, "servers");
  const clients = await show(target, "clients");
  return {
    ...countServers(servers),
    clients: clients.filter(({ database }) => database !== "pgbouncer").length,
    descriptors: descriptorCount(pid),
    memoryBytes: await anonymousBytes(pid),
  };
}

/** Counts rows of SHOW SERVERS. */
export function countServers(
  rows: readonly ShownRow[],
): Pick<IdleState, "busyServers" | "freeServers"> {
  const freeServers: Record<string, number> = {};
  let busyServers = 0;
  for (const { database, state, user } of rows) {
    if (state !== "idle" && state !== "used") busyServers++;
    else freeServers[`${database}/${user}`] = (freeServers[`${database}/${user}`] ?? 0) + 1;
  }
  return { busyServers, freeServers };
}

/** Says of all that is not as before what it was and is. */
export function idleFaults(before: IdleState, after: IdleState): string[] {
  const faults: string[] = [];
  const differ = (what: string, was: unknown, is: unknown) => {
    const [wasText, isText] = [JSON.stringify(was), JSON.stringify(is)];
    if (wasText !== isText) faults.push(`${what}: ${wasText} before, ${isText} after`);
  };
  differ("free servers", before.freeServers, after.freeServers);
  differ("servers not free", 0, after.busyServers);
  differ("clients", 0, after.clients);
  // Fewer are none that leaked: who has just been told goodbye may have had one a moment longer.
  differ("descriptors", before.descriptors, Math.max(before.descriptors, after.descriptors));
  if (hasGrown(before, after)) {
    const [was, is] = [before, after].map(({ memoryBytes }) => (memoryBytes / 2 ** 20).toFixed(1));
    faults.push(`memory: ${was} MB before, ${is} MB after`);
  }
  return faults;
}

/** Whether there is more memory than the same state may take. */
export function hasGrown(before: IdleState, after: IdleState): boolean {
  return after.memoryBytes > before.memoryBytes * (1 + MEMORY_TOLERANCE);
}
