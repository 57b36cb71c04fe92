/** Whether clients are taken, as it is told to whoever started the process. */

import { errorText } from "../base/error_text.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../log/logger.ts";
import { DatagramSender } from "../net/datagram_sender.ts";
import { ProcessLibc } from "../net/native/process_libc.ts";
import { ReadinessFile } from "./readiness_file.ts";
import { NOTIFY_VARIABLES, planNotify, ServiceNotifier } from "./service_notifier.ts";

/** What it is made of. */
export interface ServiceStateOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Empty for none. */
  readonly readinessFile: string;
}

/** Tells both by the readiness file and to systemd; whatever was told is taken back at the end. */
export class ServiceState implements Disposable {
  readonly #log: Logger;
  readonly #file: ReadinessFile;
  readonly #resources = new DisposableStack();
  readonly #notifier: ServiceNotifier | undefined;

  /** @throws {ReadinessFileError} If a stale readiness file cannot be removed. */
  constructor({ clock, log, readinessFile }: ServiceStateOptions) {
    this.#log = log;
    this.#file = new ReadinessFile(readinessFile);
    this.#notifier = this.#openNotifier(clock);
  }

  /** Clients are taken. @throws {ReadinessFileError} If that cannot be told. */
  serving(): void {
    this.#file.write();
    this.#notifier?.ready("serving");
  }

  /** The configuration is being read anew. */
  reloading(): void {
    this.#notifier?.reloading();
  }

  /** It was, or nothing has been changed. */
  reloaded(isTaken: boolean): void {
    this.#notifier?.reloaded(isTaken ? "serving" : "serving; the last reload failed, see the log");
  }

  /** The end has begun. */
  stopping(): void {
    this.#withdraw();
    this.#notifier?.stopping();
  }

  [Symbol.dispose](): void {
    this.#withdraw();
    this.#resources[Symbol.dispose]();
  }

  /** A readiness file that cannot be removed must not hold up the end. */
  #withdraw(): void {
    try {
      this.#file.remove();
    } catch (error) {
      this.#log.error(errorText(error));
    }
  }

  #openNotifier(clock: Clock): ServiceNotifier | undefined {
    const plan = planNotify((name) => Deno.env.get(name), Deno.pid);
    // A child process that had them would speak for this one.
    for (const name of NOTIFY_VARIABLES) Deno.env.delete(name);
    if (plan === undefined) return undefined;
    try {
      const libc = this.#resources.use(ProcessLibc.open());
      const sender = this.#resources.use(new DatagramSender(libc, plan.socket));
      return this.#resources.use(
        new ServiceNotifier({
          clock,
          processId: Deno.pid,
          monotonicUs: () => libc.monotonicUs(),
          send: (text) => void sender.send(text),
          watchdogMs: plan.watchdogMs,
        }),
      );
    } catch (error) {
      this.#log.warning(`NOTIFY_SOCKET is not used: ${errorText(error)}`);
      return undefined;
    }
  }
}
