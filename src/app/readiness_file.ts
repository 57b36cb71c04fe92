/** The readiness file: there while the pooler takes clients, for whoever may send it some. */

import { errorText } from "../base/error_text.ts";
import { isAlive, nameBeside, readOwner, removeOwn, writeOwner } from "./owned_file.ts";

/** The readiness file cannot be written or removed. */
export class ReadinessFileError extends Error {
  override readonly name = "ReadinessFileError";
}

/** Holds a readiness file; without a path there is none, and nothing is done. */
export class ReadinessFile {
  readonly #path: string;

  /**
   * Removes what a process that is gone has left: this one is not ready yet. Sees to it that the file
   * can be written: once the process takes clients, it is late to fail.
   * @throws {ReadinessFileError} If it cannot be removed or written.
   */
  constructor(path: string) {
    this.#path = path;
    this.#attempt("remove", () => {
      const owner = readOwner(path);
      // Another one that serves still, in a restart without a gap: its word holds until ours. One
      // with our own number is gone, as in a container, where each is number 1.
      if (owner === undefined || owner !== Deno.pid && isAlive(owner)) return;
      Deno.removeSync(path);
    });
    this.#attempt("write", () => checkWritable(path));
  }

  /**
   * Says that clients are taken, whoever said so before.
   * @throws {ReadinessFileError} If it cannot be written.
   */
  write(): void {
    this.#attempt("write", () => writeOwner(this.#path));
  }

  /**
   * Takes the word back, unless another process has given its own meanwhile. May be called twice.
   * @throws {ReadinessFileError} If it cannot be removed.
   */
  remove(): void {
    this.#attempt("remove", () => removeOwn(this.#path));
  }

  #attempt(verb: string, action: () => void): void {
    if (this.#path === "") return;
    try {
      action();
    } catch (error) {
      throw new ReadinessFileError(
        `Cannot ${verb} the readiness file ${this.#path}: ${errorText(error)}`,
        { cause: error },
      );
    }
  }
}

function checkWritable(path: string): void {
  if (readOwner(path) !== undefined) return Deno.openSync(path, { append: true }).close();
  const beside = nameBeside(path);
  writeOwner(beside);
  Deno.removeSync(beside);
}
