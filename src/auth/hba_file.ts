/**
 * Reads `auth_hba_file`, of the form of PostgreSQL's pg_hba.conf. What Sluice cannot do is an error,
 * with file and line; all errors at once.
 * Source: PostgreSQL, "The pg_hba.conf File".
 */

import { ConfigError } from "../config/config_error.ts";
import {
  type DatabaseRule,
  type HbaAddress,
  type HbaMethod,
  type HbaRule,
  HbaRules,
  PAM_SERVICE,
} from "./hba_rules.ts";
import { hideValue } from "../base/hidden_value.ts";
import { isMapped } from "../base/ip_address.ts";
import { parseIp, parsePrefix } from "./ip_range.ts";
import { isLdapOption, LDAP_SECRET_OPTION, readLdapOptions } from "./ldap_options.ts";
import {
  readRules,
  RuleError,
  type RuleFileIo,
  type RuleLine,
  type RuleToken,
} from "./rule_file.ts";
import { isKeyword, type NameRule, readNameRule } from "./rule_names.ts";

/** The kinds of records. */
const CONNECTIONS = [
  "local",
  "host",
  "hostssl",
  "hostnossl",
  "hostgssenc",
  "hostnogssenc",
] as const;

/** Methods of PostgreSQL that Sluice does not have, and why a line with one is no use. */
const MISSING_METHODS: Readonly<Record<string, string>> = {
  bsd: "it is not supported",
  gss: "GSSAPI is not supported",
  ident: "asking an ident server is not supported; over a unix socket it means peer",
  oauth: "it is not supported",
  radius: "it is not supported",
  sspi: "it is not supported",
};

/** What was read: use the rules only if there are no errors. */
export interface HbaFile {
  readonly rules: HbaRules;
  readonly errors: readonly ConfigError[];
}

/** Reads the file at `path` and all it includes. It rejects never. */
export async function readHbaFile(path: string, io: RuleFileIo): Promise<HbaFile> {
  const { errors, rules } = await readRules(path, { io, readLine: readHbaLine });
  const isEmpty = rules.length === 0 && errors.length === 0;
  const none = new ConfigError({ file: path, line: undefined }, "There are no rules in the file");
  return { rules: new HbaRules(path, rules), errors: isEmpty ? [none] : errors };
}

/** Reads one line. @throws {RuleError} If it is no rule, or one that cannot be kept. */
function readHbaLine(line: RuleLine): HbaRule {
  const fields = new FieldReader(line.fields);
  const connection = readConnection(fields.one("the connection type"));
  const databases = fields.list("the databases").map(readDatabase);
  const users = fields.list("the users").map(readUser);
  const address = connection === "local" ? undefined : readAddress(fields);
  const methodName = fields.one("the authentication method").text;
  const options = readOptions(methodName, fields.rest());
  const method = readMethod(methodName, { connection, options });
  const clientCert = readClientCert(method, { connection, options });
  const { file } = line;
  const text = hideValue(LDAP_SECRET_OPTION, line.text);
  return {
    ...{ file, line: line.line, text },
    ...{ connection, databases, users, address, method, clientCert },
  };
}

/** Takes the fields of a line one after the other. */
class FieldReader {
  readonly #fields: readonly (readonly RuleToken[])[];
  #at = 0;

  constructor(fields: readonly (readonly RuleToken[])[]) {
    this.#fields = fields;
  }

  list(what: string): readonly RuleToken[] {
    const field = this.#fields[this.#at];
    if (field === undefined) throw new RuleError(`The line ends before ${what}`);
    this.#at += 1;
    return field;
  }

  one(what: string): RuleToken {
    const [first, second] = this.list(what);
    if (second !== undefined) throw new RuleError(`There are several values for ${what}`);
    return first!;
  }

  rest(): readonly RuleToken[] {
    return this.#fields.slice(this.#at).flat();
  }
}

function readConnection({ text }: RuleToken): HbaRule["connection"] {
  const connection = CONNECTIONS.find((each) => each === text);
  if (connection !== undefined) return connection;
  throw new RuleError(`Invalid connection type "${text}": expected ${CONNECTIONS.join(", ")}`);
}

function readDatabase(token: RuleToken): DatabaseRule {
  for (const kind of ["all", "sameuser", "replication"] as const) {
    if (isKeyword(token, kind)) return { kind };
  }
  if (isKeyword(token, "samerole") || isKeyword(token, "samegroup")) {
    throw new RuleError(`"${token.text}" is not supported: Sluice does not know who is in a role`);
  }
  return readNameRule(token);
}

function readUser(token: RuleToken): NameRule | { readonly kind: "all" } {
  if (isKeyword(token, "all")) return { kind: "all" };
  if (!token.isQuoted && token.text.startsWith("+")) {
    throw new RuleError(`"${token.text}" is not supported: Sluice does not know who is in a role`);
  }
  return readNameRule(token);
}

