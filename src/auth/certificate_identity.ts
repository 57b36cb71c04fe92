/**
 * Whether a client's TLS certificate lets it log in as the user it names. Pure; what is true of the
 * certificate is told by who speaks TLS.
 *
 * Invariant: a certificate that was not verified lets nobody in, whatever it says.
 * Source: PostgreSQL, "Certificate Authentication", "The pg_hba.conf File" (clientcert, clientname) and
 * "User Name Maps"; text as PgBouncer's. Alternative names are not looked at, as in PostgreSQL: they
 * are for hosts.
 */

import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** What a client is told whose certificate does not let it in; PgBouncer's words. */
export const CERTIFICATE_REJECTED = "certificate authentication failed";

/** What is known of the certificate that a client has shown. */
export interface ClientCertificate {
  /** Whether it leads to an authority that is trusted for clients, is in its time and not revoked. */
  readonly isVerified: boolean;
  /** The CN attributes of its subject: one, as a rule. */
  readonly commonNames: readonly string[];
}

/** What is asked of a certificate. */
export interface CertificateRule {
  /**
   * `verify-ca`: it has to be verified. `verify-full`: it has to belong to the user, too; method `cert`
   * is this and nothing else.
   */
  readonly check: "verify-ca" | "verify-full";
  /** What of it names the user: HBA option `clientname`, by default CN. DN is not supported. */
  readonly clientName?: "CN" | "DN";
  /** Whether a name of the certificate may be this user; without it, the two have to be equal. */
  readonly maps?: (systemUser: string, databaseUser: string) => boolean;
}

/** Whether the client may go on. */
export type CertificateDecision =
  | { readonly kind: "allowed" }
  /** Send `error` and close. `reason` is for the log. */
  | { readonly kind: "refused"; readonly error: PgError; readonly reason: string };

/** Decides about a client that wants to be `userName`; it may have shown no certificate. */
export function checkClientCertificate(
  userName: string,
  certificate: ClientCertificate | undefined,
  rule: CertificateRule,
): CertificateDecision {
  const why = whyUntrusted(certificate) ??
    (rule.check === "verify-full" ? whyNotOf(userName, certificate?.commonNames ?? [], rule) : "");
  if (why === "") return { kind: "allowed" };
  const error = new PgError(SQLSTATE.invalidAuthorizationSpecification, CERTIFICATE_REJECTED);
  return { kind: "refused", error, reason: `${CERTIFICATE_REJECTED} (${why})` };
}

function whyUntrusted(certificate: ClientCertificate | undefined): string | undefined {
  if (certificate === undefined) return "the client has shown no certificate";
  return certificate.isVerified ? undefined : "the certificate is not verified";
}

/** Empty = it is the user's. */
function whyNotOf(userName: string, commonNames: readonly string[], rule: CertificateRule): string {
  const { clientName = "CN", maps = (name: string) => name === userName } = rule;
  if (clientName !== "CN") return "clientname=DN is not supported";
  const [name = "", ...more] = commonNames;
  if (name === "") return "the certificate has no common name";
  // Which of them is meant, nobody can say.
  if (more.length > 0) return "the certificate has several common names";
  // Programs that take it for the end would read another name.
  if (name.includes("\0")) return "the certificate's common name holds a zero byte";
  if (maps(name, userName)) return "";
  return `the certificate is of ${JSON.stringify(name)}`;
}
