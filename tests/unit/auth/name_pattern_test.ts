/** What PostgreSQL matches is compared with PostgreSQL in the integration tests. */

import assert from "node:assert/strict";
import { NamePattern, PatternError } from "../../../src/auth/name_pattern.ts";

Deno.test("NamePattern matches anywhere in a name unless it is anchored", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["b", "abc", true],
    ["^b", "abc", false],
    ["^a.c$", "abc", true],
    ["^a.c$", "abcd", false],
    ["^[[:alpha:]_]+\\d{2,3}$", "app_12", true],
    ["^[[:alpha:]_]+\\d{2,3}$", "app_1234", false],
    ["^(?:alice|bob)$", "bob", true],
    ["^(?:alice|bob)$", "bobby", false],
    ["A", "a", false],
    ["^.$", "\u{1f600}", true],
    ["", "", true],
  ];
  for (const [pattern, name, expected] of cases) {
    assert.equal(new NamePattern(pattern).matches(name), expected, `${pattern} ${name}`);
  }
});

Deno.test("NamePattern names what it does not support, and takes it for nothing else", () => {
  const cases: Readonly<Record<string, RegExp>> = {
    "(?=a)": /"\(\?=" is not supported/,
    "(?i)a": /"\(\?i" is not supported/,
    "***=a": /"\*\*\*"/,
    "(a)\\1": /"\\1" is not supported/,
    "\\mfoo": /"\\m" is not supported/,
    "[[.a.]]": /"\[\." is not supported/,
    "a**": /nothing before a repetition/,
    "^*": /nothing before a repetition/,
    "a{2,1}": /\{m,n\}/,
    "a{1": /malformed/,
    "(a": /not closed/,
    "a)": /closed, not opened/,
    "[a": /ends before "\]"/,
    "a\\": /ends before/,
    "[[:constructor:]]": /class is unknown/,
  };
  for (const [pattern, why] of Object.entries(cases)) {
    assert.throws(() => new NamePattern(pattern), (error) => {
      assert.ok(error instanceof PatternError);
      assert.match(error.message, why);
      return true;
    }, pattern);
  }
  assert.throws(() => new NamePattern("a".repeat(1_025)), PatternError);
});

Deno.test("NamePattern takes few steps with patterns that others never end with", () => {
  // Each would take 2 to the power of a hundred steps with a matcher that goes back.
  for (
    const pattern of [
      "^(a+)+$",
      "^(a|a)*$",
      "^(a|aa)+$",
      "^(.*)*x$",
      `^${"a?".repeat(100)}${"a".repeat(100)}b$`,
    ]
  ) {
    assert.equal(new NamePattern(pattern).matches(`${"a".repeat(126)}!`), false, pattern);
  }
});

Deno.test("NamePattern matches no name that is longer than names are", () => {
  assert.equal(new NamePattern(".*").matches("a".repeat(512)), true);
  assert.equal(new NamePattern(".*").matches("a".repeat(513)), false);
});
