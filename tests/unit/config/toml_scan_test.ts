/** The structure of TOML documents: paths, lines, duplicates, syntax errors. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { scanToml } from "../../../src/config/toml_scan.ts";

function statements(text: string): [string, number, unknown][] {
  const scan = scanToml(text);
  assert.equal(scan.syntaxError, undefined);
  assert.deepEqual(scan.duplicates, []);
  return scan.statements.map(({ path, line, value }) => [path.join("/"), line, value]);
}

function syntaxError(text: string): string {
  const { syntaxError } = scanToml(text);
  return syntaxError === undefined ? "none" : `${syntaxError.line}: ${syntaxError.message}`;
}

function duplicates(text: string): string[] {
  const scan = scanToml(text);
  assert.equal(scan.syntaxError, undefined);
  return scan.duplicates.map(({ line, message }) => `${line}: ${message}`);
}

Deno.test("scanToml() finds bare, quoted and dotted keys with their lines", () => {
  const text = `# comment
a = 1
"b c" = 2  # comment
'd"e'.f . "g" = 3

[x."y.z" . w]
k = "v"
[ x ]
`;
  assert.deepEqual(statements(text), [
    ["a", 2, 1],
    ["b c", 3, 2],
    ['d"e/f/g', 4, 3],
    ["x/y.z/w", 6, undefined],
    ["x/y.z/w/k", 7, "v"],
    ["x", 8, undefined],
  ]);
});

Deno.test("scanToml() takes the keys of inline tables one by one", () => {
  const text = `p = { env = "X", "f.g" = { h = [1, 2] } }\nq = {}\nr.s = { }`;
  assert.deepEqual(statements(text), [
    ["p/env", 1, "X"],
    ["p/f.g/h", 1, [1, 2]],
    ["q", 2, undefined],
    ["r/s", 3, undefined],
  ]);
});

Deno.test("scanToml() counts the lines of long texts and arrays", () => {
  const text = `a = """
one " ""two\\" # no comment
\\
  [x] = 3
"""
b = '''
"""
''''
c = [ # comment ] "
  "x]", # more
  'y"',
  [1, { z = 2 }],
]
d = 5`;
  assert.deepEqual(statements(text), [
    ["a", 1, 'one " ""two" # no comment\n[x] = 3\n'],
    ["b", 6, '"""\n\''],
    ["c", 9, ["x]", 'y"', [1, { z: 2 }]]],
    ["d", 14, 5],
  ]);
});

Deno.test("scanToml() reads every kind of value, and Windows line ends", () => {
  const text = 'a = "x\\ty"\r\nb = -1.5e3\r\nc = true\r\nd = 0x1f\r\ne = 1979-05-27 07:32:00Z\r\n';
  assert.deepEqual(statements(text), [
    ["a", 1, "x\ty"],
    ["b", 2, -1500],
    ["c", 3, true],
    ["d", 4, 31],
    ["e", 5, new Date("1979-05-27T07:32:00Z")],
  ]);
});

Deno.test("scanToml() reports keys and tables defined twice, with both lines", () => {
  assert.deepEqual(duplicates("a = 1\n\na = 2"), ["3: a is already defined in line 1"]);
  assert.deepEqual(duplicates('[x]\na = 1\n[x]\n"a" = 2'), [
    "3: x is already defined in line 1",
    "4: x.a is already defined in line 2",
  ]);
  assert.deepEqual(duplicates("p = { a = 1, a = 2 }"), ["1: p.a is already defined in line 1"]);
  assert.deepEqual(duplicates("a = 1\n[a]"), ["2: a is already defined in line 1"]);
  assert.deepEqual(duplicates("a = 1\na.b = 2"), ["2: a is already defined in line 1"]);
  assert.deepEqual(duplicates("[a]\nb.c = 1\n[a.b]"), ["3: a.b is already defined in line 2"]);
  assert.deepEqual(duplicates("[a.b]\n[a]\nb.c = 1"), ["3: a.b is already defined in line 1"]);
  assert.deepEqual(duplicates('["x y"]\n["x y"]'), ['2: "x y" is already defined in line 1']);
});

Deno.test("scanToml() allows what only looks like a duplicate", () => {
  assert.deepEqual(duplicates("[a.b]\n[a]\nc = 1\n[a.d]"), []);
  assert.deepEqual(duplicates("a.b = 1\na.c = 2\n[x]\na.b = 1"), []);
});

Deno.test("scanToml() stops at the first syntax error and says its line", () => {
  const cases: [string, string][] = [
    ["a = 1\nb", '2: Expected "=" after the key'],
    ["a = 1\nb =", "2: Expected a value after the key; a text needs quotes"],
    ["a = 1 b = 2", "1: Expected the end of the line after the value"],
    ["a = 1,", "1: Expected the end of the line after the value"],
    ["[a", '1: Expected "]" after the name of the table'],
    ["[a] b = 1", "1: Expected the end of the line after the value"],
    ["[[a]]", "1: Arrays of tables ([[...]]) are not used here: write [...]"],
    ["\n\na = [1,\n2", '3: The array is not closed by "]"'],
    ["a = [1 2]", '1: Expected "," or "]" in the array'],
    ['a = "x\nb = 1', '1: The text is not closed by "'],
    ["a = 'x", "1: The text is not closed by '"],
    ['\na = """x\n\n', '2: The text is not closed by """'],
    ["a = { b = 1\n}", '1: Expected "," or "}" in the inline table, which must be on one line'],
    ['a = "\\q"', "1: Invalid escape sequence: \\q"],
    [
      "= 1",
      '1: Unexpected "=": a key or name with anything but letters, digits, "_" and "-" needs quotes',
    ],
    [
      "[databases.*]",
      '1: Unexpected "*": a key or name with anything but letters, digits, "_" and "-" needs quotes',
    ],
    ['"""a""" = 1', "1: A key cannot be a multi-line text"],
    [
      "[a.]",
      '1: Unexpected "]": a key or name with anything but letters, digits, "_" and "-" needs quotes',
    ],
    [`a = ${"[".repeat(99)}`, "1: Values are nested too deep"],
    [`${"a.".repeat(99)}a = 1`, "1: The key has too many parts"],
    [`[${"a.".repeat(99)}a]`, "1: The key has too many parts"],
  ];
  for (const [text, expected] of cases) assert.equal(syntaxError(text), expected, text);
  assert.match(syntaxError('a = "\\U0001F600"'), /^1: \\U is not supported/);
});

Deno.test("scanToml() never shows a value in a syntax error", () => {
  const secret = "hunter2";
  const broken = [`p = ${secret}`, `p = "${secret}`, `p = "${secret}\n"`, `p = "${secret}" x`];
  for (const text of [...broken, `p = """${secret}`, `p = "${secret}\\q"`, `p = [${secret}]`]) {
    assert.notEqual(syntaxError(text), "none", text);
    assert.ok(!syntaxError(text).includes(secret), syntaxError(text));
  }
});

Deno.test("scanToml() finds the lines of any keys between any values", () => {
  const filler = fc.constantFrom("", "# [x] = '", "  \t", "\r");
  const values = fc.constantFrom(
    '"a # b"',
    "'c = \"'",
    '"""\nx = 1\n[y]\n"""',
    "'''\n# \\'''",
    "[ 1,\n # ]\n 'a]',\n]",
    "{ u = 1, v = { w = '}' } }",
    "1979-05-27T07:32:00Z",
    "-0.5e+3",
    '"\\"\\\\"',
  );
  const parts = fc.array(fc.tuple(filler, values), { maxLength: 20 });
  fc.assert(fc.property(parts, fc.constantFrom("\n", "\r\n"), (list, end) => {
    const expected = new Map<string, number>();
    let text = "";
    for (const [index, [before, value]] of list.entries()) {
      text += before + end;
      expected.set(`k${index}`, text.split("\n").length);
      text += `k${index} = ${value}${end}`;
    }
    const scan = scanToml(text);
    assert.equal(scan.syntaxError, undefined);
    for (const { path, line } of scan.statements) assert.equal(line, expected.get(path[0] ?? ""));
    assert.equal(new Set(scan.statements.map(({ path }) => path[0])).size, list.length);
  }));
});

Deno.test("scanToml() ends for any text, with statements or a syntax error", () => {
  const piece = fc.constantFrom(
    ...["a", "b", ".", "=", " ", "\n", '"', "'", '"""', "'''", "[", "]", "{", "}", ",", "#", "\\"],
    ...["1", "-", "\\u12", "\r", "\0", "é", "true", "inf", "nan"],
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join("");
      const { syntaxError, statements } = scanToml(text);
      const lines = text.split("\n").length;
      for (const { line } of [...statements, ...(syntaxError === undefined ? [] : [syntaxError])]) {
        assert.ok(line >= 1 && line <= lines);
      }
    }),
    { numRuns: 2000 },
  );
});
