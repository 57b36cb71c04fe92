/** The README's promises that a program can check. */

import assert from "node:assert/strict";
import { projectDir, startFlags } from "../../../scripts/staging.ts";

async function projectFile(name: string): Promise<string> {
  return await Deno.readTextFile(`${projectDir()}/${name}`);
}

Deno.test("README lists exactly the permissions of `deno task start`, each with a reason", async () => {
  const rows = [
    ...(await projectFile("README.md")).matchAll(/^\| `(--allow-[^`]+)` *\| \S.+\|$/gm),
  ];
  const allowed = (await startFlags()).filter((flag) => flag.startsWith("--allow-"));
  assert.deepEqual(rows.map((row) => row[1]).sort(), allowed.sort());
});

Deno.test("README, CONTRIBUTING and the CI script name only tasks that exist", async () => {
  const { tasks } = JSON.parse(await projectFile("deno.json")) as { tasks: Record<string, string> };
  for (const name of ["README.md", "CONTRIBUTING.md", ".ci/run"]) {
    for (
      const [, task = ""] of (await projectFile(name)).matchAll(
        /\bdeno(?:@[\d.]+)? task ([a-z:]+)/g,
      )
    ) {
      assert.ok(task in tasks, `${name}: ${task}`);
    }
  }
});

Deno.test("README, CI and the running Deno agree on one version of Deno", async () => {
  const texts = await Promise.all(["README.md", "CONTRIBUTING.md", ".ci/run"].map(projectFile));
  const versions = texts.join("").matchAll(/deno@(\d+\.\d+\.\d+)/g);
  assert.deepEqual(new Set([...versions].map((match) => match[1])), new Set([Deno.version.deno]));
});
