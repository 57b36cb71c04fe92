/**
 * Sluice as a child process, for tests, demo and benchmark. Its configuration, log and whatever else it
 * writes are in a temporary folder that goes away with it.
 */

import { join } from "node:path";
import { giveTo } from "./unprivileged.ts";
import type { Ids } from "./unprivileged.ts";
import { GuardedDir, GuardedProcess, waitUntil } from "./guarded_process.ts";
import { prepareLaunch } from "./staging.ts";

/** How long a start may take on a busy machine. */
const START_TIMEOUT_MS = 30_000;

/** How to start Sluice. */
export interface SluiceOptions {
  /** The configuration file's text. `{dir}` in it stands for the process's temporary folder. */
  readonly config: string;
  /** The configuration file's name; default `config.toml`. */
  readonly configName?: string;
  /** Arguments before the configuration file. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Whom to run it as; default: this user, or an unprivileged one when this user is root. */
  readonly uid?: number;
  /** Other files to put into the temporary folder, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** How long it may take until it accepts connections. */
  readonly timeoutMs?: number;
  /** The network namespace to run it in; this needs root. */
  readonly netns?: string | undefined;
  /** Most descriptors that it may have open. */
  readonly maxDescriptors?: number | undefined;
  /** Flags for the runtime, besides those it always has; not with `SLUICE_EXE`. */
  readonly runtimeFlags?: readonly string[] | undefined;
}

/** What one run of Sluice to its end gave. */
export interface SluiceResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts Sluice and waits until it accepts connections. */
export async function startSluice(options: SluiceOptions): Promise<SluiceProcess> {
  const { maxDescriptors, netns, timeoutMs = START_TIMEOUT_MS } = options;
  const { dir, ...launch } = await prepare(options);
  try {
    const child = await GuardedProcess.start({
      ...launch,
      ...{ dir, logName: LOG_NAME, maxDescriptors, netns },
    });
    const isUp = () => child.hasEnded || /[ "]process up: /.test(child.log());
    if (await waitUntil(isUp, timeoutMs) && !child.hasEnded) {
      return new SluiceProcess(dir, child, configPathIn(dir, options));
    }
    const end = child.hasEnded ? `exit status ${(await child.exited).code}` : `${timeoutMs} ms`;
    const log = child.log();
    await child.stop("SIGKILL");
    throw new Error(`Sluice did not come up (${end}):\n${log}`);
  } catch (error) {
    await dir[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs Sluice to its end, for what it says and its exit status: `--version`, `check`, a bad file. */
export async function runSluice(
  options: Partial<SluiceOptions> & { readonly withConfig?: boolean },
): Promise<SluiceResult> {
  const { config = "", withConfig = options.config !== undefined, ...rest } = options;
  const prepared = await prepare({ ...rest, config });
  await using dir = prepared.dir;
  const args = withConfig ? prepared.args : prepared.args.slice(0, -1);
  const { code, stdout, stderr } = await new Deno.Command(prepared.command, {
    args: [...args],
    env: { ...prepared.env },
    cwd: dir.path,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...(prepared.ids ?? {}),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Name of the file with what the process printed. */
const LOG_NAME = "sluice.log";

/** A folder with the configuration in it, and the command that reads it. */
interface Prepared {
  readonly dir: GuardedDir;
  readonly ids: Ids | undefined;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function prepare(options: SluiceOptions): Promise<Prepared> {
  const launch = await prepareLaunch(options.runtimeFlags);
  const { uid } = options;
  const ids = uid === undefined ? launch.ids : { uid, gid: launch.ids?.gid ?? Deno.gid() ?? uid };
  const dir = await GuardedDir.make("sluice-", ids);
  const configPath = configPathIn(dir, options);
  await writeFor(ids, configPath, options.config.replaceAll("{dir}", dir.path));
  for (const [name, text] of Object.entries(options.files ?? {})) {
    await writeFor(ids, join(dir.path, name), text.replaceAll("{dir}", dir.path));
  }
  return {
    dir,
    ids,
    command: launch.command,
    args: [...launch.args, ...(options.args ?? []), configPath],
    env: { HOME: dir.path, ...launch.env, ...options.env },
  };
}

function configPathIn(dir: GuardedDir, { configName = "config.toml" }: SluiceOptions): string {
  return join(dir.path, configName);
}

/** Writes a file for the eyes of `ids` only: there may be passwords in it. */
async function writeFor(ids: Ids | undefined, path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  await giveTo(ids, path);
}

/** A running Sluice. */
export class SluiceProcess implements AsyncDisposable {
  /** The first TCP port it listens on; 0 if it has none. */
  readonly port: number;
  /** Process id. */
  readonly pid: number;
  /** When it was started, on `performance.now()`'s clock. */
  readonly startedAtMs: number;
  /** The configuration file. */
  readonly configPath: string;
  /** Its temporary folder, which belongs to the uid it runs under. */
  readonly dir: string;
  /** Settles when it has ended. */
  readonly exited: Promise<Deno.CommandStatus>;
  readonly #dir: GuardedDir;
  readonly #process: GuardedProcess;

  /** Use `startSluice()`. */
  constructor(dir: GuardedDir, process: GuardedProcess, configPath: string) {
    this.#dir = dir;
    this.#process = process;
    this.configPath = configPath;
    this.dir = dir.path;
    this.pid = process.pid;
    this.startedAtMs = process.startedAtMs;
    this.exited = process.exited;
    this.port = Number(/(?<!Debugger )listening on \S*:(\d+)/.exec(process.log())?.[1] ?? 0);
  }

  /** All it has printed so far. */
  log(): string {
    return this.#process.log();
  }

  /**
   * Waits until the log, from `fromOffset` on, has a match.
   * @throws {Error} If there is none in time or the process has ended without one.
   */
  async waitForLog(
    pattern: RegExp,
    options: { timeoutMs?: number; fromOffset?: number } = {},
  ): Promise<RegExpExecArray> {
    const { timeoutMs = 10_000, fromOffset = 0 } = options;
    const find = () => pattern.exec(this.log().slice(fromOffset));
    await waitUntil(() => find() !== null || this.#process.hasEnded, timeoutMs);
    const match = find();
    if (match !== null) return match;
    throw new Error(`No ${pattern} in the log within ${timeoutMs} ms:\n${this.log()}`);
  }

  /** Overwrites the configuration file; a RELOAD or SIGHUP makes it count. */
  async rewriteConfig(text: string): Promise<void> {
    await Deno.writeTextFile(this.configPath, text.replaceAll("{dir}", this.dir));
  }

  /** Sends a signal. */
  signal(name: Deno.Signal): void {
    this.#process.signal(name);
  }

  /** Sends `signal` (default: end at once) and awaits the end. @throws {Error} If it does not end. */
  async stop(signal: Deno.Signal = "SIGQUIT"): Promise<Deno.CommandStatus> {
    return await this.#process.stop(signal);
  }

  /** Ends it and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      await this.#dir[Symbol.asyncDispose]();
    }
  }
}
