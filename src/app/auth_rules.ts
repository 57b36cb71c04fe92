/** The files of `auth_hba_file` and `auth_ident_file`: read with the configuration, all or nothing. */

import { type HbaFile, readHbaFile } from "../auth/hba_file.ts";
import { type HbaRule, type HbaRules, mapOf } from "../auth/hba_rules.ts";
import { type IdentFile, IdentMaps, readIdentFile } from "../auth/ident_map.ts";
import type { RuleFileIo } from "../auth/rule_file.ts";
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

  constructor(
    hba: HbaRules | undefined,
    identMaps = new IdentMaps(),
    identPath: string | undefined = undefined,
  ) {
    this.hba = hba;
    this.identMaps = identMaps;
    this.identPath = identPath;
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
  if (authType === "hba" && authHbaFile === "") {
    const message = 'auth_type is "hba", and "auth_hba_file" is not set';
    throw new ConfigErrors([new ConfigError({ file: path, line: undefined }, message)]);
  }
  const certificates = certificateProblem(settings);
  if (authType === "cert" && certificates !== undefined) {
    const message = `auth_type is "cert", and ${certificates}`;
    throw new ConfigErrors([new ConfigError({ file: path, line: undefined }, message)]);
  }
  if (authHbaFile === "" && authIdentFile === undefined) return undefined;
  const hba = authHbaFile === "" ? undefined : await readHbaFile(authHbaFile, io);
  const ident = authIdentFile === undefined ? undefined : await readIdentFile(authIdentFile, io);
  const errors = [
    ...hba?.errors ?? [],
    ...ident?.errors ?? [],
    ...missingMaps(hba, ident),
    ...(authType === "hba" ? certificateErrors(hba?.rules, certificates) : []),
  ];
  if (errors.length > 0) throw new ConfigErrors(errors);
  return new AuthRules(hba?.rules, ident?.maps, authIdentFile);
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
  const { authHbaFile, authIdentFile, authType } = settings;
  for (
    const [name, wanted, read] of [
      ["auth_hba_file", authHbaFile, rules?.hba?.path ?? ""],
      ["auth_ident_file", authIdentFile, rules?.identPath],
    ] as const
  ) {
    if (wanted === read) continue;
    throw new RulesError(`"${name}" is read by RELOAD: change it in the configuration file`);
  }
  if (authType === "hba" && rules?.hba === undefined) {
    throw new RulesError('auth_type "hba" needs "auth_hba_file"');
  }
  const needsCertificates = authType === "cert" ||
    authType === "hba" && rules?.hba?.rules.some(needsCertificate) === true;
  const problem = needsCertificates ? certificateProblem(settings) : undefined;
  if (problem !== undefined) throw new RulesError(`auth_type "${authType}": ${problem}`);
}

/** Whether anybody may have to be asked of the system who they are. */
export function needsSystemUsers({ authType }: Settings, rules: AuthRules | undefined): boolean {
  if (authType !== "hba") return authType === "peer";
  return rules?.hba?.rules.some(({ method }) => method.kind === "peer") ?? false;
}
