/** A world of three other processes, for the tests of files that say whose they are. */

import assert from "node:assert/strict";
import process from "node:process";

/** The number of one that is gone. */
export const GONE = 1_001;

/** Of one that lives. */
export const ALIVE = 1_002;

/** Of one that lives and belongs to another user. */
export const SOMEBODY_ELSES = 1_003;

/** Runs a test with a folder of its own, and `kill()` as in that world. */
export function amongProcesses(run: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  const { kill } = process;
  process.kill = (pid, signal) => {
    assert.equal(signal, 0, "nobody is hurt");
    const code = pid === GONE ? "ESRCH" : pid === SOMEBODY_ELSES ? "EPERM" : undefined;
    if (code !== undefined) throw Object.assign(new Error(`kill ${code}`), { code });
    return true;
  };
  try {
    run(folder);
  } finally {
    process.kill = kill;
    Deno.removeSync(folder, { recursive: true });
  }
}
