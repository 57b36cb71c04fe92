/**
 * Sluice's command line, in a folder of the test's own: for what `startSluice()` hides, such as what
 * a run leaves on the disk, or a process that goes on in the background.
 */

import { join } from "node:path";
import { GuardedDir, GuardedProcess } from "../../scripts/guarded_process.ts";
import type { SluiceResult } from "../../scripts/sluice_process.ts";
import { prepareLaunch } from "../../scripts/staging.ts";
import { giveTo, unprivilegedIds } from "../../scripts/unprivileged.ts";
import { PATIENCE_MS } from "./eventually.ts";

/** Who runs it: this user, or an unprivileged one when this user is root; unless it is said. */
export interface RunOptions {
  readonly uid?: number;
  /** How many descriptors it may have open. */
  readonly maxDescriptors?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A folder for one test, which Sluice may write to; it goes away with the test. */
export class SluiceFolder implements AsyncDisposable {
  /** Its whole path. */
  readonly path: string;
  readonly #dir: GuardedDir;
  readonly #processes: GuardedProcess[] = [];
  #watched: number | undefined;

  private constructor(dir: GuardedDir) {
    this.#dir = dir;
    this.path = dir.path;
  }

  /** Makes a folder with some files in it; `{dir}` in them stands for its path. */
  static async make(files: Readonly<Record<string, string>> = {}): Promise<SluiceFolder> {
    const folder = new SluiceFolder(await GuardedDir.make("sluice-cli-", unprivilegedIds()));
    for (const [name, text] of Object.entries(files)) await folder.write(name, text);
    return folder;
  }

  /** The path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Writes a file; `{dir}` in it stands for the folder. */
  async write(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(this.file(name), text.replaceAll("{dir}", this.path), { mode: 0o600 });
    await giveTo(unprivilegedIds(), this.file(name));
  }

  /** The text of a file, or nothing while there is none. */
  read(name: string): string {
    try {
      return Deno.readTextFileSync(this.file(name));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }

  /** The names of all that is in it, in order. */
  names(): string[] {
    return [...Deno.readDirSync(this.path)].map(({ name }) => name).sort();
  }

  /** Runs Sluice in the folder to its end. @throws {Error} If it does not end. */
  async run(args: readonly string[], { env = {}, uid }: RunOptions = {}): Promise<SluiceResult> {
    const launch = await prepareLaunch();
    const { code, stdout, stderr } = await new Deno.Command(launch.command, {
      args: [...launch.args, ...args],
      env: { HOME: this.path, ...launch.env, ...env },
      cwd: this.path,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(uid === undefined ? launch.ids ?? {} : { uid, gid: uid }),
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** Starts Sluice in the folder; it is ended with the folder. What it prints is in `printed`. */
  async start(
    args: readonly string[],
    { env = {}, maxDescriptors, uid }: RunOptions = {},
  ): Promise<GuardedProcess> {
    const launch = await prepareLaunch();
    const whole = [launch.command, ...launch.args, ...args];
    const [command = "", ...rest] = maxDescriptors === undefined
      ? whole
      : ["/bin/sh", "-c", `ulimit -n ${maxDescriptors}; exec "$@"`, "sh", ...whole];
    const started = await GuardedProcess.start({
      command,
      args: rest,
      dir: this.#dir,
      ids: uid === undefined ? launch.ids : { uid, gid: uid },
      env: { HOME: this.path, ...launch.env, ...env },
      logName: "printed",
    });
    this.#processes.push(started);
    return started;
  }

  /** Has a process that runs in the background ended with the folder, whatever becomes of the test. */
  async watch(pid: number | undefined): Promise<void> {
    this.#watched = pid;
    await this.#dir.watch(pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const started of this.#processes) {
      if (!started.hasEnded) await started.stop("SIGQUIT");
    }
    if (this.#watched !== undefined) Deno.kill(this.#watched, "SIGQUIT");
    await this.#dir[Symbol.asyncDispose]();
  }
}
