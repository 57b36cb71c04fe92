/**
 * Finds the structure of a TOML document: which key stands on which line, with which value. Pure.
 *
 * Not a parser of values: strings, numbers and arrays are handed to `@std/toml` one by one. That
 * package gives no positions, takes duplicate keys and cannot read `[a]` after `[a.b]`; so tables,
 * dotted keys and inline tables are walked here. Messages never show a value: it may be a secret.
 * Source: TOML v1.0.0.
 */

// @ts-types="./std_toml.d.ts"
import { parse } from "@std/toml";

/** A table that was opened, or a key with its value. */
export interface TomlStatement {
  /** The keys from the top, tables included. */
  readonly path: readonly string[];
  /** Counted from 1. */
  readonly line: number;
  /** Missing for `[path]` and for an empty inline table. */
  readonly value?: unknown;
}

/** A mistake in the document. */
export interface TomlProblem {
  /** Counted from 1. */
  readonly line: number;
  /** What is wrong; never a value. */
  readonly message: string;
}

/** What was found. */
export interface TomlScan {
  /** In the order of the document; up to the syntax error if there is one. */
  readonly statements: readonly TomlStatement[];
  /** Keys and tables defined twice. */
  readonly duplicates: readonly TomlProblem[];
  /** The first place that is not TOML. */
  readonly syntaxError: TomlProblem | undefined;
}

/** Arrays and inline tables nested deeper than this are refused: no setting needs it. */
const MAX_DEPTH = 16;

/** How a path came to be defined. */
type Definition = "header" | "above header" | "above key" | "value";

/** Reads the structure of `text`. Never throws for what the text contains. */
export function scanToml(text: string): TomlScan {
  const scanner = new TomlScanner(text);
  let syntaxError: TomlProblem | undefined;
  try {
    scanner.scan();
  } catch (error) {
    if (!(error instanceof ScanError)) throw error;
    syntaxError = { line: error.line, message: error.message };
  }
  return { statements: scanner.statements, duplicates: scanner.duplicates, syntaxError };
}

/** Ends the scan; never leaves this file. */
class ScanError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

