/** What Linux says of a process's CPU time and memory. The parsers are pure. */

/** Clock ticks a second in /proc/PID/stat; Linux has had 100 on every platform for decades. */
const TICKS_PER_SECOND = 100;

/** CPU time a process has used, user and system, all threads, in microseconds. */
export async function cpuUs(pid: number): Promise<number> {
  return cpuUsFromStat(await Deno.readTextFile(`/proc/${pid}/stat`));
}

/** Memory of a process in bytes, its share of shared pages included. */
export async function pssBytes(pid: number): Promise<number> {
  return pssFromRollup(await Deno.readTextFile(`/proc/${pid}/smaps_rollup`));
}

/** Memory of a process in bytes that is no part of any file: heaps, stacks, what was changed. */
export async function anonymousBytes(pid: number): Promise<number> {
  return anonymousFromRollup(await Deno.readTextFile(`/proc/${pid}/smaps_rollup`));
}

/** How many descriptors a process has open. */
export function descriptorCount(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

/** Reads utime and stime. The name before them is in parentheses and may hold anything. */
export function cpuUsFromStat(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  if (!Number.isFinite(ticks)) throw new Error(`Cannot read CPU times in: ${stat}`);
  return ticks * (1_000_000 / TICKS_PER_SECOND);
}

/** Reads the Pss line. */
export function pssFromRollup(rollup: string): number {
  return fromRollup(rollup, "Pss");
}

/** Reads the Anonymous line. */
export function anonymousFromRollup(rollup: string): number {
  return fromRollup(rollup, "Anonymous");
}

function fromRollup(rollup: string, name: string): number {
  const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1];
  if (kilobytes === undefined) throw new Error(`Cannot read ${name}: no such line`);
  return Number(kilobytes) * 1024;
}
