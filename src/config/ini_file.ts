/**
 * Reads a `pgbouncer.ini` and the files it includes into a `RawConfig`, by PgBouncer's own rules:
 * comments only at the start of a line, blanks before it, sections may come back, `%include` in
 * place and relative to the working directory, and the last value wins.
 *
 * Source: PgBouncer's manual, and the behaviour of PgBouncer 1.18, tried.
 */

import { errorText } from "../base/error_text.ts";
import { ConfigError, type Place } from "./config_error.ts";
import type { ConfigIo } from "./config_io.ts";
import { parseConnectionString } from "./connection_string.ts";
import type { NamedPart, RawEntry, RawResult, RawSection } from "./raw.ts";
import { suggestion } from "./suggest.ts";

/** As PgBouncer limits it. */
const MAX_INCLUDE_DEPTH = 10;

const SECTIONS: readonly string[] = ["pgbouncer", "databases", "users", "servers", "peers"];

/**
 * `name = value`. PgBouncer's manual has names in double quotes, and PgBouncer 1.25 reads them in
 * single ones.
 */
const PAIR =
  /^(?:"(?<doubled>(?:[^"]|"")*)"|'(?<single>[^']+)'|(?<bare>[A-Za-z0-9_.*-]+))[ \t]*=[ \t]*(?<value>[^]*)$/;

/** Reads the file, whose text is at hand, and all it includes. Rejects never for what they say. */
export async function readIni(path: string, text: string, io: ConfigIo): Promise<RawResult> {
  const reader = new IniReader(io);
  await reader.readText(path, text, 0);
  return reader.result();
}

class IniReader {
  readonly #io: ConfigIo;
  readonly #errors: ConfigError[] = [];
  readonly #files: string[] = [];
  readonly #pooler = new Map<string, RawEntry>();
  readonly #named: Readonly<Record<NamedPart, Map<string, RawSection>>> = {
    databases: new Map(),
    users: new Map(),
    servers: new Map(),
    peers: new Map(),
  };
  #section: string | undefined;
  #syntaxError: ConfigError | undefined;

  constructor(io: ConfigIo) {
    this.#io = io;
  }

  result(): RawResult {
    return {
      raw: {
        dialect: "ini",
        pooler: [...this.#pooler.values()],
        databases: [...this.#named.databases.values()],
        users: [...this.#named.users.values()],
        servers: [...this.#named.servers.values()],
        peers: [...this.#named.peers.values()],
        files: this.#files,
      },
      errors: this.#errors,
      syntaxErrors: this.#syntaxError === undefined ? [] : [this.#syntaxError],
    };
  }

  async readText(file: string, text: string, depth: number): Promise<void> {
    if (!this.#files.includes(file)) this.#files.push(file);
    for (const [index, line] of text.replace(/^\uFEFF/, "").split("\n").entries()) {
      const problem = await this.#line(line.trim(), { file, line: index + 1 }, depth);
      if (problem !== undefined) {
        this.#syntaxError ??= new ConfigError({ file, line: index + 1 }, problem);
      }
      if (this.#syntaxError !== undefined) return;
    }
  }

  /** Handles one line; answers what is wrong if it is not INI at all. */
  async #line(line: string, place: Place, depth: number): Promise<string | undefined> {
    const include = /^%include[ \t]+(.*)$/.exec(line);
    if (include !== null) {
      await this.#include(include[1] ?? "", place, depth);
      return undefined;
    }
    if (line === "" || line.startsWith("#") || line.startsWith(";")) return undefined;
    if (line.startsWith("[")) {
      const end = line.indexOf("]");
      if (end < 0) return 'Expected "]" after the name of the section';
      this.#openSection(line.slice(1, end), place);
      return await this.#line(line.slice(end + 1).trim(), place, depth);
    }
    return this.#pair(line, place);
  }

  #openSection(name: string, place: Place): void {
    this.#section = name;
    if (SECTIONS.includes(name)) return;
    const hint = name === "pooler"
      ? ": it is called [pgbouncer] in an INI file"
      : suggestion(name, SECTIONS) || `: there are ${SECTIONS.map((s) => `[${s}]`).join(", ")}`;
    this.#errors.push(new ConfigError(place, `Unknown section [${name}]${hint}`));
  }

  #pair(line: string, place: Place): string | undefined {
    const match = PAIR.exec(line);
    if (match === null) return pairProblem(line);
    if (this.#section === undefined) return "Expected a section, like [pgbouncer], before settings";
    const { bare, doubled, single, value = "" } = match.groups ?? {};
    const name = bare ?? single ?? (doubled ?? "").replaceAll('""', '"');
    if (this.#section === "pgbouncer") {
      this.#pooler.set(name, { ...place, key: name, value });
    } else if (SECTIONS.includes(this.#section)) {
      this.#namedLine(this.#section as NamedPart, { name, value, place });
    }
    return undefined;
  }

  /** `name = connection string`: takes the place of an earlier line of that name as a whole. */
  #namedLine(part: NamedPart, line: { name: string; value: string; place: Place }): void {
    const parsed = parseConnectionString(line.value);
    if ("problem" in parsed) {
      const message = `${part} entry "${line.name}": ${parsed.problem}`;
      this.#errors.push(new ConfigError(line.place, message));
      return;
    }
    const entries = new Map<string, RawEntry>();
    for (const [key, value] of parsed.pairs) entries.set(key, { ...line.place, key, value });
    this.#named[part].set(line.name, {
      ...line.place,
      name: line.name,
      entries: [...entries.values()],
    });
  }

  async #include(name: string, place: Place, depth: number): Promise<void> {
    if (depth >= MAX_INCLUDE_DEPTH) {
      this.#syntaxError ??= new ConfigError(place, "%include: files include each other too deep");
      return;
    }
    let text: string;
    try {
      text = await this.#io.readTextFile(name);
    } catch (error) {
      const message = `%include: cannot read the file "${name}": ${errorText(error)}`;
      this.#errors.push(new ConfigError(place, message));
      return;
    }
    await this.readText(name, text, depth + 1);
  }
}

/** Says why a line is not `name = value`, without showing the line: it may hold a secret. */
function pairProblem(line: string): string {
  if (/^["']/.test(line)) return 'Expected a name in quotes, "=" and a value';
  if (!line.includes("=")) return 'Expected "name = value": there is no "="';
  return 'Expected "name = value"; a name with anything but letters, digits and _ . - * ' +
    "needs quotes";
}
