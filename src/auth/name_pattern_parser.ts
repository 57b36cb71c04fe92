/**
 * Reads PostgreSQL's regular expressions ("advanced" ones) into a tree. What is not supported is an
 * error that names it, and never something else than PostgreSQL takes it for.
 *
 * Supported: literals, `.`, `[...]` with ranges and classes, `\d \s \w` and their opposites, groups,
 * `|`, quantifiers greedy and not, `^ $ \A \Z`. Not: back references, look-around, `(?i)` and the
 * like, `***`, collating elements, escapes by number, word boundaries.
 * Source: PostgreSQL, "POSIX Regular Expressions". Letters of classes are ASCII, as in pg_hba.conf.
 */

/** What is wrong with a pattern. */
export class PatternError extends Error {
  override readonly name = "PatternError";
}

/** One part of a pattern; `id` counts them. */
export type PatternNode =
  | { readonly kind: "set"; readonly id: number; readonly has: (code: number) => boolean }
  | { readonly kind: "start" | "end"; readonly id: number }
  | { readonly kind: "sequence"; readonly id: number; readonly items: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly id: number; readonly items: readonly PatternNode[] }
  | {
    readonly kind: "repeat";
    readonly id: number;
    readonly item: PatternNode;
    readonly min: number;
    readonly max: number;
    readonly isLazy: boolean;
  }
  /** `index` counts the groups that capture, from 1; undefined: `(?:...)`. */
  | {
    readonly kind: "group";
    readonly id: number;
    readonly item: PatternNode;
    readonly index: number | undefined;
  };

/** A pattern that was read. */
export interface ParsedPattern {
  readonly root: PatternNode;
  readonly nodeCount: number;
  /** How many groups capture. */
  readonly groupCount: number;
}

/** Longest pattern, in characters; it bounds what matching may cost. */
const MAX_PATTERN_LENGTH = 1_024;

/** As PostgreSQL's DUPMAX. */
const MAX_REPEATS = 255;

const SHORTHANDS: Readonly<Record<string, (code: number) => boolean>> = {
  d: isDigit,
  s: isSpace,
  w: isWord,
};

const CLASSES: Readonly<Record<string, (code: number) => boolean>> = {
  alnum: (code) => isAlpha(code) || isDigit(code),
  alpha: isAlpha,
  ascii: (code) => code < 0x80,
  blank: (code) => code === 0x20 || code === 0x09,
  cntrl: (code) => code < 0x20 || code === 0x7f,
  digit: isDigit,
  graph: (code) => code > 0x20 && code < 0x7f,
  lower: isLower,
  print: (code) => code >= 0x20 && code < 0x7f,
  punct: (code) => code > 0x20 && code < 0x7f && !isAlpha(code) && !isDigit(code),
  space: isSpace,
  upper: isUpper,
  word: isWord,
  xdigit: (code) => isDigit(code) || code >= 0x41 && code <= 0x46 || code >= 0x61 && code <= 0x66,
};

const CONTROLS: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  e: "\x1b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Reads a pattern, without the slash before it. @throws {PatternError} If it is not supported. */
export function parsePattern(text: string): ParsedPattern {
  const characters = [...text];
  if (characters.length > MAX_PATTERN_LENGTH) {
    throw new PatternError(`it is longer than ${MAX_PATTERN_LENGTH} characters`);
  }
  return new PatternParser(characters).parse();
}

class PatternParser {
  readonly #text: readonly string[];
  #at = 0;
  #nodeCount = 0;
  #groupCount = 0;

  constructor(text: readonly string[]) {
    this.#text = text;
  }

