import assert from "node:assert/strict";
import {
  buildClientFinal,
  buildClientFinalWithoutProof,
  buildClientFirstBare,
  buildServerFinal,
  buildServerFirst,
  channelBindingOf,
  parseClientFinal,
  parseClientFirst,
  parseServerFinal,
  parseServerFirst,
} from "../../../src/auth/scram_messages.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";

const PROOF = new Uint8Array(32).fill(9);
const PROOF_TEXT = btoa(String.fromCharCode(...PROOF));

/** A message in bytes, one a character. */
function bytesOf(message: string): Uint8Array {
  return Uint8Array.from(message, (character) => character.charCodeAt(0));
}

function refuses(parse: (data: Uint8Array) => unknown, messages: readonly string[]): void {
  for (const message of messages) {
    assert.throws(() => parse(bytesOf(message)), ProtocolError, message);
  }
}

Deno.test("parseClientFirst() takes it apart", () => {
  assert.deepEqual(parseClientFirst(bytesOf("n,,n=,r=abc")), {
    gs2Header: "n,,",
    flag: "n",
    bare: "n=,r=abc",
    nonce: "abc",
  });
  assert.deepEqual(parseClientFirst(bytesOf("y,,n=*,r=a=b")), {
    gs2Header: "y,,",
    flag: "y",
    bare: "n=*,r=a=b",
    nonce: "a=b",
  });
});

Deno.test("parseClientFirst() reads what a client binds to, whatever it is called", () => {
  for (const type of ["tls-server-end-point", "tls-unique", "X.9"]) {
    const { flag, gs2Header } = parseClientFirst(bytesOf(`p=${type},,n=,r=abc`));
    assert.deepEqual([flag, gs2Header], [`p=${type}`, `p=${type},,`]);
  }
});

Deno.test("parseClientFirst() keeps a name in any encoding and unknown extensions as they are", () => {
  assert.equal(
    parseClientFirst(bytesOf("n,,n=\xff\xe9=2C,r=abc,x=1")).bare,
    "n=\xff\xe9=2C,r=abc,x=1",
  );
});

Deno.test("parseClientFirst() refuses what is malformed or was not offered", () => {
  refuses(parseClientFirst, [
    "",
    "n,,",
    "n,",
    "x,,n=,r=abc",
    "p=,,n=,r=abc",
    "p=tls unique,,n=,r=abc",
    "p,,n=,r=abc",
    "y=x,,n=,r=abc",
    "p=tls-server-end-point,a=eve,n=,r=abc",
    "n,a=eve,n=,r=abc",
    "n,,m=ext,n=,r=abc",
    "n,,r=abc",
    "n,,n=",
    "n,,n=,r=",
    "n,,n=,r=a b",
    "n,,n=,r=ab\x7f",
    "n,,n=,r=ab\xe9",
    "n,,n=,r=abc,",
    "n,,n=,r=abc,x",
    "n,,n=,r=abc,1=x",
    "n,,n=,r=abc\0",
    "n,,n=a\0b,r=abc",
    "n,,n=,n=,r=abc",
    "N,,n=,r=abc",
    "n,,n=" + "x".repeat(65_535) + ",r=abc",
  ]);
});

Deno.test("parseClientFinal() takes it apart", () => {
  const withoutProof = buildClientFinalWithoutProof("abcdef", "biws");
  assert.equal(withoutProof, "c=biws,r=abcdef");
  const message = buildClientFinal(withoutProof, PROOF);
  assert.deepEqual(parseClientFinal(bytesOf(message)), {
    channelBinding: "biws",
    nonce: "abcdef",
    withoutProof,
    proof: PROOF,
  });
  const extended = parseClientFinal(bytesOf(`c=biws,r=abc,x=y,p=${PROOF_TEXT}`));
  assert.equal(extended.withoutProof, "c=biws,r=abc,x=y");
});

Deno.test("parseClientFinal() refuses what is malformed", () => {
  refuses(parseClientFinal, [
    "",
    "c=biws",
    "c=biws,r=abc",
    "c=biws,r=abc,p=",
    `c=biws,p=${PROOF_TEXT}`,
    `r=abc,c=biws,p=${PROOF_TEXT}`,
    `c=biws,r=,p=${PROOF_TEXT}`,
    `c=biws,r=abc,p=${PROOF_TEXT},x=y`,
    `c=biws,r=abc,p=${PROOF_TEXT}\0`,
    `c=biws,r=abc,p=${PROOF_TEXT.slice(0, -1)}`,
    `c=biws,r=abc,p=${PROOF_TEXT} `,
    `c=biws,r=abc,p=${PROOF_TEXT},p=${PROOF_TEXT}`,
    `c=biws,r=abc,p=AAAA`,
    `c=biws,r=abc,x,p=${PROOF_TEXT}`,
  ]);
});

Deno.test("parseServerFirst() reads what buildServerFirst() builds", () => {
  const first = { nonce: "abcdef", salt: "AQID", iterations: 4096 };
  assert.equal(buildServerFirst(first), "r=abcdef,s=AQID,i=4096");
  assert.deepEqual(parseServerFirst(bytesOf(buildServerFirst(first)), "abc"), first);
});

Deno.test("parseServerFirst() refuses what is malformed or does not continue our nonce", () => {
  refuses((data) => parseServerFirst(data, "abc"), [
    "",
    "r=abc,s=AQID,i=1",
    "r=xbcdef,s=AQID,i=1",
    "r=abcdef",
    "r=abcdef,s=,i=1",
    "r=abcdef,s=AQI,i=1",
    "r=abcdef,s=AQID",
    "r=abcdef,s=AQID,i=",
    "r=abcdef,s=AQID,i=0",
    "r=abcdef,s=AQID,i=-1",
    "r=abcdef,s=AQID,i=1e3",
    "r=abcdef,s=AQID,i=01",
    "r=abcdef,s=AQID,i=12345678901",
    "r=abcdef,s=AQID,i=1,x=y",
    "r=abcdef,s=AQID,i=1,",
    "m=x,r=abcdef,s=AQID,i=1",
    "s=AQID,r=abcdef,i=1",
  ]);
});

Deno.test("parseServerFinal() reads a signature or an error", () => {
  assert.deepEqual(parseServerFinal(bytesOf(buildServerFinal(PROOF))), {
    kind: "signature",
    signature: PROOF,
  });
  assert.deepEqual(parseServerFinal(bytesOf("e=other-error")), {
    kind: "error",
    text: "other-error",
  });
});

Deno.test("parseServerFinal() refuses what is malformed", () => {
  refuses(parseServerFinal, ["", "v=", "v=AAAA", `v=${PROOF_TEXT},x=y`, `x=${PROOF_TEXT}`]);
});

Deno.test("channelBindingOf() encodes the header the client began with, and what it binds to", () => {
  assert.equal(channelBindingOf("n,,"), "biws");
  assert.equal(channelBindingOf("y,,"), "eSws");
  const data = Uint8Array.of(0, 255, 44);
  assert.equal(channelBindingOf("p=x,,", data), btoa("p=x,,\0\xff,"));
  assert.equal(buildClientFirstBare("abc"), "n=,r=abc");
});
