/** Where `denort` comes from, and what is said when it comes from nowhere. */

import assert from "node:assert/strict";
import { chooseDenort, denortAdvice, isDenortMissing } from "../../../scripts/compile.ts";

/** The choice on a machine that has only these files. */
function choice(fromEnv: string | undefined, ...files: readonly string[]) {
  const isThere = (path: string) => Promise.resolve(files.includes(path));
  return chooseDenort({ fromEnv, denoPath: "/opt/deno/deno" }, isThere);
}

Deno.test("chooseDenort() prefers $DENORT_BIN to the file beside deno", async () => {
  const found = await choice("/x/denort", "/x/denort", "/opt/deno/denort");
  assert.deepEqual(found, { kind: "given", path: "/x/denort" });
});

Deno.test("chooseDenort() says so when $DENORT_BIN names nothing, and looks no further", async () => {
  const found = await choice("/x/denort", "/opt/deno/denort");
  assert.deepEqual(found, { kind: "missing", path: "/x/denort" });
});

Deno.test("chooseDenort() takes the file beside deno", async () => {
  const found = await choice("", "/opt/deno/denort");
  assert.deepEqual(found, { kind: "given", path: "/opt/deno/denort" });
});

Deno.test("chooseDenort() leaves cache and download to deno when nothing is at hand", async () => {
  assert.deepEqual(await choice(undefined), { kind: "left to deno" });
});

Deno.test("isDenortMissing() knows a missing runtime from a mistake in the program", () => {
  const download = "Caused by:\n    0: Setting up base binary.\n    1: error sending request";
  assert.equal(isDenortMissing(download), true);
  assert.equal(isDenortMissing("TS2322 [ERROR]: Type 'string' is not assignable"), false);
});

Deno.test("denortAdvice() names the file to get, the release, and the variable to set", () => {
  const text = denortAdvice({ deno: "2.9.6", target: "x86_64-unknown-linux-gnu" });
  for (
    const part of ["denort-x86_64-unknown-linux-gnu.zip", "2.9.6", "DENORT_BIN=", "No executable"]
  ) {
    assert.ok(text.includes(part), part);
  }
});
