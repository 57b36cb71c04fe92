/**
 * Makes one executable, `dist/sluice`, with `deno compile`, and starts it to see that it works.
 *
 * The executable is Deno's small runtime, `denort`, with Sluice inside. `denort` comes from
 * `$DENORT_BIN`, else from beside the `deno` that runs this, else from Deno's cache or its download,
 * which `deno compile` looks after by itself. Where there is none, there is no executable.
 */

import { dirname, join } from "node:path";
import { exists } from "./cache_dir.ts";
import { projectDir, startFlags } from "./staging.ts";

/** Where `denort` is to come from. */
export type DenortChoice =
  | { readonly kind: "given"; readonly path: string }
  | { readonly kind: "missing"; readonly path: string }
  | { readonly kind: "left to deno" };

/** Finds `denort`. A path in the environment that leads nowhere is a mistake, not a reason to look on. */
export async function chooseDenort(
  places: { readonly fromEnv: string | undefined; readonly denoPath: string },
  isThere: (path: string) => Promise<boolean>,
): Promise<DenortChoice> {
  const { fromEnv, denoPath } = places;
  if (fromEnv !== undefined && fromEnv !== "") {
    return { kind: await isThere(fromEnv) ? "given" : "missing", path: fromEnv };
  }
  const beside = join(dirname(denoPath), Deno.build.os === "windows" ? "denort.exe" : "denort");
  return await isThere(beside) ? { kind: "given", path: beside } : { kind: "left to deno" };
}

/** Whether `deno compile` failed for want of `denort`, by what it printed. */
export function isDenortMissing(stderr: string): boolean {
  return stderr.includes("Setting up base binary");
}

/** What to do when there is no `denort`. */
export function denortAdvice(versions: { readonly deno: string; readonly target: string }): string {
  const { deno, target } = versions;
  return `No executable was made: deno compile needs denort, the runtime that goes into it, and denort is
neither in $DENORT_BIN, nor beside deno, nor in Deno's cache, and it could not be downloaded.

Get denort-${target}.zip of Deno's release ${deno} on a machine that can, unpack it, and then:

  DENORT_BIN=/path/to/denort deno task compile`;
}

/** Compiles; answers the path of the executable, or nothing after having said what is wrong. */
async function compile(project: string): Promise<string | undefined> {
  const denoPath = Deno.execPath();
  const choice = await chooseDenort({ fromEnv: Deno.env.get("DENORT_BIN"), denoPath }, exists);
  if (choice.kind === "missing") {
    console.error(`No executable was made: DENORT_BIN names ${choice.path}, which does not exist`);
    return undefined;
  }
  const output = join(project, "dist", Deno.build.os === "windows" ? "sluice.exe" : "sluice");
  const permissions = await startFlags(project);
  const main = join(project, "mod.ts");
  const { success, stderr } = await new Deno.Command(denoPath, {
    args: ["compile", "--exclude-unused-npm", "--no-prompt", ...permissions, "-o", output, main],
    cwd: project,
    env: { NO_COLOR: "1", ...(choice.kind === "given" ? { DENORT_BIN: choice.path } : {}) },
    stdout: "inherit",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stderr);
  console.error(text.trim());
  if (success) return output;
  if (isDenortMissing(text)) {
    console.error(`\n${denortAdvice({ deno: Deno.version.deno, target: Deno.build.target })}`);
  }
  return undefined;
}

/** Starts the executable and answers what is wrong with what it says, or nothing. */
async function faultOf(executable: string, version: string): Promise<string | undefined> {
  const { success, stdout, stderr } = await new Deno.Command(executable, {
    args: ["--version"],
    stdin: "null",
  }).output();
  const [answer = ""] = new TextDecoder().decode(stdout).split("\n");
  if (success && answer.includes(`Sluice ${version}`)) {
    console.log(`${executable} --version: ${answer}`);
    return undefined;
  }
  const text = new TextDecoder().decode(stderr).trim();
  return `${executable} was made, did not work and was removed: --version answered "${answer}" ${text}`;
}

async function main(): Promise<number> {
  const project = projectDir();
  const settings = await Deno.readTextFile(join(project, "deno.json"));
  const { version } = JSON.parse(settings) as { version: string };
  const executable = await compile(project);
  if (executable === undefined) return 1;
  const fault = await faultOf(executable, version);
  if (fault === undefined) return 0;
  await Deno.remove(executable);
  console.error(fault);
  return 1;
}

if (import.meta.main) Deno.exit(await main());
