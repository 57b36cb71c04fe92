/** Where log lines go: the standard error output, a file, or both. */

import type { LogSink } from "../log/logger.ts";

/** The log file cannot be opened. */
export class LogFileError extends Error {
  override readonly name = "LogFileError";
}

/** Each line is written before the call returns, so that none is lost with the process. */
export class ProcessLog implements LogSink, Disposable {
  readonly #encoder = new TextEncoder();
  readonly #isQuiet: boolean;
  #path: string;
  #file: Deno.FsFile | undefined;

  /** `path` is empty for no file. Created at once. @throws {LogFileError} If it cannot be. */
  constructor({ path, isQuiet }: { path: string; isQuiet: boolean }) {
    this.#isQuiet = isQuiet;
    this.#path = path;
    this.#file = openLog(path);
  }

  write(line: string): void {
    const bytes = this.#encoder.encode(line);
    if (!this.#isQuiet) writeAll(Deno.stderr, bytes);
    if (this.#file !== undefined) writeAll(this.#file, bytes);
  }

  /**
   * Opens the file anew, after it was moved away; `path` may have changed.
   * @throws {LogFileError} If it cannot be opened; lines go on where they went.
   */
  reopen(path: string): void {
    const file = openLog(path);
    this.#file?.close();
    this.#path = path;
    this.#file = file;
  }

  /** Opens the same file anew. */
  rotate(): void {
    this.reopen(this.#path);
  }

  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

function openLog(path: string): Deno.FsFile | undefined {
  if (path === "") return undefined;
  try {
    return Deno.openSync(path, { append: true, create: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new LogFileError(`Cannot open the log file ${path}: ${why}`, { cause: error });
  }
}

function writeAll(file: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let sent = 0; sent < bytes.length;) sent += file.writeSync(bytes.subarray(sent));
}
