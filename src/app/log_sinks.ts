/** Where log lines go: the standard error output, a file and syslog. */

import { errorText } from "../base/error_text.ts";
import type { LineOf, LogEntry } from "../log/log_line.ts";
import type { LogSink } from "../log/logger.ts";
import type { Syslog } from "./syslog.ts";

/** The log file cannot be opened. */
export class LogFileError extends Error {
  override readonly name = "LogFileError";
}

/**
 * Each line is written before the call returns, so that none is lost with the process. A line that
 * cannot be written (a full disk, a reader that has gone) is lost, and nothing else: whoever logs
 * never hears of it. The count of lost lines is told once lines can be written again.
 */
export class ProcessLog implements LogSink, Disposable {
  readonly #isQuiet: boolean;
  readonly #console = new LogTarget(Deno.stderr, { isCut: false });
  #path: string;
  /** The form of the lines that it has to say itself; without one they are bare text. */
  lineOf: LineOf | undefined;
  /** There while lines go to it as well. */
  syslog: Syslog | undefined;
  #file: LogTarget<Deno.FsFile> | undefined;

  /** `path` is empty for no file. Created at once. @throws {LogFileError} If it cannot be. */
  constructor({ path, isQuiet }: { path: string; isQuiet: boolean }) {
    this.#isQuiet = isQuiet;
    this.#path = path;
    this.#file = openLog(path);
  }

  /** Syslog has the entry, in its own form, and not the line. */
  write(line: string, entry?: LogEntry): void {
    const lossOf = (count: number) => this.#lossOf(count, entry);
    if (!this.#isQuiet) this.#console.write(line, lossOf);
    this.#file?.write(line, lossOf);
    if (entry !== undefined) this.syslog?.write(entry);
  }

  #lossOf(count: number, entry: LogEntry | undefined): string {
    const message = `${count} log lines were lost`;
    if (entry === undefined || this.lineOf === undefined) return `${message}\n`;
    return this.lineOf({ ...entry, level: "WARNING", message });
  }

  /**
   * Opens the file anew, after it was moved away; `path` may have changed.
   * @throws {LogFileError} If it cannot be opened; lines go on where they went.
   */
  reopen(path: string): void {
    const file = openLog(path);
    if (file !== undefined) file.lostCount = this.#file?.lostCount ?? 0;
    this.#file?.stream.close();
    this.#path = path;
    this.#file = file;
  }

  /** Opens the same file anew. */
  rotate(): void {
    this.reopen(this.#path);
  }

  [Symbol.dispose](): void {
    this.#file?.stream.close();
    this.#file = undefined;
  }
}

function openLog(path: string): LogTarget<Deno.FsFile> | undefined {
  if (path === "") return undefined;
  try {
    const file = Deno.openSync(path, { append: true, create: true });
    return new LogTarget(file, { isCut: endsInLine(path, file) });
  } catch (error) {
    throw new LogFileError(`Cannot open the log file ${path}: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** Whether a file ends in the middle of a line: the disk was full when that was written, or it crashed. */
function endsInLine(path: string, file: Deno.FsFile): boolean {
  const last = new Uint8Array(1);
  try {
    const { isFile, size } = file.statSync();
    if (!isFile || size === 0) return false;
    using reader = Deno.openSync(path);
    reader.seekSync(-1, Deno.SeekMode.End);
    return reader.readSync(last) === 1 && last[0] !== LINE_FEED;
  } catch {
    // It may be allowed to write it and not to read it.
    return false;
  }
}

/** What bytes can be written to at once. */
interface SyncWriter {
  writeSync(bytes: Uint8Array): number;
}

const LINE_FEED = 0x0a;

/** Room for an ordinary line. */
const LINE_BYTES = 512;

/** One place where lines go. */
class LogTarget<W extends SyncWriter> {
  readonly stream: W;
  readonly #encoder = new TextEncoder();
  /** An ordinary line is encoded into it. */
  readonly #buffer = new Uint8Array(LINE_BYTES);
  /** Lines that are lost and not told of yet. */
  lostCount = 0;
  /** Whether what was written last ends in the middle of a line. */
  #isCut: boolean;

  constructor(stream: W, { isCut }: { isCut: boolean }) {
    this.stream = stream;
    this.#isCut = isCut;
  }

  /** `lossOf` makes the line that tells how many were lost. */
  write(line: string, lossOf: (count: number) => string): void {
    if (this.lostCount > 0 && this.#tryToWrite(lossOf(this.lostCount))) {
      this.lostCount = 0;
    }
    if (!this.#tryToWrite(line)) this.lostCount += 1;
  }

  #tryToWrite(text: string): boolean {
    const bytes = this.#encode(this.#isCut ? `\n${text}` : text);
    let at = 0;
    try {
      while (at < bytes.length) at += this.stream.writeSync(bytes.subarray(at));
      this.#isCut = false;
      return true;
    } catch {
      // Counted by the caller: there is no other place to tell it.
      this.#isCut ||= at > 0;
      return false;
    }
  }

  #encode(text: string): Uint8Array {
    const { read, written } = this.#encoder.encodeInto(text, this.#buffer);
    return read < text.length ? this.#encoder.encode(text) : this.#buffer.subarray(0, written);
  }
}
