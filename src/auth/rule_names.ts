/** Names in the fields of a rule: plain ones and regular expressions. Pure. */

import { NamePattern, PatternError } from "./name_pattern.ts";
import { RuleError, type RuleToken } from "./rule_file.ts";

/** A name, or a pattern of names. */
export type NameRule =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "pattern"; readonly pattern: NamePattern };

/** Reads one word. @throws {RuleError} If it is a pattern that is not supported. */
export function readNameRule({ text }: RuleToken): NameRule {
  if (!text.startsWith("/")) return { kind: "name", name: text };
  return withPattern(text, () => ({ kind: "pattern", pattern: new NamePattern(text.slice(1)) }));
}

/** Runs what may find a pattern bad. @throws {RuleError} With the pattern, if it does. */
export function withPattern<T>(text: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    throw new RuleError(`Invalid regular expression "${text}": ${error.message}`);
  }
}

/** Whether a name is meant. */
export function isMeant(rule: NameRule, name: string): boolean {
  return rule.kind === "name" ? rule.name === name : rule.pattern.matches(name);
}

/** Whether a word is this keyword, which it is not in quotes. */
export function isKeyword({ isQuoted, text }: RuleToken, keyword: string): boolean {
  return !isQuoted && text === keyword;
}
