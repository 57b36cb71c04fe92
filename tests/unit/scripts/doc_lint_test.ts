/** Which faults of the documentation count. */

import assert from "node:assert/strict";
import { faultsIn } from "../../../scripts/doc_lint.ts";

const OUTPUT = `error[missing-jsdoc]: exported symbol is missing JSDoc documentation
 --> a.ts:5:21
  |
5 |   readonly name = "A";

error[private-type-ref]: public type 'X' references private type 'Y'
 --> b.ts:1:1

error: Found 2 documentation lint errors.
`;

Deno.test("faultsIn() keeps a fault with its place, and leaves out members without a comment", () => {
  const fault =
    "error[private-type-ref]: public type 'X' references private type 'Y'\n --> b.ts:1:1";
  assert.deepEqual(faultsIn(OUTPUT), [fault]);
  assert.deepEqual(faultsIn(""), []);
});
