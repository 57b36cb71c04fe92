/** Files of rules that are in memory. */

import { type HbaFile, readHbaFile } from "../../src/auth/hba_file.ts";
import { type IdentFile, readIdentFile } from "../../src/auth/ident_map.ts";
import type { RuleFileIo } from "../../src/auth/rule_file.ts";

/** Files by path; a directory is there if something is in it. */
export function memoryRules(files: Readonly<Record<string, string>>): RuleFileIo {
  return {
    readTextFile: (path) => Promise.resolve(Object.hasOwn(files, path) ? files[path] : undefined),
    listFiles(path) {
      const inside = Object.keys(files).filter((name) => name.startsWith(`${path}/`));
      if (inside.length === 0) return Promise.reject(new Error("No such directory"));
      return Promise.resolve(inside.map((name) => name.slice(path.length + 1)));
    },
  };
}

/** Reads `hba.conf`. */
export function hbaOf(
  text: string,
  files: Readonly<Record<string, string>> = {},
): Promise<HbaFile> {
  return readHbaFile("hba.conf", memoryRules({ "hba.conf": text, ...files }));
}

/** Reads `ident.conf`. */
export function identOf(text: string): Promise<IdentFile> {
  return readIdentFile("ident.conf", memoryRules({ "ident.conf": text }));
}
