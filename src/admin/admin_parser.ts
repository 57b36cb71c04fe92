/**
 * Reads what is typed into the console: one command a message, in any case, with or without a
 * semicolon; comments and blanks between words do not matter. Pure. It does not know who may do
 * what, nor what a command does.
 */

import type { ShutdownMode } from "./console_context.ts";
import { fixedParameter } from "./console_parameters.ts";

/** What can be shown, in the order of SHOW HELP. */
export const SHOW_THINGS = [
  "help",
  "config",
  "databases",
  "pools",
  "clients",
  "servers",
  "users",
  "version",
  "stats",
] as const;

/** One of the things above. */
export type ShowThing = (typeof SHOW_THINGS)[number];

/** A command. */
export type AdminCommand =
  /** Nothing but blanks, comments and semicolons. */
  | { readonly kind: "empty" }
  | { readonly kind: "show"; readonly thing: ShowThing }
  /** SHOW of a parameter of the session; it has always the same value. */
  | { readonly kind: "show_parameter"; readonly name: string }
  /** SET of such a parameter, which changes nothing. */
  | { readonly kind: "set_parameter" }
  | { readonly kind: "reload" }
  | { readonly kind: "shutdown"; readonly mode: ShutdownMode };

/**
 * Blanks; comments; quoted texts; words; any other character for itself. A comment or a quote
 * without its end reaches to the end of the text.
 */
const TOKEN =
  /\s+|--[^\r\n]*|\/\*[^]*?(?:\*\/|$)|'[^']*(?:'|$)|"[^"]*(?:"|$)|[\p{L}\p{N}_.]+|[^]/gu;

/** Reads a command; undefined if it is none. */
export function parseAdminCommand(text: string): AdminCommand | undefined {
  const tokens = tokensOf(text);
  while (tokens.at(-1) === ";") tokens.pop();
  const [verb, ...rest] = tokens;
  if (verb === undefined) return { kind: "empty" };
  switch (verb.toLowerCase()) {
    case "show":
    case "select":
      return showCommand(rest);
    case "set":
      return setCommand(rest);
    case "reload":
      return rest.length === 0 ? { kind: "reload" } : undefined;
    case "shutdown":
      return shutdownCommand(rest);
    default:
      return undefined;
  }
}

/** The words and signs of a command, without what does not matter. */
function tokensOf(text: string): string[] {
  return Array.from(text.matchAll(TOKEN), ([token]) => token).filter((token) => !isBlank(token));
}

/** A comment without its end is not blank: it may have swallowed what was meant to be run. */
function isBlank(token: string): boolean {
  if (token.startsWith("/*")) return token.length >= 4 && token.endsWith("*/");
  return token.startsWith("--") || token.trim() === "";
}

function showCommand(words: readonly string[]): AdminCommand | undefined {
  const name = words[0]?.toLowerCase();
  if (name === undefined || words.length > 1) return undefined;
  const thing = SHOW_THINGS.find((known) => known === name);
  if (thing !== undefined) return { kind: "show", thing };
  return fixedParameter(name) === undefined ? undefined : { kind: "show_parameter", name };
}

function setCommand(words: readonly string[]): AdminCommand | undefined {
  const [name = "", sign = "", ...value] = words;
  const isAssignment = sign === "=" || sign.toLowerCase() === "to";
  // A semicolon here is followed by more: that would be a second command.
  if (!isAssignment || value.length === 0 || value.includes(";")) return undefined;
  if (fixedParameter(name.toLowerCase()) === undefined) return undefined;
  return { kind: "set_parameter" };
}

function shutdownCommand(words: readonly string[]): AdminCommand | undefined {
  if (words.length === 0) return { kind: "shutdown", mode: "immediate" };
  const mode = words[0]?.toLowerCase();
  if (words.length > 1) return undefined;
  if (mode !== "wait_for_servers" && mode !== "wait_for_clients") return undefined;
  return { kind: "shutdown", mode };
}
