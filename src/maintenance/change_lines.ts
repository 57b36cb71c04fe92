/** What a reload has changed, as lines of the log: settings with their values, all else by name. Pure. */

import { unreachable } from "../base/assert.ts";
import type { ReloadChange } from "./reload_plan.ts";

/** A file of thousands of users is not to fill the log. */
const MAX_LINES = 50;

/** Of a value; `auth_query` and lists may be of any length. */
const MAX_SHOWN = 100;

/** A line for each change; what needs a restart has changed nothing. Beyond a bound they are counted. */
export function changeLines(changes: readonly ReloadChange[]): string[] {
  const made = changes.filter(({ effect }) => effect !== "needs a restart");
  const lines = made.slice(0, MAX_LINES).map(lineOf);
  const left = made.length - lines.length;
  return left === 0 ? lines : [...lines, `and ${left} more ${left === 1 ? "change" : "changes"}`];
}

function lineOf(change: ReloadChange): string {
  const { effect } = change;
  return effect === "at once" ? wordsOf(change) : `${wordsOf(change)} (${effect})`;
}

function wordsOf({ after, before, kind, name }: ReloadChange): string {
  switch (kind) {
    case "setting":
      return `${name} changed: ${shown(before)} -> ${shown(after)}`;
    case "rules":
    case "tls_file":
      return `content of ${name} changed`;
    case "auth_file":
      return `user "${shortened(name)}" of auth_file ${verb(before, after)}`;
    case "database":
    case "server":
    case "user":
      return `${kind} "${shortened(name)}" ${verb(before, after)}`;
    default:
      return unreachable(kind);
  }
}

function verb(before: string | undefined, after: string | undefined): string {
  if (before === undefined) return "added";
  return after === undefined ? "removed" : "changed";
}

function shown(value: string | undefined): string {
  if (value === undefined) return "(none)";
  return value === "" ? '""' : shortened(value);
}

function shortened(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}...`;
}
