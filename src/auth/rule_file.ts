/**
 * Reads a file of the form of pg_hba.conf and pg_ident.conf into lines of fields: quotes, comments,
 * continued lines, lists by comma, `@file`, and the three kinds of include. What the fields mean is
 * for others to say. Reading files is passed in.
 * Source: PostgreSQL, "The pg_hba.conf File" and `hba.c`, whose order of things it follows.
 */

import { errorText } from "../base/error_text.ts";
import { ConfigError, type Place } from "../config/config_error.ts";
import { resolvePath } from "../config/config_io.ts";
import { inOrder } from "../config/load.ts";

/** The outside world as a reader of rules sees it. */
export interface RuleFileIo {
  /** The text of a file; undefined if there is none. Rejects if it cannot be read. */
  readTextFile(path: string): Promise<string | undefined>;
  /** The names of what is in a directory, but for directories. Rejects if it cannot be read. */
  listFiles(path: string): Promise<readonly string[]>;
}

/** One word. */
export interface RuleToken {
  readonly text: string;
  /** Whether it begins with a quote: then it is no keyword. */
  readonly isQuoted: boolean;
}

/** A line with something in it; continued ones are one line, at the place of its first. */
export interface RuleLine extends Place {
  readonly line: number;
  /** As it is written, for people. */
  readonly text: string;
  /** None is empty. */
  readonly fields: readonly (readonly RuleToken[])[];
}

/** What a file and all it includes say. */
export interface RuleFile {
  /** In the order in which they count. */
  readonly lines: readonly RuleLine[];
  /** If there are any, the lines are not complete. */
  readonly errors: readonly ConfigError[];
  /** In the order of reading. */
  readonly files: readonly string[];
}

/** As PostgreSQL's CONF_FILE_MAX_DEPTH. */
const MAX_DEPTH = 10;

/** Files within files multiply. */
const MAX_FILES = 1_000;

/** So many are enough to begin with. */
const MAX_ERRORS = 100;

/** Longest file, in characters. */
const MAX_FILE_LENGTH = 4_194_304;

const INCLUDES: readonly string[] = ["include", "include_if_exists", "include_dir"];

/** What is wrong with a line; whoever reads the line knows where it stands. */
export class RuleError extends Error {
  override readonly name = "RuleError";
}

/**
 * Reads the file at `path` and all it includes, each line by `readLine`, which may throw a RuleError.
 * It rejects never: use the rules only if there are no errors. Those are in the order of the files.
 */
export async function readRules<Rule>(
  path: string,
  { io, readLine }: { readonly io: RuleFileIo; readonly readLine: (line: RuleLine) => Rule },
): Promise<{ readonly rules: readonly Rule[]; readonly errors: readonly ConfigError[] }> {
  const { errors, files, lines } = await readRuleFile(path, io);
  const all = [...errors];
  const rules: Rule[] = [];
  for (const line of lines) {
    try {
      rules.push(readLine(line));
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      all.push(new ConfigError(line, error.message));
    }
  }
  return { rules, errors: inOrder(all, files) };
}

/** Reads the file at `path`. It rejects never: what is wrong is in `errors`. */
export async function readRuleFile(path: string, io: RuleFileIo): Promise<RuleFile> {
  const reader = new RuleFileReader(io);
  const lines = await reader.linesOf(path, { depth: 0, at: { file: path, line: undefined } });
  return { lines, errors: reader.errors, files: reader.files };
}

/** Where a file is named. */
interface Reference {
  readonly depth: number;
  readonly at: Place;
  /** Whether it may be missing. */
  readonly isOptional?: boolean;
}

class RuleFileReader {
  readonly errors: ConfigError[] = [];
  readonly files: string[] = [];
  readonly #io: RuleFileIo;

  constructor(io: RuleFileIo) {
    this.#io = io;
  }

  async linesOf(path: string, reference: Reference): Promise<RuleLine[]> {
    const lines: RuleLine[] = [];
    const text = await this.#textOf(path, reference);
    for (const { line, text: written } of logicalLines(text ?? "")) {
      const at = { file: path, line };
      const errorCount = this.errors.length;
      const fields = await this.#fieldsOf(written, { depth: reference.depth, at });
      // What could not be read is missing in it, and has been said.
      if (this.errors.length > errorCount) continue;
      const [word, name] = fields.map(([first]) => first?.text ?? "");
      if (fields.length === 2 && INCLUDES.includes(word!)) {
        const included = await this.#include(word!, name!, { depth: reference.depth + 1, at });
        for (const each of included) lines.push(each);
      } else if (fields.length > 0) {
        lines.push({ ...at, text: written.trim(), fields });
      }
    }
    return lines;
  }

