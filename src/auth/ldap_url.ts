/**
 * LDAP URLs: `ldap[s]://host:port/base?attribute?scope?filter`. Pure.
 * Source: RFC 4516; PostgreSQL takes the same parts of them.
 */

import { RuleError } from "./rule_file.ts";

/** What a URL says, decoded. */
export interface LdapUrl {
  readonly scheme: string;
  /** With the brackets of an IPv6 address; undefined if there is none. */
  readonly host: string | undefined;
  readonly port: string | undefined;
  /** Maybe empty. */
  readonly dn: string;
  /** The first one. */
  readonly attribute: string | undefined;
  /** "base" if the URL has none. */
  readonly scope: string;
  readonly filter: string | undefined;
}

const URL_FORM = /^(ldaps?):\/\/([^/?#@]*)(?:\/([^?#]*)((?:\?[^?#]*)*))?$/i;

const HOST_FORM = /^(\[[^\]]*\]|[^:\]]*)(?::(\d+))?$/;

/** @throws {RuleError} If it is none, or has what cannot be kept. */
export function parseLdapUrl(text: string): LdapUrl {
  const url = URL_FORM.exec(text);
  if (url === null) throw invalid(text, "expected ldap[s]://host:port/base?attribute?scope?filter");
  const [, scheme = "", place = "", dn = "", rest = ""] = url;
  const at = HOST_FORM.exec(place);
  if (at === null) throw invalid(text, `"${place}" is no host`);
  const [attributes, scope, filter, ...extensions] = rest.split("?").slice(1).map((part) =>
    decode(part, text)
  );
  if (extensions.some((each) => each !== "")) throw invalid(text, "extensions are not supported");
  return {
    scheme: scheme.toLowerCase(),
    host: decode(at[1]!, text) || undefined,
    port: at[2],
    dn: decode(dn, text),
    attribute: attributes?.split(",")[0] || undefined,
    scope: scope?.toLowerCase() || "base",
    filter: filter || undefined,
  };
}

function decode(part: string, url: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(url, `"${part}" is not well encoded`);
  }
}

function invalid(url: string, why: string): RuleError {
  return new RuleError(`could not parse LDAP URL "${url}": ${why}`);
}
