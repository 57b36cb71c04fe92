/** Texts of the form `name=value name="another value"` in which one value is a secret. */

/** What stands in for a secret. */
const HIDDEN = "***";

/**
 * The text with what is given to `name` hidden, each time it stands there. A value goes to the next
 * blank or comma outside double quotes; where the quotes begin before the name, to their end.
 */
export function hideValue(name: string, text: string): string {
  let shown = "";
  let at = 0;
  let isQuoted = false;
  while (at < text.length) {
    if (!isNameAt(name, text, at)) {
      if (text[at] === '"') isQuoted = !isQuoted;
      shown += text[at];
      at += 1;
      continue;
    }
    // PgBouncer lets the name alone be in quotes too.
    const begin = text.indexOf("=", at) + 1;
    if (text[begin - 2] === '"') isQuoted = false;
    shown += text.slice(at, begin) + HIDDEN;
    at = endOfValue(text, begin, isQuoted);
  }
  return shown;
}

function isNameAt(name: string, text: string, at: number): boolean {
  return text.startsWith(`${name}=`, at) || text.startsWith(`${name}"=`, at);
}

/** Where the value ends that begins at `at`: at its last quote, if the quotes begin before it. */
function endOfValue(text: string, at: number, isWithinQuotes: boolean): number {
  let isQuoted = isWithinQuotes;
  for (let end = at; end < text.length; end += 1) {
    const character = text[end]!;
    if (character === '"') {
      isQuoted = !isQuoted;
      // Two within quotes stand for one.
      if (isWithinQuotes && !isQuoted && text[end + 1] !== '"') return end;
    } else if (!isQuoted && /[\s,]/.test(character)) {
      return end;
    }
  }
  return text.length;
}
