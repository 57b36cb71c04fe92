/**
 * Child processes that cannot outlive the script that started them, with a temporary folder of their own.
 *
 * A small shell process, the guard, waits for the end of its standard input. That comes when the script
 * ends in whatever way, killed or crashed included; then the guard ends the watched child and removes
 * the folder. An orderly end does the same without it.
 *
 * Output goes to a file, not through a pipe, so that no read is pending in this process while the child
 * lives (a test's sanitizers would object).
 */

import { join } from "node:path";
import { giveTo } from "./unprivileged.ts";
import type { Ids } from "./unprivileged.ts";
import { makeTempDir, removeTree } from "./cache_dir.ts";

/** How long a child may take to end before it is killed. */
const STOP_TIMEOUT_MS = 10_000;

/** How often a condition is looked at again while waiting for it. */
const POLL_MS = 5;

/** `$1` is the folder. The guard ignores the terminal's Ctrl-C: it must see the script end first. */
const GUARD_SCRIPT = `
trap '' INT TERM HUP QUIT
pid=
while read -r verb value; do
  case $verb in
    watch) pid=$value ;;
    done) exit 0 ;;
  esac
done
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.3; done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1"
`;

/** A temporary folder, and the guard that removes it when this process could not. */
export class GuardedDir implements AsyncDisposable {
  /** The folder; it belongs to the ids it was made for. */
  readonly path: string;
  readonly #guard: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(path: string) {
    this.path = path;
    this.#guard = new Deno.Command("/bin/sh", {
      args: ["-c", GUARD_SCRIPT, "guard", path],
      cwd: "/",
      stdin: "piped",
      stdout: "null",
      stderr: "null",
      detached: true,
    }).spawn();
    this.#orders = this.#guard.stdin.getWriter();
  }

  /** Makes the folder, owned by `ids` (else by this process), for its owner's eyes only. */
  static async make(prefix: string, ids: Ids | undefined): Promise<GuardedDir> {
    const dir = new GuardedDir(await makeTempDir(prefix));
    await giveTo(ids, dir.path);
    return dir;
  }

  /** Names the process that the guard ends; nothing when it has ended by itself. */
  async watch(pid: number | undefined): Promise<void> {
    await this.#order(`watch ${pid ?? ""}`);
  }

  /** Removes the folder. Its process must have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await removeTree(this.path);
    await this.#order("done");
    await this.#orders.close();
    await this.#guard.status;
  }

  async #order(line: string): Promise<void> {
    await this.#orders.write(new TextEncoder().encode(`${line}\n`));
  }
}

/** What to start, and as whom. */
export interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Gets the log file and, from the guard, an end when this process is gone. */
  readonly dir: GuardedDir;
  readonly ids?: Ids | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** Name of the log file in `dir`; written on, not over. */
  readonly logName?: string;
  /** The network namespace to run it in, by the name that `ip netns` has for it; this needs root. */
  readonly netns?: string | undefined;
  /** Most descriptors that it may have open; default: as many as this process. */
  readonly maxDescriptors?: number | undefined;
}

/** The words that run a command in a namespace, where one is asked for, under the ids it is to have. */
function commandIn(
  netns: string | undefined,
  { args, command, ids }: Pick<StartOptions, "args" | "command" | "ids">,
): string[] {
  if (netns === undefined) return [command, ...args];
  const who = ids === undefined ? [] : ["--setgid", String(ids.gid), "--setuid", String(ids.uid)];
  return ["nsenter", `--net=/run/netns/${netns}`, ...who, command, ...args];
}

/** A running child whose output is in a file. */
export class GuardedProcess {
  /** Process id. */
  readonly pid: number;
  /** When it was started, on `performance.now()`'s clock. */
  readonly startedAtMs: number;
  /** Settles when the child has ended. */
  readonly exited: Promise<Deno.CommandStatus>;
  /** The file that has its standard output and error. */
  readonly logPath: string;
  readonly #child: Deno.ChildProcess;
  readonly #dir: GuardedDir;
  #hasEnded = false;

  private constructor(
    child: Deno.ChildProcess,
    owner: { readonly dir: GuardedDir; readonly logPath: string; readonly startedAtMs: number },
  ) {
    const { dir, logPath, startedAtMs } = owner;
    this.#child = child;
    this.#dir = dir;
    this.startedAtMs = startedAtMs;
    this.pid = child.pid;
    this.logPath = logPath;
    this.exited = child.status.then((status) => {
      this.#hasEnded = true;
      return status;
    });
  }

  /** Starts it in a process group of its own, so that the terminal's Ctrl-C reaches only the script. */
  static async start(options: StartOptions): Promise<GuardedProcess> {
    const { dir, env = {}, ids, logName = "log", maxDescriptors, netns } = options;
    const logPath = join(dir.path, logName);
    const startedAtMs = performance.now();
    const limit = maxDescriptors === undefined ? "" : `ulimit -n ${maxDescriptors}; `;
    const script = `${limit}log=$1; shift; exec "$@" >>"$log" 2>&1`;
    const command = commandIn(netns, options);
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", script, "sh", logPath, ...command],
      cwd: dir.path,
      env: { ...env },
      stdin: "null",
      stdout: "null",
      stderr: "null",
      detached: true,
      // Entering a namespace takes root, who is left behind on the way.
      ...(netns === undefined ? ids ?? {} : {}),
    }).spawn();
    const started = new GuardedProcess(child, { dir, logPath, startedAtMs });
    await dir.watch(child.pid);
    return started;
  }

  /** Whether the child has ended. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** All it has printed so far. */
  log(): string {
    try {
      return Deno.readTextFileSync(this.logPath);
    } catch (error) {
      // The shell makes the file a moment after the start, and the folder goes away at the end.
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }

  /** Sends a signal; nothing happens when the child has ended. */
  signal(name: Deno.Signal): void {
    if (!this.#hasEnded) this.#child.kill(name);
  }

  /**
   * Sends `signal` and awaits the end.
   * @throws {Error} If it did not end in time; it is killed then.
   */
  async stop(signal: Deno.Signal, timeoutMs = STOP_TIMEOUT_MS): Promise<Deno.CommandStatus> {
    this.signal(signal);
    if (!(await waitUntil(() => this.#hasEnded, timeoutMs))) {
      this.signal("SIGKILL");
      await this.exited;
      throw new Error(`Process ${this.pid} did not end within ${timeoutMs} ms after ${signal}`);
    }
    await this.#dir.watch(undefined);
    return await this.exited;
  }
}

/** Looks at `condition` again and again; answers whether it came true within `timeoutMs`. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) return false;
    await pause(POLL_MS);
  }
  return true;
}

/** Lets time pass. */
export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
