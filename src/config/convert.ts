/**
 * Prints a `pgbouncer.ini` as TOML that means the same. Pure but for reading the files.
 *
 * Included files are expanded in place, comments are not kept, and of a setting that stands twice
 * the last one counts, as PgBouncer has it. What Sluice does not honour is converted all the same:
 * loading the result says so. The result holds the secrets of the INI.
 */

import { assign, type Assignment } from "./assign.ts";
import { type ConfigError, ConfigErrors } from "./config_error.ts";
import type { ConfigIo } from "./config_io.ts";
import { readIni } from "./ini_file.ts";
import { inOrder, readConfigText } from "./load.ts";
import type { NamedPart, RawConfig } from "./raw.ts";
import type { SettingSpec } from "./setting_spec.ts";
import {
  DATABASE_SETTINGS,
  PEER_SETTINGS,
  POOLER_TABLE,
  SERVER_SETTINGS,
  USER_SETTINGS,
} from "./settings.ts";
import { showTomlPath } from "./toml_scan.ts";
import { formatValue } from "./values.ts";

/**
 * The TOML text for the INI file at `path`.
 *
 * @throws {ConfigErrors} If the file is not good INI, or names or values in it are wrong.
 */
export async function convertIni(path: string, io: ConfigIo): Promise<string> {
  const { raw, errors, syntaxErrors } = await readIni(path, await readConfigText(path, io), io);
  if (syntaxErrors.length > 0) throw new ConfigErrors(syntaxErrors);
  const all = [...errors];
  const blocks = [
    `# Converted from ${JSON.stringify(path)}.\n`,
    block("pooler", assign(raw.pooler, options(POOLER_TABLE, "", all))),
    ...namedBlocks(raw, { part: "databases", kind: "database", table: DATABASE_SETTINGS }, all),
    ...namedBlocks(raw, { part: "users", kind: "user", table: USER_SETTINGS }, all),
    ...namedBlocks(raw, { part: "servers", kind: "server", table: SERVER_SETTINGS }, all),
    ...namedBlocks(raw, { part: "peers", kind: "peer", table: PEER_SETTINGS }, all),
  ];
  if (all.length > 0) throw new ConfigErrors(inOrder(all, raw.files));
  return blocks.join("\n");
}

function namedBlocks(
  raw: RawConfig,
  what: { part: NamedPart; kind: string; table: readonly SettingSpec[] },
  errors: ConfigError[],
): string[] {
  return raw[what.part].map((section) => {
    const owner = ` of ${what.kind} ${JSON.stringify(section.name)}`;
    const assignments = assign(section.entries, options(what.table, owner, errors));
    return block(showTomlPath([what.part, section.name]), assignments);
  });
}

function options(table: readonly SettingSpec[], owner: string, errors: ConfigError[]) {
  return { table, owner, errors, dialect: "ini" as const };
}

function block(header: string, assignments: readonly Assignment[]): string {
  const lines = assignments.map(({ spec, value }) => {
    // A limit may be given as one that is not, by a number, which TOML says by leaving it out.
    const isNumber = spec.kind === "integer" || spec.kind === "seconds";
    if (isNumber && value === undefined) return "";
    // A text that may be missing is not set by an empty value.
    const text = formatValue(spec, value) ?? "";
    return `${spec.name} = ${tomlValue(spec, text)}\n`;
  });
  return `[${header}]\n${lines.join("")}`;
}

/** The TOML notation of a value given as the INI has it. */
export function tomlValue(spec: SettingSpec, text: string): string {
  switch (spec.kind) {
    case "integer":
    case "bytes":
    case "seconds":
    case "milliseconds":
      return text;
    case "boolean":
      return text === "1" ? "true" : "false";
    default:
      return tomlString(text);
  }
}

/** A basic string. JSON's escapes are TOML's too; TOML wants DEL escaped besides. */
export function tomlString(text: string): string {
  return JSON.stringify(text).replaceAll("\x7f", "\\u007f");
}
