/** SHOW of the parameters that drivers ask for before anything else. */

import { fixedParameter } from "./console_parameters.ts";
import { type ShownTable, table, text } from "./result_set.ts";

/** Answers SHOW of a parameter that always has the same value; `name` in lower case. */
export function showParameter(name: string): ShownTable {
  return table([text<string>(name, fixedParameter)], [name]);
}
