/** How long a dial may take. */

import type { Clock } from "../base/clock.ts";
import { startDeadline } from "../base/deadline.ts";
import type { DialOptions } from "./network.ts";

/** Runs a dial with a signal that is aborted when its time is over or nobody wants it any more. */
export async function dialWithin<T>(
  { signal, timeoutMs }: DialOptions,
  clock: Clock,
  dial: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const giveUp = () => abort.abort();
  const timer = timeoutMs > 0 ? startDeadline(clock, timeoutMs, giveUp) : undefined;
  signal?.addEventListener("abort", giveUp);
  if (signal?.aborted) giveUp();
  try {
    return await dial(abort.signal);
  } finally {
    timer?.cancel();
    signal?.removeEventListener("abort", giveUp);
  }
}
