/**
 * Any text as a configuration, in TOML and in INI: it is a configuration, or each error says in which
 * line; nothing else is ever thrown, whatever files include one another.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { convertIni } from "../../src/config/convert.ts";
import { ConfigErrors, loadConfig } from "../../src/config/load.ts";
import type { ConfigIo } from "../../src/config/config_io.ts";
import { SETTINGS } from "../../src/config/settings.ts";

const names = fc.constantFrom(...SETTINGS.map(({ name }) => name), "host", "nonsense", "");

/** Values of the forms that either dialect has, whole and cut. */
const values = fc.oneof(
  fc.constantFrom(
    ...["0", "-1", "1e999", "99999999999999999999", "0x7fffffff", "5s", "true", "off", '""', "''"],
    ...['"127.0.0.1,::1"', '"a\\u0000b"', '"unclosed', "[1, 2", "{ a = 1 }", '"""', "1979-05-27"],
    ...["host=127.0.0.1 port=5432", "host='it''s' dbname=", "%include", "nan", "[[a]]"],
  ),
  fc.integer().map(String),
  fc.string({ maxLength: 20 }).map((text) => JSON.stringify(text)),
  fc.string({ maxLength: 20, unit: "binary" }),
);

const lines = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(names, values).map(([name, value]) => `${name} = ${value}`),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...[
        "[pooler]",
        "[pgbouncer]",
        "[databases]",
        "[databases.app]",
        '[databases."*"]',
        "[users]",
      ],
      ...[
        "[users.ada]",
        "[servers.s]",
        "[peers]",
        "[[pooler]]",
        "[",
        "[]",
        "[a.b.c]",
        "# note",
        ";",
      ],
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "%include other.ini",
      'include = ["other.ini"]',
      "%include",
      "a.b.c=1",
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 40, unit: "binary" }) },
);

const texts = fc.array(lines, { maxLength: 20 }).map((all) => all.join("\n"));

/** Every path has the same text: what includes anything includes itself. */
function everywhere(text: string): ConfigIo {
  return { readTextFile: () => Promise.resolve(text), env: () => "from the environment" };
}

async function check(run: () => Promise<unknown>, text: string): Promise<void> {
  try {
    await run();
  } catch (error) {
    assert.ok(error instanceof ConfigErrors, `Not an error of the configuration: ${error}`);
    assert.ok(error.errors.length > 0);
    const lineCount = text.split("\n").length;
    for (const { line, message } of error.errors) {
      assert.ok(message.length > 0 && message.length < 2_000, "A message is no copy of the file");
      assert.ok(line === undefined || line >= 1 && line <= lineCount, `Line ${line}`);
    }
  }
}

for (const path of ["config.toml", "pgbouncer.ini"]) {
  Deno.test(`loadConfig() of ${path} takes any text, with nothing worse than ConfigErrors`, async () => {
    await fc.assert(
      fc.asyncProperty(texts, (text) => check(() => loadConfig(path, everywhere(text)), text)),
      { numRuns: 300 },
    );
  });

  Deno.test(`loadConfig() of ${path} is done with a deep or a long one in time`, async () => {
    const longest = [
      "[".repeat(5_000),
      `a = ${"[".repeat(5_000)}`,
      `a = ${"{ a = ".repeat(2_000)}`,
      `a = "${"\\".repeat(100_000)}`,
      `${"a.".repeat(5_000)}a = 1`,
      "[pooler]\n".repeat(5_000),
      `[databases]\n${"app = host=a\n".repeat(5_000)}`,
      " ".repeat(200_000),
      `a =${" ".repeat(100_000)}x`,
    ];
    for (const text of longest) {
      const startMs = performance.now();
      await check(() => loadConfig(path, everywhere(text)), text);
      const tookMs = performance.now() - startMs;
      // Far more than it takes, and far less than what grows with the square of a text.
      assert.ok(tookMs < 5_000, `${tookMs} ms for ${text.slice(0, 20)}`);
    }
  });
}

Deno.test("convertIni() takes any text, with nothing worse than ConfigErrors", async () => {
  await fc.assert(
    fc.asyncProperty(texts, (text) => check(() => convertIni("a.ini", everywhere(text)), text)),
    { numRuns: 300 },
  );
});
