/**
 * Reads a TOML configuration and the files it includes into a `RawConfig`. It knows the sections,
 * not the settings. Values that stand elsewhere (`{ env = … }`, `{ file = … }`) are fetched here.
 */

import { errorText } from "../base/error_text.ts";
import { ConfigError, type Place, showPlace } from "./config_error.ts";
import { type ConfigIo, resolvePath } from "./config_io.ts";
import type { NamedPart, RawConfig, RawEntry, RawResult, RawSection } from "./raw.ts";
import { suggestion } from "./suggest.ts";
import { scanToml, showTomlPath, type TomlStatement } from "./toml_scan.ts";
import type { RawTable, RawValue } from "./values.ts";

/** Files included by included files by included files: more is a mistake. */
const MAX_INCLUDE_DEPTH = 10;

const TOP_LEVEL: readonly string[] = [
  "include",
  "pooler",
  "databases",
  "users",
  "servers",
  "peers",
];

/** Reads the file, whose text is at hand, and all it includes. Rejects never for what they say. */
export async function readToml(path: string, text: string, io: ConfigIo): Promise<RawResult> {
  const reader = new TomlReader(io);
  await reader.readText(path, text, []);
  return await reader.result();
}

/** A section that is still being read. */
interface OpenSection extends Place {
  readonly name: string;
  readonly entries: Map<string, OpenEntry>;
}

type OpenEntry = Place & { readonly key: string; value: RawValue };

