/** Moments and durations as the console prints them. Pure. */

import type { Clock } from "../base/clock.ts";
import { formatSecond } from "../log/log_line.ts";

/** `2026-11-22 10:35:55 UTC`, of a moment since 1970. */
export function shownWallTime(wallMs: number): string {
  return `${formatSecond(wallMs)} UTC`;
}

/** The same of a moment on the monotonic clock. */
export function shownMoment(atMs: number, clock: Clock): string {
  return shownWallTime(clock.wallMs() - (clock.nowMs() - atMs));
}

/** The whole seconds of a duration. */
export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}

/** What a duration has beyond its whole seconds, in microseconds. */
export function restMicroseconds(ms: number): number {
  return Math.floor((ms % 1000) * 1000);
}
