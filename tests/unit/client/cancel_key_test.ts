import assert from "node:assert/strict";
import {
  cancelKeyPeerId,
  cancelKeyProcessId,
  forwardedCancelKey,
  isSameCancelKey,
  makeCancelKey,
} from "../../../src/client/cancel_key.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

/** Both kinds of key, with their length. */
const KINDS = [{ isLong: false, length: 8 }, { isLong: true, length: 32 }] as const;

function keys(count: number, { isLong, peerId = 0 }: { isLong: boolean; peerId?: number }) {
  const random = new SeededRandom(1);
  return Array.from({ length: count }, () => makeCancelKey(random, { isLong, peerId }));
}

for (const { isLong, length } of KINDS) {
  Deno.test(`makeCancelKey() gives ${length} bytes with the sign bit clear and all forwards left`, () => {
    for (const key of keys(100, { isLong, peerId: 1 })) {
      assert.equal(key.length, length);
      assert.equal(key[0]! & 0x80, 0);
      assert.equal(key[7]! & 3, 3);
    }
  });

  Deno.test(`makeCancelKey() puts the peer's number into bytes 1 and 2 of ${length}, low one first`, () => {
    for (const peerId of [1, 0x2345, 16_383]) {
      const [key] = keys(1, { isLong, peerId });
      assert.deepEqual([...key!.subarray(1, 3)], [peerId & 0xff, peerId >> 8]);
      assert.equal(cancelKeyPeerId(key!), peerId);
    }
  });

  Deno.test(`makeCancelKey() draws all that means nothing of ${length} bytes at random`, () => {
    for (const peerId of [0, 7]) {
      const drawn = keys(1_000, { isLong, peerId });
      assert.equal(new Set(drawn.map((key) => key.join())).size, 1_000);
      for (let at = 0; at < length; at++) {
        if (peerId > 0 && (at === 1 || at === 2)) continue;
        assert.ok(new Set(drawn.slice(0, 200).map((key) => key[at])).size > 40, `byte ${at}`);
      }
    }
  });

  Deno.test(`forwardedCancelKey() counts three forwards down in ${length} bytes, and touches nothing else`, () => {
    const [key] = keys(1, { isLong, peerId: 16_383 });
    const before = Uint8Array.from(key!);
    let last: Uint8Array = key!;
    for (const left of [2, 1, 0]) {
      last = forwardedCancelKey(last)!;
      assert.equal(last[7]! & 3, left);
      assert.equal(isSameCancelKey(key!, last), true);
    }
    assert.equal(forwardedCancelKey(last), undefined);
    assert.deepEqual(key, before);
  });

  Deno.test(`isSameCancelKey() does not mind how often a key of ${length} bytes was forwarded`, () => {
    const [key] = keys(1, { isLong });
    const forwarded = Uint8Array.from(key!);
    for (let left = 3; left >= 0; left--) {
      forwarded[7] = (key![7]! & ~3) | left;
      assert.equal(isSameCancelKey(key!, forwarded), true);
    }
  });

  Deno.test(`isSameCancelKey() sees every other bit of ${length} bytes, and the length`, () => {
    const [key] = keys(1, { isLong });
    for (let bit = 0; bit < 8 * length; bit++) {
      const other = Uint8Array.from(key!);
      other[bit >> 3]! ^= 1 << (bit & 7);
      const isForward = bit === 56 || bit === 57;
      assert.equal(isSameCancelKey(key!, other), isForward, `bit ${bit}`);
    }
    for (let count = 0; count <= 300; count++) {
      const other = new Uint8Array(count);
      other.set(key!.subarray(0, count));
      assert.equal(isSameCancelKey(key!, other), count === length, `${count} bytes`);
    }
  });
}

Deno.test("cancelKeyProcessId() is what a client shows as the process ID, and positive", () => {
  assert.equal(cancelKeyProcessId(Uint8Array.of(0x12, 0x34, 0x56, 0x78, 9, 9, 9, 9)), 0x12345678);
  for (const key of keys(100, { isLong: true })) assert.ok(cancelKeyProcessId(key) >= 0);
});
