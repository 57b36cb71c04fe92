/** The certificates of the tests are real ones: the runtime reads and verifies them. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { bundle, encryptedKey, TestAuthority } from "../../support/certificates.ts";

Deno.test("A certificate says whose it is, and is signed by its authority with its key", () => {
  const authority = new TestAuthority("Authority");
  const issued = authority.issue({
    commonName: "db.example",
    organization: "Müller & Co",
    names: ["db.example", "*.db.example"],
    addresses: ["127.0.0.1"],
  });
  const certificate = new X509Certificate(Buffer.from(issued.certificate));
  const above = new X509Certificate(Buffer.from(authority.certificate));
  assert.equal(certificate.subject, "O=Müller & Co\nCN=db.example");
  assert.equal(certificate.issuer, "CN=Authority");
  assert.equal(
    certificate.subjectAltName,
    "DNS:db.example, DNS:*.db.example, IP Address:127.0.0.1",
  );
  assert.equal(certificate.ca, false);
  assert.equal(above.ca, true);
  assert.equal(certificate.verify(above.publicKey), true);
  assert.deepEqual(new Uint8Array(certificate.raw), issued.der);
});

Deno.test("A chain of authorities is signed link by link", () => {
  const root = new TestAuthority("Root");
  const between = new TestAuthority("Between", { above: root, hash: "sha384" });
  const issued = between.issue({ commonName: "alice", isExpired: true });
  const [leaf, middle, top] = [issued.certificate, between.certificate, root.certificate]
    .map((pem) => new X509Certificate(Buffer.from(pem)));
  assert.equal(leaf!.verify(middle!.publicKey), true);
  assert.equal(middle!.verify(top!.publicKey), true);
  assert.ok(new Date(leaf!.validTo) < new Date(middle!.validTo));
  assert.equal(
    bundle(issued.certificate, between.certificate).length,
    issued.certificate.length + between.certificate.length,
  );
});

Deno.test("An encrypted key takes its passphrase", () => {
  const issued = new TestAuthority("Authority").issue({ commonName: "alice" });
  const key = Buffer.from(encryptedKey(issued, "secret"));
  assert.throws(() => createPrivateKey(key));
  const opened = createPrivateKey({ key, passphrase: "secret" });
  assert.ok(opened.equals(createPrivateKey(Buffer.from(issued.key))));
});

Deno.test("Certificates that say the same are equally long", () => {
  const lengths = Array.from({ length: 20 }, () => {
    const authority = new TestAuthority("Authority");
    const issued = authority.issue({ commonName: "alice" });
    return [authority.certificate.length, issued.der.length, authority.revoke(issued).length];
  });
  assert.deepEqual(lengths, lengths.map(() => lengths[0]));
});
