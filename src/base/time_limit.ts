/** Waiting no longer than is reasonable, nor than anybody wants. */

import type { Clock, Timer } from "./clock.ts";

/** How long is waited. */
export interface TimeLimit {
  readonly clock: Clock;
  readonly limitMs: number;
  /** Nobody wants to know any more, for this reason. */
  readonly signal: AbortSignal;
}

/**
 * The outcome of `action`, which goes on by itself if that is not waited for. Rejects with the signal's
 * reason when that is aborted, or with an error that names the limit.
 */
export async function within<T>(
  action: Promise<T>,
  { clock, limitMs, signal }: TimeLimit,
): Promise<T> {
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  const tooLate = new Error(`no answer within ${limitMs / 1_000} s`);
  const timer: Timer = clock.startTimer(limitMs, () => reject(tooLate));
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([action, ended]);
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", onAbort);
  }
}
