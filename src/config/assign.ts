/**
 * Matches what a reader found with the tables of settings: unknown names, wrong values, values that
 * today's Sluice does not honour. All findings are collected. Pure.
 */

import { ConfigError, type Place, showPlace } from "./config_error.ts";
import type { RawEntry } from "./raw.ts";
import {
  type PropertiesOf,
  propertyOf,
  type SettingSpec,
  type SettingStatus,
} from "./setting_spec.ts";
import { suggestion } from "./suggest.ts";
import { type Dialect, formatValue, parseValue, type SettingValue } from "./values.ts";

/** One setting of the file that was understood. */
export interface Assignment extends Place {
  /** What is set. */
  readonly spec: SettingSpec;
  /** As it is held in memory. */
  readonly value: SettingValue;
}

/** Whose settings they are, and where the errors go. */
export interface AssignOptions {
  /** The settings there are. */
  readonly table: readonly SettingSpec[];
  /** The notation of the values. */
  readonly dialect: Dialect;
  /** ` of database "app"`, or nothing. */
  readonly owner: string;
  /** Receives what is wrong. */
  readonly errors: ConfigError[];
}

/** The values of `entries` by setting; each setting appears once. */
export function assign(entries: readonly RawEntry[], options: AssignOptions): Assignment[] {
  const { table, dialect, owner, errors } = options;
  const assigned = new Map<string, Assignment>();
  for (const entry of entries) {
    const spec = table.find(({ name, aliases }) =>
      name === entry.key || aliases?.includes(entry.key)
    );
    if (spec === undefined) {
      errors.push(new ConfigError(entry, unknownSetting(entry, options)));
      continue;
    }
    const parsed = parseValue(spec, entry.value, dialect);
    if ("problem" in parsed) {
      errors.push(new ConfigError(entry, `"${entry.key}"${owner}: ${parsed.problem}`));
      continue;
    }
    const earlier = assigned.get(spec.name);
    if (earlier !== undefined && dialect === "toml") {
      const message = `"${entry.key}"${owner} is "${spec.name}", set in ${showPlace(earlier)}`;
      errors.push(new ConfigError(entry, message));
      continue;
    }
    const { file, line } = entry;
    assigned.set(spec.name, { file, line, spec, value: parsed.value });
  }
  return [...assigned.values()];
}

/**
 * Says what today's Sluice does not do: errors where ignoring it would weaken security, else
 * warnings.
 */
export function judge(
  assignments: readonly Assignment[],
  report: { owner: string; errors: ConfigError[]; warnings: string[] },
): void {
  for (const assignment of assignments) {
    const { spec, value } = assignment;
    const verdict = verdictOn(spec, value);
    if (verdict.status === "honoured") continue;
    const name = `"${spec.name}"${report.owner}`;
    const why = verdict.why === undefined ? "" : `: ${verdict.why}`;
    const to = verdict.value === undefined ? "" : ` to "${verdict.value}"`;
    if (verdict.status === "refused") {
      report.errors.push(new ConfigError(assignment, `Cannot set ${name}${to}${why}`));
    } else {
      report.warnings.push(
        `${showPlace(assignment)}: Setting ${name}${to} has no effect yet${why}`,
      );
    }
  }
}

/** What is done with a value that stands in the file. */
export function verdictOn(
  spec: SettingSpec,
  value: SettingValue,
): { status: SettingStatus; why: string | undefined; value?: string } {
  const text = formatValue(spec, value) ?? "";
  const exception = Object.entries(spec.exceptions ?? {}).find(([known]) => known === text)?.[1];
  if (exception !== undefined) {
    return { status: exception.status, why: exception.why ?? spec.why, value: text };
  }
  const changesNothing = text === (spec.default ?? "") ||
    (text === "" && spec.status === "refused");
  return { status: changesNothing ? "honoured" : spec.status, why: spec.why };
}

/** The assignments as an object with a property for each setting of `table`, defaults filled in. */
export function toProperties<const Table extends readonly SettingSpec[]>(
  table: Table,
  assignments: readonly Assignment[],
): PropertiesOf<Table> {
  const properties: Record<string, SettingValue> = {};
  for (const spec of table) properties[propertyOf(spec)] = defaultOf(spec);
  for (const { spec, value } of assignments) properties[propertyOf(spec)] = value;
  // The type says of the table what the two loops do with it.
  return properties as PropertiesOf<Table>;
}

function defaultOf(spec: SettingSpec): SettingValue {
  if (spec.default === undefined) return undefined;
  const parsed = parseValue(spec, spec.default, "ini");
  if ("problem" in parsed) throw new Error(`Default of ${spec.name}: ${parsed.problem}`);
  return parsed.value;
}

function unknownSetting(entry: RawEntry, { table, owner, dialect }: AssignOptions): string {
  const isTable = typeof entry.value === "object" && !Array.isArray(entry.value) &&
    !(entry.value instanceof Date);
  const hint = suggestion(entry.key, table.map(({ name }) => name));
  const quotes = isTable && dialect === "toml" && hint === ""
    ? ": a name with a dot needs quotes"
    : hint;
  return `Unknown setting "${entry.key}"${owner}${quotes}`;
}
