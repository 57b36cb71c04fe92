/**
 * Runs `deno doc --lint` over all sources at once, so that every type that an export mentions is in view.
 *
 * It wants a comment on each member, too. We want one on each export, which the lint rule
 * `house/doc-comments` checks; a member whose name and type say all has none.
 */

import { join } from "node:path";
import { projectDir } from "./staging.ts";

/** Faults that are another rule's business. */
const LEFT_OUT = "missing-jsdoc";

/** The faults in the output of `deno doc --lint`, each with its place, without those left out. */
export function faultsIn(output: string): string[] {
  return output.split(/^(?=error\[)/m)
    .filter((part) => part.startsWith("error[") && !part.startsWith(`error[${LEFT_OUT}]`))
    .map((part) => part.split(/^error: /m)[0]?.trim() ?? "");
}

/** All TypeScript files below a folder. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  const found = await Promise.all(entries.map(async ({ name, isDirectory }) => {
    const path = join(folder, name);
    if (isDirectory) return await filesBelow(path);
    return path.endsWith(".ts") ? [path] : [];
  }));
  return found.flat().sort();
}

async function main(): Promise<number> {
  const project = projectDir();
  const files = [join(project, "mod.ts"), ...await filesBelow(join(project, "src"))];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", ...files],
    cwd: project,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stderr);
  const faults = faultsIn(text);
  const isOnlyLeftOut = text.includes("documentation lint error") && faults.length === 0;
  if (success || isOnlyLeftOut) return 0;
  console.error(faults.length > 0 ? faults.join("\n\n") : text);
  return 1;
}

if (import.meta.main) Deno.exit(await main());
