/**
 * The forms of a line: PgBouncer's, so that the tools people have go on reading it,
 * `2026-11-22 10:35:55.034 UTC [4711] LOG C-0x…: db/user@127.0.0.1:53412 login attempt: …`,
 * and JSON, one object a line, for those that want no pattern of their own. Pure.
 */

/** How much a line matters; PgBouncer's names. */
export type LogLevel = "FATAL" | "ERROR" | "WARNING" | "LOG" | "DEBUG" | "NOISE";

const SECOND_LENGTH = "2026-11-22T10:35:55".length;

/** What a line says. */
export interface LogEntry {
  readonly level: LogLevel;
  /** One line, without a newline. */
  readonly message: string;
  /** Milliseconds since 1970 in UTC. */
  readonly wallMs: number;
}

/** Makes the line of an entry, newline included. */
export type LineOf = (entry: LogEntry) => string;

/** PgBouncer's lines. */
export function pgBouncerLine(processId: number): LineOf {
  const times = new LineTimes(" ");
  return ({ level, message, wallMs }) =>
    `${times.textOf(wallMs)} UTC [${processId}] ${level} ${message}\n`;
}

/** JSON: always the same fields, the message being that of PgBouncer's lines. */
export function jsonLine({ job, processId }: { job: string; processId: number }): LineOf {
  const times = new LineTimes("T");
  return ({ level, message, wallMs }) =>
    `${
      JSON.stringify({
        time: `${times.textOf(wallMs)}Z`,
        level,
        job,
        pid: processId,
        message,
      })
    }\n`;
}

/** `2026-11-22 10:35:55.034`, in UTC. Of a second only its first line has the date made. */
export class LineTimes {
  readonly #separator: string;
  #second = NaN;
  #secondText = "";

  /** `separator` stands between date and time. */
  constructor(separator: string) {
    this.#separator = separator;
  }

  /** The text of a moment, in milliseconds since 1970. */
  textOf(wallMs: number): string {
    const second = Math.floor(wallMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = formatSecond(second * 1000, this.#separator);
    }
    const ms = Math.trunc(wallMs - second * 1000);
    const zeros = ms < 10 ? "00" : ms < 100 ? "0" : "";
    return `${this.#secondText}.${zeros}${ms}`;
  }
}

/** `2026-11-22 10:35:55`, in UTC. */
export function formatSecond(wallMs: number, separator = " "): string {
  return new Date(wallMs).toISOString().slice(0, SECOND_LENGTH).replace("T", separator);
}
