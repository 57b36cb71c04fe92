import assert from "node:assert/strict";
import { join } from "node:path";
import { projectDir } from "../../../scripts/staging.ts";

/** A promise, and the tests below it. */
interface PromiseMade {
  readonly text: string;
  readonly tests: readonly { readonly file: string; readonly title: string }[];
}

/** The promises of SECURITY.md: items of a list, with tests as items below them. */
async function promises(): Promise<PromiseMade[]> {
  const text = await Deno.readTextFile(join(projectDir(), "SECURITY.md"));
  const [, list = ""] = text.split(/^## Promises$/m);
  return list.split(/^- /m).slice(1).map((item) => ({
    text: item.split("\n")[0]!,
    tests: Array.from(item.matchAll(/^ {2}- `(tests\/[\w/]+\.ts): (.+?)`$/gm))
      .map(([, file, title]) => ({ file: file!, title: title! })),
  }));
}

Deno.test("every promise of SECURITY.md names a test, and all that it names are there", async () => {
  const made = await promises();
  assert.ok(made.length > 20, `Only ${made.length} promises were found`);
  for (const { tests, text } of made) {
    assert.ok(tests.length > 0, `No test: ${text}`);
    for (const { file, title } of tests) {
      const text = await Deno.readTextFile(join(projectDir(), file));
      const code = text.replaceAll(/test\(\s+/g, "test(");
      const isThere = ['"', "`"].some((quote) => code.includes(`test(${quote}${title}${quote}`));
      assert.ok(isThere, `${file} has no test "${title}"`);
    }
  }
});

Deno.test("SECURITY.md names no test in any other form", async () => {
  const text = await Deno.readTextFile(join(projectDir(), "SECURITY.md"));
  const [, list = ""] = text.split(/^## Promises$/m);
  const [, ...items] = list.split(/^### /m);
  const named = items.join("").match(/tests\//g)?.length ?? 0;
  const read = (await promises()).reduce((sum, { tests }) => sum + tests.length, 0);
  assert.equal(read, named);
});
