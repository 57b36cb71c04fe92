import assert from "node:assert/strict";
import {
  tlsCiphersOf,
  tlsCurvesProblem,
  tlsVersionsOf,
  tlsVersionsProblem,
} from "../../../src/config/tls_words.ts";

Deno.test("tlsVersionsOf() reads PgBouncer's words, lists of them, and what is taken away", () => {
  const versions: Readonly<Record<string, string>> = {
    secure: "TLSv1.2 TLSv1.3",
    default: "TLSv1.2 TLSv1.3",
    all: "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
    legacy: "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
    "tlsv1.0": "TLSv1",
    "TLSv1.3 , tlsv1.1": "TLSv1.1 TLSv1.3",
    "tlsv1.2:tlsv1.3": "TLSv1.2 TLSv1.3",
    "!tlsv1.0": "TLSv1.1 TLSv1.2 TLSv1.3",
    "all,!tlsv1.0,! tlsv1.1": "TLSv1.2 TLSv1.3",
  };
  for (const [text, expected] of Object.entries(versions)) {
    assert.equal(tlsVersionsOf(text).join(" "), expected, text);
    assert.equal(tlsVersionsProblem(text), undefined, text);
  }
});

Deno.test("tlsVersionsProblem() names what is no version, and a list that leaves none", () => {
  assert.match(tlsVersionsProblem("tlsv1.2,sslv3")!, /found "sslv3"$/);
  assert.match(tlsVersionsProblem("")!, /found ""$/);
  assert.equal(tlsVersionsProblem("tlsv1.3,!secure"), "no version of TLS is left");
});

Deno.test("tlsCiphersOf() gives what the library has for words that ask for the ordinary", () => {
  for (const word of ["default", "SECURE", "fast", "normal", ""]) {
    assert.equal(tlsCiphersOf(word), undefined, word);
  }
  assert.equal(tlsCiphersOf("all"), "ALL:!aNULL:!eNULL");
  assert.equal(tlsCiphersOf("legacy"), "HIGH:MEDIUM:!aNULL");
  assert.equal(tlsCiphersOf("ECDHE-RSA-AES256-GCM-SHA384"), "ECDHE-RSA-AES256-GCM-SHA384");
});

Deno.test("tlsCurvesProblem() refuses to have no curve at all", () => {
  assert.match(tlsCurvesProblem("none")!, /without one there is no TLS 1.3/);
  for (const text of ["auto", "prime256v1"]) assert.equal(tlsCurvesProblem(text), undefined);
});
