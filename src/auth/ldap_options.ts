/**
 * How users are found in an LDAP directory: the options of `auth_ldap_options` and of lines with the
 * method `ldap` in `auth_hba_file`, read and checked. Pure.
 * Source: PostgreSQL, "LDAP Authentication", whose words for what does not go together these are;
 * PgBouncer, `auth_ldap_options`. What either would ignore or find out at a login is refused.
 */

import { Secret } from "../base/secret.ts";
import { parseLdapUrl } from "./ldap_url.ts";
import { RuleError } from "./rule_file.ts";

/** How deep a search goes, as RFC 4516 names it. */
export type LdapScope = "base" | "one" | "sub";

/** Where a directory is. */
export interface LdapServer {
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** How a connection is kept from others' eyes. */
export type LdapProtection = "none" | "starttls" | "ldaps";

/** The entry's name is made of the user's. */
export interface LdapSimpleBind {
  readonly kind: "simple";
  readonly prefix: string;
  readonly suffix: string;
}

/** The entry is searched for. */
export interface LdapSearchBind {
  readonly kind: "search";
  readonly baseDn: string;
  /** As whom; undefined: as nobody. */
  readonly searcher: { readonly dn: string; readonly password: Secret } | undefined;
  /** With `$username` where the user's name belongs. */
  readonly filter: string;
  readonly scope: LdapScope;
}

/** All of it. */
export interface LdapOptions {
  /** Tried in turn; at least one. */
  readonly servers: readonly LdapServer[];
  readonly protection: LdapProtection;
  readonly bind: LdapSimpleBind | LdapSearchBind;
}

/** The option whose value is a secret. */
export const LDAP_SECRET_OPTION = "ldapbindpasswd";

/** Stands for the user's name in a filter. */
export const USER_PLACEHOLDER = "$username";

/** Names of the options. */
export const LDAP_OPTION_NAMES = [
  "ldapserver",
  "ldapport",
  "ldapscheme",
  "ldaptls",
  "ldapprefix",
  "ldapsuffix",
  "ldapbasedn",
  "ldapbinddn",
  LDAP_SECRET_OPTION,
  "ldapsearchattribute",
  "ldapsearchfilter",
  "ldapurl",
] as const;

/** One of them. */
export type LdapOptionName = (typeof LDAP_OPTION_NAMES)[number];

/** The options as they are written; what an `ldapurl` says is among them. */
type Fields = Partial<Record<LdapOptionName | "scope", string>>;

/** More servers than anybody has. */
const MAX_SERVERS = 16;

const DEFAULT_PORTS: Readonly<Record<string, number>> = { ldap: 389, ldaps: 636 };

/** A name or an OID, and options, as RFC 4512 has them. */
const ATTRIBUTE = /^(?:[a-z][a-z0-9-]*|\d+(?:\.\d+)*)(?:;[a-z0-9-]+)*$/i;

/** Whether it is a name of one of these options. */
export function isLdapOption(name: string): name is LdapOptionName {
  return LDAP_OPTION_NAMES.some((each) => each === name);
}

/** Reads the options of a line, all of which must be LDAP's. @throws {RuleError} If they are wrong. */
export function readLdapOptions(given: Iterable<readonly [string, string]>): LdapOptions {
  const fields: Fields = {};
  for (const [name, value] of given) {
    if (!isLdapOption(name)) {
      // It may be the rest of a password that has blanks or commas.
      const shown = name.startsWith("ldap") ? `"${name}"` : "(not shown)";
      throw new RuleError(`Unknown option of LDAP: ${shown}`);
    }
    if (name === "ldapurl") Object.assign(fields, fieldsOfUrl(value));
    else fields[name] = value;
  }
  checkCombination(fields);
  const scheme = readScheme(fields.ldapscheme);
  return {
    servers: readServers(fields, scheme),
    protection: readProtection(scheme, fields.ldaptls),
    bind: fields.ldapbasedn === undefined ? readSimple(fields) : readSearch(fields),
  };
}

/**
 * Reads the text of `auth_ldap_options`: `name=value`, with blanks or a comma between; double quotes
 * around a name or a value, in which two stand for one.
 * @throws {RuleError} If it is no such text, or the options are wrong.
 */
export function parseLdapOptions(text: string): LdapOptions {
  const given: [string, string][] = [];
  const pattern = /[\s,]*(?:("?)([a-z]+)\1=(?:"((?:[^"]|"")*)"|([^\s,"]+))(?=[\s,]|$)|$)/gy;
  while (pattern.lastIndex < text.length) {
    const option = pattern.exec(text);
    // What stands there may be a part of the password.
    if (option === null) throw new RuleError(`Option ${given.length + 1} is not name=value`);
    const [, , name, quoted, bare] = option;
    if (name === undefined) break;
    given.push([name, quoted?.replaceAll('""', '"') ?? bare ?? ""]);
  }
  return readLdapOptions(given);
}

function fieldsOfUrl(text: string): Fields {
  const { attribute, dn, filter, host, port, scheme, scope } = parseLdapUrl(text);
  return {
    ldapscheme: scheme,
    ldapbasedn: dn,
    scope,
    ...(host === undefined ? {} : { ldapserver: host }),
    ...(port === undefined ? {} : { ldapport: port }),
    ...(attribute === undefined ? {} : { ldapsearchattribute: attribute }),
    ...(filter === undefined ? {} : { ldapsearchfilter: filter }),
  };
}

function checkCombination(fields: Fields): void {
  const { ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter } = fields;
  const ofSearch = [ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter];
  if (fields.ldapprefix !== undefined || fields.ldapsuffix !== undefined) {
    if (ofSearch.every((field) => field === undefined)) return;
    throw new RuleError("cannot mix options for simple bind and search+bind modes");
  }
  if (ldapbasedn === undefined) {
    throw new RuleError(
      'authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set',
    );
  }
  if (ldapsearchattribute !== undefined && ldapsearchfilter !== undefined) {
    throw new RuleError("cannot use ldapsearchattribute together with ldapsearchfilter");
  }
}

function readScheme(scheme = "ldap"): "ldap" | "ldaps" {
  if (scheme === "ldap" || scheme === "ldaps") return scheme;
  throw new RuleError(`invalid ldapscheme value: "${scheme}"`);
}

function readProtection(scheme: "ldap" | "ldaps", tls = "0"): LdapProtection {
  if (tls !== "0" && tls !== "1") throw new RuleError(`invalid ldaptls value: "${tls}"`);
  if (scheme === "ldaps") {
    if (tls === "0") return "ldaps";
    throw new RuleError("cannot use ldaptls together with ldaps, which has TLS from the start");
  }
  return tls === "1" ? "starttls" : "none";
}

function readServers({ ldapport, ldapserver = "" }: Fields, scheme: string): LdapServer[] {
  const port = ldapport === undefined ? DEFAULT_PORTS[scheme]! : readPort(ldapport);
  const hosts = ldapserver.split(" ").filter((host) => host !== "");
  if (hosts.length === 0) {
    throw new RuleError("ldapserver is not set; servers are not looked up by DNS (SRV)");
  }
  if (hosts.length > MAX_SERVERS) {
    throw new RuleError(`ldapserver names over ${MAX_SERVERS} servers`);
  }
  return hosts.map((host) => ({ host: readHost(host), port }));
}

function readPort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port === 0 || port > 65_535) throw new RuleError(`invalid LDAP port number: "${text}"`);
  return port;
}

function readHost(text: string): string {
  const bracketed = /^\[([0-9a-f:.]+)\]$/i.exec(text)?.[1];
  if (bracketed !== undefined) return bracketed;
  const isName = /^[a-z0-9_.-]+$/i.test(text);
  const isIpv6 = /^[0-9a-f:.]+$/i.test(text) && text.split(":").length > 2;
  if (isName || isIpv6) return text;
  throw new RuleError(
    `"${text}" is no host of ldapserver: names or addresses, the port in ldapport`,
  );
}

function readSimple({ ldapprefix: prefix = "", ldapsuffix: suffix = "" }: Fields): LdapSimpleBind {
  return { kind: "simple", prefix, suffix };
}

function readSearch(fields: Fields): LdapSearchBind {
  const { ldapbasedn: baseDn = "", ldapbinddn: dn = "", ldapbindpasswd: password = "" } = fields;
  const scope = fields.scope ?? "sub";
  if (scope !== "base" && scope !== "one" && scope !== "sub") {
    throw new RuleError(`invalid scope in ldapurl: "${scope}"`);
  }
  // A name without a password would be nobody's to the directory, whatever it looks like.
  if ((dn === "") !== (password === "")) {
    throw new RuleError("ldapbinddn and ldapbindpasswd go together");
  }
  const searcher = dn === "" ? undefined : { dn, password: new Secret(password) };
  return { kind: "search", baseDn, searcher, filter: readFilter(fields), scope };
}

function readFilter({ ldapsearchattribute = "uid", ldapsearchfilter: filter }: Fields): string {
  if (filter === undefined) {
    if (ATTRIBUTE.test(ldapsearchattribute)) return `(${ldapsearchattribute}=${USER_PLACEHOLDER})`;
    throw new RuleError(`invalid ldapsearchattribute: "${ldapsearchattribute}"`);
  }
  if (!isBalanced(filter)) throw new RuleError(`invalid ldapsearchfilter: "${filter}"`);
  if (filter.includes(USER_PLACEHOLDER)) return filter;
  // It would find the same entry for everybody.
  throw new RuleError(`ldapsearchfilter has no ${USER_PLACEHOLDER}: "${filter}"`);
}

/** Whether it is one pair of parentheses, with whole pairs in it; the rest is the directory's to say. */
function isBalanced(filter: string): boolean {
  let depth = 0;
  for (let at = 0; at < filter.length; at += 1) {
    if (filter[at] === "(") depth += 1;
    else if (filter[at] === ")") depth -= 1;
    if (depth <= 0) return depth === 0 && at > 0 && at === filter.length - 1;
  }
  return false;
}