  parse(): ParsedPattern {
    if (this.#text.slice(0, 3).join("") === "***") {
      throw new PatternError('"***" at the beginning is not supported');
    }
    const root = this.#choice();
    if (this.#at < this.#text.length) throw new PatternError("a parenthesis is closed, not opened");
    return { root, nodeCount: this.#nodeCount, groupCount: this.#groupCount };
  }

  #choice(): PatternNode {
    const items = [this.#sequence()];
    while (this.#take("|")) items.push(this.#sequence());
    return items.length === 1 ? items[0]! : { kind: "choice", id: this.#nodeCount++, items };
  }

  #sequence(): PatternNode {
    const items: PatternNode[] = [];
    for (;;) {
      const next = this.#text[this.#at];
      if (next === undefined || next === "|" || next === ")") break;
      items.push(this.#piece());
    }
    return { kind: "sequence", id: this.#nodeCount++, items };
  }

  #piece(): PatternNode {
    const atom = this.#atom();
    // As in PostgreSQL, where an anchor is no atom: what repeats it is an error, by the next turn.
    if (atom.kind === "start" || atom.kind === "end") return atom;
    const bounds = this.#quantifier();
    if (bounds === undefined) return atom;
    const isLazy = this.#take("?");
    return { kind: "repeat", id: this.#nodeCount++, item: atom, ...bounds, isLazy };
  }

  #quantifier(): { readonly min: number; readonly max: number } | undefined {
    if (this.#take("*")) return { min: 0, max: Infinity };
    if (this.#take("+")) return { min: 1, max: Infinity };
    if (this.#take("?")) return { min: 0, max: 1 };
    if (!this.#isBound()) return undefined;
    const rest = this.#text.slice(this.#at, this.#at + 12).join("");
    const found = /^\{(\d{1,3})(?:(,)(\d{0,3}))?\}/.exec(rest);
    if (found === null) throw new PatternError("a repetition in braces is malformed");
    this.#at += found[0].length;
    const min = Number(found[1]);
    const upper = found[3] === "" ? Infinity : Number(found[3]);
    const max = found[2] === undefined ? min : upper;
    if (min > MAX_REPEATS || max !== Infinity && max > MAX_REPEATS || min > max) {
      throw new PatternError(`{m,n} takes numbers to ${MAX_REPEATS}, the second not less`);
    }
    return { min, max };
  }

  /** A brace before anything but a digit is an ordinary character. */
  #isBound(): boolean {
    return this.#text[this.#at] === "{" && /^\d$/.test(this.#text[this.#at + 1] ?? "");
  }

  #atom(): PatternNode {
    if (this.#isBound()) throw new PatternError("there is nothing before a repetition to repeat");
    const character = this.#next("the pattern");
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#set(this.#bracket());
      case ".":
        return this.#set(() => true);
      case "^":
        return { kind: "start", id: this.#nodeCount++ };
      case "$":
        return { kind: "end", id: this.#nodeCount++ };
      case "*":
      case "+":
      case "?":
        throw new PatternError("there is nothing before a repetition to repeat");
      case "\\":
        return this.#escape();
      default:
        return this.#literal(character);
    }
  }

  #group(): PatternNode {
    let index: number | undefined;
    if (this.#take("?")) {
      if (!this.#take(":")) {
        const found = this.#text[this.#at] ?? "";
        throw new PatternError(`"(?${found}" is not supported; only "(?:" is`);
      }
    } else {
      index = ++this.#groupCount;
    }
    const item = this.#choice();
    if (!this.#take(")")) throw new PatternError("a parenthesis is not closed");
    return { kind: "group", id: this.#nodeCount++, item, index };
  }

  #escape(): PatternNode {
    const character = this.#next('what "\\" stands before');
    if (character === "A") return { kind: "start", id: this.#nodeCount++ };
    if (character === "Z") return { kind: "end", id: this.#nodeCount++ };
    const shorthand = SHORTHANDS[character.toLowerCase()];
    if (shorthand === undefined) return this.#literal(escaped(character));
    const isOpposite = character !== character.toLowerCase();
    return this.#set(isOpposite ? (code) => !shorthand(code) : shorthand);
  }

  /** After `[`, to behind `]`. */
  #bracket(): (code: number) => boolean {
    const isNegated = this.#take("^");
    const parts: ((code: number) => boolean)[] = [];
    for (let isFirst = true; isFirst || !this.#take("]"); isFirst = false) {
      parts.push(this.#bracketPart(isFirst));
    }
    const isIn = (code: number) => parts.some((has) => has(code));
    return isNegated ? (code) => !isIn(code) : isIn;
  }

  #bracketPart(isFirst: boolean): (code: number) => boolean {
    const begin = this.#bracketElement();
    if (typeof begin === "function") {
      if (this.#isRange()) throw new PatternError("a class cannot begin a range");
      return begin;
    }
    // One that is neither first nor last nor the end of a range means nothing in PostgreSQL.
    if (begin === "-" && !isFirst && this.#text[this.#at] !== "]") {
      throw new PatternError('"-" within brackets stands first, last or in a range');
    }
    if (!this.#isRange()) return isSame(begin);
    this.#at += 1;
    const end = this.#bracketElement();
    if (typeof end === "function") throw new PatternError("a class cannot end a range");
    const [low, high] = [codeOf(begin), codeOf(end)];
    if (low > high) throw new PatternError(`the range "${begin}-${end}" is the wrong way round`);
    return (code) => code >= low && code <= high;
  }

  #isRange(): boolean {
    return this.#text[this.#at] === "-" && this.#text[this.#at + 1] !== "]";
  }

  #bracketElement(): string | ((code: number) => boolean) {
    const character = this.#next('"]"');
    if (character === "\\") {
      const letter = this.#next('what "\\" stands before');
      return SHORTHANDS[letter] ?? escaped(letter);
    }
    const next = this.#text[this.#at];
    if (character !== "[" || next !== ":" && next !== "." && next !== "=") return character;
    if (next !== ":") throw new PatternError(`"[${next}" is not supported`);
    const found = /^:([a-z]*):\]/.exec(this.#text.slice(this.#at, this.#at + 12).join(""));
    const name = found?.[1] ?? "";
    if (found === null || !Object.hasOwn(CLASSES, name)) {
      throw new PatternError("a class is unknown");
    }
    this.#at += found[0].length;
    return CLASSES[name]!;
  }

  #literal(character: string): PatternNode {
    return this.#set(isSame(character));
  }

  #set(has: (code: number) => boolean): PatternNode {
    return { kind: "set", id: this.#nodeCount++, has };
  }

  #next(missing: string): string {
    const character = this.#text[this.#at];
    if (character === undefined) throw new PatternError(`it ends before ${missing}`);
    this.#at += 1;
    return character;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }
}

/** The character that an escape stands for. */
function escaped(character: string): string {
  if (!/^[A-Za-z0-9]$/.test(character)) return character;
  const control = CONTROLS[character];
  if (control === undefined) throw new PatternError(`"\\${character}" is not supported`);
  return control;
}

function isSame(character: string): (code: number) => boolean {
  const wanted = codeOf(character);
  return (code) => code === wanted;
}

function codeOf(character: string): number {
  return character.codePointAt(0)!;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isUpper(code: number): boolean {
  return code >= 0x41 && code <= 0x5a;
}

function isLower(code: number): boolean {
  return code >= 0x61 && code <= 0x7a;
}

function isAlpha(code: number): boolean {
  return isUpper(code) || isLower(code);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code >= 0x09 && code <= 0x0d;
}

function isWord(code: number): boolean {
  return isAlpha(code) || isDigit(code) || code === 0x5f;
}
