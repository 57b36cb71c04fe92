/**
 * PgBouncer's connection strings, the values of all sections of the INI but the first.
 * Pure. Not libpq's: a backslash is an ordinary character, and inside quotes two quotes are one.
 *
 * Source: the behaviour of PgBouncer 1.18, tried. It refuses empty values, quoted or not, and a
 * blank after `=` is skipped, so that `dbname= host=x` names the database `host=x`.
 */

/** `key=value` pairs in their order, or what is wrong. */
export type ConnectionString =
  | { readonly pairs: readonly (readonly [key: string, value: string])[] }
  | { readonly problem: string };

/** Reads a connection string. Problems name keys, never values. */
export function parseConnectionString(text: string): ConnectionString {
  const pairs: (readonly [string, string])[] = [];
  let position = skipBlanks(text, 0);
  while (position < text.length) {
    const key = /[^\s=]*/y;
    key.lastIndex = position;
    const name = key.exec(text)?.[0] ?? "";
    position = skipBlanks(text, position + name.length);
    if (text[position] !== "=" || name === "") {
      return { problem: 'expected "key=value" pairs: an "=" or a key is missing' };
    }
    const value = readValue(text, skipBlanks(text, position + 1));
    if ("problem" in value) return { problem: `${value.problem} of "${name}"` };
    pairs.push([name, value.text]);
    position = skipBlanks(text, value.end);
  }
  return { pairs };
}

function readValue(
  text: string,
  start: number,
): { text: string; end: number } | { problem: string } {
  if (text[start] !== "'") {
    const bare = /\S*/y;
    bare.lastIndex = start;
    const value = bare.exec(text)?.[0] ?? "";
    return value === ""
      ? { problem: "expected a value" }
      : { text: value, end: start + value.length };
  }
  let value = "";
  let position = start + 1;
  for (;;) {
    const quote = text.indexOf("'", position);
    if (quote < 0) return { problem: "a closing ' is missing after the value" };
    value += text.slice(position, quote);
    if (text[quote + 1] !== "'") {
      const after = text[quote + 1];
      if (after !== undefined && !/\s/.test(after)) {
        return { problem: "expected a blank after the quoted value" };
      }
      if (value === "") return { problem: "expected a value" };
      return { text: value, end: quote + 1 };
    }
    value += "'";
    position = quote + 2;
  }
}

function skipBlanks(text: string, start: number): number {
  let position = start;
  while (position < text.length && /\s/.test(text[position] ?? "")) position++;
  return position;
}
