/** Any text of rules gives rules or errors with a place, and any name an answer, soon. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { NamePattern, PatternError } from "../../src/auth/name_pattern.ts";
import { parseIp } from "../../src/auth/ip_range.ts";
import { isMapped } from "../../src/base/ip_address.ts";
import { hbaOf, identOf } from "../support/memory_rules.ts";

const word = fc.constantFrom(
  ...["local", "host", "hostssl", "all", "sameuser", "replication", "samehost", "samenet", "app"],
  ...[
    "127.0.0.1/8",
    "::1",
    "::/0",
    "255.0.0.0",
    "trust",
    "reject",
    "md5",
    "peer",
    "map=m",
    "ident",
  ],
  ...[
    '"',
    '""',
    "#",
    ",",
    "\\\n",
    "\\",
    "\n",
    "\r\n",
    "\t",
    " ",
    "@f",
    "@hba.conf",
    "+r",
    "/^a",
    "/(",
  ],
  ...[
    "include f",
    "include hba.conf",
    "include_dir d",
    "\\1",
    "/(.*)",
    "m",
    "\0",
    "\u{1f600}",
    "=",
  ],
);

const anyRules = fc.oneof(
  fc.array(fc.tuple(word, fc.constantFrom("", " ", " ", "\n")), { maxLength: 24 })
    .map((parts) => parts.flat().join("")),
  fc.string({ maxLength: 80 }),
);

Deno.test("readHbaFile() gives rules that decide, or errors with a place, for any text", async () => {
  await fc.assert(
    fc.asyncProperty(anyRules, anyRules, fc.string(), async (text, other, name) => {
      const { errors, rules } = await hbaOf(text, { f: other, "d/x.conf": other });
      for (const error of errors) {
        assert.match(String(error), /^(hba\.conf|f|d\/x\.conf)(:\d+)?: ./s);
      }
      for (const address of [undefined, parseIp("127.0.0.1"), parseIp("::1")]) {
        const asked = { address, user: name, database: "app", isTls: false, isReplication: false };
        rules.decide(asked, () => []);
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("readIdentFile() gives maps that answer, or errors with a place, for any text", async () => {
  await fc.assert(
    fc.asyncProperty(anyRules, fc.string(), async (text, name) => {
      const { errors, maps } = await identOf(text);
      for (const error of errors) assert.match(String(error), /^ident\.conf(:\d+)?: ./s);
      maps.allows("m", name, "app");
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("NamePattern answers any pattern and name, in a time that has a limit", () => {
  const piece = fc.oneof(
    fc.constantFrom(...[
      "(",
      ")",
      "(?:",
      "|",
      "*",
      "+",
      "?",
      "{0,9}",
      "{9}",
      ".",
      "a",
      "[ab]",
      "^",
      "$",
    ]),
    fc.string({ maxLength: 3 }),
  );
  const anyPattern = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(
      anyPattern,
      fc.string({ maxLength: 127, unit: fc.constantFrom("a", "b") }),
      (text, name) => {
        let pattern;
        try {
          pattern = new NamePattern(text);
        } catch (error) {
          assert.ok(error instanceof PatternError, String(error));
          return;
        }
        const begunAtMs = performance.now();
        pattern.matches(name);
        // What would not end takes minutes; this allows for a busy machine.
        assert.ok(performance.now() - begunAtMs < 2_000, text);
      },
    ),
    { numRuns: 3_000 },
  );
});

Deno.test("parseIp() takes what the URL standard takes for an IPv6 address, and nothing else", () => {
  const group = fc.constantFrom(
    "0",
    "1",
    "ffff",
    "00a0",
    "10000",
    "g",
    "",
    "1.2.3.4",
    "1.2.3",
    ":",
  );
  const anyAddress = fc.array(group, { minLength: 2, maxLength: 9 }).map((groups) =>
    groups.join(":")
  );
  fc.assert(
    fc.property(anyAddress, (text) => {
      let isOne = true;
      try {
        new URL(`http://[${text}]`);
      } catch {
        isOne = false;
      }
      const address = parseIp(text);
      assert.equal(address !== undefined, isOne, text);
      if (address !== undefined) isMapped(address);
    }),
    { numRuns: 5_000 },
  );
});
