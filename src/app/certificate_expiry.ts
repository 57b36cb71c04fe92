/** What is to be said of certificates that expire soon, and when. */

import type { Clock } from "../base/clock.ts";
import type { Logger } from "../log/logger.ts";
import type { OwnCertificate } from "./tls_files.ts";

const DAY_MS = 86_400_000;

/** A renewal takes its time, and those that are made by hand most of all. */
const WARNING_MS = 30 * DAY_MS;

/** What is watched, and where it is said. */
export interface ExpiryWatchOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly certificates: () => readonly OwnCertificate[];
}

/** Warns of certificates that have at most 30 days left. */
export class ExpiryWatch {
  readonly #options: ExpiryWatchOptions;
  #warnedWallMs = 0;

  constructor(options: ExpiryWatchOptions) {
    this.#options = options;
  }

  /** Warns now. */
  warn(): void {
    const { certificates, clock, log } = this.#options;
    const nowWallMs = clock.wallMs();
    this.#warnedWallMs = nowWallMs;
    for (const certificate of certificates()) {
      const isSoon = certificate.notAfterMs - nowWallMs <= WARNING_MS;
      if (isSoon) log.warning(expiryText(certificate, nowWallMs));
    }
  }

  /** Warns once a day, by the calendar: a certificate grows old also while nothing runs. */
  warnDaily(): void {
    if (this.#options.clock.wallMs() - this.#warnedWallMs >= DAY_MS) this.warn();
  }
}

/** `client_tls_cert_file /etc/sluice.crt: the certificate expires in 12 days, on 2027-01-05`. */
export function expiryText({ file, notAfterMs }: OwnCertificate, nowWallMs: number): string {
  const leftMs = notAfterMs - nowWallMs;
  const days = Math.floor(Math.abs(leftMs) / DAY_MS);
  const shown = `${days} ${days === 1 ? "day" : "days"}`;
  const verb = leftMs > 0 ? `expires in ${shown}` : `expired ${shown} ago`;
  const date = new Date(notAfterMs).toISOString().slice(0, 10);
  return `${file.setting} ${file.path}: the certificate ${verb}, on ${date}`;
}
