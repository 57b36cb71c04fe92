/**
 * How a script starts Sluice: with the flags of `deno task start`, or as the executable that
 * `SLUICE_EXE` names. When the script is run by root, Sluice runs under an unprivileged uid, which may
 * be unable to enter the folders of the runtime, its cache and this project; then copies are used that
 * everybody can read, made once and kept for as long as their content is the same.
 */

import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import {
  alone,
  cached,
  copyTree,
  exists,
  isOpenToOthers,
  nameOf,
  nameOfFile,
  openTree,
  pruneCache,
} from "./cache_dir.ts";
import { unprivilegedIds } from "./unprivileged.ts";
import type { Ids } from "./unprivileged.ts";

/** Top-level names that Sluice needs to run. */
const SOURCES = ["deno.json", "deno.lock", "mod.ts", "src"] as const;

/** Prefix of an npm package in the import map. */
const NPM = "npm:";

/** Everything needed to start Sluice, except its own arguments. */
export interface Launch {
  readonly command: string;
  /** What stands before Sluice's own arguments. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Whom to run it as; nothing: as this process. */
  readonly ids: Ids | undefined;
}

/** The project's folder. */
export function projectDir(): string {
  return fileURLToPath(new URL("..", import.meta.url));
}

/**
 * Finds out how to start Sluice here, and makes the copies it takes. `flags` are more of the runtime's.
 * @throws {Error} If there are any and `SLUICE_EXE` has its runtime in it.
 */
