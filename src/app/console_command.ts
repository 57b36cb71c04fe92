/** One command for the console of the Sluice that runs with a configuration: `sluice console`. */

import type { Settings } from "../config/settings.ts";
import { CONTROL_CHARACTERS } from "../log/logger.ts";
import { consoleAddress, ConsoleClient, type ConsoleClientOptions } from "./console_client.ts";

/** What is asked, and of whom. */
export interface ConsoleCommandOptions extends ConsoleClientOptions {
  /** They say where the running Sluice is. */
  readonly settings: Settings;
  readonly command: string;
}

/**
 * Lines for the operator: the names of the columns and then the rows, with tabs between; none if
 * the command answers no rows.
 * @throws {ConsoleError} If the running Sluice cannot be asked, or refuses.
 */
export async function consoleCommand(options: ConsoleCommandOptions): Promise<string[]> {
  const { command, settings } = options;
  using client = await ConsoleClient.connect(consoleAddress(settings), options);
  const rows = await client.rows(command);
  const [first] = rows;
  if (first === undefined) return [];
  const lines = [Object.keys(first), ...rows.map((row) => Object.values(row))];
  return lines.map((values) => values.map((value) => inOneColumn(value ?? "")).join("\t"));
}

/** Names that clients give themselves may have anything in them: no line or column of their own. */
function inOneColumn(value: string): string {
  return value.replaceAll(CONTROL_CHARACTERS, " ");
}
