/**
 * The `options` startup parameter: command-line switches for the session. Pure.
 * Source: PostgreSQL, `pg_split_opts()` and `process_postgres_switches()`; of the switches only
 * those that set a parameter are taken.
 */

import { ProtocolError } from "./pg_error.ts";

/**
 * Reads `-c name=value`, `-cname=value` and `--name=value`; blanks separate, a backslash keeps the
 * next character.
 * @throws {ProtocolError} If there is any other switch.
 */
export function readStartupOptions(options: string): ReadonlyMap<string, string> {
  const words = splitWords(options);
  const parameters = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const assignment = word === "-c" ? words[++i] : assignmentOf(word);
    const equals = assignment?.indexOf("=") ?? -1;
    if (assignment === undefined || equals <= 0) {
      throw new ProtocolError(
        "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
      );
    }
    // PostgreSQL takes --time-zone=… for time_zone.
    const name = assignment.slice(0, equals).replaceAll("-", "_");
    parameters.set(name, assignment.slice(equals + 1));
  }
  return parameters;
}

function assignmentOf(word: string): string | undefined {
  if (word.startsWith("--") || word.startsWith("-c")) return word.slice(2);
  return undefined;
}

function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (/[ \t\n\v\f\r]/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === "\\") {
      word = (word ?? "") + (text[++i] ?? "");
    } else {
      word = (word ?? "") + character;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}
