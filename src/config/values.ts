/**
 * Single values: from the file to memory, and back to the text that SHOW CONFIG prints. Pure.
 *
 * In memory times are milliseconds and sizes bytes; in the file times are seconds unless a unit says
 * otherwise. TOML values are strict (a number is a number); the INI knows only texts.
 */

import type { SettingSpec } from "./setting_spec.ts";

/** A setting's value in memory. */
export type SettingValue = string | number | boolean | readonly string[] | undefined;

/** What a reader found: a TOML value, or a text of the INI. */
export type RawValue = string | number | boolean | Date | readonly unknown[] | RawTable;

/** An inline table, or a secret's reference. */
export interface RawTable {
  /** Keys as written. */
  readonly [key: string]: unknown;
}

/** The notation a value was written in. */
export type Dialect = "toml" | "ini";

/** A value that was understood, or the reason why not. */
export type Parsed = { readonly value: SettingValue } | { readonly problem: string };

/** Largest count, and largest number of seconds: PostgreSQL's int. */
const MAX_INTEGER = 2147483647;

/** Milliseconds of each unit of time, as PostgreSQL names them. */
const TIME_UNITS: ReadonlyMap<string, number> = new Map([
  ["us", 0.001],
  ["ms", 1],
  ["s", 1000],
  ["min", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** Bytes of each unit of size, as PostgreSQL names them. */
const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ["B", 1],
  ["kB", 1024],
  ["MB", 1024 ** 2],
  ["GB", 1024 ** 3],
]);

const BOOLEAN_WORDS: ReadonlyMap<string, boolean> = new Map([
  ["1", true],
  ["on", true],
  ["yes", true],
  ["true", true],
  ["0", false],
  ["off", false],
  ["no", false],
  ["false", false],
]);

/** Reads one value. The problem, if any, says what was found and what is allowed. */
export function parseValue(spec: SettingSpec, raw: RawValue, dialect: Dialect): Parsed {
  switch (spec.kind) {
    case "text":
      return parseText(spec, raw);
    case "secret":
      return parseSecret(spec, raw);
    case "check_query":
      return parseCheckQuery(raw);
    case "list":
      return parseList(spec, raw, dialect);
    case "boolean":
      return parseBoolean(raw, dialect);
    case "choice":
      return parseChoice(spec, raw, dialect);
    case "mode":
      return parseMode(raw);
    case "integer":
    case "bytes":
    case "seconds":
    case "milliseconds":
      return parseNumber(spec, raw, dialect);
  }
}

/** The text SHOW CONFIG prints and the INI would hold; `undefined` = not set. */
export function formatValue(spec: SettingSpec, value: SettingValue): string | undefined {
  if (spec.kind === "check_query") {
    return value === undefined ? "" : value === "" ? "<empty>" : `${value}`;
  }
  if (value === undefined) return undefined;
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "string") return value;
  if (typeof value !== "number") return value.join(",");
  if (spec.kind === "mode") return `0${value.toString(8)}`;
  return String(spec.kind === "seconds" ? value / 1000 : value);
}

function parseText(spec: SettingSpec, raw: RawValue): Parsed {
  if (typeof raw !== "string") {
    return { problem: `expected a text in quotes, found ${kindOf(raw)}` };
  }
  if (raw.includes("\0")) return { problem: "a text cannot contain a NUL byte" };
  const problem = spec.textProblem?.(raw);
  if (problem !== undefined) return { problem };
  return { value: raw === "" && spec.default === undefined ? undefined : raw };
}

function parseSecret(spec: SettingSpec, raw: RawValue): Parsed {
  if (typeof raw !== "string") {
    return { problem: 'expected a text, { env = "NAME" } or { file = "path" }' };
  }
  return raw === "" ? { problem: "the secret is empty" } : parseText(spec, raw);
}

function parseCheckQuery(raw: RawValue): Parsed {
  if (typeof raw !== "string") {
    return { problem: `expected a text in quotes, found ${kindOf(raw)}` };
  }
  if (raw.includes("\0")) return { problem: "a text cannot contain a NUL byte" };
  return { value: raw === "" ? undefined : raw === "<empty>" ? "" : raw };
}

function parseList(spec: SettingSpec, raw: RawValue, dialect: Dialect): Parsed {
  const parts = typeof raw === "string" ? splitList(raw, dialect) : raw;
  if (!Array.isArray(parts) || !parts.every((part) => typeof part === "string")) {
    return { problem: `expected a text or an array of texts, found ${kindOf(raw)}` };
  }
  const items = parts.map((part) => part.trim());
  if (items.some((item) => item.includes("\0"))) {
    return { problem: "a text cannot contain a NUL byte" };
  }
  if (items.some((item) => item === "")) return { problem: "an item of the list is empty" };
  if (items.some((item) => item.includes(","))) {
    return { problem: "an item of an array cannot contain a comma" };
  }
  for (const item of items) {
    const problem = spec.itemProblem?.(item);
    if (problem !== undefined) return { problem };
  }
  return { value: items };
}

/** PgBouncer passes over empty items: a comma at the end does no harm. */
function splitList(text: string, dialect: Dialect): string[] {
  const parts = text.trim() === "" ? [] : text.split(",");
  return dialect === "ini" ? parts.filter((part) => part.trim() !== "") : parts;
}

