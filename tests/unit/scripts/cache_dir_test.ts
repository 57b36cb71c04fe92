/** The scripts' cache: a folder is complete or absent. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { alone, cached, copyTree, exists, openTree } from "../../../scripts/cache_dir.ts";

/** Runs a test with a cache folder of its own. */
async function withCache(test: (path: string) => Promise<void>): Promise<void> {
  const before = Deno.env.get("SLUICE_CACHE_DIR");
  const path = await Deno.makeTempDir();
  Deno.env.set("SLUICE_CACHE_DIR", path);
  try {
    await test(path);
  } finally {
    if (before === undefined) Deno.env.delete("SLUICE_CACHE_DIR");
    else Deno.env.set("SLUICE_CACHE_DIR", before);
    await Deno.remove(path, { recursive: true });
  }
}

async function namesIn(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name);
}

const fill = (text: string) => (path: string) => Deno.writeTextFile(join(path, "file"), text);

Deno.test("cached() builds a folder once and answers it from then on", () =>
  withCache(async () => {
    const path = await cached("a", fill("first"));
    assert.equal(await cached("a", fill("second")), path);
    assert.equal(await Deno.readTextFile(join(path, "file")), "first");
  }));

Deno.test("cached() leaves nothing behind when a build fails", () =>
  withCache(async (cache) => {
    const failing = cached("a", async (path) => {
      await fill("half")(path);
      throw new Error("full disk");
    });
    await assert.rejects(failing, /full disk/);
    assert.deepEqual(await namesIn(cache), []);
  }));

Deno.test("cached() keeps the folder of whoever was first when two build it at once", () =>
  withCache(async (cache) => {
    const path = await cached("a", async (building) => {
      await fill("slow")(building);
      await cached("a", fill("fast"));
    });
    assert.equal(await Deno.readTextFile(join(path, "file")), "fast");
    assert.deepEqual(await namesIn(cache), ["a"]);
  }));

Deno.test("alone() lets one after the other into a folder, the next also when one fails", () =>
  withCache(async (cache) => {
    const told: string[] = [];
    const visit = (name: string, end: () => void) =>
      alone(cache, async () => {
        told.push(`${name} comes`);
        await namesIn(cache);
        told.push(`${name} goes`);
        end();
      });
    const failing = assert.rejects(visit("a", () => assert.fail("no luck")), /no luck/);
    await Promise.all([failing, visit("b", () => {}), visit("c", () => {})]);
    const comers = told.filter((_, i) => i % 2 === 0);
    assert.deepEqual(told, comers.flatMap((comes) => [comes, comes.replace("comes", "goes")]));
    assert.equal(told.length, 6);
  }));

Deno.test("copyTree() copies links as links and leaves out what it is told to", () =>
  withCache(async (path) => {
    await Deno.mkdir(join(path, "from"));
    await Deno.writeTextFile(join(path, "from", "lib.so.1"), "x");
    await Deno.writeTextFile(join(path, "from", "lib.a"), "x");
    await Deno.symlink("lib.so.1", join(path, "from", "lib.so"));
    await copyTree(join(path, "from"), join(path, "to"), { skip: (name) => name.endsWith(".a") });
    assert.equal(await Deno.readLink(join(path, "to", "lib.so")), "lib.so.1");
    assert.equal(await exists(join(path, "to", "lib.a")), false);
  }));

Deno.test("openTree() lets everybody read, and execute what its owner may", () =>
  withCache(async (path) => {
    await Deno.writeTextFile(join(path, "text"), "", { mode: 0o600 });
    await Deno.writeTextFile(join(path, "program"), "", { mode: 0o700 });
    await openTree(path);
    const modes = ["text", "program"].map((name) =>
      (Deno.statSync(join(path, name)).mode ?? 0) & 0o777
    );
    assert.deepEqual(modes, [0o644, 0o755]);
  }));
