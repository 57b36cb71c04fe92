import assert from "node:assert/strict";
import { join } from "node:path";
import { readHostSecret } from "../../../src/app/host_secret.ts";

const ID = "0123456789abcdef0123456789abcdef";

Deno.test("readHostSecret() takes the first machine ID that there is", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = (name: string) => join(dir, name);
    await Deno.writeTextFile(path("good"), `${ID}\n`);
    await Deno.writeTextFile(path("empty"), "");
    await Deno.writeTextFile(path("zero"), `${"0".repeat(32)}\n`);
    await Deno.writeTextFile(path("new"), "uninitialized\n");
    await Deno.writeTextFile(path("long"), `${ID}0\n`);
    const none = ["missing", "empty", "zero", "new", "long", ""].map(path);
    assert.equal(readHostSecret(none), undefined);
    assert.equal(readHostSecret([...none, path("good")]), ID);
    assert.equal(readHostSecret([]), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
