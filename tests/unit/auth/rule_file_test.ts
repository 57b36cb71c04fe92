import assert from "node:assert/strict";
import { readRuleFile } from "../../../src/auth/rule_file.ts";
import { memoryRules } from "../../support/memory_rules.ts";

/** The fields of each line: words of a field with commas, quoted ones in quotes. */
async function linesOf(text: string, files: Record<string, string> = {}): Promise<string[]> {
  const { errors, lines } = await readRuleFile(
    "a/hba.conf",
    memoryRules({ "a/hba.conf": text, ...files }),
  );
  assert.deepEqual(errors.map(String), []);
  return lines.map(({ fields, file, line }) =>
    `${file}:${line} ` +
    fields.map((field) =>
      field.map(({ isQuoted, text }) => isQuoted ? `"${text}"` : text).join(",")
    ).join(" ")
  );
}

async function errorsOf(text: string, files: Record<string, string> = {}): Promise<string[]> {
  const io = memoryRules({ "a/hba.conf": text, ...files });
  return (await readRuleFile("a/hba.conf", io)).errors.map(String);
}

Deno.test("readRuleFile() cuts lines into fields of words", async () => {
  const cases: readonly (readonly [string, string])[] = [
    ["local all  all\ttrust", "local all all trust"],
    ["a,b c , d", "a,b c d"],
    ["a, b,\tc d", "a,b,c d"],
    ["a,", "a"],
    ['"all" al"l" ""', '"all" all ""'],
    ['"a b,c#d" e', '"a b,c#d" e'],
    ['"a""b" "a"b"c"', '"a"b" "abc"'],
    ['"never closed  # x', '"never closed  # x"'],
    ["a # b c", "a"],
    ["a#b", "a"],
    ["@ b", "@ b"],
    ['"@file" b', '"@file" b'],
    ["a b\r", "a b"],
  ];
  for (const [text, expected] of cases) {
    assert.deepEqual(await linesOf(text), [`a/hba.conf:1 ${expected}`], text);
  }
});

Deno.test("readRuleFile() leaves out empty lines and comments, and counts them", async () => {
  assert.deepEqual(await linesOf("\n  \n# x\n ,\nlast\n"), ["a/hba.conf:5 last"]);
});

Deno.test("readRuleFile() goes on in the next line behind a backslash", async () => {
  assert.deepEqual(await linesOf("a \\\n b \\\r\nc\nd\\\n"), [
    "a/hba.conf:1 a b c",
    "a/hba.conf:4 d",
  ]);
  assert.deepEqual(await linesOf("# x \\\n b\nc"), ["a/hba.conf:3 c"], "a comment goes on too");
  assert.deepEqual(await linesOf("a\\\\\n\nb"), ["a/hba.conf:1 a\\", "a/hba.conf:3 b"]);
});

Deno.test("readRuleFile() reads files within a field, from beside the file that names them", async () => {
  const files = {
    "a/users": "x, y\n# no\n@deep/more",
    "a/deep/more": '"z"\n@last',
    "a/deep/last": "w",
  };
  assert.deepEqual(await linesOf("l @users,v m", files), ['a/hba.conf:1 l x,y,"z",w,v m']);
});

Deno.test("readRuleFile() puts included lines where they are included", async () => {
  const files = {
    "a/one": "1\ninclude two\n3",
    "a/two": "2",
    "a/d/b.conf": "5",
    "a/d/a.conf": "4",
    "a/d/c.txt": "no",
    "a/d/.d.conf": "no",
  };
  const text = "include one\ninclude_if_exists none\ninclude_dir d\n6\ninclude a b";
  assert.deepEqual(await linesOf(text, files), [
    "a/one:1 1",
    "a/two:1 2",
    "a/one:3 3",
    "a/d/a.conf:1 4",
    "a/d/b.conf:1 5",
    "a/hba.conf:4 6",
    "a/hba.conf:5 include a b",
  ]);
});

Deno.test("readRuleFile() names the place at which a file is missing, and goes on", async () => {
  assert.deepEqual(
    await errorsOf("include none\nl @none m\ninclude_dir none\nl @empty m", { "a/empty": "#" }),
    [
      "a/hba.conf:1: There is no file a/none",
      "a/hba.conf:2: There is no file a/none",
      "a/hba.conf:3: Cannot read directory a/none: No such directory",
      "a/hba.conf:4: The file a/empty is empty",
    ],
  );
  assert.deepEqual(await errorsOf("a\0b"), [
    "a/hba.conf: Cannot read a/hba.conf: it has a zero byte",
  ]);
});

Deno.test("readRuleFile() ends where files include themselves", async () => {
  const once = await errorsOf("include hba.conf");
  assert.equal(once.length, 1);
  assert.match(once[0] ?? "", /nested deeper than 10$/);
  const often = await errorsOf("include hba.conf\n".repeat(20));
  assert.equal(often.length, 100, "No more errors than anybody reads");
  assert.match((await errorsOf("l @hba.conf m"))[0] ?? "", /nested deeper than 10$/);
});

Deno.test("readRuleFile() follows files within files to the tenth, and no further", async () => {
  const chain = (length: number) => {
    const files: Record<string, string> = { [`a/${length}`]: "end" };
    for (let at = 1; at < length; at += 1) files[`a/${at}`] = `include ${at + 1}`;
    return files;
  };
  assert.deepEqual(await linesOf("include 1", chain(10)), ["a/10:1 end"]);
  assert.deepEqual(await errorsOf("include 1", chain(11)), [
    "a/10:1: Cannot read a/11: files are nested deeper than 10",
  ]);
});
