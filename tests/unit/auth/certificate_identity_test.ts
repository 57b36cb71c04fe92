import assert from "node:assert/strict";
import {
  type CertificateRule,
  checkClientCertificate,
  type ClientCertificate,
} from "../../../src/auth/certificate_identity.ts";

const FULL: CertificateRule = { check: "verify-full" };
const CA: CertificateRule = { check: "verify-ca" };

function of(...commonNames: readonly string[]): ClientCertificate {
  return { isVerified: true, commonNames };
}

/** "in", or why not; the client hears the same in every case. */
function decide(
  userName: string,
  certificate: ClientCertificate | undefined,
  rule: CertificateRule,
): string {
  const decision = checkClientCertificate(userName, certificate, rule);
  if (decision.kind === "allowed") return "in";
  const { message, severity, sqlstate } = decision.error;
  assert.equal(
    `${severity} ${sqlstate} ${message}`,
    "FATAL 28000 certificate authentication failed",
  );
  return decision.reason.replace(/^certificate authentication failed \((.*)\)$/, "$1");
}

Deno.test("verify-full lets in the user whom the common name names, letter by letter", () => {
  assert.equal(decide("ada", of("ada"), FULL), "in");
  for (const name of ["Ada", "ada ", "ad", "adam", "*", "ada\n"]) {
    assert.equal(decide("ada", of(name), FULL), `the certificate is of ${JSON.stringify(name)}`);
  }
});

Deno.test("verify-ca lets in by any certificate that is verified", () => {
  for (const certificate of [of("ada"), of("bob"), of(), of("a", "b")]) {
    assert.equal(decide("ada", certificate, CA), "in");
  }
});

Deno.test("nobody gets in without a certificate, or by one that is not verified", () => {
  const maps = () => true;
  const forged = { isVerified: false, commonNames: ["ada"] };
  for (const rule of [FULL, CA, { ...FULL, maps }, { ...CA, maps }]) {
    assert.equal(decide("ada", undefined, rule), "the client has shown no certificate");
    assert.equal(decide("ada", forged, rule), "the certificate is not verified");
  }
});

Deno.test("a map takes the place of the comparison", () => {
  const asked: (readonly [string, string])[] = [];
  const maps = (system: string, database: string) => {
    asked.push([system, database]);
    return system === "ada.lovelace" && database === "ada";
  };
  assert.equal(decide("ada", of("ada.lovelace"), { ...FULL, maps }), "in");
  assert.equal(decide("ada", of("ada"), { ...FULL, maps }), 'the certificate is of "ada"');
  assert.equal(
    decide("bob", of("ada.lovelace"), { ...FULL, maps }),
    'the certificate is of "ada.lovelace"',
  );
  assert.deepEqual(asked[0], ["ada.lovelace", "ada"]);
});

Deno.test("a certificate without one clear name is nobody's, whatever the map says", () => {
  const maps = () => true;
  for (const rule of [FULL, { ...FULL, maps }]) {
    assert.equal(decide("ada", of(), rule), "the certificate has no common name");
    assert.equal(decide("ada", of(""), rule), "the certificate has no common name");
    assert.equal(decide("", of(""), rule), "the certificate has no common name");
    assert.match(decide("ada", of("ada", "bob"), rule), /several common names/);
    assert.match(decide("ada", of("ada\0.example"), rule), /zero byte/);
  }
});

Deno.test("clientname=DN is refused as such", () => {
  const rule: CertificateRule = { ...FULL, clientName: "DN" };
  assert.equal(decide("ada", of("ada"), rule), "clientname=DN is not supported");
  assert.equal(decide("ada", of("ada"), { ...FULL, clientName: "CN" }), "in");
});
