/**
 * Reads the file of `auth_file`: `"name" "secret"`, one pair a line. Pure.
 *
 * Invariant: a message never holds text of the file, since in a broken line anything may be a secret.
 * A line with a problem is skipped; the others count.
 * Source: PgBouncer, "Authentication file format".
 */

import { Secret } from "../base/secret.ts";

/** As PgBouncer's MAX_USERNAME, which counts a zero byte. */
const MAX_NAME_BYTES = 127;

/** As PgBouncer's MAX_PASSWORD: what fits into the largest password message. */
const MAX_SECRET_BYTES = 65_530;

/** A line that was skipped. */
export interface UserListProblem {
  /** Counted from 1. */
  readonly line: number;
  /** What was found and what is allowed. */
  readonly message: string;
}

/** What the file says. */
export interface UserList {
  /** By name; of a name that comes twice, the last line counts. */
  readonly users: ReadonlyMap<string, Secret>;
  /** In the order of the lines. */
  readonly problems: readonly UserListProblem[];
}

/** Reads the text of an `auth_file`. */
export function parseUserList(text: string): UserList {
  const users = new Map<string, Secret>();
  const problems: UserListProblem[] = [];
  // A byte order mark counts as a blank.
  text.split(/\r?\n/).forEach((line, at) => {
    if (/^\s*(?:[;#]|$)/.test(line)) return;
    const entry = parseLine(line);
    if (typeof entry === "string") problems.push({ line: at + 1, message: entry });
    else users.set(entry.name, new Secret(entry.secret));
  });
  return { users, problems };
}

/** Answers a message for a line that is not a pair. */
function parseLine(line: string): { readonly name: string; readonly secret: string } | string {
  const name = quotedString(line, line.length - line.trimStart().length);
  if (name === undefined) return 'expected a user name in double quotes: "name" "secret"';
  // As PgBouncer does, whatever stands between the two is not looked at.
  const secretAt = line.indexOf('"', name.end);
  const secret = secretAt < 0 ? undefined : quotedString(line, secretAt);
  if (secret === undefined) {
    return 'expected a secret in double quotes after the user name: "name" "secret"';
  }
  return problemOf(name.text, secret.text) ?? { name: name.text, secret: secret.text };
}

function problemOf(name: string, secret: string): string | undefined {
  if (name === "") return "the user name is empty";
  if (name.includes("\0") || secret.includes("\0")) return "a zero byte is not allowed";
  const nameBytes = byteLength(name);
  const secretBytes = byteLength(secret);
  if (nameBytes > MAX_NAME_BYTES) {
    return `the user name has ${nameBytes} bytes; at most ${MAX_NAME_BYTES} are allowed`;
  }
  if (secretBytes > MAX_SECRET_BYTES) {
    return `the secret has ${secretBytes} bytes; at most ${MAX_SECRET_BYTES} are allowed`;
  }
  return undefined;
}

/** Whether a name is longer than `auth_file` may have it: then it is nobody's, and not worth a question. */
export function isTooLongName(name: string): boolean {
  return byteLength(name) > MAX_NAME_BYTES;
}

/** Reads the quoted string that begins at `start`; `""` in it stands for one quote. */
function quotedString(
  line: string,
  start: number,
): { readonly text: string; readonly end: number } | undefined {
  if (line[start] !== '"') return undefined;
  let end = start + 1;
  for (;;) {
    end = line.indexOf('"', end);
    if (end < 0) return undefined;
    if (line[end + 1] !== '"') break;
    end += 2;
  }
  return { text: line.slice(start + 1, end).replaceAll('""', '"'), end: end + 1 };
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
