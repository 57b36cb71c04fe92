import assert from "node:assert/strict";
import { certificateFacts, firstCertificate, pemBlocks } from "../../../src/auth/certificate.ts";
import { CertificateError } from "../../../src/auth/der_reader.ts";
import { bundle, TestAuthority } from "../../support/certificates.ts";
import {
  type Der,
  explicit,
  integer,
  objectId,
  sequence,
  setOf,
  tagged,
  utf8String,
} from "../../support/der.ts";
import { ECDSA_SHA384, PSS_SHA512 } from "./certificates.ts";

const ascii = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** One attribute of a name; a common name unless it is said otherwise. */
function attribute(value: Der, id = "2.5.4.3"): Der {
  return sequence(objectId(id), value);
}

/** What is read of a certificate, signed by nobody, with such a subject. */
function certificate(
  subject: readonly Der[],
  until: Der = tagged(0x17, ascii("300102030405Z")),
): Der {
  return sequence(
    sequence(
      explicit(0, integer(2)),
      integer(1),
      sequence(objectId("1.2.840.10045.4.3.2")),
      sequence(),
      sequence(tagged(0x17, ascii("991231235959Z")), until),
      sequence(...subject),
    ),
  );
}

function namesOf(...subject: readonly Der[]): readonly string[] {
  return certificateFacts(certificate(subject)).commonNames;
}

Deno.test("certificateFacts() reads what openssl has made", () => {
  for (const { der } of [ECDSA_SHA384, PSS_SHA512]) {
    const { commonNames, notAfterMs, notBeforeMs } = certificateFacts(der);
    assert.deepEqual(commonNames, ["db"]);
    assert.equal(new Date(notBeforeMs).toISOString().slice(0, 10), "2026-11-27");
    assert.equal(new Date(notAfterMs).toISOString().slice(0, 10), "2126-11-03");
  }
});

Deno.test("certificateFacts() gives all common names, and nothing of other attributes", () => {
  const name = (text: string, id?: string) => attribute(utf8String(text), id);
  assert.deepEqual(namesOf(setOf(name("ada"))), ["ada"]);
  assert.deepEqual(namesOf(setOf(name("bob", "2.5.4.10")), setOf(name("ada"))), ["ada"]);
  assert.deepEqual(namesOf(setOf(name("a")), setOf(name("b"))), ["a", "b"]);
  assert.deepEqual(namesOf(tagged(0x31, name("a"), name("o", "2.5.4.10"), name("b"))), ["a", "b"]);
  assert.deepEqual(namesOf(setOf(name("o", "2.5.4.10"))), []);
});

Deno.test("certificateFacts() gives a name as it is, whatever would have to be escaped in a text", () => {
  for (const text of ["a,CN=eve", "a+CN=eve", 'a"b\\c', " a ", "a\0b", "Zoë", "\ufeffa", "#6162"]) {
    assert.deepEqual(namesOf(setOf(attribute(utf8String(text)))), [text]);
  }
});

Deno.test("certificateFacts() reads each kind of text by its encoding, and no other bytes", () => {
  const read = (tag: number, ...bytes: number[]) =>
    namesOf(setOf(attribute(tagged(tag, Uint8Array.from(bytes)))));
  assert.deepEqual(read(0x13, 0x61), ["a"]);
  assert.deepEqual(read(0x16, 0x61), ["a"]);
  assert.deepEqual(read(0x14, 0xeb), ["ë"]);
  assert.deepEqual(read(0x1e, 0x00, 0x61, 0x20, 0xac), ["a€"]);
  assert.throws(() => read(0x0c, 0xff), CertificateError);
  assert.throws(() => read(0x02, 0x61), CertificateError);
});

Deno.test("certificateFacts() reads times of either form", () => {
  const until = (tag: number, text: string) =>
    new Date(certificateFacts(certificate([], tagged(tag, ascii(text)))).notAfterMs).toISOString();
  assert.equal(until(0x17, "491231235959Z"), "2049-12-31T23:59:59.000Z");
  assert.equal(until(0x17, "500101000000Z"), "1950-01-01T00:00:00.000Z");
  assert.equal(until(0x18, "20500101000000Z"), "2050-01-01T00:00:00.000Z");
  for (const text of ["2050010100Z", "20500101000000", ""]) {
    assert.throws(() => until(0x18, text), CertificateError);
  }
});

Deno.test("certificateFacts() refuses what is cut short anywhere", () => {
  for (let length = 0; length < 120; length++) {
    assert.throws(() => certificateFacts(ECDSA_SHA384.der.subarray(0, length)), CertificateError);
  }
});

Deno.test("firstCertificate() takes the first of a chain, whatever stands before it", () => {
  const authority = new TestAuthority("Authority");
  const issued = authority.issue({ commonName: "db" });
  const chain = textOf(bundle(issued.key, issued.certificate, authority.certificate));
  assert.deepEqual(firstCertificate(`Bag Attributes\r\n${chain}`), new Uint8Array(issued.der));
  assert.equal(pemBlocks(chain, "certificate").length, 2);
  assert.equal(pemBlocks(textOf(authority.revoke(issued)), "revocations").length, 1);
  for (const text of ["", textOf(issued.key), "-----BEGIN CERTIFICATE-----\n"]) {
    assert.throws(() => firstCertificate(text), /there is no certificate in it/);
  }
  const broken = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
  assert.throws(() => firstCertificate(broken), /not base64/);
});
