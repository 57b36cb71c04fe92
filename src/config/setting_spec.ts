/**
 * What is known about one setting, and the short functions with which the tables in `settings.ts`
 * are written. Not the tables themselves, and no reading of values: that is `values.ts`.
 *
 * Each builder keeps the literal name and the type of the value, so that the type `Settings` can be
 * derived from the table and never disagrees with it.
 */

/** How a setting's value is written in the file and held in memory. */
export type SettingKind =
  | "text"
  | "integer"
  | "seconds"
  | "milliseconds"
  | "bytes"
  | "boolean"
  | "list"
  | "choice"
  | "mode"
  | "check_query"
  | "secret";

/** One setting, as the readers, the documentation and the console see it. */
export interface SettingSpec {
  /** The name in the file, PgBouncer's where PgBouncer has it. */
  readonly name: string;
  /** How it is written and held. */
  readonly kind: SettingKind;
  /** As the INI reads it and SHOW CONFIG prints it; `undefined` = not set. */
  readonly default: string | undefined;
  /** Whether a reload takes it over; if not, only a restart does. */
  readonly reloadable: boolean;
  /** One sentence for the documentation. */
  readonly meaning: string;
  /** Single values that are refused, by their text, and why. */
  readonly refusals?: Readonly<Record<string, string>>;
  /** The allowed values of a `choice`. */
  readonly choices?: readonly string[];
  /** Least value, in the unit of the file. */
  readonly min?: number;
  /** Greatest value, in the unit of the file. */
  readonly max?: number;
  /** Whether 0 in the INI leaves it to the setting for all, as in PgBouncer; else it means no limit. */
  readonly isUnsetByZero?: boolean;
  /** Other names the file may use. */
  readonly aliases?: readonly string[];
  /** Of a text like `name=value`, the name whose value is never printed. */
  readonly hiddenPart?: string;
  /** Says what is wrong with an item of a `list`; undefined if nothing is. */
  readonly itemProblem?: (item: string) => string | undefined;
  /** Says what is wrong with a `text`; undefined if nothing is. */
  readonly textProblem?: (text: string) => string | undefined;
}

/** A `SettingSpec` that remembers its literal name, property suffix and value type. */
export interface TypedSpec<Name extends string, Suffix extends string, Value> extends SettingSpec {
  /** The literal name. */
  readonly name: Name;
  /** Never set: carries the types. */
  readonly phantom?: { readonly suffix: Suffix; readonly value: Value };
}

/** Bounds and special values of a setting. */
export interface SpecOptions {
  /** Least value, in the unit of the file. */
  readonly min?: number;
  /** Greatest value, in the unit of the file. */
  readonly max?: number;
  /** Single values that are refused, by their text, and why. */
  readonly refusals?: Readonly<Record<string, string>>;
  /** Whether 0 in the INI leaves it to the setting for all, as in PgBouncer; else it means no limit. */
  readonly isUnsetByZero?: boolean;
  /** Other names the file may use. */
  readonly aliases?: readonly string[];
}

/** What every setting starts from. */
function base(): { reloadable: true } {
  return { reloadable: true };
}

/** A text that always has a value, maybe the empty one. */
export function text<const N extends string>(
  name: N,
  fallback: string,
  meaning: string,
  options: Pick<SettingSpec, "textProblem"> = {},
): TypedSpec<N, "", string> {
  return { name, kind: "text", default: fallback, meaning, ...base(), ...options };
}

/** A text that may be missing; an empty one counts as missing. */
export function optionalText<const N extends string>(
  name: N,
  meaning: string,
  options: SpecOptions & Pick<SettingSpec, "textProblem"> = {},
): TypedSpec<N, "", string | undefined> {
  return { name, kind: "text", default: undefined, meaning, ...base(), ...options };
}

/** A text that is never printed. */
export function secret<const N extends string>(
  name: N,
  meaning: string,
): TypedSpec<N, "", string | undefined> {
  return { name, kind: "secret", default: undefined, meaning, ...base() };
}

/** A whole number without a unit. */
export function integer<const N extends string>(
  name: N,
  fallback: number,
  meaning: string,
  options: SpecOptions = {},
): TypedSpec<N, "", number> {
  return { name, kind: "integer", default: String(fallback), meaning, ...base(), ...options };
}

