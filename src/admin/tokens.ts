/** Cuts what is typed into the console into words and signs. Pure. */

/** One piece of a command. */
export interface Token {
  /** A bare word or number, a "quoted name", a 'quoted text', a $1, or any other sign. */
  readonly kind: "word" | "name" | "text" | "parameter" | "sign";
  /** What it stands for: without its quotes, doubled ones made one. */
  readonly value: string;
  /** Whether the end is missing: a quote or a comment that reaches to the end of the text. */
  readonly isOpen: boolean;
}

/**
 * Blanks; comments; quoted texts and names; parameters; words; comparisons; any other character for
 * itself. A comment or a quote without its end reaches to the end of the text.
 */
const TOKEN =
  /\s+|--[^\r\n]*|\/\*[^]*?(?:\*\/|$)|'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|\$\d+|[\p{L}\p{N}_.]+|<>|!=|[^]/gu;

/** The words and signs of a command, without what does not matter. */
export function tokensOf(text: string): Token[] {
  return Array.from(text.matchAll(TOKEN), ([token]) => token)
    .filter((token) => !isBlank(token))
    .map(readToken);
}

/** A comment without its end is not blank: it may have swallowed what was meant to be run. */
function isBlank(token: string): boolean {
  if (token.startsWith("/*")) return token.length >= 4 && token.endsWith("*/");
  return token.startsWith("--") || token.trim() === "";
}

function readToken(token: string): Token {
  const first = token[0];
  if (first === "'" || first === '"') return readQuoted(token, first);
  if (/^\$\d+$/.test(token)) return { kind: "parameter", value: token.slice(1), isOpen: false };
  const isWord = /^[\p{L}\p{N}_.]/u.test(token);
  return { kind: isWord ? "word" : "sign", value: token, isOpen: token.startsWith("/*") };
}

function readQuoted(token: string, quote: "'" | '"'): Token {
  const inner = token.slice(1);
  // What is left of doubled quotes is the end, or there is none.
  const isOpen = (inner.match(new RegExp(quote, "g"))?.length ?? 0) % 2 === 0;
  const value = (isOpen ? inner : inner.slice(0, -1)).replaceAll(quote + quote, quote);
  return { kind: quote === "'" ? "text" : "name", value, isOpen };
}
