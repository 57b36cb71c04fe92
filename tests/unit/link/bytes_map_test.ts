/** Values by bytes. */

import assert from "node:assert/strict";
import { BytesMap } from "../../../src/link/bytes_map.ts";
import { utf8 } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

Deno.test("a map by bytes is one by texts, whatever is set, looked up and removed", () => {
  const random = new SeededRandom(1);
  const map = new BytesMap<number>();
  const model = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const key = random.bytes(random.between(0, 2)).map((byte) => byte & 0x1f);
    const name = key.join();
    switch (random.below(3)) {
      case 0:
        map.set(key, i);
        model.set(name, i);
        break;
      case 1:
        assert.equal(map.delete(key), model.get(name));
        model.delete(name);
        break;
      default: {
        const around = new Uint8Array([1, ...key, 2]);
        assert.equal(map.get(around, 1, 1 + key.length), model.get(name));
      }
    }
    assert.equal(map.size, model.size);
  }
  assert.deepEqual([...map.values()].sort(), [...model.values()].sort());
});

/** Keys of one hash, found by trying. */
const COLLIDING = ["ruzsnt", "oyikdd"];

Deno.test("keys of the same hash are told apart, and one removed leaves the others", () => {
  const map = new BytesMap<number>();
  const keys = COLLIDING.map(utf8);
  for (const [at, key] of keys.entries()) map.set(key, at);
  for (const [at, key] of keys.entries()) {
    assert.equal(map.get(key, 0, key.length), at);
    assert.equal(map.delete(key), at);
    assert.equal(map.get(key, 0, key.length), undefined);
    for (const [other, left] of keys.entries()) {
      if (other > at) assert.equal(map.get(left, 0, left.length), other);
    }
  }
  assert.equal(map.size, 0);
});
