import assert from "node:assert/strict";
import { cancelKeyText, makeCancelKey } from "../../../src/client/cancel_key.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

function keys(count: number, peerId: number): Uint8Array[] {
  const random = new SeededRandom(1);
  return Array.from({ length: count }, () => makeCancelKey(random, peerId));
}

Deno.test("makeCancelKey() gives 8 bytes with the sign bit clear and all forwards left", () => {
  for (const key of keys(100, 0)) {
    assert.equal(key.length, 8);
    assert.equal(key[0]! & 0x80, 0);
    assert.equal(key[7]! & 3, 3);
  }
});

Deno.test("makeCancelKey() puts the peer's number into bytes 1 and 2", () => {
  assert.deepEqual([...keys(1, 0)[0]!.subarray(1, 3)], [0, 0]);
  assert.deepEqual([...keys(1, 0x2345)[0]!.subarray(1, 3)], [0x45, 0x23]);
});

Deno.test("makeCancelKey() draws the rest at random", () => {
  const seen = new Set(keys(1_000, 0).map(cancelKeyText));
  assert.equal(seen.size, 1_000);
  for (const at of [0, 3, 4, 5, 6]) {
    assert.ok(new Set(keys(200, 0).map((key) => key[at])).size > 50, `byte ${at}`);
  }
});

Deno.test("cancelKeyText() is the same however often the request was forwarded", () => {
  const [key] = keys(1, 0);
  const forwarded = Uint8Array.from(key!);
  for (let left = 3; left >= 0; left--) {
    forwarded[7] = (key![7]! & ~3) | left;
    assert.equal(cancelKeyText(forwarded), cancelKeyText(key!));
  }
});

Deno.test("cancelKeyText() differs for keys that differ anywhere else, also in length", () => {
  const [key] = keys(1, 0);
  for (let at = 0; at < 8; at++) {
    const other = Uint8Array.from(key!);
    other[at]! ^= 4;
    assert.notEqual(cancelKeyText(other), cancelKeyText(key!));
  }
  assert.notEqual(cancelKeyText(key!.subarray(0, 7)), cancelKeyText(key!));
});
