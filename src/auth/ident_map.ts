/**
 * Ident maps: which user of the system may be which user of the database. Reads `auth_ident_file`, of
 * the form of PostgreSQL's pg_ident.conf.
 * Source: PostgreSQL, "User Name Maps".
 */

import type { ConfigError } from "../config/config_error.ts";
import {
  readRules,
  RuleError,
  type RuleFileIo,
  type RuleLine,
  type RuleToken,
} from "./rule_file.ts";
import { isKeyword, isMeant, type NameRule, readNameRule, withPattern } from "./rule_names.ts";

/** Stands in a database user's name for what the first group of the pattern captured. */
const CAPTURED = "\\1";

/** Who a user of the system may be. */
type MappedUser =
  | NameRule
  | { readonly kind: "all" }
  /** `name` has CAPTURED in it. */
  | { readonly kind: "captured"; readonly name: string };

/** One line. */
interface IdentRule {
  /** As it is written. */
  readonly text: string;
  readonly map: string;
  readonly systemUser: NameRule;
  readonly databaseUser: MappedUser;
}

/** What was read: use the maps only if there are no errors. */
export interface IdentFile {
  readonly maps: IdentMaps;
  readonly errors: readonly ConfigError[];
}

/** Reads the file at `path` and all it includes. It rejects never. */
export async function readIdentFile(path: string, io: RuleFileIo): Promise<IdentFile> {
  const { errors, rules } = await readRules(path, { io, readLine: readIdentLine });
  return { maps: new IdentMaps(rules), errors };
}

/** All maps of a file. */
export class IdentMaps {
  readonly #rules: readonly IdentRule[];

  constructor(rules: readonly IdentRule[] = []) {
    this.#rules = rules;
  }

  /** Its lines, as they are written. */
  get texts(): readonly string[] {
    return this.#rules.map(({ text }) => text);
  }

  /** Whether there is a line of this map. */
  has(map: string): boolean {
    return this.#rules.some((rule) => rule.map === map);
  }

  /** Whether somebody may be `databaseUser`. Without a map, the names must be the same. */
  allows(map: string | undefined, systemUser: string, databaseUser: string): boolean {
    if (map === undefined) return systemUser === databaseUser;
    for (const rule of this.#rules) {
      if (rule.map !== map || !isMeant(rule.systemUser, systemUser)) continue;
      const mapped = withCaptured(rule, systemUser);
      // As in PostgreSQL, where this is an error and the lines behind it are not looked at.
      if (mapped === undefined) return false;
      if (mapped.kind === "all" || isMeant(mapped, databaseUser)) return true;
    }
    return false;
  }
}

/** Who is meant, once it is settled what was captured; undefined if nothing was. */
function withCaptured(
  { databaseUser, systemUser: rule }: IdentRule,
  systemUser: string,
): Exclude<MappedUser, { kind: "captured" }> | undefined {
  if (databaseUser.kind !== "captured") return databaseUser;
  const captured = rule.kind === "pattern" ? rule.pattern.firstGroup(systemUser) : undefined;
  if (captured === undefined) return undefined;
  // A function, since "$" means something in a text that replaces.
  return { kind: "name", name: databaseUser.name.replace(CAPTURED, () => captured) };
}

function readIdentLine({ fields, text }: RuleLine): IdentRule {
  const [map, system, database, more] = fields;
  if (map === undefined || system === undefined || database === undefined) {
    throw new RuleError("Expected a map name, a system user and a database user");
  }
  if (more !== undefined) {
    throw new RuleError("There is something behind the database user");
  }
  for (const field of [map, system, database]) {
    if (field.length > 1) throw new RuleError("There are several values in one field");
  }
  const systemUser = readNameRule(system[0]!);
  const databaseUser = readMappedUser(database[0]!, systemUser);
  return { text, map: map[0]!.text, systemUser, databaseUser };
}

function readMappedUser(token: RuleToken, systemUser: NameRule): MappedUser {
  if (isKeyword(token, "all")) return { kind: "all" };
  if (!token.isQuoted && token.text.startsWith("+")) {
    throw new RuleError(`"${token.text}" is not supported: Sluice does not know who is in a role`);
  }
  // As in PostgreSQL: within a pattern it is a back reference, and without one before it a name.
  const isCaptured = systemUser.kind === "pattern" && !token.text.startsWith("/") &&
    token.text.includes(CAPTURED);
  if (!isCaptured) return readNameRule(token);
  const { pattern } = systemUser;
  withPattern(`/${pattern.source}`, () => pattern.checkFirstGroup());
  return { kind: "captured", name: token.text };
}
