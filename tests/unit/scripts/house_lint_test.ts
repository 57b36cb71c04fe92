/** The project's own lint rules: each is given a line it must refuse and one it must let pass. */

import assert from "node:assert/strict";
import plugin from "../../../scripts/house_lint.ts";

/** The rules that object to `source` as the file `path`. */
function faults(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, path, source).map(({ id }) => id.replace("house/", ""));
}

const CASES: readonly { rule: string; path: string; refused: string; allowed: string }[] = [
  {
    rule: "import-order",
    path: "src/wire/a.ts",
    refused: 'import { x } from "../pool/pool.ts";',
    allowed: 'import { x } from "../base/clock.ts";',
  },
  {
    rule: "import-order",
    path: "src/pool/a.ts",
    refused: 'import type { X } from "../wire/message_type.ts";',
    allowed: 'import type { X } from "../config/settings.ts";',
  },
  {
    rule: "import-order",
    path: "src/server/a.ts",
    refused: 'export { x } from "../pool/pool.ts";',
    allowed: 'export { x } from "../wire/message_type.ts";',
  },
  {
    rule: "import-order",
    path: "src/metrics/a.ts",
    refused: 'export * from "../net/network.ts";',
    allowed: 'export * from "../stats/snapshot.ts";',
  },
  {
    rule: "import-order",
    path: "src/net/portable/a.ts",
    refused: 'const x = await import("../../client/client_session.ts");',
    allowed: 'const x = await import("../byte_stream.ts");',
  },
  {
    rule: "import-order",
    path: "src/base/a.ts",
    refused: 'import { x } from "../../scripts/staging.ts";',
    allowed: 'import { x } from "./clock.ts";',
  },
  {
    rule: "module-state",
    path: "src/pool/a.ts",
    refused: "let count = 0;",
    allowed: "const LIMIT = 0;",
  },
  {
    rule: "module-state",
    path: "src/pool/a.ts",
    refused: "const cache = new Map<string, number>();",
    allowed: "const NAMES: ReadonlyMap<string, number> = new Map();",
  },
  {
    rule: "module-state",
    path: "scripts/a.ts",
    refused: "const names = [1, 2];",
    allowed: "const names = [1, 2] as const; const more: readonly number[] = [3];",
  },
  {
    rule: "module-state",
    path: "src/pool/a.ts",
    refused: "const settings = { port: 1 };",
    allowed: "const settings: Readonly<Settings> = { port: 1 };",
  },
  {
    rule: "module-state",
    path: "src/pool/a.ts",
    refused: "const pools = new PoolRegistry();",
    allowed: "const INSPECTED = new Uint8Array(256);",
  },
  {
    rule: "module-state",
    path: "src/pool/a.ts",
    refused: "class Pool { static #count = 0; }",
    allowed: "class Pool { static readonly limit = 0; #count = 0; }",
  },
  {
    rule: "ambient",
    path: "src/pool/a.ts",
    refused: "const now = Date.now();",
    allowed: "function f() { return new Date(0); }",
  },
  {
    rule: "ambient",
    path: "src/pool/a.ts",
    refused: "setTimeout(fire, 10);",
    allowed: "clock.startTimer(10, fire);",
  },
  {
    rule: "ambient",
    path: "src/pool/a.ts",
    refused: "function f() { return new Date(); }",
    allowed: "const now = clock.wallMs();",
  },
  {
    rule: "console",
    path: "src/pool/a.ts",
    refused: "console.log(1);",
    allowed: "logger.info('1');",
  },
  {
    rule: "sockets-in-net",
    path: "src/server/a.ts",
    refused: "const conn = await Deno.connect({ port: 1 });",
    allowed: "const uid = Deno.uid();",
  },
  {
    rule: "sockets-in-net",
    path: "src/server/a.ts",
    refused: "function dial(): Deno.Conn { return open(); }",
    allowed: "function ask(): Deno.FileInfo { return open(); }",
  },
  {
    rule: "sockets-in-net",
    path: "src/server/a.ts",
    refused: 'import tls from "node:tls";',
    allowed: 'import { join } from "node:path";',
  },
  {
    rule: "pure-folders",
    path: "src/link/a.ts",
    refused: "async function f() { await g(); }",
    allowed: "function f() { g(); }",
  },
  {
    rule: "pure-folders",
    path: "src/auth/a.ts",
    refused: "const user = Deno.uid();",
    allowed: "async function f() { await g(); }",
  },
  {
    rule: "doc-comments",
    path: "src/pool/a.ts",
    refused: "// Not a doc comment.\nexport function f() {}",
    allowed: "/** Says what it is for. */\nexport function f() {}",
  },
  {
    rule: "private-accessors",
    path: "src/pool/a.ts",
    refused: "class A { get #size(): number { return 1; } }",
    allowed: "class A { #size(): number { return 1; } get size(): number { return 1; } }",
  },
  {
    rule: "private-accessors",
    path: "src/pool/a.ts",
    refused: "class A { set #size(_size: number) {} }",
    allowed: "class A { set size(_size: number) {} }",
  },
];

for (const { rule, path, refused, allowed } of CASES) {
  Deno.test(`house/${rule} refuses ${refused} in ${path}`, () => {
    assert.deepEqual(faults(path, refused), [rule]);
  });
  Deno.test(`house/${rule} lets ${allowed} pass in ${path}`, () => {
    assert.deepEqual(faults(path, allowed), []);
  });
}

Deno.test("house/ambient and house/sockets-in-net let the one folder that has them use them", () => {
  assert.deepEqual(faults("src/base/clock.ts", "const now = Date.now(); setTimeout(f, 1);"), []);
  assert.deepEqual(faults("src/net/dial.ts", "const conn = await Deno.connect({ port: 1 });"), []);
});

Deno.test("house rules leave tests and scripts alone", () => {
  assert.deepEqual(faults("tests/a.ts", "let x = Date.now(); console.log(x);"), []);
  assert.deepEqual(faults("scripts/a.ts", "console.log(Date.now());"), []);
});

Deno.test("house/import-circles finds a file that imports itself", () => {
  const found = faults("src/pool/a.ts", 'import { x } from "./a.ts";');
  assert.deepEqual(found, ["import-circles"]);
});