class TomlScanner {
  readonly statements: TomlStatement[] = [];
  readonly duplicates: TomlProblem[] = [];
  readonly #text: string;
  readonly #definitions = new Map<string, { line: number; how: Definition }>();
  #position = 0;
  #line = 1;
  #table: readonly string[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  scan(): void {
    for (;;) {
      this.#skipBlankLines();
      if (this.#position >= this.#text.length) return;
      if (this.#peek() === "[") this.#header();
      else this.#pair(this.#table, 0);
      this.#endOfLine();
    }
  }

  #header(): void {
    const line = this.#line;
    if (this.#text.startsWith("[[", this.#position)) {
      throw this.#error("Arrays of tables ([[...]]) are not used here: write [...]");
    }
    this.#position++;
    this.#table = this.#key();
    if (this.#peek() !== "]") throw this.#error('Expected "]" after the name of the table');
    this.#position++;
    this.#define(this.#table, line, "header");
    this.statements.push({ path: this.#table, line });
  }

  /** `a.b = value`, below the table `base`. */
  #pair(base: readonly string[], depth: number): void {
    const line = this.#line;
    const key = this.#key();
    if (this.#peek() !== "=") throw this.#error('Expected "=" after the key');
    this.#position++;
    this.#skipSpaces();
    const path = [...base, ...key];
    this.#define(path, line, "value", base.length);
    if (this.#peek() === "{") {
      this.#inlineTable(path, { line, depth: depth + 1 });
    } else {
      const valueLine = this.#line;
      const start = this.#position;
      this.#skipValue(depth + 1);
      const value = this.#parse(this.#text.slice(start, this.#position), valueLine);
      this.statements.push({ path, line, value });
    }
  }

  /** The keys of an inline table become statements of their own. */
  #inlineTable(path: readonly string[], at: { line: number; depth: number }): void {
    this.#checkDepth(at.depth);
    this.#position++;
    this.#skipSpaces();
    if (this.#peek() === "}") {
      this.#position++;
      this.statements.push({ path, line: at.line });
      return;
    }
    for (;;) {
      this.#skipSpaces();
      this.#pair(path, at.depth);
      this.#skipSpaces();
      const next = this.#peek();
      if (next !== "," && next !== "}") {
        throw this.#error('Expected "," or "}" in the inline table, which must be on one line');
      }
      this.#position++;
      if (next === "}") return;
    }
  }

  /** A dotted key, with the blanks after it. */
  #key(): string[] {
    const path: string[] = [];
    for (;;) {
      this.#skipSpaces();
      path.push(this.#keyPart());
      this.#skipSpaces();
      if (this.#peek() !== ".") return path;
      // Each part costs the parts before it.
      if (path.length >= MAX_DEPTH) throw this.#error("The key has too many parts");
      this.#position++;
    }
  }

  #keyPart(): string {
    const quote = this.#peek();
    if (quote === '"' || quote === "'") {
      if (this.#text.startsWith(quote.repeat(3), this.#position)) {
        throw this.#error("A key cannot be a multi-line text");
      }
      const start = this.#position;
      this.#skipString();
      return String(this.#parse(this.#text.slice(start, this.#position), this.#line));
    }
    const bare = this.#match(/[A-Za-z0-9_-]+/y);
    if (bare !== "") return bare;
    if (quote === "" || quote === "\n" || quote === "\r") throw this.#error("Expected a key");
    throw this.#error(
      `Unexpected ${
        JSON.stringify(quote)
      }: a key or name with anything but letters, digits, "_" and "-" needs quotes`,
    );
  }

  #skipValue(depth: number): void {
    this.#checkDepth(depth);
    const first = this.#peek();
    if (first === '"' || first === "'") return this.#skipString();
    if (first === "[") return this.#skipArray(depth);
    if (first === "{") return this.#skipTableInArray(depth);
    const scalar = this.#match(/[A-Za-z0-9_+.:-]+(?: [0-9][0-9:.Z+-]+)?/y);
    if (scalar === "") throw this.#error("Expected a value after the key; a text needs quotes");
  }

  #skipArray(depth: number): void {
    const line = this.#line;
    this.#position++;
    for (;;) {
      this.#skipBlankLines();
      if (this.#peek() === "]") break;
      if (this.#peek() === "") throw new ScanError(line, 'The array is not closed by "]"');
      this.#skipValue(depth + 1);
      this.#skipBlankLines();
      if (this.#peek() === "]") break;
      if (this.#peek() === "") throw new ScanError(line, 'The array is not closed by "]"');
      if (this.#peek() !== ",") throw this.#error('Expected "," or "]" in the array');
      this.#position++;
    }
    this.#position++;
  }

  /** No setting takes such an array; it is skipped so that the message can say so. */
  #skipTableInArray(depth: number): void {
    this.#position++;
    this.#skipSpaces();
    if (this.#peek() === "}") {
      this.#position++;
      return;
    }
    for (;;) {
      this.#key();
      if (this.#peek() !== "=") throw this.#error('Expected "=" after the key');
      this.#position++;
      this.#skipSpaces();
      this.#skipValue(depth + 1);
      this.#skipSpaces();
      const next = this.#peek();
      if (next !== "," && next !== "}") {
        throw this.#error('Expected "," or "}" in the inline table');
      }
      this.#position++;
      if (next === "}") return;
    }
  }

  #skipString(): void {
    const quote = this.#peek();
    const isLong = this.#text.startsWith(quote.repeat(3), this.#position);
    const end = isLong ? quote.repeat(3) : quote;
    const line = this.#line;
    this.#position += end.length;
    while (!this.#text.startsWith(end, this.#position)) {
      const character = this.#peek();
      if (character === "" || (character === "\n" && !isLong)) {
        throw new ScanError(line, `The text is not closed by ${end}`);
      }
      if (character === "\n") this.#line++;
      // An escaped quote does not end the text; an escaped line end still counts as a line.
      if (quote === '"' && character === "\\") this.#skipEscape();
      else this.#position++;
    }
    this.#position += end.length;
    // Up to two quotes may stand right before the closing three.
    if (isLong) this.#match(quote === '"' ? /"{0,2}/y : /'{0,2}/y);
  }

  #skipEscape(): void {
    const escaped = this.#text[this.#position + 1] ?? "";
    if (escaped === "U") {
      throw this.#error("\\U is not supported: write the character itself, or \\u and four digits");
    }
    this.#position += escaped === '"' || escaped === "\\" ? 2 : 1;
  }

  /** Notes that `path` is defined, and everything above it from `knownLength` on. */
  #define(path: readonly string[], line: number, how: "header" | "value", knownLength = 0): void {
    for (let length = knownLength + 1; length < path.length; length++) {
      const above = this.#definitions.get(pathKey(path.slice(0, length)));
      if (above === undefined) {
        const aboveHow = how === "header" ? "above header" : "above key";
        this.#definitions.set(pathKey(path.slice(0, length)), { line, how: aboveHow });
      } else if (above.how === "value" || (how === "value" && above.how !== "above key")) {
        this.#duplicate(path.slice(0, length), line, above.line);
        return;
      }
    }
    const earlier = this.#definitions.get(pathKey(path));
    if (earlier !== undefined && !(how === "header" && earlier.how === "above header")) {
      this.#duplicate(path, line, earlier.line);
      return;
    }
    this.#definitions.set(pathKey(path), { line, how });
  }

  #duplicate(path: readonly string[], line: number, firstLine: number): void {
    const message = `${showTomlPath(path)} is already defined in line ${firstLine}`;
    this.duplicates.push({ line, message });
  }

  /** One value, of which the structure is known to be right, read by the TOML package. */
  #parse(text: string, line: number): unknown {
    let document: Record<string, unknown>;
    try {
      document = parse(`v = ${text}`);
    } catch (error) {
      throw new ScanError(line, safeMessage(error));
    }
    const isWhole = Object.keys(document).length === 1;
    if (!isWhole) throw new ScanError(line, "Cannot read the value; a text needs quotes");
    return document["v"];
  }

