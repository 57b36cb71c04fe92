/** What signals ask of a running pooler: PgBouncer's, one for one. */

import type { ShutdownMode } from "../admin/console_context.ts";
import { errorStack, errorText } from "../base/error_text.ts";
import type { Logger } from "../log/logger.ts";
import { PgError } from "../wire/pg_error.ts";
import type { Pooler } from "./pooler.ts";

/** What signals act on. */
export interface SignalTarget {
  readonly pooler: Pick<Pooler, "isShuttingDown" | "reload" | "shutdown" | "operations">;
  readonly log: Logger;
  /** Opens the log file anew: it may have been moved away. */
  readonly rotate: () => void;
}

/** What each signal does; a refusal becomes a line of the log. Nothing here waits or throws. */
export function signalActions(
  { log, pooler, rotate }: SignalTarget,
  end: AbortSignal,
): ReadonlyMap<Deno.Signal, () => void> {
  const operate = (signal: Deno.Signal, action: () => Promise<void> | void) => () => {
    log.log(`got ${signal}`);
    void carryOut(signal, { action, end, log });
  };
  // A second signal means that somebody does not want to wait any longer.
  const shutdown = (mode: ShutdownMode) =>
    pooler.shutdown(pooler.isShuttingDown ? "immediate" : mode);
  return new Map<Deno.Signal, () => void>([
    ["SIGHUP", () => {
      log.log("got SIGHUP, re-reading config");
      rotate();
      void pooler.reload();
    }],
    ["SIGTERM", operate("SIGTERM", () => shutdown("wait_for_clients"))],
    ["SIGINT", operate("SIGINT", () => shutdown("wait_for_servers"))],
    ["SIGQUIT", operate("SIGQUIT", () => shutdown("immediate"))],
    ["SIGUSR1", operate("SIGUSR1", () => pooler.operations.pause(undefined, end))],
    ["SIGUSR2", operate("SIGUSR2", () => pooler.operations.resume(undefined))],
  ]);
}

/** Listens to the signals until disposed of; a PAUSE that still waits then is given up. */
export function handleSignals(target: SignalTarget): Disposable {
  const end = new AbortController();
  const actions = signalActions(target, end.signal);
  for (const [signal, action] of actions) Deno.addSignalListener(signal, action);
  return {
    [Symbol.dispose]() {
      for (const [signal, action] of actions) Deno.removeSignalListener(signal, action);
      end.abort();
    },
  };
}

/** Nobody waits for a signal's answer, so all that can be wrong with it is told here. */
async function carryOut(
  signal: Deno.Signal,
  { action, end, log }: {
    action: () => Promise<void> | void;
    end: AbortSignal;
    log: Logger;
  },
): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (error instanceof PgError) log.warning(`${signal} is ignored: ${errorText(error)}`);
    else if (!end.aborted) log.error(`internal error: ${errorStack(error)}`);
  }
}
