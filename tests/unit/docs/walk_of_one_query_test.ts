/** Holds `docs/walk_of_one_query.md` against the sources: it must not name what is not there. */

import assert from "node:assert/strict";

const ROOT = new URL("../../../", import.meta.url);

/** A file, or a function that follows the file it is in. */
const MENTION = /`((?:src|scripts|tests)\/[\w/]+\.ts)`|`(#?\w+)\(\)`/g;

async function mentions(): Promise<{ files: string[]; functions: string[] }> {
  const text = await Deno.readTextFile(new URL("docs/walk_of_one_query.md", ROOT));
  const files: string[] = [];
  const functions: string[] = [];
  for (const [, file, name] of text.matchAll(MENTION)) {
    if (file !== undefined) files.push(file);
    else if (name !== undefined) functions.push(name);
  }
  return { files, functions };
}

/** A declaration, not a call: at the start of a line, as a method, property, getter or function. */
function declares(source: string, name: string): boolean {
  const declaration = new RegExp(
    `^\\s*(?:export\\s+)?(?:readonly\\s+)?(?:async\\s+)?(?:function\\*?\\s+|get\\s+|\\*)?` +
      `${name}(?:<[^>]*>)?\\s*(?:\\(|=)`,
    "m",
  );
  const generator = new RegExp(`^\\s*(?:export\\s+)?async (?:function\\s*)?\\*\\s*${name}\\(`, "m");
  return declaration.test(source) || generator.test(source);
}

Deno.test("docs/walk_of_one_query.md names only files that exist", async () => {
  const { files } = await mentions();
  assert.ok(files.length > 20, "the walk names its files");
  for (const file of files) {
    const isThere = Deno.stat(new URL(file, ROOT)).then(({ isFile }) => assert.ok(isFile));
    await assert.doesNotReject(isThere, `${file} is named in the walk and does not exist`);
  }
});

Deno.test("docs/walk_of_one_query.md names only functions that exist in the files it names", async () => {
  const { files, functions } = await mentions();
  const sources = await Promise.all(
    [...new Set(files)].map((file) => Deno.readTextFile(new URL(file, ROOT))),
  );
  assert.ok(functions.length > 30, "the walk names its functions");
  for (const name of functions) {
    const isDeclared = sources.some((source) => declares(source, name));
    assert.ok(isDeclared, `${name}() is named in the walk and is not declared in its files`);
  }
});
