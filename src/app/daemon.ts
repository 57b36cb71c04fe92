/** Running in the background: the process starts itself anew, detached, and leaves when that serves. */

import type { RunInvocation } from "./arguments.ts";

/** As in the task `start`, when it is run from its sources; an executable has them built in. */
const SOURCE_OPTIONS: readonly string[] = [
  "--v8-flags=--max-semi-space-size=1",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
  "--allow-run",
  "--allow-ffi",
];

/** Tells the detached process that somebody waits for the word below. */
const BACKGROUND_VARIABLE = "SLUICE_BACKGROUND";

/** What the detached process prints when it serves. */
const READY = "ready\n";

/** How a start in the background went. */
export interface DetachedStart {
  /** Whether the process serves. */
  readonly isUp: boolean;
  /** Its exit status, if it does not. */
  readonly status: number;
  /** What it complained of. */
  readonly complaint: string;
}

/** Starts the same pooler detached from terminal and parent, and waits until it serves or fails. */
export async function detach(invocation: RunInvocation): Promise<DetachedStart> {
  const runtime = Deno.build.standalone
    ? []
    : ["run", "--no-prompt", ...SOURCE_OPTIONS, Deno.mainModule];
  const child = new Deno.Command(Deno.execPath(), {
    args: [...runtime, ...foregroundArguments(invocation)],
    env: { [BACKGROUND_VARIABLE]: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  const said = await child.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
  if (said.value === READY) {
    child.unref();
    return { isUp: true, status: 0, complaint: "" };
  }
  const complaint = await new Response(child.stderr).text();
  return { isUp: false, status: (await child.status).code, complaint };
}

/** Whether this is the detached process. */
export function isInBackground(): boolean {
  return Deno.env.get(BACKGROUND_VARIABLE) !== undefined;
}

/** Lets the parent leave. */
export function reportReady(): void {
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(READY));
  } catch (error) {
    // The parent was ended meanwhile: nobody waits.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function foregroundArguments({ path, user, verbosity }: RunInvocation): string[] {
  const options = ["--quiet", ...Array<string>(verbosity).fill("--verbose")];
  if (user !== undefined) options.push(`--user=${user}`);
  return [...options, path];
}
