/**
 * Who may import whom: one total order of the folders of `src/`, and the bans beside it. Pure; the lint
 * plugin asks it about each import.
 */

/** The folders of `src/`, from those that import nothing to those that may import all. */
export const FOLDERS = [
  "base",
  "log",
  "config",
  "wire",
  "stats",
  "link",
  "auth",
  "net",
  "pool",
  "server",
  "client",
  "maintenance",
  "admin",
  "metrics",
  "app",
] as const;

/** A folder of `src/`; `app` stands for `src/app/`, the files directly in `src/`, and `mod.ts`. */
export type Folder = (typeof FOLDERS)[number];

/** Folders that may import only these (and themselves). */
const ONLY: Readonly<Partial<Record<Folder, readonly Folder[]>>> = {
  wire: ["base"],
  stats: ["base"],
  metrics: ["base", "log", "config", "stats"],
};

/** Folders that may not import these, though the order would allow it. */
const NEVER: Readonly<Partial<Record<Folder, readonly Folder[]>>> = {
  pool: ["wire", "link", "auth", "net"],
  server: ["pool"],
};

/** The folder of a file, given as a path from the project's folder; nothing outside the sources. */
export function folderOf(path: string): Folder | undefined {
  if (path === "mod.ts") return "app";
  const parts = path.split("/");
  if (parts[0] !== "src" || parts.length < 2) return undefined;
  if (parts.length === 2) return "app";
  const folder = FOLDERS.find((name) => name === parts[1]);
  if (folder === undefined) {
    throw new Error(`The folder of ${path} has no place in the import order`);
  }
  return folder;
}

/** Why a file may not import another, both as paths from the project's folder; nothing if it may. */
export function importFault(from: string, to: string): string | undefined {
  const importer = folderOf(from);
  if (importer === undefined) return undefined;
  const imported = folderOf(to);
  if (imported === undefined) return `src/ imports nothing from outside it, so not ${to}`;
  if (to === "mod.ts") return "nothing imports mod.ts";
  if (importer === imported) return undefined;
  if (FOLDERS.indexOf(imported) > FOLDERS.indexOf(importer)) {
    return `${importer} comes before ${imported} in the import order`;
  }
  const only = ONLY[importer];
  if (only !== undefined && !only.includes(imported)) {
    return `${importer} imports only ${only.join(", ")}`;
  }
  if (NEVER[importer]?.includes(imported)) return `${importer} does not import ${imported}`;
  return undefined;
}

/** The relative imports in a source text, types included, as they are written. */
export function relativeImports(source: string): string[] {
  const pattern = /^\s*(?:import|export)\b[^"';]*?["'](\.{1,2}\/[^"']+)["']/gm;
  return [...source.matchAll(pattern)].map((match) => match[1] ?? "");
}

/** Joins a file's path with a relative import in it. */
export function resolveImport(from: string, specifier: string): string {
  const url = new URL(specifier, `file:///${from}`);
  return url.pathname.slice(1);
}

/**
 * Finds a circle of imports that begins and ends at `start`, as the paths on it; nothing if there is none.
 * `importsOf` answers what a file imports.
 */
export function importCircle(
  start: string,
  importsOf: (path: string) => readonly string[],
): readonly string[] | undefined {
  const visited = new Set<string>();
  function search(path: string, trail: readonly string[]): readonly string[] | undefined {
    for (const next of importsOf(path)) {
      if (next === start) return [...trail, next];
      if (visited.has(next)) continue;
      visited.add(next);
      const found = search(next, [...trail, next]);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  return search(start, [start]);
}
