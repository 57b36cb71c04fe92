/** Files that hold a process's number, and so say whose they are. */

import process from "node:process";

/**
 * The process that a file names; undefined if there is no file, or no number in it.
 * @throws {Error} If it cannot be read.
 */
export function readOwner(path: string): number | undefined {
  try {
    const owner = Number(Deno.readTextFileSync(path).trim());
    return Number.isInteger(owner) && owner > 0 ? owner : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether a process runs, whosever it is. */
export function isAlive(pid: number): boolean {
  try {
    // Signal 0 reaches nobody: it only tells whether one could be sent.
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Writes this process's number. @throws {Error} If it cannot be written. */
export function writeOwner(path: string): void {
  Deno.writeTextFileSync(path, `${Deno.pid}\n`);
}

/** A name beside a file for what this process may put in its place. */
export function nameBeside(path: string): string {
  return `${path}.${Deno.pid}`;
}

/** Removes the file if it is this process's. @throws {Error} If it cannot be removed. */
export function removeOwn(path: string): void {
  if (readOwner(path) === Deno.pid) Deno.removeSync(path);
}
