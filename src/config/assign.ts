/**
 * Matches what a reader found with the tables of settings: unknown names, wrong values, values that
 * today's Sluice does not honour. All findings are collected. Pure.
 */

import { ConfigError, type Place, showPlace } from "./config_error.ts";
import type { RawEntry } from "./raw.ts";
import { type PropertiesOf, propertyOf, type SettingSpec } from "./setting_spec.ts";
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
    const parsed = parseValue(spec, entry.value, entry.isFetched === true ? "ini" : dialect);
    if ("problem" in parsed) {
      const problem = entry.isFetched === true ? withoutValue(parsed.problem) : parsed.problem;
      errors.push(new ConfigError(entry, `"${entry.key}"${owner}: ${problem}`));
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

/** Of what stands elsewhere nothing is shown: where the wrong name is given, it may be a secret. */
function withoutValue(problem: string): string {
  return problem.replace(/, found .*$/su, "; what was fetched is not shown");
}

/** Refuses the values that are refused. */
export function judge(
  assignments: readonly Assignment[],
  report: { owner: string; errors: ConfigError[] },
): void {
  for (const assignment of assignments) {
    const { spec, value } = assignment;
    const name = `"${spec.name}"${report.owner}`;
    const refusal = refusalOf(spec, value);
    if (refusal !== undefined) {
      const to = formatValue(spec, value);
      report.errors.push(new ConfigError(assignment, `Cannot set ${name} to "${to}": ${refusal}`));
    }
  }
}

/** Why a value that stands in the file is refused; undefined if it is not. */
export function refusalOf(spec: SettingSpec, value: SettingValue): string | undefined {
  const text = formatValue(spec, value);
  return Object.entries(spec.refusals ?? {}).find(([refused]) => refused === text)?.[1];
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
