/** Ways to authenticate in which somebody else says whether a password is right. */

import type { LdapOptions } from "./ldap_options.ts";

/** Who is asked. */
export type OutsideMethod =
  /** A directory; whoever it knows must be known here too. */
  | { readonly kind: "ldap"; readonly options: LdapOptions }
  /** The system's PAM, as a service of this name; whoever that lets in is let in. */
  | { readonly kind: "pam"; readonly service: string };

/** What is asked. */
export interface OutsideQuestion {
  readonly method: OutsideMethod;
  readonly user: string;
  /** Not empty, without zero bytes. Not for messages. */
  readonly password: string;
  /** Where the client is; undefined over a unix socket. */
  readonly host: string | undefined;
}

/** An answer; `why` is for the log, and says nothing of the password. */
export type PasswordDecision =
  | { readonly kind: "right" }
  | {
    readonly kind: "wrong";
    readonly why: string;
    /** How long the client is to wait for it, in milliseconds. */
    readonly delayMs?: number;
  };

/** An answer, or that nobody can give one. */
export type PasswordVerdict =
  | PasswordDecision
  | { readonly kind: "unavailable"; readonly why: string };

/** Asks. Resolves soon after `signal` is aborted, whatever the other side does. */
export type AskOutside = (
  question: OutsideQuestion,
  signal: AbortSignal,
) => Promise<PasswordVerdict>;