function readAddress(fields: FieldReader): HbaAddress {
  const token = fields.one("the address");
  for (const kind of ["all", "samehost", "samenet"] as const) {
    if (isKeyword(token, kind)) return { kind };
  }
  const [host = "", prefix, ...more] = token.text.split("/");
  const address = parseIp(host);
  if (address === undefined) {
    throw new RuleError(`"${host}" is no IP address; host names are not supported`);
  }
  if (isMapped(address)) {
    throw new RuleError(`"${host}" matches nobody: write IPv4 addresses as a.b.c.d`);
  }
  if (prefix !== undefined) {
    const mask = more.length === 0 ? parsePrefix(address, prefix) : undefined;
    if (mask === undefined) throw new RuleError(`Invalid CIDR mask in address "${token.text}"`);
    return { kind: "range", range: { address, mask } };
  }
  const maskText = fields.one("the netmask (or write the address as a.b.c.d/n)").text;
  const mask = parseIp(maskText);
  if (mask === undefined) throw new RuleError(`Invalid IP mask "${maskText}"`);
  if (mask.length !== address.length) throw new RuleError("IP address and mask do not match");
  return { kind: "range", range: { address, mask } };
}

/** `name=value`; the last of a name counts. */
function readOptions(
  method: string,
  tokens: readonly RuleToken[],
): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const { text } of tokens) {
    const at = text.indexOf("=");
    if (at < 0) {
      const shown = shownOption(method, text);
      throw new RuleError(`Authentication option not in name=value format: ${shown}`);
    }
    options.set(text.slice(0, at), text.slice(at + 1));
  }
  return options;
}

/** What a line says besides its method. */
interface LineParts {
  readonly connection: HbaRule["connection"];
  readonly options: ReadonlyMap<string, string>;
}

function readMethod(name: string, { connection, options }: LineParts): HbaMethod {
  const isLocal = connection === "local";
  // As PostgreSQL does, for old files.
  const kind = name === "ident" && isLocal ? "peer" : name;
  checkOptions(kind, { connection, options });
  switch (kind) {
    case "trust":
    case "reject":
    case "password":
    case "md5":
    case "scram-sha-256":
      return { kind };
    case "peer":
      if (!isLocal) throw new RuleError("Peer authentication is only supported on local sockets");
      return { kind, map: options.get("map") || undefined };
    case "cert":
      if (connection !== "hostssl") {
        throw new RuleError("cert authentication is only supported on hostssl connections");
      }
      return { kind, map: options.get("map") || undefined };
    case "ldap":
      return { kind, options: readLdapOptions(options) };
    case "pam":
      return { kind, service: readPamService(options) };
  }
  if (Object.hasOwn(MISSING_METHODS, kind)) {
    throw new RuleError(`Method "${name}" cannot be used: ${MISSING_METHODS[kind]}`);
  }
  throw new RuleError(`Invalid authentication method "${name}"`);
}

function readPamService(options: ReadonlyMap<string, string>): string {
  const service = options.get("pamservice") ?? PAM_SERVICE;
  // It names a file in /etc/pam.d.
  if (/^[a-z0-9_][a-z0-9_.-]*$/i.test(service)) return service;
  throw new RuleError(`Invalid pamservice "${service}"`);
}

/** What is no option of LDAP may be the rest of a password, behind a comma or a blank. */
function shownOption(method: string, text: string): string {
  return method === "ldap" && !/^ldap[a-z]+$/.test(text) ? "(not shown)" : `"${text}"`;
}

/** The methods that options go with, but for those of LDAP. */
const METHODS_OF: Readonly<Record<string, readonly string[]>> = {
  map: ["peer", "cert"],
  pamservice: ["pam"],
  pam_use_hostname: ["pam"],
};

function checkOptions(method: string, { connection, options }: LineParts): void {
  // What is said of the method matters more.
  if (Object.hasOwn(MISSING_METHODS, method)) return;
  for (const [name, value] of options) {
    const methods = isLdapOption(name) ? ["ldap"] : METHODS_OF[name];
    if (methods !== undefined && !methods.includes(method)) {
      throw new RuleError(
        `Option "${name}" goes with ${methods.join(" and ")}, not with ${method}`,
      );
    }
    switch (name) {
      case "pam_use_hostname":
        if (value === "0") break;
        throw new RuleError('Option "pam_use_hostname" cannot be kept: names are not looked up');
      case "clientcert":
      case "clientname":
        if (connection !== "hostssl") {
          throw new RuleError(`"${name}" can only be configured for "hostssl" rows`);
        }
        checkName(name, value);
        break;
      default:
        if (methods !== undefined) break;
        throw new RuleError(`Unknown authentication option ${shownOption(method, name)}`);
    }
  }
}

/** What of a certificate names its user: here it is always the common name. */
function checkName(option: string, value: string): void {
  if (option !== "clientname" || value === "CN") return;
  if (value === "DN") throw new RuleError('Option "clientname=DN" is not supported');
  throw new RuleError(`Invalid value for clientname: "${value}"`);
}

function readClientCert(method: HbaMethod, { options }: LineParts): HbaRule["clientCert"] {
  const value = options.get("clientcert");
  if (value === undefined) return undefined;
  if (value !== "verify-ca" && value !== "verify-full") {
    throw new RuleError(`Invalid value for clientcert: "${value}"`);
  }
  // What the method asks for by itself.
  if (method.kind !== "cert") return value;
  if (value === "verify-full") return undefined;
  throw new RuleError('clientcert only accepts "verify-full" when using "cert" authentication');
}
