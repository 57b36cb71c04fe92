/** The import order as data and functions; the lint plugin's tests show it at work. */

import assert from "node:assert/strict";
import {
  folderOf,
  FOLDERS,
  importCircle,
  importFault,
  relativeImports,
  resolveImport,
} from "../../../scripts/import_order.ts";

Deno.test("importFault() lets each folder import itself and never one below it", () => {
  for (const [rank, folder] of FOLDERS.entries()) {
    const path = folder === "app" ? "src/app.ts" : `src/${folder}/a.ts`;
    assert.equal(importFault(path, path.replace("a.ts", "b.ts")), undefined);
    for (const below of FOLDERS.slice(rank + 1)) {
      const target = below === "app" ? "src/app.ts" : `src/${below}/a.ts`;
      assert.notEqual(importFault(path, target), undefined, `${path} → ${target}`);
    }
  }
});

Deno.test("importFault() lets app.ts import every folder and nobody import mod.ts", () => {
  for (const folder of FOLDERS.filter((name) => name !== "app")) {
    assert.equal(importFault("src/app.ts", `src/${folder}/a.ts`), undefined);
  }
  assert.match(importFault("src/app.ts", "mod.ts") ?? "", /nothing imports mod\.ts/);
});

Deno.test("folderOf() knows no folder that is not in the order", () => {
  assert.equal(folderOf("src/net/portable/a.ts"), "net");
  assert.equal(folderOf("tests/a.ts"), undefined);
  assert.throws(() => folderOf("src/utils/a.ts"), /no place in the import order/);
});

Deno.test("relativeImports() finds every static form and nothing in comments or packages", () => {
  const source = [
    'import { a } from "./a.ts";',
    'import type { B } from "../b.ts";',
    'import {\n  c,\n  d,\n} from "./c.ts";',
    'export * from "./e.ts";',
    'export { f } from "./f.ts";',
    'import "./g.ts";',
    'import { z } from "node:path";',
    '// import { y } from "./y.ts";',
  ].join("\n");
  const found = ["./a.ts", "../b.ts", "./c.ts", "./e.ts", "./f.ts", "./g.ts"];
  assert.deepEqual(relativeImports(source), found);
});

Deno.test("resolveImport() joins a path with what is written in it", () => {
  assert.equal(resolveImport("src/net/portable/a.ts", "../dial.ts"), "src/net/dial.ts");
});

Deno.test("importCircle() finds the way round, and none where imports only meet again", () => {
  const graph: Readonly<Record<string, readonly string[]>> = {
    a: ["b", "c"],
    b: ["d"],
    c: ["d"],
    d: [],
    x: ["y"],
    y: ["z", "d"],
    z: ["x"],
  };
  const importsOf = (path: string) => graph[path] ?? [];
  assert.equal(importCircle("a", importsOf), undefined);
  assert.deepEqual(importCircle("x", importsOf), ["x", "y", "z", "x"]);
});