export async function prepareLaunch(
  flags: readonly string[] = [],
  project = projectDir(),
): Promise<Launch> {
  const ids = unprivilegedIds();
  const executable = Deno.env.get("SLUICE_EXE");
  if (executable !== undefined && executable !== "") {
    const path = resolve(executable);
    if (flags.length > 0) throw new Error(`Cannot give ${flags.join(" ")} to an executable`);
    if (!(await exists(path))) throw new Error(`SLUICE_EXE names ${path}, which does not exist`);
    return { command: await readable(path, ids), args: [], env: {}, ids };
  }
  const deno = await readable(Deno.execPath(), ids);
  const env = { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" };
  const run = ["run", "--no-prompt", ...flags, ...await startFlags(project)];
  if (ids === undefined) {
    return { command: deno, args: [...run, join(project, "mod.ts")], env, ids };
  }
  const staged = await stageSources(project);
  const denoDir = join(staged, "deno_dir");
  return {
    command: deno,
    args: [...run, "--cached-only", join(staged, "mod.ts")],
    env: { ...env, DENO_DIR: denoDir },
    ids,
  };
}

/** The flags of `deno task start`, for the runtime and for permissions: written only there. */
export async function startFlags(project = projectDir()): Promise<string[]> {
  const text = await Deno.readTextFile(join(project, "deno.json"));
  const { tasks } = JSON.parse(text) as { tasks: { start: string } };
  return tasks.start.split(/\s+/).filter((word) => word.startsWith("--"));
}

/** The path of a program that `ids` can execute: its own, or that of a copy. */
async function readable(path: string, ids: Ids | undefined): Promise<string> {
  if (ids === undefined || isOpenToOthers(dirname(path))) return path;
  const key = await nameOfFile(path);
  const name = basename(path);
  const folder = await cached(`program-${name}-${key}`, async (building) => {
    const copy = join(building, name);
    await Deno.copyFile(path, copy);
    await Deno.chmod(copy, 0o755);
  });
  await pruneCache(`program-${name}-`);
  return join(folder, name);
}

/** A copy of the sources, with a runtime cache that has their packages and nothing else. */
async function stageSources(project: string): Promise<string> {
  const files = await sourceFiles(project);
  const contents = await Promise.all(files.map((path) => Deno.readTextFile(path)));
  const key = nameOf(files.flatMap((path, i) => [relative(project, path), contents[i] ?? ""]));
  const folder = await cached(`sources-${Deno.version.deno}-${key}`, async (building) => {
    for (const name of SOURCES) {
      if (await exists(join(project, name))) {
        await copyTree(join(project, name), join(building, name));
      }
    }
    const packages = await stagePackages(project, join(building, "deno_dir"));
    await keepImports(join(building, "deno.json"), packages);
    await compileSources(building); // Brings the lock file in line with the shorter import map.
    await openTree(building);
  });
  // Not while another process makes and removes files of the runtime's cache.
  await alone(folder, () => compileInPlace(folder));
  await pruneCache("sources-");
  return folder;
}

/** Compiles them again, since the runtime keeps what it compiled under the whole path of the source file. */
async function compileInPlace(folder: string): Promise<void> {
  const compiled = join(folder, "deno_dir", "compiled");
  if (await exists(compiled)) return;
  await compileSources(folder);
  await Deno.writeTextFile(compiled, "");
  await openTree(folder);
}

/** Has the runtime compile staged sources into their own cache, so that starting them costs no more than usual. */
async function compileSources(folder: string): Promise<void> {
  const env = { DENO_DIR: join(folder, "deno_dir") };
  await denoOutput(["cache", "--no-check", join(folder, "mod.ts")], folder, env);
}

/** All files that belong to the sources, in a fixed order. */
async function sourceFiles(project: string): Promise<string[]> {
  const files: string[] = [];
  async function visit(path: string): Promise<void> {
    if ((await Deno.stat(path)).isFile) {
      files.push(path);
      return;
    }
    for await (const entry of Deno.readDir(path)) await visit(join(path, entry.name));
  }
  for (const name of SOURCES) {
    if (await exists(join(project, name))) await visit(join(project, name));
  }
  return files.sort();
}

/** The part of `deno info --json` that is used here. */
interface ModuleGraph {
  readonly modules: readonly { readonly npmPackage?: string }[];
  readonly npmPackages: Readonly<Record<string, NpmPackage>>;
}

interface NpmPackage {
  readonly dependencies: readonly string[];
  readonly localPath: string;
}

/** Copies the npm packages that `mod.ts` needs into a runtime cache of its own; answers `name@version`s. */
async function stagePackages(project: string, denoDir: string): Promise<Set<string>> {
  const main = join(project, "mod.ts");
  await denoOutput(["cache", main], project); // Fetches what this machine does not have yet.
  const { modules, npmPackages } = JSON.parse(
    await denoOutput(["info", "--json", main], project),
  ) as ModuleGraph;
  const { npmCache } = JSON.parse(await denoOutput(["info", "--json"], project)) as {
    npmCache: string;
  };
  const names = withDependencies(modules.flatMap((module) => module.npmPackage ?? []), npmPackages);
  for (const name of names) {
    const path = npmPackages[name]?.localPath;
    if (path === undefined) throw new Error(`Cannot find the npm package ${name} of mod.ts`);
    const copy = join(denoDir, "npm", relative(npmCache, path));
    await Deno.mkdir(dirname(copy), { recursive: true });
    await copyTree(path, copy);
    // The list of a package's versions is there only if it was needed: the lock file names the version.
    const versions = join(dirname(path), "registry.json");
    if (await exists(versions)) await Deno.copyFile(versions, join(dirname(copy), "registry.json"));
  }
  return names;
}

/** `names` and all that they depend on. */
function withDependencies(
  names: readonly string[],
  packages: ModuleGraph["npmPackages"],
): Set<string> {
  const found = new Set<string>();
  const pending = [...names];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    pending.push(...(packages[name]?.dependencies ?? []));
  }
  return found;
}

/**
 * Drops from an import map the packages that were not copied, which the runtime would want to fetch, and
 * lets it shorten the lock file accordingly.
 */
async function keepImports(path: string, packages: ReadonlySet<string>): Promise<void> {
  const { lock: _, ...settings } = JSON.parse(await Deno.readTextFile(path)) as {
    readonly lock?: unknown;
    readonly imports: Readonly<Record<string, string>>;
  };
  const isKept = (target: string) =>
    !target.startsWith(NPM) ||
    [...packages].some((name) => `${target}/`.startsWith(`${NPM}${name}/`));
  const imports = Object.entries(settings.imports).filter(([, target]) => isKept(target));
  const kept = { ...settings, imports: Object.fromEntries(imports) };
  await Deno.writeTextFile(path, JSON.stringify(kept, null, 2));
}

async function denoOutput(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`deno ${args.join(" ")} failed:\n${new TextDecoder().decode(stderr).trim()}`);
}
