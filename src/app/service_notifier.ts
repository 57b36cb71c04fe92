/**
 * What systemd is told of the process's state, and that it lives.
 * Source: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5) on `Type=notify-reload`.
 */

import type { Clock, Timer } from "../base/clock.ts";

/** What the environment says of whom to notify. */
export interface NotifyPlan {
  /** A path, or an abstract name that begins with `@`. */
  readonly socket: string;
  /** How often to give a sign of life; undefined: nobody waits for one. */
  readonly watchdogMs: number | undefined;
}

/** The variables; no child process is to have them. */
export const NOTIFY_VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] as const;

/**
 * Reads the variables: nothing if nobody is to be notified. A sign of life goes out twice in the
 * time after which the process would be taken for dead.
 */
export function planNotify(
  env: (name: string) => string | undefined,
  processId: number,
): NotifyPlan | undefined {
  const socket = env("NOTIFY_SOCKET");
  if (socket === undefined || !/^[@/]./.test(socket)) return undefined;
  const limitUs = Number(env("WATCHDOG_USEC") ?? "");
  const owner = env("WATCHDOG_PID") ?? "";
  const isOurs = owner === "" || Number(owner) === processId;
  const isWatched = isOurs && Number.isInteger(limitUs) && limitUs > 0;
  return { socket, watchdogMs: isWatched ? limitUs / 2_000 : undefined };
}

/** What a notifier is made of. */
export interface ServiceNotifierOptions {
  readonly clock: Clock;
  readonly processId: number;
  readonly monotonicUs: () => bigint;
  /** Sends a datagram; whether it was taken makes no difference here. */
  readonly send: (text: string) => void;
  readonly watchdogMs: number | undefined;
}

/** Tells systemd. Ends its signs of life when it is disposed of. */
export class ServiceNotifier implements Disposable {
  readonly #options: ServiceNotifierOptions;
  #timer: Timer | undefined;
  #isStopping = false;

  constructor(options: ServiceNotifierOptions) {
    this.#options = options;
  }

  /** Clients are taken now; from here on there are signs of life. */
  ready(status: string): void {
    this.#send(`READY=1\nMAINPID=${this.#options.processId}\nSTATUS=${status}`);
    this.#live();
  }

  /** The configuration is being read anew; `reloaded()` follows. */
  reloading(): void {
    if (this.#isStopping) return;
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${this.#options.monotonicUs()}`);
  }

  /** It was, or could not be. */
  reloaded(status: string): void {
    if (this.#isStopping) return;
    this.#send(`READY=1\nSTATUS=${status}`);
  }

  /** The end has begun; whatever comes after, it is not undone. */
  stopping(): void {
    this.#isStopping = true;
    this.#send("STOPPING=1\nSTATUS=shutting down");
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #live(): void {
    const { clock, watchdogMs } = this.#options;
    if (watchdogMs === undefined) return;
    // A timer of the event loop: when the loop hangs, nothing says that all is well.
    this.#timer = clock.startTimer(watchdogMs, () => {
      this.#send("WATCHDOG=1");
      this.#live();
    });
  }

  #send(text: string): void {
    this.#options.send(text);
  }
}
