/** Has the log go to syslog, or no longer, as the settings say. */

import { errorText } from "../base/error_text.ts";
import type { Settings } from "../config/settings.ts";
import type { Logger } from "../log/logger.ts";
import { DatagramSender } from "../net/datagram_sender.ts";
import { ProcessLibc } from "../net/native/process_libc.ts";
import type { ProcessLog } from "./log_sinks.ts";
import { Syslog, SYSLOG_SOCKET } from "./syslog.ts";

/** What is switched. */
export interface SyslogSwitchOptions {
  readonly sink: ProcessLog;
  readonly log: Logger;
  /** The log daemon's socket; undefined for the usual one. */
  readonly path: string | undefined;
}

/** The settings that count. */
export type SyslogSettings = Pick<Settings, "syslog" | "syslogFacility" | "syslogIdent">;

/** Switches; disposed of, it leaves syslog alone. */
export class SyslogSwitch implements Disposable {
  readonly #options: SyslogSwitchOptions;
  #libc: ProcessLibc | undefined;
  #sender: DatagramSender | undefined;
  #followed: SyslogSettings | undefined;

  constructor(options: SyslogSwitchOptions) {
    this.#options = options;
  }

  /** Does as the settings say. Where syslog cannot be had at all, the log says so once. */
  follow(settings: SyslogSettings): void {
    const { log, sink } = this.#options;
    const { syslog, syslogFacility, syslogIdent } = settings;
    const before = this.#followed;
    // Unchanged, so that the count of lost lines lives on.
    if (
      before !== undefined && before.syslog === syslog &&
      before.syslogFacility === syslogFacility && before.syslogIdent === syslogIdent
    ) return;
    this.#followed = settings;
    sink.syslog = undefined;
    if (!syslog) return;
    try {
      const sender = this.#openSender();
      sink.syslog = new Syslog({
        facility: syslogFacility,
        ident: syslogIdent,
        processId: Deno.pid,
        send: (text) => sender.send(text),
      });
    } catch (error) {
      log.warning(`syslog is not used: ${errorText(error)}`);
    }
  }

  [Symbol.dispose](): void {
    this.#options.sink.syslog = undefined;
    this.#sender?.[Symbol.dispose]();
    this.#libc?.[Symbol.dispose]();
  }

  /** @throws {NoLibcError} If there is no C library to call. */
  #openSender(): DatagramSender {
    this.#libc ??= ProcessLibc.open();
    this.#sender ??= new DatagramSender(this.#libc, this.#options.path ?? SYSLOG_SOCKET);
    return this.#sender;
  }
}