function parseBoolean(raw: RawValue, dialect: Dialect): Parsed {
  if (typeof raw === "boolean") return { value: raw };
  if (raw === 0 || raw === 1) return { value: raw === 1 };
  const text = dialect === "ini" && typeof raw === "string" ? raw.toLowerCase() : "";
  const word = BOOLEAN_WORDS.get(text);
  if (word !== undefined) return { value: word };
  // To PgBouncer, it is a number.
  if (/^[+-]?[0-9]+$/.test(text)) return { value: Number(text) !== 0 };
  return { problem: `expected true or false (or 1 or 0), found ${shown(raw)}` };
}

function parseChoice(spec: SettingSpec, raw: RawValue, dialect: Dialect): Parsed {
  const choices = spec.choices ?? [];
  const word = dialect === "ini" && typeof raw === "string" ? raw.toLowerCase() : raw;
  if (typeof word === "string" && choices.includes(word)) return { value: word };
  // The word may look like a number, which TOML would not give back as it was written.
  const how = typeof raw === "number" ? ", in quotes" : "";
  return { problem: `expected one of ${choices.join(", ")}${how}, found ${shown(raw)}` };
}

function parseMode(raw: RawValue): Parsed {
  if (typeof raw !== "string" || !/^0?[0-7]{1,3}$/.test(raw)) {
    return {
      problem: `expected up to three octal digits in quotes, like "0770", found ${shown(raw)}`,
    };
  }
  return { value: parseInt(raw, 8) };
}

function parseNumber(spec: SettingSpec, raw: RawValue, dialect: Dialect): Parsed {
  const number = typeof raw === "number" ? raw : readNumber(spec, raw, dialect);
  if (number === undefined || !Number.isFinite(number)) {
    return { problem: `expected ${expectation(spec)}, found ${shown(raw)}` };
  }
  const whole = spec.kind === "integer" || spec.kind === "bytes";
  if (whole && !Number.isInteger(number)) {
    return { problem: `expected a whole number, found ${shown(raw)}` };
  }
  // PgBouncer takes a count below 0 for one that is not given, or for no limit.
  if (dialect === "ini" && spec.kind === "integer" && number < 0 && isUnlimited(spec)) {
    return { value: spec.default === undefined ? undefined : 0 };
  }
  if (dialect === "ini" && number === 0 && spec.isUnsetByZero === true) return { value: undefined };
  const min = spec.min ?? 0;
  const max = spec.max ?? MAX_INTEGER;
  if (number < min || number > max) {
    return { problem: `expected ${expectation(spec)} from ${min} to ${max}, found ${shown(raw)}` };
  }
  // A time finer than a microsecond has no meaning; rounding hides that 0.001 is not exact.
  return { value: spec.kind === "seconds" ? Math.round(number * 1e6) / 1e3 : number + 0 };
}

/** Whether a count has no limit, or that of the whole, where nothing is set. */
function isUnlimited(spec: SettingSpec): boolean {
  return spec.default === undefined || spec.default === "0";
}

/** A number in the unit of the file, from a text; `undefined` if it is none. */
function readNumber(spec: SettingSpec, raw: RawValue, dialect: Dialect): number | undefined {
  if (typeof raw !== "string") return undefined;
  // PgBouncer reads counts as C does: 0x10 is sixteen, 010 is eight.
  if (dialect === "ini" && spec.kind === "integer" && /^0(x[0-9a-f]+|[0-7]+)$/i.test(raw)) {
    return raw[1]?.toLowerCase() === "x" ? parseInt(raw, 16) : parseInt(raw, 8);
  }
  // Times are read as C reads a fraction.
  if (dialect === "ini" && /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(raw)) {
    return Number(raw);
  }
  const match = /^([+-]?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$/.exec(raw);
  if (match === null) return undefined;
  const number = Number(match[1]);
  const unit = match[2] ?? "";
  if (spec.kind === "bytes") return scaled(number, SIZE_UNITS.get(unit), 1);
  if (spec.kind === "seconds") return scaled(number, TIME_UNITS.get(unit), 1000);
  if (spec.kind === "milliseconds") return scaled(number, TIME_UNITS.get(unit), 1);
  return undefined;
}

function scaled(number: number, factor: number | undefined, divisor: number): number | undefined {
  return factor === undefined ? undefined : number * factor / divisor;
}

function expectation(spec: SettingSpec): string {
  switch (spec.kind) {
    case "seconds":
      return 'a number of seconds or a text with a unit, like "15s" or "250ms" (us, ms, s, min, h, d)';
    case "milliseconds":
      return 'a number of milliseconds or a text with a unit, like "15s" (us, ms, s, min, h, d)';
    case "bytes":
      return 'a number of bytes or a text with a unit, like "64kB" (B, kB, MB, GB)';
    default:
      return "a whole number";
  }
}

/** The value for a message, cut when long. Not for secrets. */
function shown(raw: RawValue): string {
  if (typeof raw === "string") {
    return JSON.stringify(raw.length > 60 ? `${raw.slice(0, 60)}…` : raw);
  }
  if (typeof raw === "number" || typeof raw === "boolean") return String(raw);
  return kindOf(raw);
}

function kindOf(raw: RawValue): string {
  if (Array.isArray(raw)) return "an array";
  if (raw instanceof Date) return "a date";
  switch (typeof raw) {
    case "string":
      return "a text";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "a table";
  }
}
