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
const TOKEN = /\s+|--[^\r\n]*|\/\*[^]*?(?:\*\/|$)|'[^']*(?:'|$)|"[^"]*(?:"|$)|[\p{L}\p{N}_.]+|[^]/gu;

const BLANK = /^(?:\s|--|\/\*)/;

const UNENDED = /^(?:'[^']*|"[^"]*|\/\*\/?|\/\*[^]*(?:[^*]|[^*]\/)(?<!\*\/))$/;

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
