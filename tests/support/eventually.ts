/** Waiting in tests: for a condition, with a limit; never for a time. */

import { waitUntil } from "../../scripts/guarded_process.ts";

/** Far more than anything takes that works; a test that waits so long has failed. */
export const PATIENCE_MS = 15_000;

/**
 * Waits until `condition` is true.
 * @throws {Error} If it does not come true; `what` says what was waited for.
 */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = PATIENCE_MS,
): Promise<void> {
  if (await waitUntil(condition, limitMs)) return;
  throw new Error(`Not within ${limitMs} ms: ${what}`);
}

/**
 * Awaits `promise`, for so long.
 * @throws {Error} If it does not settle; `what` says what was waited for. The promise is left alone.
 */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  limitMs = PATIENCE_MS,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Not within ${limitMs} ms: ${what}`)), limitMs);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
