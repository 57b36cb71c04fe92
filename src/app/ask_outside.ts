/** Asks those about a password who are not Sluice: an LDAP directory, PAM. */

import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { askLdap, type LdapConnector } from "../auth/ldap_login.ts";
import type { AskOutside, OutsideQuestion, PasswordVerdict } from "../auth/outside_method.ts";
import type { LiveConfig } from "./live_config.ts";

/** Makes connections to directories, whose certificates are from these authorities (PEM). */
export type LdapConnectors = (authorities: string | undefined) => LdapConnector;

/** A question for PAM. */
export type PamQuestion = Omit<OutsideQuestion, "method"> & { readonly service: string };

/** As `AskOutside`. */
export type AskPam = (question: PamQuestion, signal: AbortSignal) => Promise<PasswordVerdict>;

/** Who is asked, and with what. */
export interface AskOutsideOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly live: LiveConfig;
  readonly ldapConnectors: LdapConnectors;
  /** Undefined where there is no PAM. */
  readonly askPam: AskPam | undefined;
}

/** Asks whom the method names. */
export function askerOf(options: AskOutsideOptions): AskOutside {
  const { askPam, clock, ldapConnectors, live, random } = options;
  return async ({ method, ...question }, signal) => {
    if (method.kind === "ldap") {
      const connect = ldapConnectors(live.loaded.rules?.ldap?.authorities);
      return await askLdap(question, { options: method.options, connect, clock, random, signal });
    }
    if (askPam === undefined) return { kind: "unavailable", why: "there is no PAM here" };
    return await askPam({ ...question, service: method.service }, signal);
  };
}
