/**
 * Reads what is typed into the console: one command a message, keywords in any case, with or
 * without a semicolon; comments and blanks between words do not matter. Pure. It does not know who
 * may do what, nor what a command does.
 */

import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ShutdownMode } from "./console_context.ts";
import { fixedParameter } from "./console_parameters.ts";
import { ALL_ROWS, readSelection, type Selection } from "./selection.ts";
import { type Token, tokensOf } from "./tokens.ts";

/** What can be shown, in the order of SHOW HELP. */
export const SHOW_THINGS = [
  "help",
  "config",
  "databases",
  "pools",
  "clients",
  "servers",
  "users",
  "limits",
  "shares",
  "version",
  "state",
  "lists",
  "mem",
  "stats",
  "stats_totals",
  "stats_averages",
  "totals",
  "histograms",
  "prepared",
  "session_features",
  "sockets",
  "active_sockets",
  "peers",
  "peer_pools",
  "dns_hosts",
  "dns_zones",
  "tls",
] as const;

/** One of the things above. */
export type ShowThing = (typeof SHOW_THINGS)[number];

/** A command. */
export type AdminCommand =
  /** Nothing but blanks, comments and semicolons. */
  | { readonly kind: "empty" }
  | { readonly kind: "show"; readonly thing: ShowThing; readonly selection: Selection }
  /** SHOW of a parameter of the session; it has always the same value. */
  | { readonly kind: "show_parameter"; readonly name: string }
  /** SET of such a parameter, which changes nothing. */
  | { readonly kind: "set_parameter" }
  | { readonly kind: "set"; readonly key: string; readonly value: string }
  | { readonly kind: "reload"; readonly isDry: boolean }
  /** A database is undefined for all of them. */
  | {
    readonly kind: "pause" | "resume" | "reconnect" | "kill" | "wait_close";
    readonly database: string | undefined;
  }
  | { readonly kind: "disable" | "enable"; readonly database: string }
  | { readonly kind: "kill_client"; readonly id: number }
  | { readonly kind: "suspend" }
  | {
    readonly kind: "shutdown";
    readonly mode: ShutdownMode;
    /** How long transactions may go on; undefined without a limit. */
    readonly limitMs: number | undefined;
  };

/** Longest limit that may be asked for: what a timer can wait, and some days. */
const MAX_LIMIT_SECONDS = 1_000_000;

/** Highest number of a client. */
const MAX_ID = Number.MAX_SAFE_INTEGER;

/**
 * Reads a command whose parameters, `$1` and so on, have these values; undefined if it is none.
 * @throws {PgError} With severity ERROR, of a command that is one but cannot be meant.
 */
export function parseAdminCommand(
  text: string,
  values: readonly (string | undefined)[] = [],
): AdminCommand | undefined {
  const tokens = tokensOf(text);
  while (isSemicolon(tokens.at(-1))) tokens.pop();
  const words = tokens.map((token) => withValue(token, values));
  const [verb, ...rest] = words;
  if (verb === undefined) return { kind: "empty" };
  if (verb.kind !== "word" || words.some(({ isOpen }) => isOpen)) return undefined;
  return commandOf(verb.value.toLowerCase(), rest);
}

/** How many parameters a command has: the highest number after a `$`. */
export function parameterCount(text: string): number {
  const numbers = tokensOf(text).filter(({ kind }) => kind === "parameter");
  return Math.max(0, ...numbers.map(({ value }) => Number(value)));
}

function isSemicolon(token: Token | undefined): boolean {
  return token?.kind === "sign" && token.value === ";";
}

/** A parameter as the text that it stands for. */
function withValue(token: Token, values: readonly (string | undefined)[]): Token {
  if (token.kind !== "parameter") return token;
  const value = values[Number(token.value) - 1];
  return value === undefined ? token : { kind: "text", value, isOpen: false };
}

function commandOf(verb: string, words: readonly Token[]): AdminCommand | undefined {
  switch (verb) {
    case "show":
    case "select":
      return showCommand(words);
    case "set":
      return setCommand(words);
    case "reload":
      return reloadCommand(words);
    case "pause":
    case "resume":
    case "reconnect":
    case "kill":
    case "wait_close":
      return databaseCommand(verb, words);
    case "disable":
    case "enable":
      return oneDatabaseCommand(verb, words);
    case "kill_client":
      return killClientCommand(words);
    case "suspend":
      return words.length === 0 ? { kind: "suspend" } : undefined;
    case "shutdown":
      return shutdownCommand(words);
    default:
      return undefined;
  }
}

