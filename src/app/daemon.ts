/** Running in the background: the process starts itself anew, detached, and leaves. */

import type { RunInvocation } from "./arguments.ts";

/** As in the task `start`, when it is run from its sources; an executable has them built in. */
const SOURCE_OPTIONS: readonly string[] = [
  "--v8-flags=--max-semi-space-size=4",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
  "--allow-run",
  "--allow-ffi",
];

/** Starts the same pooler detached from terminal and parent; the log file says how it fares. */
export function detach(invocation: RunInvocation): void {
  const runtime = Deno.build.standalone
    ? []
    : ["run", "--no-prompt", ...SOURCE_OPTIONS, Deno.mainModule];
  const child = new Deno.Command(Deno.execPath(), {
    args: [...runtime, ...foregroundArguments(invocation)],
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  child.unref();
}

function foregroundArguments({ path, user, verbosity }: RunInvocation): string[] {
  const options = ["--quiet", ...Array<string>(verbosity).fill("--verbose")];
  if (user !== undefined) options.push(`--user=${user}`);
  return [...options, path];
}
