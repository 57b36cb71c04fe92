/**
 * When a client's requests set out and came back: what the limits of time are compared with, and
 * what the statistics count.
 *
 * HOT PATH. Budget: one look at the clock for what sets out, one for each ReadyForQuery.
 */

import type { Clock } from "../base/clock.ts";
import type { PoolHistograms } from "../stats/histogram.ts";
import type { PoolStats } from "../stats/pool_stats.ts";

/** The times of one client. */
export class RequestClock {
  readonly #clock: Clock;
  readonly #stats: PoolStats;
  readonly #histograms: PoolHistograms;
  /** When the oldest unanswered request set out; 0 while nothing is asked. */
  #queryStartMs = 0;
  #transactionStartMs = 0;
  #lastReadyMs = 0;

  constructor(
    clock: Clock,
    { histograms, stats }: { stats: PoolStats; histograms: PoolHistograms },
  ) {
    this.#clock = clock;
    this.#stats = stats;
    this.#histograms = histograms;
    this.#lastReadyMs = clock.nowMs();
  }

  /** Whether a query is running. */
  get isRunning(): boolean {
    return this.#queryStartMs !== 0;
  }

  /** When the running query set out, or undefined. */
  get queryStartMs(): number | undefined {
    return this.#queryStartMs === 0 ? undefined : this.#queryStartMs;
  }

  /** When the open transaction began, or undefined. */
  get transactionStartMs(): number | undefined {
    return this.#transactionStartMs === 0 ? undefined : this.#transactionStartMs;
  }

  /** When the last answer was complete. */
  get lastReadyMs(): number {
    return this.#lastReadyMs;
  }

  /** Something that will be answered sets out. */
  start(): void {
    if (this.isRunning) return;
    this.#queryStartMs = this.#clock.look().seenMs;
    if (this.#transactionStartMs === 0) this.#transactionStartMs = this.#queryStartMs;
  }

  /** Notes on a server when what it is sent set out. */
  stamp(server: { requestedAtMs: number }): void {
    if (this.isRunning) server.requestedAtMs = this.#queryStartMs;
  }

  /** A wait for a server is over. */
  waited(place: { readonly sinceMs: number }): void {
    const waitedUs = microseconds(this.#clock.look().seenMs - place.sinceMs);
    this.#stats.waitTimeUs += waitedUs;
    this.#histograms.wait.record(waitedUs);
  }

  /** A server was there at once. */
  waitedNot(): void {
    this.#histograms.wait.record(0);
  }

  /** A ReadyForQuery came; `isMoreDue` when it was not the last one that is due. */
  ready(isTransactionOver: boolean, isMoreDue: boolean): void {
    const nowMs = this.#clock.look().seenMs;
    const stats = this.#stats;
    this.#lastReadyMs = nowMs;
    stats.queryCount += 1;
    // What nobody asked for took no time: the 0 of "nothing asked" is no moment.
    const queryUs = microseconds(nowMs - (this.#queryStartMs || nowMs));
    stats.queryTimeUs += queryUs;
    this.#histograms.query.record(queryUs);
    this.#queryStartMs = isMoreDue ? nowMs : 0;
    if (!isTransactionOver) return;
    stats.xactCount += 1;
    const xactUs = microseconds(nowMs - (this.#transactionStartMs || nowMs));
    stats.xactTimeUs += xactUs;
    this.#histograms.xact.record(xactUs);
    this.#transactionStartMs = this.#queryStartMs;
  }

  /** What was asked will not be answered. */
  forget(): void {
    this.#queryStartMs = 0;
    this.#transactionStartMs = 0;
  }
}

function microseconds(ms: number): number {
  return Math.round(ms * 1000);
}
