import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, createHmac } from "node:crypto";
import { HASH_BYTES, hmac, sha256 } from "../../../src/auth/sha256.ts";

/** Enough to cross the ends of several blocks, where the rules for filling them up differ. */
const MAX_BYTES = 300;

/** Bytes that are all there are, in some order. */
function someBytes(count: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: count }, (_, at) => (at * 167 + seed * 31 + (at >> 8)) & 0xff);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

Deno.test("sha256() gives the examples of FIPS 180", () => {
  const examples = {
    "": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq":
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  };
  for (const [text, expected] of Object.entries(examples)) {
    assert.equal(hex(sha256(new TextEncoder().encode(text))), expected);
  }
});

Deno.test("hmac() gives the examples of RFC 4231", () => {
  const ofText = hmac(new TextEncoder().encode("Jefe"), "what do ya want for nothing?");
  assert.equal(hex(ofText), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const longKey = new Uint8Array(131).fill(0xaa);
  const ofLongKey = hmac(longKey, "Test Using Larger Than Block-Size Key - Hash Key First");
  assert.equal(hex(ofLongKey), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
});

Deno.test("sha256() gives what the runtime gives, whatever the length", () => {
  for (let count = 0; count <= MAX_BYTES; count++) {
    const bytes = someBytes(count, count);
    const expected = createHash("sha256").update(bytes).digest("hex");
    assert.equal(hex(sha256(bytes)), expected, `${count} bytes`);
  }
});

Deno.test("hmac() gives what the runtime gives, of bytes and of text, whatever the lengths", () => {
  for (let count = 0; count <= MAX_BYTES; count++) {
    const [key, data] = [someBytes(count % 140, 1), someBytes(count, 2)];
    const expected = createHmac("sha256", key).update(data).digest("hex");
    assert.equal(hex(hmac(key, data)), expected, `bytes, ${count}`);
    const text = Buffer.from(data).toString("latin1");
    assert.equal(hex(hmac(key, text)), expected, `text, ${count}`);
  }
});

Deno.test("a hash owns its bytes, and leaves alone those it is made of", () => {
  const [key, data] = [someBytes(HASH_BYTES, 3), someBytes(64, 4)];
  const [keyBefore, dataBefore] = [key.slice(), data.slice()];
  const first = hmac(key, data);
  const again = hmac(key, data);
  assert.notEqual(first.buffer, again.buffer);
  assert.deepEqual([key, data], [keyBefore, dataBefore]);
  assert.equal(first.byteLength, HASH_BYTES);
  assert.equal(first.buffer.byteLength, HASH_BYTES);
});
