/** What is to be said of certificates that expire soon. Pure. */

import type { OwnCertificate } from "./tls_files.ts";

const DAY_MS = 86_400_000;

/** A renewal takes its time, and those that are made by hand most of all. */
const WARNING_MS = 30 * DAY_MS;

/** A line for each that has at most 30 days left at a moment of the wall clock. */
export function expiryWarnings(
  certificates: readonly OwnCertificate[],
  nowWallMs: number,
): string[] {
  return certificates
    .filter(({ notAfterMs }) => notAfterMs - nowWallMs <= WARNING_MS)
    .map((certificate) => expiryText(certificate, nowWallMs));
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
