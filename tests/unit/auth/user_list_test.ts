import assert from "node:assert/strict";
import { parseUserList } from "../../../src/auth/user_list.ts";

function pairs(text: string): [string, string][] {
  const { users, problems } = parseUserList(text);
  assert.deepEqual(problems, []);
  return [...users].map(([name, secret]) => [name, secret.reveal()]);
}

Deno.test("parseUserList() reads a pair a line", () => {
  assert.deepEqual(pairs('"ada" "secret"\n"bob" "md5abc"\n'), [["ada", "secret"], [
    "bob",
    "md5abc",
  ]]);
});

Deno.test("parseUserList() takes a doubled quote for one", () => {
  assert.deepEqual(pairs('"a""b" """x"""'), [['a"b', '"x"']]);
  assert.deepEqual(pairs('"ada" ""'), [["ada", ""]]);
});

Deno.test("parseUserList() skips comments, empty lines and what follows the secret", () => {
  const text =
    '\uFEFF; "x" "y"\r\n# "x" "y"\r\n\r\n  \t\r\n  "ada"\t "s" "more" ; words\r\n  ;"x" "y"';
  assert.deepEqual(pairs(text), [["ada", "s"]]);
});

Deno.test("parseUserList() lets the last line of a name count", () => {
  assert.deepEqual(pairs('"ada" "1"\n"ada" "2"'), [["ada", "2"]]);
});

Deno.test("parseUserList() takes no name for a property of an object", () => {
  assert.deepEqual(pairs('"__proto__" "1"\n"constructor" "2"'), [
    ["__proto__", "1"],
    ["constructor", "2"],
  ]);
});

Deno.test("parseUserList() reports each broken line with its number, and reads the others", () => {
  const text = ['"ada" "1"', "bob secret", '"cid"', '"dan" "open', '"eve', '"" "x"', '"fay" "2"'];
  const { users, problems } = parseUserList(text.join("\n"));
  assert.deepEqual([...users.keys()], ["ada", "fay"]);
  assert.deepEqual(problems.map((problem) => problem.line), [2, 3, 4, 5, 6]);
});

Deno.test("parseUserList() never puts text of the file into a message", () => {
  const { problems } = parseUserList('hush hush\n"hush" "hush\n"hush"\n"hush\0" "hush"');
  assert.equal(problems.length, 4);
  for (const { message } of problems) assert.ok(!message.includes("hush"), message);
});

Deno.test("parseUserList() takes names up to 127 and secrets up to 65,530 bytes", () => {
  const line = (name: number, secret: number) =>
    `"${"é".repeat(name >> 1)}${"x".repeat(name & 1)}" "${"s".repeat(secret)}"`;
  const text = [line(127, 65_530), line(128, 1), line(125, 65_531)].join("\n");
  const { users, problems } = parseUserList(text);
  assert.equal(users.size, 1);
  assert.deepEqual(problems, [
    { line: 2, message: "the user name has 128 bytes; at most 127 are allowed" },
    { line: 3, message: "the secret has 65531 bytes; at most 65530 are allowed" },
  ]);
});
