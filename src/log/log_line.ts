/**
 * The forms of a line: PgBouncer's, so that the tools people have go on reading it,
 * `2026-11-22 10:35:55.034 UTC [4711] LOG C-0x…: db/user@127.0.0.1:53412 login attempt: …`,
 * and JSON, one object a line, for those that want no pattern of their own. Pure.
 */

/** How much a line matters; PgBouncer's names. */
export type LogLevel = "FATAL" | "ERROR" | "WARNING" | "LOG" | "DEBUG" | "NOISE";

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
  return ({ level, message, wallMs }) =>
    `${formatLogTime(wallMs)} UTC [${processId}] ${level} ${message}\n`;
}

/** JSON: always the same fields, the message being that of PgBouncer's lines. */
export function jsonLine({ job, processId }: { job: string; processId: number }): LineOf {
  return ({ level, message, wallMs }) =>
    `${
      JSON.stringify({
        time: new Date(wallMs).toISOString(),
        level,
        job,
        pid: processId,
        message,
      })
    }\n`;
}

/** `2026-11-22 10:35:55.034`, in UTC. */
export function formatLogTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("T", " ").slice(0, 23);
}
