import assert from "node:assert/strict";
import { IdentMaps } from "../../../src/auth/ident_map.ts";
import { identOf } from "../../support/memory_rules.ts";

async function maps(text: string): Promise<IdentMaps> {
  const { errors, maps } = await identOf(text);
  assert.deepEqual(errors.map(String), []);
  return maps;
}

Deno.test("IdentMaps without a map lets everybody be who they are, and nobody else", () => {
  const none = new IdentMaps();
  assert.equal(none.allows(undefined, "alice", "alice"), true);
  assert.equal(none.allows(undefined, "alice", "bob"), false);
  assert.equal(none.allows("m", "alice", "alice"), false);
});

Deno.test("IdentMaps allows what one of a map's lines says", async () => {
  const read = await maps('m alice app\nm alice bob\nn carol all\nm dave "all"\nm /^x /^db\n');
  const cases: readonly (readonly [string, string, string, boolean])[] = [
    ["m", "alice", "app", true],
    ["m", "alice", "bob", true],
    ["m", "alice", "alice", false],
    ["n", "alice", "app", false],
    ["n", "carol", "whoever", true],
    ["m", "dave", "whoever", false],
    ["m", "dave", "all", true],
    ["m", "xy", "db1", true],
    ["m", "yx", "db1", false],
    ["m", "xy", "1db", false],
  ];
  for (const [map, system, database, expected] of cases) {
    assert.equal(read.allows(map, system, database), expected, `${map} ${system} ${database}`);
  }
  assert.deepEqual(["m", "n", "o"].map((map) => read.has(map)), [true, true, false]);
});

Deno.test("IdentMaps puts what was captured in the place of the first \\1, as a name", async () => {
  const read = await maps("m /^(.*)@x$ \\1\nn /^(.*)@x$ p_\\1_\\1\no alice \\1\n");
  assert.equal(read.allows("m", "alice@x", "alice"), true);
  assert.equal(read.allows("m", "alice@y", "alice"), false);
  assert.equal(read.allows("m", "all@x", "whoever"), false, "what was captured is no keyword");
  assert.equal(read.allows("m", "/.*@x", "whoever"), false, "nor a pattern");
  assert.equal(read.allows("m", "$&@x", "$&"), true);
  assert.equal(read.allows("n", "a@x", "p_a_\\1"), true);
  assert.equal(read.allows("o", "alice", "\\1"), true, "without a pattern it is a name");
});

Deno.test("IdentMaps takes the longest for what was captured, as PostgreSQL does", async () => {
  const read = await maps("m /^(a|ab)(.*)$ \\1\n");
  assert.equal(read.allows("m", "abc", "ab"), true);
  assert.equal(read.allows("m", "abc", "a"), false);
});

Deno.test("IdentMaps looks no further where nothing was captured", async () => {
  const read = await maps("m /^(?:(a)|b)$ \\1\nm b bob\n");
  assert.equal(read.allows("m", "a", "a"), true);
  assert.equal(read.allows("m", "b", "bob"), false);
});

Deno.test("readIdentFile() refuses what it could not keep, with the place", async () => {
  const { errors } = await identOf(
    "m a\nm a +b\nm /a \\1\nm /(a)* \\1\nm /(a*?) \\1\nm a b c\nm (a b\nm /(a b\n",
  );
  assert.deepEqual(errors.map(String), [
    "ident.conf:1: Expected a map name, a system user and a database user",
    'ident.conf:2: "+b" is not supported: Sluice does not know who is in a role',
    'ident.conf:3: Invalid regular expression "/a": it has no group for "\\1"',
    'ident.conf:4: Invalid regular expression "/(a)*": the group for "\\1" cannot be within a repetition',
    'ident.conf:5: Invalid regular expression "/(a*?)": with "\\1" no repetition may be a short one ("*?" and its like)',
    "ident.conf:6: There is something behind the database user",
    'ident.conf:8: Invalid regular expression "/(a": a parenthesis is not closed',
  ]);
});
