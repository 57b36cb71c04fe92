import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { signatureHash, tlsServerEndPoint } from "../../../src/auth/channel_binding.ts";
import { CertificateError } from "../../../src/auth/der_reader.ts";
import { ECDSA_SHA384, ED25519, PSS_SHA512, RSA_SHA1 } from "./certificates.ts";

/** One element of DER. */
function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = parts.flatMap((part) => [...part]);
  const length = content.length < 128 ? [content.length] : [0x81, content.length];
  return Uint8Array.of(tag, ...length, ...content);
}

/** An object identifier from its text. */
function oid(text: string): Uint8Array {
  const [first, second, ...rest] = text.split(".").map(Number);
  const bytes = [first! * 40 + second!, ...rest].flatMap((number) => {
    const digits = [number & 0x7f];
    for (let left = number >>> 7; left > 0; left >>>= 7) digits.unshift(0x80 | left & 0x7f);
    return digits;
  });
  return der(0x06, Uint8Array.from(bytes));
}

const NULL = Uint8Array.of(5, 0);
const SEQUENCE = 0x30;

/** The least that has the shape of a certificate, signed by `algorithm`. */
function certificate(...algorithm: readonly Uint8Array[]): Uint8Array {
  return der(SEQUENCE, der(SEQUENCE, NULL), der(SEQUENCE, ...algorithm), der(3, NULL));
}

function pss(hash?: string): Uint8Array {
  const parameters = hash === undefined
    ? der(0xa2, NULL)
    : der(0xa0, der(SEQUENCE, oid(hash), NULL));
  return certificate(oid("1.2.840.113549.1.1.10"), der(SEQUENCE, parameters));
}

Deno.test("tlsServerEndPoint() hashes real certificates as their signatures are hashed", () => {
  for (const { der, endPoint } of [ECDSA_SHA384, PSS_SHA512, RSA_SHA1]) {
    assert.deepEqual(tlsServerEndPoint(der), endPoint);
  }
});

Deno.test("tlsServerEndPoint() has nothing for a signature without a hash of its own", () => {
  assert.equal(tlsServerEndPoint(ED25519.der), undefined);
  assert.equal(tlsServerEndPoint(certificate(oid("1.3.101.113"))), undefined);
  assert.equal(tlsServerEndPoint(certificate(oid("1.2.3.4"), NULL)), undefined);
  assert.equal(tlsServerEndPoint(pss("1.2.3.4")), undefined);
});

Deno.test("signatureHash() knows the hashes of RSA and ECDSA", () => {
  const known = {
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.113549.1.1.15": "sha512-224",
    "1.2.840.113549.1.1.16": "sha512-256",
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
  };
  for (const [algorithm, hash] of Object.entries(known)) {
    const bytes = certificate(oid(algorithm), NULL);
    assert.equal(signatureHash(bytes), hash, algorithm);
    const used = hash === "md5" || hash === "sha1" ? "sha256" : hash;
    const expected = new Uint8Array(createHash(used).update(bytes).digest());
    assert.deepEqual(tlsServerEndPoint(bytes), expected, algorithm);
  }
});

Deno.test("signatureHash() finds the hash of RSASSA-PSS in its parameters; there, SHA-1 goes without saying", () => {
  assert.equal(signatureHash(pss("2.16.840.1.101.3.4.2.2")), "sha384");
  assert.equal(signatureHash(pss("1.2.840.113549.2.5")), "md5");
  assert.equal(signatureHash(pss()), "sha1");
  assert.equal(signatureHash(certificate(oid("1.2.840.113549.1.1.10"), NULL)), "sha1");
  assert.equal(signatureHash(certificate(oid("1.2.840.113549.1.1.10"))), "sha1");
});

Deno.test("signatureHash() refuses what is no certificate", () => {
  const whole = certificate(oid("1.2.840.113549.1.1.11"), NULL);
  const broken = [
    new Uint8Array(),
    Uint8Array.of(SEQUENCE),
    Uint8Array.of(SEQUENCE, 0x80, 0, 0),
    Uint8Array.of(SEQUENCE, 0x85, 0, 0, 0, 0, 1, 0),
    Uint8Array.of(SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(...whole, 0),
    certificate(NULL),
    certificate(der(6)),
    certificate(Uint8Array.of(6, 9, 0x2a, 3)),
    certificate(der(6, Uint8Array.of(0x2a, 0x86))),
    certificate(der(6, new Uint8Array(20).fill(0xff), Uint8Array.of(1))),
    der(SEQUENCE, der(SEQUENCE), der(SEQUENCE, oid("1.2.3"))),
    der(SEQUENCE, der(SEQUENCE), der(SEQUENCE, oid("1.2.3")), der(3), NULL),
  ];
  for (const bytes of broken) assert.throws(() => signatureHash(bytes), CertificateError);
  for (let length = 0; length < ECDSA_SHA384.der.length; length++) {
    assert.throws(() => signatureHash(ECDSA_SHA384.der.subarray(0, length)), CertificateError);
  }
});