  #endOfLine(): void {
    this.#skipSpaces();
    this.#match(/#[^\n]*/y);
    this.#match(/\r(?=\n)/y);
    if (this.#peek() !== "\n" && this.#peek() !== "") {
      throw this.#error("Expected the end of the line after the value");
    }
  }

  #skipBlankLines(): void {
    for (;;) {
      this.#match(/[ \t\r]+/y);
      this.#match(/#[^\n]*/y);
      if (this.#peek() !== "\n") return;
      this.#line++;
      this.#position++;
    }
  }

  #skipSpaces(): void {
    this.#match(/[ \t]+/y);
  }

  #checkDepth(depth: number): void {
    if (depth > MAX_DEPTH) throw this.#error("Values are nested too deep");
  }

  #peek(): string {
    return this.#text[this.#position] ?? "";
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#position;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#position += found.length;
    return found;
  }

  #error(message: string): ScanError {
    return new ScanError(this.#line, message);
  }
}

/** A path as one would write it. */
export function showTomlPath(path: readonly string[]): string {
  return path.map((part) => /^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part)).join(".");
}

function pathKey(path: readonly string[]): string {
  return JSON.stringify(path);
}

/** The package's messages quote the text, which may be a secret; one escape character is none. */
function safeMessage(error: unknown): string {
  const escape = error instanceof Error ? /Invalid escape sequence: \\./.exec(error.message) : null;
  return escape?.[0] ?? "Cannot read the value; a text needs quotes";
}
