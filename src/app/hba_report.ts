/** What `sluice hba` says: which line decides about a connection, and why those before it do not. */

import type { HbaConnection, HbaRule, HbaRules, OwnNetworks } from "../auth/hba_rules.ts";
import { parseIp, peerIp } from "../base/ip_address.ts";
import type { Settings } from "../config/settings.ts";
import { isDemanding } from "../config/tls_needs.ts";
import { methodText } from "./login_rules.ts";

/** A connection that is asked about. */
export interface HbaQuestion {
  readonly user: string;
  readonly database: string;
  /** Undefined: over a unix socket. */
  readonly address: string | undefined;
  readonly isTls: boolean;
  readonly isReplication: boolean;
}

/** The answer. */
export interface HbaAnswer {
  /** For the operator. */
  readonly lines: readonly string[];
  /** Whether somebody would be let in, or asked for what lets in. */
  readonly isAsked: boolean;
}

/** What else is to be said of a question, by the settings; lines for the operator. */
export function hbaNotes(
  { authType, clientTlsSslmode: mode }: Settings,
  { address, isTls }: HbaQuestion,
): string[] {
  const isPlain = address !== undefined && !isTls;
  return [
    ...(authType === "hba" ? [] : [`auth_type is ${authType}: these rules are not in force`]),
    ...(isTls && mode === "disable" ? ["client_tls_sslmode is disable: nobody has TLS"] : []),
    ...(isPlain && isDemanding(mode) ? [`client_tls_sslmode is ${mode}: nobody gets so far`] : []),
  ];
}

/** Whether a text is an address that may be asked about. */
export function isAddress(text: string): boolean {
  return parseIp(text) !== undefined;
}

/** Answers by the rules of `auth_hba_file`. The address has to be one. */
export function hbaReport(
  rules: HbaRules,
  { address, ...question }: HbaQuestion,
  ownNetworks: OwnNetworks,
): HbaAnswer {
  const connection: HbaConnection = {
    ...question,
    address: address === undefined ? undefined : peerIp(address),
  };
  const lines: string[] = [];
  let decider: HbaRule | undefined;
  for (const { mismatch, rule } of rules.explain(connection, ownNetworks)) {
    const place = `${rule.file}:${rule.line}: ${rule.text}`;
    if (mismatch === undefined) decider = rule;
    lines.push(place, `  ${mismatch === undefined ? "decides" : `does not match: ${mismatch}`}`);
  }
  if (decider === undefined) return { lines: [...lines, "no line matches"], isAsked: false };
  const where = `${decider.file}:${decider.line}`;
  const isAsked = decider.method.kind !== "reject";
  const verdict = isAsked ? `method ${methodText(decider)}` : "rejected";
  return { lines: [...lines, `${verdict}, by ${where}`], isAsked };
}
