/**
 * SASLprep: the one form of a password that may be typed in several, as PostgreSQL makes it before
 * it derives SCRAM keys. Where the profile forbids a password, PostgreSQL uses its bytes as they
 * are, and so do we: then there is no error, only another form.
 *
 * Two things are PostgreSQL's own, and keys made otherwise would not fit the verifiers it stores:
 * ASCII is never looked at, and the tables are asked before normalization, not after.
 * Source: RFC 4013, RFC 3454; the two things were found by asking PostgreSQL 15 for verifiers.
 */

import {
  FORBIDDEN,
  LEFT_TO_RIGHT,
  MAPPED_TO_NOTHING,
  OTHER_SPACES,
  RIGHT_TO_LEFT,
  UNASSIGNED,
} from "./saslprep_tables.ts";

// deno-lint-ignore no-control-regex -- The range is the definition of ASCII.
const ASCII_ONLY = /^[\u0000-\u007F]*$/;

/**
 * Returns the bytes of a password as SCRAM uses them: the SASLprep form in UTF-8 or, where there is
 * none, the bytes as given. A string counts as UTF-8.
 */
export function preparePassword(password: string | Uint8Array): Uint8Array {
  const raw = typeof password === "string" ? new TextEncoder().encode(password) : password;
  const text = typeof password === "string" ? password : decodeUtf8(password);
  const prepared = text === undefined ? undefined : saslprep(text);
  return prepared === undefined ? raw : new TextEncoder().encode(prepared);
}

/** Returns the SASLprep form of a text, or undefined where the profile forbids it. */
export function saslprep(text: string): string | undefined {
  if (ASCII_ONLY.test(text)) return text;
  const mapped = [...text].map(mapCharacter);
  const typed = mapped.join("");
  if (typed === "" || FORBIDDEN.test(typed) || UNASSIGNED.test(typed)) return undefined;
  return isReadOneWay(typed) ? typed.normalize("NFKC") : undefined;
}

/** U+200B is in both tables: PostgreSQL takes it for a space. */
function mapCharacter(character: string): string {
  if (OTHER_SPACES.test(character)) return " ";
  return MAPPED_TO_NOTHING.test(character) ? "" : character;
}

/** RFC 3454 section 6: what holds a right-to-left character begins and ends with one. */
function isReadOneWay(text: string): boolean {
  if (!RIGHT_TO_LEFT.test(text)) return true;
  const characters = [...text];
  return !LEFT_TO_RIGHT.test(text) &&
    RIGHT_TO_LEFT.test(characters[0] ?? "") && RIGHT_TO_LEFT.test(characters.at(-1) ?? "");
}

/** The text that bytes are in UTF-8; undefined if they are none. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
