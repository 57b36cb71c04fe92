/** For how long, and how many of, client certificates are believed without being verified again. */

import assert from "node:assert/strict";
import type { PeerCertificate } from "node:tls";
import { TrustedCertificates } from "../../../../src/net/portable/trusted_certificates.ts";
import { FakeClock } from "../../../support/fake_clock.ts";

const HOUR_MS = 3_600_000;

function certificate(fingerprint256: string, valid_to = "Dec 31 00:00:00 2049 GMT") {
  return { fingerprint256, valid_to } as PeerCertificate;
}

Deno.test("A certificate is trusted for an hour after it was verified", () => {
  const clock = new FakeClock();
  const trusted = new TrustedCertificates(clock);
  assert.equal(trusted.has(certificate("a")), false);
  trusted.add(certificate("a"));
  clock.advance(HOUR_MS - 1);
  assert.equal(trusted.has(certificate("a")), true);
  assert.equal(trusted.has(certificate("b")), false);
  trusted.add(certificate("a"));
  clock.advance(HOUR_MS - 1);
  assert.equal(trusted.has(certificate("a")), true);
  clock.advance(1);
  assert.equal(trusted.has(certificate("a")), false);
});

Deno.test("A certificate is not trusted beyond its end, nor if that cannot be read", () => {
  const clock = new FakeClock();
  const trusted = new TrustedCertificates(clock);
  const end = new Date(clock.wallMs() + 60_000).toUTCString();
  trusted.add(certificate("a", end));
  trusted.add(certificate("b", "some day"));
  assert.equal(trusted.has(certificate("a")), true);
  assert.equal(trusted.has(certificate("b")), false);
  clock.advance(60_000);
  assert.equal(trusted.has(certificate("a")), false);
});

Deno.test("Of very many certificates the oldest is forgotten", () => {
  const trusted = new TrustedCertificates(new FakeClock());
  for (let i = 0; i < 1_000; i++) trusted.add(certificate(`${i}`));
  trusted.add(certificate("0"));
  trusted.add(certificate("new"));
  assert.equal(trusted.has(certificate("0")), true);
  assert.equal(trusted.has(certificate("1")), false);
  assert.equal(trusted.has(certificate("new")), true);
});