  async #textOf(path: string, { at, depth, isOptional }: Reference): Promise<string | undefined> {
    if (depth > MAX_DEPTH) {
      return this.#fail(at, `Cannot read ${path}: files are nested deeper than ${MAX_DEPTH}`);
    }
    if (this.files.length >= MAX_FILES) {
      return this.#fail(at, `Cannot read ${path}: there are more than ${MAX_FILES} files`);
    }
    this.files.push(path);
    try {
      const text = await this.#io.readTextFile(path);
      if (text === undefined) {
        return isOptional === true ? undefined : this.#fail(at, `There is no file ${path}`);
      }
      if (text.length <= MAX_FILE_LENGTH && !text.includes("\0")) return text;
      const what = text.includes("\0") ? "it has a zero byte" : "it is too long";
      return this.#fail(at, `Cannot read ${path}: ${what}`);
    } catch (error) {
      return this.#fail(at, `Cannot read ${path}: ${errorText(error)}`);
    }
  }

  async #include(word: string, name: string, reference: Reference): Promise<RuleLine[]> {
    const path = resolvePath(reference.at.file, name);
    if (word !== "include_dir") {
      return await this.linesOf(path, { ...reference, isOptional: word === "include_if_exists" });
    }
    const lines: RuleLine[] = [];
    for (const file of await this.#filesIn(path, reference.at)) {
      const included = await this.linesOf(resolvePath(`${path}/`, file), reference);
      for (const each of included) lines.push(each);
    }
    return lines;
  }

  /** Those that PostgreSQL takes for configuration, in its order. */
  async #filesIn(path: string, at: Place): Promise<string[]> {
    try {
      const names = await this.#io.listFiles(path);
      return names.filter((name) => name.endsWith(".conf") && !name.startsWith(".")).sort();
    } catch (error) {
      this.#fail(at, `Cannot read directory ${path}: ${errorText(error)}`);
      return [];
    }
  }

  async #fieldsOf(text: string, reference: Reference): Promise<RuleToken[][]> {
    const fields: RuleToken[][] = [];
    const words = new WordScanner(text);
    for (;;) {
      const field: RuleToken[] = [];
      let isOpen = true;
      while (isOpen) {
        const word = words.next();
        isOpen = word !== undefined && word.hasComma;
        if (word === undefined) break;
        if (isFile(word)) field.push(...await this.#tokensOf(word.text.slice(1), reference));
        else field.push({ text: word.text, isQuoted: word.isQuoted });
      }
      if (field.length > 0) fields.push(field);
      if (words.isAtEnd) return fields;
    }
  }

  /** All words of a file that is named within a line. */
  async #tokensOf(name: string, { at, depth }: Reference): Promise<RuleToken[]> {
    const path = resolvePath(at.file, name);
    const errorCount = this.errors.length;
    const tokens = (await this.linesOf(path, { at, depth: depth + 1 }))
      .flatMap(({ fields }) => fields.flat());
    // Left out, the fields behind it would stand in its place.
    if (tokens.length === 0 && this.errors.length === errorCount) {
      this.#fail(at, `The file ${path} is empty`);
    }
    return tokens;
  }

  #fail(at: Place, message: string): undefined {
    if (this.errors.length < MAX_ERRORS) this.errors.push(new ConfigError(at, message));
  }
}

function isFile({ isQuoted, text }: RuleToken): boolean {
  return !isQuoted && text.length > 1 && text.startsWith("@");
}

/** Lines, of which one that ends in a backslash goes on in the next. */
function* logicalLines(text: string): Generator<{ line: number; text: string }> {
  const physical = text.split("\n");
  for (let at = 0; at < physical.length; at += 1) {
    const line = at + 1;
    const parts: string[] = [];
    for (;;) {
      const part = physical[at]!.replace(/\r+$/, "");
      const isContinued = part.endsWith("\\") && at + 1 < physical.length;
      parts.push(part.endsWith("\\") ? part.slice(0, -1) : part);
      if (!isContinued) break;
      at += 1;
    }
    yield { line, text: parts.join("") };
  }
}

/** A word as it stands in a line. */
interface ScannedWord extends RuleToken {
  /** Whether a comma stands right behind it: then the next word is of the same field. */
  readonly hasComma: boolean;
}

/** Cuts one line into words. */
class WordScanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** The next word; undefined if there is none before the end or a comment. */
  next(): ScannedWord | undefined {
    const text = this.#text;
    while (isBlank(text[this.#at]) || text[this.#at] === ",") this.#at += 1;
    let word = "";
    let isInQuotes = false;
    let hasQuotes = false;
    let isQuoted = false;
    for (; this.#at < text.length; this.#at += 1) {
      const character = text[this.#at]!;
      if (character === '"') {
        // Two within quotes stand for one.
        if (isInQuotes && text[this.#at + 1] === '"') {
          word += '"';
          this.#at += 1;
          continue;
        }
        if (!hasQuotes && word === "") isQuoted = true;
        hasQuotes = true;
        isInQuotes = !isInQuotes;
      } else if (isInQuotes) {
        word += character;
      } else if (isBlank(character)) {
        break;
      } else if (character === "#") {
        this.#at = text.length;
      } else if (character === ",") {
        this.#at += 1;
        return { text: word, isQuoted, hasComma: true };
      } else {
        word += character;
      }
    }
    return hasQuotes || word !== "" ? { text: word, isQuoted, hasComma: false } : undefined;
  }
}

function isBlank(character: string | undefined): boolean {
  return character === " " || character === "\t" || character === "\r";
}
