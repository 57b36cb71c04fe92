/** The pid file: says who runs, and keeps a second one from starting. */

import { errorText } from "../base/error_text.ts";
import process from "node:process";

/** The pid file belongs to a process that lives, or cannot be written. */
export class PidfileError extends Error {
  override readonly name = "PidfileError";
}

/** Holds the pid file. */
export class Pidfile {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Writes the pid file, in place of one whose process is gone.
   * @throws {PidfileError} If the process it names lives, or the file cannot be written.
   */
  static create(path: string): Pidfile {
    try {
      const owner = readOwner(path);
      if (owner !== undefined && owner !== Deno.pid && isAlive(owner)) {
        throw new PidfileError(`Cannot write ${path}: process ${owner} in it is running`);
      }
      Deno.writeTextFileSync(path, `${Deno.pid}\n`);
    } catch (error) {
      if (error instanceof PidfileError) throw error;
      throw new PidfileError(`Cannot write ${path}: ${errorText(error)}`, { cause: error });
    }
    return new Pidfile(path);
  }

  /**
   * Removes the file, unless another process has written its own meanwhile.
   * @throws {PidfileError} If it cannot be removed.
   */
  remove(): void {
    try {
      if (readOwner(this.#path) === Deno.pid) Deno.removeSync(this.#path);
    } catch (error) {
      throw new PidfileError(`Cannot remove ${this.#path}: ${errorText(error)}`, { cause: error });
    }
  }
}

function readOwner(path: string): number | undefined {
  try {
    const owner = Number(Deno.readTextFileSync(path).trim());
    return Number.isInteger(owner) && owner > 0 ? owner : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    // Signal 0 reaches nobody: it only tells whether one could be sent.
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
