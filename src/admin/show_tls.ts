/** SHOW TLS: the certificates that are shown to others, and until when; Sluice's own. */

import type { ConsoleContext, ShownCertificate } from "./console_context.ts";
import { int4, type ShowColumn, type ShownTable, table, text } from "./result_set.ts";
import { shownWallTime } from "./shown_time.ts";

const DAY_MS = 86_400_000;

/** One certificate, and the moment at which it is looked at. */
interface CertificateRow extends ShownCertificate {
  readonly library: string;
  readonly nowMs: number;
}

const COLUMNS: readonly ShowColumn<CertificateRow>[] = [
  text("setting", ({ setting }) => setting),
  text("file", ({ path }) => path),
  text("valid_until", ({ notAfterMs }) => shownWallTime(notAfterMs)),
  int4("days_left", ({ notAfterMs, nowMs }) => Math.floor((notAfterMs - nowMs) / DAY_MS)),
  text("library", ({ library }) => library),
];

/** Answers SHOW TLS. */
export function showTls({ clock, tls }: ConsoleContext): ShownTable {
  const { library } = tls;
  const nowMs = clock.wallMs();
  return table(COLUMNS, tls.certificates().map((each) => ({ ...each, library, nowMs })));
}
