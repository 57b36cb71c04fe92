/**
 * Log lines for syslog, with PgBouncer's priorities.
 * Source: RFC 3164; syslog(3), whose lines these are.
 */

import type { LogEntry, LogLevel } from "../log/log_line.ts";
import type { Settings } from "../config/settings.ts";

/** Where the system's log daemon listens. */
export const SYSLOG_SOCKET = "/dev/log";

const FACILITY: Readonly<Record<Settings["syslogFacility"], number>> = {
  user: 1,
  daemon: 3,
  auth: 4,
  authpriv: 10,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};

const SEVERITY: Readonly<Record<LogLevel, number>> = {
  FATAL: 2,
  ERROR: 3,
  WARNING: 4,
  LOG: 6,
  DEBUG: 7,
  NOISE: 7,
};

const MONTHS: readonly string[] = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** As whom lines are written. */
export interface SyslogOptions {
  readonly facility: Settings["syslogFacility"];
  readonly ident: string;
  readonly processId: number;
  /** Sends a datagram without waiting. Returns whether it was taken. */
  readonly send: (text: string) => boolean;
}

/**
 * Syslog as one more place where lines go. What it does not take is lost; how many lines that were
 * is told once it takes some again.
 */
export class Syslog {
  readonly #options: SyslogOptions;
  #lostCount = 0;

  constructor(options: SyslogOptions) {
    this.#options = options;
  }

  write(entry: LogEntry): void {
    if (this.#lostCount > 0) {
      const message = `${this.#lostCount} log lines were lost`;
      if (this.#send({ ...entry, level: "WARNING", message })) this.#lostCount = 0;
    }
    if (!this.#send(entry)) this.#lostCount += 1;
  }

  #send(entry: LogEntry): boolean {
    return this.#options.send(formatSyslog(entry, this.#options));
  }
}

/** `<30>Nov  2 10:35:55 pgbouncer[4711]: text`, in local time. */
export function formatSyslog(
  { level, message, wallMs }: LogEntry,
  { facility, ident, processId }: Omit<SyslogOptions, "send">,
): string {
  const priority = FACILITY[facility] * 8 + SEVERITY[level];
  const at = new Date(wallMs);
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()]
    .map((part) => String(part).padStart(2, "0")).join(":");
  const day = String(at.getDate()).padStart(2, " ");
  return `<${priority}>${MONTHS[at.getMonth()]} ${day} ${time} ${ident}[${processId}]: ${message}`;
}