function showCommand(words: readonly Token[]): AdminCommand | undefined {
  const [first, ...rest] = words;
  if (!isName(first)) return undefined;
  const name = first.value.toLowerCase();
  if (name === "fds") throw noFds();
  const thing = SHOW_THINGS.find((known) => known === name);
  if (thing !== undefined) {
    const selection = rest.length === 0 ? ALL_ROWS : readSelection(rest);
    return selection === undefined ? undefined : { kind: "show", thing, selection };
  }
  if (rest.length > 0 || fixedParameter(name) === undefined) return undefined;
  return { kind: "show_parameter", name };
}

function noFds(): PgError {
  return new PgError(
    SQLSTATE.featureNotSupported,
    "SHOW FDS is not supported: it would hand out connections together with their secrets",
    { severity: "ERROR" },
  );
}

function setCommand(words: readonly Token[]): AdminCommand | undefined {
  const [name, sign, ...values] = words;
  if (!isName(name) || sign === undefined) return undefined;
  const isAssignment = sign.value === "=" || sign.value.toLowerCase() === "to";
  // A semicolon here is followed by more: that would be a second command.
  if (!isAssignment || values.length === 0 || values.some(isSemicolon)) return undefined;
  const key = name.value.toLowerCase();
  if (fixedParameter(key) !== undefined) return { kind: "set_parameter" };
  const value = settingValue(values);
  return value === undefined ? undefined : { kind: "set", key, value };
}

function isName(token: Token | undefined): token is Token {
  return token?.kind === "word" || token?.kind === "name";
}

/**
 * One quoted text, or bare words and signs as they stand in a list of addresses or names. Two words
 * side by side are none: blanks between them would be lost.
 */
function settingValue(tokens: readonly Token[]): string | undefined {
  const [only] = tokens;
  if (tokens.length === 1 && only !== undefined && only.kind !== "parameter") return only.value;
  const isBare = tokens.every(({ kind }, i) =>
    kind === "sign" || kind === "word" && tokens[i - 1]?.kind !== "word"
  );
  return isBare ? tokens.map(({ value }) => value).join("") : undefined;
}

function reloadCommand(words: readonly Token[]): AdminCommand | undefined {
  if (words.length === 0) return { kind: "reload", isDry: false };
  const isDry = words.length === 1 && words[0]?.value.toLowerCase() === "dry";
  return isDry ? { kind: "reload", isDry } : undefined;
}

function databaseCommand(
  kind: "pause" | "resume" | "reconnect" | "kill" | "wait_close",
  words: readonly Token[],
): AdminCommand | undefined {
  if (words.length === 0) return { kind, database: undefined };
  const database = nameIn(words);
  return database === undefined ? undefined : { kind, database };
}

function oneDatabaseCommand(
  kind: "disable" | "enable",
  words: readonly Token[],
): AdminCommand | undefined {
  if (words.length === 0) {
    throw new PgError(SQLSTATE.syntaxError, "a database is required", { severity: "ERROR" });
  }
  const database = nameIn(words);
  return database === undefined ? undefined : { kind, database };
}

/** The only word, taken as it is written; names with other characters stand in quotes. */
function nameIn(words: readonly Token[]): string | undefined {
  const [name, ...more] = words;
  if (name === undefined || more.length > 0) return undefined;
  return name.kind === "word" || name.kind === "name" || name.kind === "text"
    ? name.value
    : undefined;
}

function killClientCommand(words: readonly Token[]): AdminCommand | undefined {
  const text = words.length === 0 ? "" : nameIn(words);
  if (text === undefined) return undefined;
  const id = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (id <= MAX_ID) return { kind: "kill_client", id };
  throw new PgError(SQLSTATE.syntaxError, "invalid client pointer supplied", { severity: "ERROR" });
}

function shutdownCommand(words: readonly Token[]): AdminCommand | undefined {
  const [mode, limit, ...more] = words.map(({ value }) => value.toLowerCase());
  if (more.length > 0) return undefined;
  switch (mode) {
    case undefined:
      return { kind: "shutdown", mode: "immediate", limitMs: undefined };
    case "wait_for_servers":
    case "wait_for_clients":
      return limit === undefined ? { kind: "shutdown", mode, limitMs: undefined } : undefined;
    case "wait_for_transactions":
      return { kind: "shutdown", mode, limitMs: limit === undefined ? undefined : msOf(limit) };
    default:
      return undefined;
  }
}

function msOf(seconds: string): number {
  const value = /^\d+(\.\d+)?$/.test(seconds) ? Number(seconds) : NaN;
  if (value > 0 && value <= MAX_LIMIT_SECONDS) return value * 1000;
  throw new PgError(SQLSTATE.syntaxError, "bad arguments", {
    severity: "ERROR",
    detail: `The limit is a number of seconds, over 0 and up to ${MAX_LIMIT_SECONDS}.`,
  });
}
