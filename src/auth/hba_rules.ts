/**
 * Which rule of `auth_hba_file` decides about a connection, and what it demands. Pure: who asks knows
 * the connection, and what addresses this machine has.
 * Source: PostgreSQL, "The pg_hba.conf File": the first line that matches decides; none is a no.
 */

import { type IpAddress, type IpRange, isInRange, onlyAddress } from "../base/ip_address.ts";
import type { OutsideMethod } from "./outside_method.ts";
import { isMeant, type NameRule } from "./rule_names.ts";

/** What a rule demands of those it matches. One place acts upon it: `LoginRules` in `app/`. */
export type HbaMethod =
  | { readonly kind: "trust" | "reject" | "password" | "md5" | "scram-sha-256" }
  | OutsideMethod
  /** `map`: name of an ident map; undefined: the names are the same. */
  | { readonly kind: "peer" | "cert"; readonly map: string | undefined };

/** The ident map that a method asks; undefined if it asks none. */
export function mapOf(method: HbaMethod): string | undefined {
  return "map" in method ? method.map : undefined;
}

/** The service that PAM is asked as unless another is named; PgBouncer's. */
export const PAM_SERVICE = "pgbouncer";

/** What the field of databases may hold. */
export type DatabaseRule = NameRule | { readonly kind: "all" | "sameuser" | "replication" };

/** What the field of users may hold. */
export type UserRule = NameRule | { readonly kind: "all" };

/** What the field of the address may hold. */
export type HbaAddress =
  | { readonly kind: "all" | "samehost" | "samenet" }
  | { readonly kind: "range"; readonly range: IpRange };

/** One line. */
export interface HbaRule {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  /** As it is written, but for secrets. */
  readonly text: string;
  readonly connection:
    | "local"
    | "host"
    | "hostssl"
    | "hostnossl"
    | "hostgssenc"
    | "hostnogssenc";
  readonly databases: readonly DatabaseRule[];
  readonly users: readonly UserRule[];
  /** Undefined for "local". */
  readonly address: HbaAddress | undefined;
  readonly method: HbaMethod;
  /** What its certificate has to be, besides: option `clientcert`. Undefined: nothing is asked. */
  readonly clientCert: "verify-ca" | "verify-full" | undefined;
}

/** Who wants in. */
export interface HbaConnection {
  /** Undefined over a unix socket. */
  readonly address: IpAddress | undefined;
  readonly isTls: boolean;
  readonly database: string;
  readonly user: string;
  /** Whether it is a connection for physical replication, which has no database. */
  readonly isReplication: boolean;
}

/** The addresses of this machine, each with the mask of its network; asked only where it matters. */
export type OwnNetworks = () => readonly IpRange[];

/** A rule that was looked at, in turn. */
export interface HbaFinding {
  readonly rule: HbaRule;
  /** Why it does not match; undefined for the one that decides. */
  readonly mismatch: string | undefined;
}

/** The rules of a file, in order. */
export class HbaRules {
  /** The file that `auth_hba_file` names. */
  readonly path: string;
  readonly rules: readonly HbaRule[];

  constructor(path: string, rules: readonly HbaRule[]) {
    this.path = path;
    this.rules = rules;
  }

  /** The rule that decides; undefined if none matches. */
  decide(connection: HbaConnection, ownNetworks: OwnNetworks): HbaRule | undefined {
    return this.rules.find((rule) => mismatchOf(rule, connection, ownNetworks) === undefined);
  }

  /** All rules up to the one that decides, or all if none does. */
  explain(connection: HbaConnection, ownNetworks: OwnNetworks): HbaFinding[] {
    const findings: HbaFinding[] = [];
    for (const rule of this.rules) {
      const mismatch = mismatchOf(rule, connection, ownNetworks);
      findings.push({ rule, mismatch });
      if (mismatch === undefined) break;
    }
    return findings;
  }
}

function mismatchOf(
  rule: HbaRule,
  connection: HbaConnection,
  ownNetworks: OwnNetworks,
): string | undefined {
  return connectionMismatch(rule, connection) ??
    addressMismatch(rule.address, connection.address, ownNetworks) ??
    databaseMismatch(rule.databases, connection) ??
    (rule.users.some((each) => each.kind === "all" || isMeant(each, connection.user))
      ? undefined
      : "the user is another");
}

function connectionMismatch(
  { connection: wanted }: HbaRule,
  { address, isTls }: HbaConnection,
): string | undefined {
  if (address === undefined) {
    return wanted === "local" ? undefined : "the connection is over a unix socket";
  }
  switch (wanted) {
    case "local":
      return "the connection is over TCP";
    case "hostssl":
      return isTls ? undefined : "the connection has no TLS";
    case "hostnossl":
      return isTls ? "the connection has TLS" : undefined;
    case "hostgssenc":
      return "there is no GSSAPI encryption";
    case "host":
    case "hostnogssenc":
      return undefined;
  }
}

function addressMismatch(
  wanted: HbaAddress | undefined,
  peer: IpAddress | undefined,
  ownNetworks: OwnNetworks,
): string | undefined {
  if (wanted === undefined || peer === undefined) return undefined;
  switch (wanted.kind) {
    case "all":
      return undefined;
    case "range":
      return isInRange(peer, wanted.range) ? undefined : "the address is not in the range";
    case "samehost":
      return ownNetworks().some(({ address }) => isInRange(peer, onlyAddress(address)))
        ? undefined
        : "the address is none of this machine";
    case "samenet":
      return ownNetworks().some((network) => isInRange(peer, network))
        ? undefined
        : "the address is in none of this machine's networks";
  }
}

function databaseMismatch(
  wanted: readonly DatabaseRule[],
  { database, isReplication, user }: HbaConnection,
): string | undefined {
  if (isReplication) {
    const isWanted = wanted.some(({ kind }) => kind === "replication");
    return isWanted ? undefined : "only the word replication matches physical replication";
  }
  const isWanted = wanted.some((each) => {
    switch (each.kind) {
      case "all":
        return true;
      case "sameuser":
        return database === user;
      case "replication":
        return false;
      default:
        return isMeant(each, database);
    }
  });
  return isWanted ? undefined : "the database is another";
}
