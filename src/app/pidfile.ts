/** The pid file: says who runs, and keeps a second one from starting. */

import { errorText } from "../base/error_text.ts";
import { isAlive, nameBeside, readOwner, removeOwn, writeOwner } from "./owned_file.ts";

/** The pid file belongs to a process that lives, or cannot be written. */
export class PidfileError extends Error {
  override readonly name = "PidfileError";
}

/** Holds the pid file. */
export class Pidfile {
  readonly #path: string;
  /** Where it is: beside the path while that is another's. */
  #place: string;

  private constructor(path: string, place: string) {
    this.#path = path;
    this.#place = place;
  }

  /**
   * Writes the pid file, in place of one whose process is gone. If it `isShared` and another process
   * of this user has one, it is written beside that, for `takeOver()`.
   * @throws {PidfileError} If the process it names lives, or the file cannot be written.
   */
  static create(path: string, { isShared = false } = {}): Pidfile {
    return attempt("write", path, () => {
      const owner = readOwner(path);
      const isHeld = owner !== undefined && owner !== Deno.pid && isAlive(owner);
      if (isHeld && !(isShared && Deno.lstatSync(path).uid === Deno.uid())) {
        throw new PidfileError(`Cannot write pidfile ${path}: process ${owner} in it is running`);
      }
      const place = isHeld ? nameBeside(path) : path;
      writeOwner(place);
      return new Pidfile(path, place);
    });
  }

  /**
   * Takes the path over from the process that has it, which goes on without: whoever reads finds the
   * one number or the other. To be called once this process can no longer fail to serve.
   * @throws {PidfileError} If that cannot be done.
   */
  takeOver(): void {
    if (this.#place === this.#path) return;
    attempt("write", this.#path, () => Deno.renameSync(this.#place, this.#path));
    this.#place = this.#path;
  }

  /**
   * Removes the file, unless another process has written its own meanwhile.
   * @throws {PidfileError} If it cannot be removed.
   */
  remove(): void {
    attempt("remove", this.#path, () => removeOwn(this.#place));
  }
}

function attempt<Result>(verb: string, path: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (error instanceof PidfileError) throw error;
    throw new PidfileError(`Cannot ${verb} pidfile ${path}: ${errorText(error)}`, { cause: error });
  }
}