class TomlReader {
  readonly #io: ConfigIo;
  readonly #errors: ConfigError[] = [];
  readonly #syntaxErrors: ConfigError[] = [];
  readonly #files: string[] = [];
  readonly #pooler = new Map<string, OpenEntry>();
  readonly #named: Readonly<Record<NamedPart, Map<string, OpenSection>>> = {
    databases: new Map(),
    users: new Map(),
    servers: new Map(),
    peers: new Map(),
  };

  constructor(io: ConfigIo) {
    this.#io = io;
  }

  async result(): Promise<RawResult> {
    const part = (name: NamedPart) =>
      Promise.all([...this.#named[name].values()].map((section) => this.#close(section)));
    const raw: RawConfig = {
      dialect: "toml",
      pooler: await this.#fetched(this.#pooler),
      databases: await part("databases"),
      users: await part("users"),
      servers: await part("servers"),
      peers: await part("peers"),
      files: this.#files,
    };
    return { raw, errors: this.#errors, syntaxErrors: this.#syntaxErrors };
  }

  async readText(file: string, text: string, includedBy: readonly string[]): Promise<void> {
    this.#files.push(file);
    const scan = scanToml(text.replace(/^\uFEFF/, ""));
    if (scan.syntaxError !== undefined) {
      const { line, message } = scan.syntaxError;
      this.#syntaxErrors.push(new ConfigError({ file, line }, message));
      return;
    }
    for (const { line, message } of scan.duplicates) this.#fail({ file, line }, message);
    const unknown = new Set<string>();
    for (const statement of scan.statements) {
      const place = { file, line: statement.line };
      const top = statement.path[0] ?? "";
      if (top === "include") await this.#include(statement, place, [...includedBy, file]);
      else if (TOP_LEVEL.includes(top)) this.#statement(statement, place);
      else if (!unknown.has(top)) {
        unknown.add(top);
        this.#fail(place, unknownTop(top, statement));
      }
    }
  }

  async #include(statement: TomlStatement, place: Place, chain: readonly string[]): Promise<void> {
    const { value } = statement;
    const names = typeof value === "string" ? [value] : value;
    const isList = Array.isArray(names) && names.every((name) => typeof name === "string");
    if (!isList || statement.path.length > 1) {
      return this.#fail(place, '"include": expected an array of file names');
    }
    if (chain.length > MAX_INCLUDE_DEPTH) {
      return this.#fail(place, '"include": files include each other too deep');
    }
    for (const name of names as string[]) {
      const file = resolvePath(place.file, name);
      if (this.#files.includes(file)) {
        const what = chain.includes(file) ? "includes itself" : "is included twice";
        this.#fail(place, `"include": the file "${name}" ${what}`);
        continue;
      }
      try {
        await this.readText(file, await this.#io.readTextFile(file), chain);
      } catch (error) {
        this.#fail(place, `"include": cannot read the file "${name}": ${errorText(error)}`);
      }
    }
  }

  #statement(statement: TomlStatement, place: Place): void {
    const [part, first, second] = statement.path;
    const isValue = "value" in statement;
    if (first === undefined) {
      if (isValue) this.#fail(place, `"${part}": expected a table, found a single value`);
      return;
    }
    if (part === "pooler") {
      this.#entry(this.#pooler, { key: first, statement, place, from: 2 });
      return;
    }
    const section = this.#section(part as NamedPart, first, place);
    if (second !== undefined) {
      this.#entry(section.entries, { key: second, statement, place, from: 3 });
    } else if (isValue) {
      const header = showTomlPath([part ?? "", first]);
      this.#fail(place, `${header}: expected a table, like [${header}], found a single value`);
    }
  }

  #section(part: NamedPart, name: string, place: Place): OpenSection {
    const known = this.#named[part].get(name);
    if (known !== undefined) return known;
    const section: OpenSection = { ...place, name, entries: new Map() };
    this.#named[part].set(name, section);
    return section;
  }

  /** Notes a value, or a part of a table that stands in place of a value. */
  #entry(
    entries: Map<string, OpenEntry>,
    at: { key: string; statement: TomlStatement; place: Place; from: number },
  ): void {
    const { key, statement, place } = at;
    const known = entries.get(key);
    if (known !== undefined && known.file !== place.file) {
      const name = showTomlPath(statement.path.slice(0, at.from));
      return this.#fail(place, `${name} is already defined in ${showPlace(known)}`);
    }
    const inner = statement.path[at.from];
    if (inner === undefined) {
      // Within one file the scanner has reported a second definition already.
      const value = (statement.value ?? {}) as RawValue;
      if (known === undefined) entries.set(key, { ...place, key, value });
      return;
    }
    const table = isTable(known?.value) ? known.value : {};
    const value: RawTable = { ...table, [inner]: statement.value };
    if (known === undefined) entries.set(key, { ...place, key, value });
    else known.value = value;
  }

  async #close(section: OpenSection): Promise<RawSection> {
    return { ...section, entries: await this.#fetched(section.entries) };
  }

  /** The entries, with the values in place that stand elsewhere. */
  async #fetched(entries: ReadonlyMap<string, OpenEntry>): Promise<RawEntry[]> {
    const fetched: RawEntry[] = [];
    for (const entry of entries.values()) {
      const { value } = entry;
      if (!isTable(value) || entry.key !== "password" && !isReference(value)) {
        fetched.push(entry);
        continue;
      }
      const text = await this.#fetch(value, entry);
      if (text !== undefined) fetched.push({ ...entry, value: text, isFetched: true });
    }
    return fetched;
  }

  /** The text that `{ env = … }` or `{ file = … }` points at. */
  async #fetch(table: RawTable, entry: OpenEntry): Promise<string | undefined> {
    const key = JSON.stringify(entry.key);
    if (!isReference(table)) {
      this.#fail(entry, `${key}: expected a text, { env = "NAME" } or { file = "path" }`);
      return undefined;
    }
    const { env, file } = table;
    if (env !== undefined) {
      const value = this.#io.env(env);
      if (value === undefined) {
        this.#fail(entry, `${key}: the environment has no variable "${env}"`);
      }
      return value;
    }
    try {
      const text = await this.#io.readTextFile(resolvePath(entry.file, file));
      return text.replace(/\r?\n$/, "");
    } catch (error) {
      this.#fail(entry, `${key}: cannot read the file "${file}": ${errorText(error)}`);
      return undefined;
    }
  }

  #fail(place: Place, message: string): void {
    this.#errors.push(new ConfigError(place, message));
  }
}

function unknownTop(top: string, statement: TomlStatement): string {
  if (top === "pgbouncer") return "Unknown section [pgbouncer]: it is called [pooler] here";
  const isTable = statement.path.length > 1 || !("value" in statement);
  if (isTable) {
    const hint = suggestion(top, TOP_LEVEL.slice(1)) || ": there are [pooler], [databases.NAME], " +
        "[users.NAME], [servers.NAME] and [peers.ID]";
    return `Unknown section [${showTomlPath([top])}]${hint}`;
  }
  return `Unknown key "${top}" outside of a section: settings stand in [pooler]`;
}

/** Where a value stands that is not in the file itself. */
type Reference =
  | { readonly env: string; readonly file?: undefined }
  | { readonly env?: undefined; readonly file: string };

function isReference(table: RawTable): table is RawTable & Reference {
  const [[key, name] = ["", undefined], ...others] = Object.entries(table);
  return others.length === 0 && (key === "env" || key === "file") && typeof name === "string";
}

function isTable(value: unknown): value is RawTable {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}
