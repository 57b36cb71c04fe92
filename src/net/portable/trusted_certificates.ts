/**
 * The client certificates that one context has let the runtime verify.
 *
 * The runtime keeps the sessions of all of its TLS in one place and goes on with any of them, also
 * with one that was begun under other authorities, or where nothing was verified; it then says that
 * the client is authorized. So a session that goes on counts for what is known here.
 */

import type { PeerCertificate } from "node:tls";
import type { Clock } from "../../base/clock.ts";

/** As long as a certificate is believed without being verified again. */
const MAX_AGE_MS = 3_600_000;

/** The oldest is forgotten for one more. */
const MAX_COUNT = 1_000;

/** Certificates by their fingerprints. */
export class TrustedCertificates {
  readonly #clock: Clock;
  /** Until when each is believed, oldest first. */
  readonly #endsAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes one that was verified just now. */
  add({ fingerprint256, valid_to }: PeerCertificate): void {
    this.#endsAtMs.delete(fingerprint256);
    const [oldest] = this.#endsAtMs.keys();
    if (this.#endsAtMs.size >= MAX_COUNT && oldest !== undefined) this.#endsAtMs.delete(oldest);
    const endsAtMs = Math.min(this.#clock.wallMs() + MAX_AGE_MS, Date.parse(valid_to));
    this.#endsAtMs.set(fingerprint256, endsAtMs);
  }

  /** Whether it was verified not long ago, and is still valid. */
  has({ fingerprint256 }: PeerCertificate): boolean {
    return this.#clock.wallMs() < (this.#endsAtMs.get(fingerprint256) ?? 0);
  }
}
