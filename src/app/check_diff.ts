/** What a running Sluice would change if it were reloaded now: `sluice check --diff`. */

import type { Settings } from "../config/settings.ts";
import {
  consoleAddress,
  ConsoleClient,
  type ConsoleClientOptions,
  type ConsoleRow,
} from "./console_client.ts";

/** What is asked, and of whom. */
export interface CheckDiffOptions extends ConsoleClientOptions {
  /** The configuration that was checked. */
  readonly path: string;
  /** Its settings: they say where the running Sluice is. */
  readonly settings: Settings;
  /** Whether two paths name the same file. */
  readonly isSameFile: (a: string, b: string) => Promise<boolean>;
}

/**
 * Lines for the operator.
 * @throws {ConsoleError} If the running Sluice cannot be asked, or finds its files bad.
 */
export async function checkDiff(options: CheckDiffOptions): Promise<string[]> {
  const { isSameFile, path, settings } = options;
  using client = await ConsoleClient.connect(consoleAddress(settings), options);
  const shown = await client.rows("SHOW CONFIG");
  const changes = await client.rows("RELOAD DRY");
  const conffile = shown.find(({ key }) => key === "conffile")?.["value"] ?? "";
  const isOther = !await isSameFile(path, conffile);
  return [
    ...(isOther ? [`the running Sluice reads ${conffile}, not ${path}`] : []),
    ...(changes.length === 0 ? ["nothing would change"] : changes.map(describe)),
  ];
}

function describe(row: ConsoleRow): string {
  const { after, before, effect, kind, name } = row;
  return `${kind} ${name}: ${shown(before)} -> ${shown(after)} (${effect})`;
}

function shown(value: string | null | undefined): string {
  if (value === null || value === undefined) return "(none)";
  return value === "" ? '""' : value;
}
