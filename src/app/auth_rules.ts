/**
 * What ways to authenticate need of files and settings: HBA rules, ident maps, how LDAP is asked. Read
 * with the configuration, all or nothing.
 */

import { errorText } from "../base/error_text.ts";
import { type HbaFile, readHbaFile } from "../auth/hba_file.ts";
import { type HbaRule, type HbaRules, mapOf } from "../auth/hba_rules.ts";
import { type IdentFile, IdentMaps, readIdentFile } from "../auth/ident_map.ts";
import { type LdapOptions, parseLdapOptions } from "../auth/ldap_options.ts";
import { RuleError, type RuleFileIo } from "../auth/rule_file.ts";
import type { Config } from "../config/config.ts";
import { ConfigError, ConfigErrors } from "../config/config_error.ts";
import type { Settings } from "../config/settings.ts";
import { hasClientCertificates } from "../config/tls_needs.ts";

/** What the files hold. */
export class AuthRules {
  /** Undefined if `auth_hba_file` is not set. */
  readonly hba: HbaRules | undefined;
  readonly identMaps: IdentMaps;
  /** As `auth_ident_file` has it. */
  readonly identPath: string | undefined;
  readonly ldap: LdapRules | undefined;

  constructor({ hba, identMaps = new IdentMaps(), identPath, ldap }: {
    readonly hba?: HbaRules | undefined;
    readonly identMaps?: IdentMaps | undefined;
    readonly identPath?: string | undefined;
    readonly ldap?: LdapRules | undefined;
  }) {
    this.hba = hba;
    this.identMaps = identMaps;
    this.identPath = identPath;
    this.ldap = ldap;
  }

  /** The lines of the rules, for comparison. */
  get hbaTexts(): readonly string[] {
    return this.hba?.rules.map(({ text }) => text) ?? [];
  }

  /** The lines of the maps, for comparison. */
  get identTexts(): readonly string[] {
    return this.identMaps.texts;
  }
}

/** What the settings say of LDAP. */
export interface LdapRules {
  /** `auth_ldap_options` as it was read. */
  readonly text: string | undefined;
  /** What it says. */
  readonly options: LdapOptions | undefined;
  /** `auth_ldap_ca_file` as it was read. */
  readonly caPath: string | undefined;
  /** The certificates in it, in PEM. */
  readonly authorities: string | undefined;
}

/** Settings and rules do not go together. */
export class RulesError extends Error {
  override readonly name = "RulesError";
}

/**
 * Reads the files that a configuration names, whatever its `auth_type`, so that faults are known
 * before they matter. Undefined if it names none.
 * @throws {ConfigErrors} With everything that is wrong.
 */
export async function loadAuthRules(
  { path, settings }: Config,
  io: RuleFileIo,
): Promise<AuthRules | undefined> {
  const { authHbaFile, authIdentFile, authType } = settings;
  const missing = missingSetting(settings);
  if (missing !== undefined) {
    const message = `auth_type is "${authType}", and "${missing}" is not set`;
    throw new ConfigErrors([new ConfigError({ file: path, line: undefined }, message)]);
  }
  const certificates = certificateProblem(settings);
  if (authType === "cert" && certificates !== undefined) {
    const message = `auth_type is "cert", and ${certificates}`;
    throw new ConfigErrors([new ConfigError({ file: path, line: undefined }, message)]);
  }
  const hba = authHbaFile === "" ? undefined : await readHbaFile(authHbaFile, io);
  const ident = authIdentFile === undefined ? undefined : await readIdentFile(authIdentFile, io);
  const ldap = await readLdapRules({ path, settings }, io);
  const errors = [
    ...ldap.errors,
    ...withSetting("auth_hba_file", path, hba?.errors),
    ...withSetting("auth_ident_file", path, ident?.errors),
    ...missingMaps(hba, ident),
    ...(authType === "hba" ? certificateErrors(hba?.rules, certificates) : []),
  ];
  if (errors.length > 0) throw new ConfigErrors(errors);
  if (hba === undefined && ident === undefined && ldap.rules === undefined) return undefined;
  return new AuthRules({
    hba: hba?.rules,
    identMaps: ident?.maps,
    identPath: authIdentFile,
    ldap: ldap.rules,
  });
}

/** The setting without which the way to authenticate is none. */
function missingSetting({ authHbaFile, authLdapOptions, authType }: Settings): string | undefined {
  if (authType === "hba" && authHbaFile === "") return "auth_hba_file";
  if (authType === "ldap" && authLdapOptions === undefined) return "auth_ldap_options";
  return undefined;
}

