/** The log. Where lines go, and in which form, is the caller's choice; nothing here does I/O. */

import type { Clock } from "../base/clock.ts";
import { type LineOf, type LogEntry, type LogLevel, pgBouncerLine } from "./log_line.ts";

/** What ends a line for somebody, or steers a terminal. */
// deno-lint-ignore no-control-regex -- they are what is looked for
export const CONTROL_CHARACTERS: Readonly<RegExp> = /[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g;

/** Takes finished lines, newline included. */
export interface LogSink {
  write(line: string, entry: LogEntry): void;
}

/** What a logger is made of. */
export interface LoggerOptions {
  readonly clock: Clock;
  readonly processId: number;
  readonly sink: LogSink;
  /** 0 shows LOG and above, 1 also DEBUG, 2 and more also NOISE. */
  readonly verbosity: number;
}

/** Writes lines that are not too detailed for the verbosity. */
export class Logger {
  /** May be changed while running (`verbose`). */
  verbosity: number;
  /** The form of lines, PgBouncer's at first; may be changed while running (`log_format`). */
  lineOf: LineOf;
  readonly #options: LoggerOptions;

  constructor(options: LoggerOptions) {
    this.#options = options;
    this.lineOf = pgBouncerLine(options.processId);
    this.verbosity = options.verbosity;
  }

  /** Whether every step is wanted; ask before building such a line on a busy path. */
  get isNoisy(): boolean {
    return this.verbosity >= 2;
  }

  /** The process cannot go on. */
  fatal(message: string): void {
    this.#write("FATAL", message);
  }

  /** Something failed that somebody should look at. */
  error(message: string): void {
    this.#write("ERROR", message);
  }

  /** Something is odd, or will not do what its reader may expect. */
  warning(message: string): void {
    this.#write("WARNING", message);
  }

  /** The ordinary course of things. */
  log(message: string): void {
    this.#write("LOG", message);
  }

  /** For whoever looks for a fault. */
  debug(message: string): void {
    if (this.verbosity >= 1) this.#write("DEBUG", message);
  }

  /** Every step. */
  noise(message: string): void {
    if (this.verbosity >= 2) this.#write("NOISE", message);
  }

  #write(level: LogLevel, message: string): void {
    const { clock, sink } = this.#options;
    const entry = { level, message: oneLine(message), wallMs: clock.wallMs() };
    sink.write(this.lineOf(entry), entry);
  }
}

/** Nothing from a peer may forge a line of its own, or steer the reader's terminal. */
function oneLine(message: string): string {
  // To find nothing takes less than to replace nothing.
  return message.search(CONTROL_CHARACTERS) < 0
    ? message
    : message.replaceAll(CONTROL_CHARACTERS, " ");
}
