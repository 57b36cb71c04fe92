import assert from "node:assert/strict";
import { hideValue } from "../../../src/base/hidden_value.ts";

const CASES: readonly (readonly [text: string, shown: string])[] = [
  ["a=1 pw=secret b=2", "a=1 pw=*** b=2"],
  ["pw=secret", "pw=***"],
  ["pw=secret,b=2", "pw=***,b=2"],
  ['pw="se cret, x" b=2', "pw=*** b=2"],
  ['pw="se""cret" b=2', "pw=*** b=2"],
  ['pw=se"cr et" b=2', "pw=*** b=2"],
  ['"pw=se cret" b=2', '"pw=***" b=2'],
  ['"pw=se ""cret" b=2', '"pw=***" b=2'],
  ['"pw"=secret b=2', '"pw"=*** b=2'],
  ['"pw"="sec ret" b=2', '"pw"=*** b=2'],
  ['a="x y" pw=secret pw=secret', 'a="x y" pw=*** pw=***'],
  ['pw="secret', "pw=***"],
  ["pw=", "pw=***"],
  ["a=1", "a=1"],
];

for (const [text, shown] of CASES) {
  Deno.test(`hideValue() shows ${text} as ${shown}`, () => {
    assert.equal(hideValue("pw", text), shown);
  });
}