/** A whole number that falls back to a more general setting when missing. */
export function optionalInteger<const N extends string>(
  name: N,
  meaning: string,
  options: SpecOptions = {},
): TypedSpec<N, "", number | undefined> {
  return { name, kind: "integer", default: undefined, meaning, ...base(), ...options };
}

/** A time, in seconds in the file and in milliseconds in memory. */
export function seconds<const N extends string>(
  name: N,
  fallback: number,
  meaning: string,
  options: SpecOptions = {},
): TypedSpec<N, "Ms", number> {
  return { name, kind: "seconds", default: String(fallback), meaning, ...base(), ...options };
}

/** A time that falls back to a more general setting when missing. */
export function optionalSeconds<const N extends string>(
  name: N,
  meaning: string,
  options: SpecOptions = {},
): TypedSpec<N, "Ms", number | undefined> {
  return { name, kind: "seconds", default: undefined, meaning, ...base(), ...options };
}

/** A time that is in milliseconds in the file too. */
export function milliseconds<const N extends string>(
  name: N,
  fallback: number,
  meaning: string,
): TypedSpec<N, "Ms", number> {
  return { name, kind: "milliseconds", default: String(fallback), meaning, ...base() };
}

/** A size in bytes. */
export function bytes<const N extends string>(
  name: N,
  fallback: number,
  meaning: string,
  options: SpecOptions = {},
): TypedSpec<N, "Bytes", number> {
  return { name, kind: "bytes", default: String(fallback), meaning, ...base(), ...options };
}

/** Yes or no; `0` and `1` in PgBouncer's notation. */
export function boolean<const N extends string>(
  name: N,
  fallback: boolean,
  meaning: string,
): TypedSpec<N, "", boolean> {
  return { name, kind: "boolean", default: fallback ? "1" : "0", meaning, ...base() };
}

/** Several texts, separated by commas. */
export function list<const N extends string>(
  name: N,
  fallback: string,
  meaning: string,
  options: Pick<SettingSpec, "itemProblem"> = {},
): TypedSpec<N, "", readonly string[]> {
  return { name, kind: "list", default: fallback, meaning, ...base(), ...options };
}

/** One of a few words. */
export function choice<const N extends string, const C extends string>(
  name: N,
  choices: readonly C[],
  fallback: NoInfer<C>,
  meaning: string,
  options: SpecOptions = {},
): TypedSpec<N, "", C> {
  return { name, kind: "choice", choices, default: fallback, meaning, ...base(), ...options };
}

/** One of a few words that falls back to a more general setting when missing. */
export function optionalChoice<const N extends string, const C extends string>(
  name: N,
  choices: readonly C[],
  meaning: string,
): TypedSpec<N, "", C | undefined> {
  return { name, kind: "choice", choices, default: undefined, meaning, ...base() };
}

/** A file mode, in octal digits. */
export function mode<const N extends string>(
  name: N,
  fallback: string,
  meaning: string,
): TypedSpec<N, "", number> {
  return { name, kind: "mode", default: fallback, meaning, ...base() };
}

/** A query of which `<empty>` means the empty one and nothing means none at all. */
export function checkQuery<const N extends string>(
  name: N,
  fallback: string,
  meaning: string,
): TypedSpec<N, "", string | undefined> {
  return { name, kind: "check_query", default: fallback, meaning, ...base() };
}

/** The same setting, taken over only at start. */
export function restart<S extends SettingSpec>(spec: S): S {
  return { ...spec, reloadable: false };
}

/** `a_b_c` as `aBC`. */
export type CamelCase<Text extends string> = Text extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Text;

/** The property of `Settings` that holds the setting. */
export type PropertyOf<Spec> = Spec extends TypedSpec<infer Name, infer Suffix, infer _Value>
  ? `${CamelCase<Name>}${Suffix}`
  : never;

/** The type of that property. */
export type ValueOf<Spec> = Spec extends TypedSpec<infer _Name, infer _Suffix, infer Value> ? Value
  : never;

/** All properties of a table of settings. */
export type PropertiesOf<Table extends readonly SettingSpec[]> = {
  readonly [Spec in Table[number] as PropertyOf<Spec>]: ValueOf<Spec>;
};

/** The property name at run time; agrees with `PropertyOf`. */
export function propertyOf(spec: SettingSpec): string {
  const camel = spec.name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  switch (spec.kind) {
    case "seconds":
    case "milliseconds":
      return `${camel}Ms`;
    case "bytes":
      return `${camel}Bytes`;
    default:
      return camel;
  }
}
