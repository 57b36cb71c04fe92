/** The pid file: says who runs, and keeps a second one from starting. */

import { errorText } from "../base/error_text.ts";
import { isAlive, readOwner, removeOwn, replaceOwner, writeOwner } from "./owned_file.ts";

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
   * Writes the pid file, in place of one whose process is gone, or, if it `isShared`, of one that
   * another process of this user has, which goes on without.
   * @throws {PidfileError} If the process it names lives, or the file cannot be written.
   */
  static create(path: string, { isShared = false } = {}): Pidfile {
    try {
      const owner = readOwner(path);
      const isHeld = owner !== undefined && owner !== Deno.pid && isAlive(owner);
      if (isHeld && !(isShared && Deno.lstatSync(path).uid === Deno.uid())) {
        throw new PidfileError(`Cannot write ${path}: process ${owner} in it is running`);
      }
      if (isHeld) replaceOwner(path);
      else writeOwner(path);
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
      removeOwn(this.#path);
    } catch (error) {
      throw new PidfileError(`Cannot remove ${this.#path}: ${errorText(error)}`, { cause: error });
    }
  }
}