/** Undefined if there are none. */
async function readLdapRules(
  { path, settings }: Pick<Config, "path" | "settings">,
  io: RuleFileIo,
): Promise<{ readonly rules: LdapRules | undefined; readonly errors: readonly ConfigError[] }> {
  const { authLdapCaFile: caPath, authLdapOptions: text } = settings;
  if (text === undefined && caPath === undefined) return { rules: undefined, errors: [] };
  const place = { file: path, line: undefined };
  const errors: ConfigError[] = [];
  let options: LdapOptions | undefined;
  try {
    options = text === undefined ? undefined : parseLdapOptions(text);
  } catch (error) {
    if (!(error instanceof RuleError)) throw error;
    errors.push(new ConfigError(place, `"auth_ldap_options": ${error.message}`));
  }
  const authorities = caPath === undefined ? undefined : await readAuthorities(caPath, io);
  if (authorities !== undefined && typeof authorities !== "string") {
    errors.push(new ConfigError(place, `"auth_ldap_ca_file": ${authorities.problem}`));
    return { rules: undefined, errors };
  }
  return { rules: { text, options, caPath, authorities }, errors };
}

async function readAuthorities(
  path: string,
  io: RuleFileIo,
): Promise<string | { readonly problem: string }> {
  try {
    const text = await io.readTextFile(path);
    if (text === undefined) return { problem: `There is no file ${path}` };
    return text.includes("-----BEGIN CERTIFICATE-----")
      ? text
      : { problem: `There is no certificate in ${path}` };
  } catch (error) {
    return { problem: `Cannot read ${path}: ${errorText(error)}` };
  }
}

/** Of a file that cannot be read itself, it is said what named it, and where. */
function withSetting(
  name: string,
  file: string,
  errors: readonly ConfigError[] = [],
): readonly ConfigError[] {
  return errors.map((error) =>
    error.line === undefined
      ? new ConfigError({ file, line: undefined }, `"${name}": ${error.message}`)
      : error
  );
}

/** Rules by which nobody could ever come in. */
function missingMaps(hba: HbaFile | undefined, ident: IdentFile | undefined): ConfigError[] {
  // A bad line may be the one that is missed.
  if (hba === undefined || (ident?.errors.length ?? 0) > 0) return [];
  const errors: ConfigError[] = [];
  for (const rule of hba.rules.rules) {
    const map = mapOf(rule.method);
    if (map === undefined || ident?.maps.has(map) === true) continue;
    const where = ident === undefined ? '"auth_ident_file" is not set' : "that has no such map";
    errors.push(new ConfigError(rule, `There is no ident map "${map}": ${where}`));
  }
  return errors;
}

/** Why client certificates cannot be checked; undefined if they can. */
function certificateProblem(settings: Settings): string | undefined {
  if (hasClientCertificates(settings)) return undefined;
  const isOff = settings.clientTlsSslmode === "disable";
  return isOff ? '"client_tls_sslmode" is "disable"' : '"client_tls_ca_file" is not set';
}

/** Rules that want a certificate where none can be checked. */
function certificateErrors(
  hba: HbaRules | undefined,
  problem: string | undefined,
): ConfigError[] {
  if (problem === undefined) return [];
  return (hba?.rules ?? [])
    .filter(needsCertificate)
    .map((rule) => new ConfigError(rule, `Client certificates cannot be checked: ${problem}`));
}

function needsCertificate({ clientCert, method }: HbaRule): boolean {
  return method.kind === "cert" || clientCert !== undefined;
}

/**
 * Makes sure that the rules are those that the settings ask for: SET changes settings alone, and
 * nobody may be let in by less than what is shown.
 * @throws {RulesError} If they are not.
 */
export function checkAuthRules(settings: Settings, rules: AuthRules | undefined): void {
  const { authHbaFile, authIdentFile, authLdapCaFile, authLdapOptions, authType } = settings;
  for (
    const [name, wanted, read] of [
      ["auth_hba_file", authHbaFile, rules?.hba?.path ?? ""],
      ["auth_ident_file", authIdentFile, rules?.identPath],
      ["auth_ldap_options", authLdapOptions, rules?.ldap?.text],
      ["auth_ldap_ca_file", authLdapCaFile, rules?.ldap?.caPath],
    ] as const
  ) {
    if (wanted === read) continue;
    throw new RulesError(`"${name}" is read by RELOAD: change it in the configuration file`);
  }
  const missing = missingSetting(settings);
  if (missing !== undefined) throw new RulesError(`auth_type "${authType}" needs "${missing}"`);
  const needsCertificates = authType === "cert" ||
    authType === "hba" && rules?.hba?.rules.some(needsCertificate) === true;
  const problem = needsCertificates ? certificateProblem(settings) : undefined;
  if (problem !== undefined) throw new RulesError(`auth_type "${authType}": ${problem}`);
}

/** Whether anybody may have to be asked of the system who they are. */
export function needsSystemUsers(settings: Settings, rules: AuthRules | undefined): boolean {
  return isMethodUsed("peer", settings, rules);
}

/** Whether anybody may have to be asked about of PAM. */
export function needsPam(settings: Settings, rules: AuthRules | undefined): boolean {
  return isMethodUsed("pam", settings, rules);
}

function isMethodUsed(
  kind: "peer" | "pam",
  { authType }: Settings,
  rules: AuthRules | undefined,
): boolean {
  if (authType !== "hba") return authType === kind;
  return rules?.hba?.rules.some(({ method }) => method.kind === kind) ?? false;
}
