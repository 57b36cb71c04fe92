/** `sluice check --diff`: what a reload would change in the Sluice that runs. */

import type { Random } from "../base/random.ts";
import type { Config } from "../config/config.ts";
import { type Network, unixSocketPath } from "../net/network.ts";
import { type AnsweredRow, ConsoleClient, ConsoleError } from "./console_client.ts";

/**
 * Lines for the operator. What runs is asked itself, at the unix socket that the configuration
 * names: it reads its files as for a reload, and changes nothing.
 * @throws {ConsoleError} If it cannot be asked, or its files are bad.
 */
export async function checkDiff(
  { path, settings }: Config,
  options: { network: Network; random: Random },
): Promise<string[]> {
  const { listenPort: port, unixSocketDir } = settings;
  if (unixSocketDir === "") {
    throw new ConsoleError("Cannot ask what runs: it has no unix socket (unix_socket_dir)");
  }
  const address = { kind: "unix", path: unixSocketPath(unixSocketDir, port), port } as const;
  using session = await ConsoleClient.open(address, options);
  const [conffile] = await session.ask("SHOW CONFIG WHERE key = 'conffile'");
  const changes = await session.ask("RELOAD DRY");
  const file = conffile?.[1] ?? "";
  return [
    ...(isSameFile(file, path) ? [] : [`a reload would read ${file}`]),
    ...(changes.length === 0 ? ["nothing would change"] : changes.map(line)),
  ];
}

/** By the last part of the name: each process may have its own working directory. */
function isSameFile(a: string, b: string): boolean {
  const shorter = a.length < b.length ? a : b;
  const longer = shorter === a ? b : a;
  return longer === shorter || longer.endsWith(`/${shorter}`);
}

function line([kind, name, before, after, effect]: AnsweredRow): string {
  const change = `${before ?? "(none)"} -> ${after ?? "(none)"}`;
  return `${kind} ${name}: ${change} [${effect}]`;
}
