/**
 * What a session of PostgreSQL keeps between transactions and Sluice cannot: told by the first words
 * of a statement. No SQL parser: what comes behind a `;`, in a function or behind a comment goes
 * unnoticed. Pure.
 *
 * HOT PATH: `mayBeFeature()`. Budget: a few bytes of each Query and Parse.
 */

import { decodeText } from "../wire/body_reader.ts";
import { afterSpaces, firstLetters } from "./sql_words.ts";

/** A use of something that is lost with the server. */
export interface FeatureUse {
  readonly feature: SessionFeature;
  /** Of SET: the parameter, in lower case. */
  readonly parameter?: string;
}

/** What is kept by a session, as SHOW SESSION_FEATURES names it. */
export const SESSION_FEATURES = [
  "advisory lock",
  "cursor with hold",
  "listen",
  "load",
  "prepare",
  "set",
  "set role",
  "temporary table",
] as const;

/** One of them. */
export type SessionFeature = (typeof SESSION_FEATURES)[number];

/** As much of a statement as is looked at. */
const LOOK_BYTES = 1_024;

type Reader = (match: RegExpExecArray, sql: string) => FeatureUse | undefined;

const FEATURES: readonly (readonly [RegExp, Reader])[] = [
  [/^(?:prepare(?!\s+transaction\b)|execute)\s/i, () => ({ feature: "prepare" })],
  [/^listen\s/i, () => ({ feature: "listen" })],
  [/^load\s/i, () => ({ feature: "load" })],
  [
    /^select\s+(?:pg_catalog\s*\.\s*)?pg_(?:try_)?advisory_lock(?:_shared)?\s*\(/i,
    () => ({ feature: "advisory lock" }),
  ],
  [/^declare\s.*?\bwith\s+hold\b/is, () => ({ feature: "cursor with hold" })],
  [
    /^create\s+(?:(?:local|global)\s+)?temp(?:orary)?\s+table\b/i,
    // Ends with its transaction, which has one server.
    (_, sql) => /\bon\s+commit\s+drop\b/i.test(sql) ? undefined : { feature: "temporary table" },
  ],
  [
    /^set\s+(?:session\s+)?(?:role|session\s+authorization|authorization)\b/i,
    () => ({ feature: "set role" }),
  ],
  [/^set\s+(?:local|transaction|constraints)\b/i, () => undefined],
  [/^set\s+session\s+characteristics\b/i, () => ({ feature: "set" })],
  [/^set\s+(?:session\s+)?time\s+zone\b/i, () => ({ feature: "set", parameter: "timezone" })],
  [/^set\s+(?:session\s+)?names\b/i, () => ({ feature: "set", parameter: "client_encoding" })],
  [/^set\s+(?:session\s+)?schema\b/i, () => ({ feature: "set", parameter: "search_path" })],
  [
    /^set\s+(?:session\s+)?"?([\w.]+)"?\s*(?:=|\sto\s)/i,
    ([, name]) => ({ feature: "set", parameter: name!.toLowerCase() }),
  ],
];

/** The words above as `firstLetters()` has them: by these all but a few statements are let go at once. */
const WORD = {
  create: 0x63_72_65,
  declare: 0x64_65_63,
  execute: 0x65_78_65,
  listen: 0x6c_69_73,
  load: 0x6c_6f_61,
  prepare: 0x70_72_65,
  select: 0x73_65_6c,
  set: 0x73_65_74,
} as const;

/** What the SQL from `start` to `end` uses, as far as its beginning tells. */
export function featureUse(
  buffer: Uint8Array,
  start: number,
  end: number,
): FeatureUse | undefined {
  const at = afterSpaces(buffer, start, end);
  if (!mayBeFeature(buffer, at, end)) return undefined;
  const sql = decodeText(buffer, at, Math.min(end, at + LOOK_BYTES));
  for (const [pattern, read] of FEATURES) {
    const match = pattern.exec(sql);
    if (match !== null) return read(match, sql);
  }
  return undefined;
}

function mayBeFeature(buffer: Uint8Array, at: number, end: number): boolean {
  switch (firstLetters(buffer, at, end)) {
    case WORD.create:
    case WORD.declare:
    case WORD.execute:
    case WORD.listen:
    case WORD.load:
    case WORD.prepare:
    case WORD.set:
      return true;
    case WORD.select:
      return isCallOfSystem(buffer, at, end);
    default:
      return false;
  }
}

/** Whether behind SELECT comes a name that begins as those of the system's functions. */
function isCallOfSystem(buffer: Uint8Array, start: number, end: number): boolean {
  const at = afterSpaces(buffer, start + "select".length, end);
  return at + 2 < end && (buffer[at]! | 0x20) === 0x70 && (buffer[at + 1]! | 0x20) === 0x67;
}
