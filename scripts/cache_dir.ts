/**
 * Where scripts keep what is costly to make (copies of PostgreSQL, of the runtime, of the sources), and
 * where their temporary folders go. An unprivileged uid must be able to enter both.
 *
 * Invariant: a cached folder is complete or absent. It is built under another name and renamed, so that
 * several processes may build the same one at once, and an interrupted one leaves nothing half made.
 */

import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";

/** Age after which a cached folder that nobody used may be removed. */
const UNUSED_AFTER_MS = 24 * 60 * 60 * 1000;

/** The folder of cached things; `SLUICE_CACHE_DIR` names another. */
export async function cacheDir(): Promise<string> {
  const path = Deno.env.get("SLUICE_CACHE_DIR") ?? defaultCacheDir();
  await Deno.mkdir(path, { recursive: true, mode: 0o755 });
  const info = await Deno.lstat(path);
  const foreign = info.uid !== null && info.uid !== Deno.uid();
  if (!info.isDirectory || foreign) {
    throw new Error(`Cannot use the cache folder ${path}: it is not a folder of this user's own`);
  }
  return path;
}

/** root's own cache may lie below a home that nobody else can enter, so root uses the system's. */
function defaultCacheDir(): string {
  if (Deno.uid() === 0) return join("/var/cache", "sluice-dev");
  const home = Deno.env.get("HOME");
  const base = Deno.env.get("XDG_CACHE_HOME") ?? (home && join(home, ".cache"));
  return base ? join(base, "sluice-dev") : join(tempBase(), `sluice-dev-${Deno.uid()}`);
}

/**
 * Returns the cached folder `name`, after having `build` fill it if it is not there yet.
 * `build` is given an empty folder, which gets its final name only when it returns.
 */
export async function cached(name: string, build: (path: string) => Promise<void>) {
  const path = join(await cacheDir(), name);
  if (!(await exists(path))) {
    const building = await Deno.makeTempDir({ dir: dirname(path), prefix: `${name}.building-` });
    try {
      await build(building);
      await Deno.chmod(building, 0o755);
      await publish(building, path);
    } finally {
      if (await exists(building)) await Deno.remove(building, { recursive: true });
    }
  }
  await Deno.utime(path, new Date(), new Date());
  return path;
}

/** Does something in a folder while no other process, and nobody else in this one, does so by this. */
export async function alone(path: string, run: () => Promise<void>): Promise<void> {
  using file = await Deno.open(join(path, ".lock"), { create: true, write: true });
  await file.lock(true);
  await run();
}

/** A short name for some texts: other texts, another name. */
export function nameOf(texts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(texts)).digest("hex").slice(0, 16);
}

/** A short name for a file as it is now, and what else matters. */
export async function nameOfFile(path: string, ...others: readonly string[]): Promise<string> {
  const { size, mtime } = await Deno.stat(path);
  return nameOf([path, String(size), String(mtime?.getTime()), ...others]);
}

/** Renames a finished folder; another process that was faster has made the same one, which is kept. */
async function publish(building: string, path: string): Promise<void> {
  try {
    await Deno.rename(building, path);
  } catch (error) {
    if (!(await exists(path))) throw error;
  }
}

/** Removes cached folders whose name begins with `prefix` and that have long not been used. */
export async function pruneCache(prefix: string): Promise<void> {
  const path = await cacheDir();
  for await (const entry of Deno.readDir(path)) {
    if (!entry.name.startsWith(prefix)) continue;
    const info = await statOrNothing(join(path, entry.name));
    const usedAtMs = info?.mtime?.getTime() ?? Date.now();
    if (Date.now() - usedAtMs > UNUSED_AFTER_MS) await removeTree(join(path, entry.name));
  }
}

/** A fresh temporary folder that every uid can find its way to; what may be read in it is its owner's business. */
export async function makeTempDir(prefix: string): Promise<string> {
  return await Deno.makeTempDir({ dir: tempBase(), prefix });
}

/** The first usual place for temporary files whose whole path other users may enter. */
export function tempBase(): string {
  const places = [Deno.env.get("TMPDIR"), "/tmp", "/var/tmp"].filter((path) => path !== undefined);
  return places.find(isOpenToOthers) ?? "/tmp";
}

/** Whether another uid can enter this folder. */
export function isOpenToOthers(path: string): boolean {
  try {
    for (let at = resolve(path);; at = dirname(at)) {
      if (((Deno.statSync(at).mode ?? 0o777) & 0o001) === 0) return false;
      if (at === dirname(at)) return true;
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Copies a tree: files with their mode, links as links; `skip` leaves out what it answers true for. */
export async function copyTree(
  from: string,
  to: string,
  options: { skip?: (name: string) => boolean } = {},
): Promise<void> {
  const info = await Deno.lstat(from);
  if (info.isSymlink) return await Deno.symlink(await Deno.readLink(from), to);
  if (!info.isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (options.skip?.(entry.name)) continue;
    await copyTree(join(from, entry.name), join(to, entry.name), options);
  }
}

/** Makes a tree readable for everybody, and executable where its owner may execute it. */
export async function openTree(path: string): Promise<void> {
  const info = await Deno.lstat(path);
  if (info.isSymlink) return;
  const mode = info.mode ?? 0o644;
  await Deno.chmod(path, info.isDirectory || (mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (!info.isDirectory) return;
  for await (const entry of Deno.readDir(path)) await openTree(join(path, entry.name));
}

/** Removes a tree that may be gone already. */
export async function removeTree(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Whether there is a file or folder with this path. */
export async function exists(path: string): Promise<boolean> {
  return (await statOrNothing(path)) !== undefined;
}

async function statOrNothing(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
