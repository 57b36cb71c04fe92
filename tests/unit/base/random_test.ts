import assert from "node:assert/strict";
import { systemRandom } from "../../../src/base/random.ts";

Deno.test("systemRandom().bytes() gives as many bytes as asked for, others each time", () => {
  const random = systemRandom();
  assert.equal(random.bytes(0).length, 0);
  const [one, other] = [random.bytes(32), random.bytes(32)];
  assert.equal(one.length, 32);
  assert.notDeepEqual(one, other);
});
