/** Patterns of names match, capture and fail as PostgreSQL's own regular expressions do. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { NamePattern, PatternError } from "../../src/auth/name_pattern.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";

const shared = sharedPostgres({
  async prepare(postgres) {
    // As hba.c compiles them: advanced, with the C collation.
    await postgres.sql(`
      create function held(pattern text, name text) returns text language plpgsql as $$
      begin
        if not name ~ pattern collate "C" then return 'no'; end if;
        return 'yes ' || coalesce((regexp_match(name collate "C", pattern))[1], '<null>');
      exception when invalid_regular_expression then return 'error';
      end $$`);
  },
});

const PIECES: readonly string[] = [
  ...["a", "b", "ab", "ä", "_", "-", "1", ".", "\\.", "\\d", "\\w", "\\S", "\\s", "\\W", "\\D"],
  ...["^", "$", "|", "(", ")", "(", ")", "(?:", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}"],
  ...["{0,}", "{2,1}", "{,2}", "{", "}", "]", "[ab]", "[^a]", "[a-c]", "[]a]", "[a-]", "[-a]"],
  ...["[^-a]", "[[:alpha:]]", "[[:digit:]_]", "[[:nope:]]", "[b-a]", "[\\w.]", "[\\d-]", "[a-b-c]"],
  ...["[", "\\A", "\\Z", "\\", "\\a", "\\n", "\\q", "\\1", "(?=a)", "(?i)", "***:", " ", "#", "@"],
  ...["(.*)", "(a+)", "(a|ab)", "[[:<:]]", "[[.a.]]", "{1000}", "{1,300}", "\\m", "()", "(|a)"],
];

const anyPattern = fc.array(fc.constantFrom(...PIECES), { maxLength: 7 })
  .map((pieces) => pieces.join(""));

const anyName = fc.array(fc.constantFrom("a", "b", "c", "ä", "1", "_", ".", "-", "@", " ", "\n"), {
  maxLength: 6,
}).map((characters) => characters.join(""));

/** Those that are used: anchored or not, with what people capture. */
const capturing = fc.tuple(
  fc.constantFrom("^", "", "^x?", "^(?:a|ab)", "^a?(?:ab)?", "^a*"),
  fc.constantFrom("(.*)", "(a+)", "(a|ab)", "([ab]*)", "(a?b?)", "((a)|ab)", "(.+)", "(a*|b)"),
  fc.constantFrom("", "@.*", "b*", "(a|bc)?", "(?:b|bc)", "(.*)", "c?", "|b", "(b|c)*"),
  fc.constantFrom("$", "", "@a$"),
).map((parts) => parts.join(""));

/** What Sluice finds: "error" where it does not take the pattern. */
function held(source: string, name: string): { matches: string; group: string | undefined } {
  try {
    const pattern = new NamePattern(source);
    const matches = pattern.matches(name) ? "yes" : "no";
    try {
      pattern.checkFirstGroup();
    } catch (error) {
      assert.ok(error instanceof PatternError);
      return { matches, group: undefined };
    }
    return { matches, group: matches === "yes" ? pattern.firstGroup(name) ?? "<null>" : undefined };
  } catch (error) {
    assert.ok(error instanceof PatternError, String(error));
    return { matches: "error", group: undefined };
  }
}

async function compare(cases: readonly (readonly [string, string])[]): Promise<string[]> {
  const rows = await shared.get().sql(
    `select held(c->>0, c->>1) as answer from jsonb_array_elements(${
      quoted(JSON.stringify(cases))
    }::jsonb) with ordinality t(c, n) order by n`,
  );
  return cases.flatMap(([pattern, name], at) => {
    const answer = String(rows[at]?.["answer"]);
    const { group, matches } = held(pattern, name);
    // What PostgreSQL does and Sluice does not is an error, and never another answer.
    if (matches === "error") return [];
    const isSame = answer.split(" ")[0] === matches &&
      (group === undefined || answer === `yes ${group}`);
    const shown = JSON.stringify([pattern, name]);
    return isSame ? [] : [`${shown}: ${answer}, and here ${matches} ${group}`];
  });
}

function quoted(text: string): string {
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

Deno.test("NamePattern matches what PostgreSQL's regular expressions match, and nothing else", async () => {
  const cases = fc.sample(fc.tuple(anyPattern, anyName), { numRuns: 12_000, seed: 7 });
  const taken = cases.filter(([pattern, name]) => held(pattern, name).matches !== "error");
  assert.ok(taken.length > 3_000, `Only ${taken.length} patterns are taken`);
  assert.deepEqual(await compare(cases), []);
});

Deno.test("NamePattern captures what PostgreSQL's regular expressions capture", async () => {
  const cases = fc.sample(fc.tuple(capturing, anyName), { numRuns: 8_000, seed: 11 });
  const found = cases.filter(([pattern, name]) => held(pattern, name).group !== undefined);
  assert.ok(found.length > 1_500, `Only ${found.length} capture`);
  assert.deepEqual(await compare(cases), []);
});

Deno.test("NamePattern takes what PostgreSQL's documentation shows", () => {
  for (
    const pattern of [
      "^(.*)@mydomain\\.com$",
      "^db\\d{2,4}$",
      "^[a-z0-9_-]+$",
      "^(?:alice|bob)$",
      "^.*$",
      "[[:alnum:]_]+",
      "a{2}b{1,}c{0,3}?",
    ]
  ) {
    assert.doesNotThrow(() => new NamePattern(pattern), pattern);
  }
});
