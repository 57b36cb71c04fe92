/** The accept loop, as an async iterator that outlives a lack of descriptors. */

import type { Clock } from "../../base/clock.ts";
import { isConnectionEnd } from "./connection_end.ts";

/** Pause after an accept that failed: long enough for descriptors to come free, short to recover. */
const ACCEPT_PAUSE_MS = 1_000;

/**
 * Yields the connections of `listener` until it is closed.
 * `for await` over a `Deno.Listener` ends for good on the first EMFILE; this waits and goes on.
 */
export async function* acceptedConns(
  listener: Deno.Listener,
  { clock, onError }: { clock: Clock; onError: (error: unknown) => void },
): AsyncGenerator<Deno.Conn, void, void> {
  for (;;) {
    try {
      yield await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource) return;
      if (error instanceof Deno.errors.Interrupted) return;
      // A peer that left before it was accepted is no reason to keep the others waiting.
      if (isConnectionEnd(error) && !isShortage(error)) continue;
      onError(error);
      await new Promise<void>((resolve) => {
        clock.startTimer(ACCEPT_PAUSE_MS, resolve);
      });
    }
  }
}

/** Whether descriptors or memory are short: ENOMEM, ENFILE, EMFILE and ENOBUFS have no class. */
function isShortage(error: unknown): boolean {
  return error instanceof Error && /\(os error (12|23|24|105)\)/.test(error.message);
}
