/** Whether a client is told what a result is like before it gets it. */

import assert from "node:assert/strict";

import { isDescribedBind } from "../../../src/link/described_bind.ts";
import { frontend, join } from "../../support/messages.ts";

const statement = "s";
const values = ["some", null, ""];

for (
  const [what, messages, expected] of [
    ["alone", [frontend.bind({ statement })], false],
    ["with a Describe", [frontend.bind({ statement }), frontend.describe("P")], true],
    ["with a Describe, and one format for all columns", [
      frontend.bind({ statement, values, valueFormats: [1], resultFormats: [1] }),
      frontend.describe("P"),
    ], true],
    ["with a Describe, and a format for each column", [
      frontend.bind({ statement, values, valueFormats: [0, 1, 0], resultFormats: [1, 1] }),
      frontend.describe("P"),
    ], false],
    ["with a Describe of its portal", [
      frontend.bind({ statement, portal: "p" }),
      frontend.describe("P", "p"),
    ], true],
    ["with a Describe of another portal", [
      frontend.bind({ statement, portal: "p" }),
      frontend.describe("P", "q"),
    ], false],
    ["with a Describe of a statement", [
      frontend.bind({ statement }),
      frontend.describe("S"),
    ], false],
    ["with something else", [frontend.bind({ statement }), frontend.execute()], false],
  ] as const
) {
  Deno.test(`isDescribedBind() finds a Bind ${what} ${expected ? "described" : "not described"}`, () => {
    const bytes = join(frontend.sync(), ...messages);
    const start = frontend.sync().length;
    assert.equal(isDescribedBind(bytes, start, bytes.length), expected);
    assert.equal(isDescribedBind(bytes, start, bytes.length - 1), false, "in part");
  });
}

Deno.test("isDescribedBind() finds a malformed Bind not described, whatever is wrong with it", () => {
  const bind = frontend.bind({ statement, values, valueFormats: [0, 0, 0], resultFormats: [1] });
  for (let at = 5; at < bind.length; at++) {
    for (const value of [0x00, 0x7f, 0xff]) {
      const bytes = join(bind, frontend.describe("P"));
      bytes[at] = value;
      assert.equal(typeof isDescribedBind(bytes, 0, bytes.length), "boolean");
    }
  }
});
