import assert from "node:assert/strict";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import {
  clientProof,
  decodeBase64,
  encodeBase64,
  equalBytes,
  equalSecrets,
  parseScramVerifier,
  recoverClientKey,
  scramKeys,
  serverSignature,
} from "../../../src/auth/scram.ts";
import { scramVerifier } from "./auth_support.ts";

/** The example of RFC 7677, section 3. */
const RFC = {
  salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
  iterations: 4096,
  authMessage: "n=user,r=rOprNGfwEbeRWgbNEkqO," +
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

async function rfcKeys() {
  const password = new TextEncoder().encode("pencil");
  const salt = decodeBase64(RFC.salt)!;
  const salted = await new KeyDerivation().derive(password, { salt, iterations: RFC.iterations });
  return scramKeys(salted, RFC);
}

Deno.test("clientProof() and serverSignature() give the example of RFC 7677", async () => {
  const keys = await rfcKeys();
  assert.equal(encodeBase64(clientProof(keys, RFC.authMessage)), RFC.proof);
  assert.equal(encodeBase64(serverSignature(keys, RFC.authMessage)), RFC.signature);
});

Deno.test("recoverClientKey() finds the client key in a right proof, and no other", async () => {
  const { storedKey, clientKey } = await rfcKeys();
  const proof = decodeBase64(RFC.proof)!;
  const { authMessage } = RFC;
  assert.deepEqual(recoverClientKey(storedKey, { authMessage, proof }), {
    clientKey,
    isRight: true,
  });
  for (let at = 0; at < proof.length; at++) {
    const wrong = proof.slice();
    wrong[at]! ^= 1;
    assert.ok(!recoverClientKey(storedKey, { authMessage, proof: wrong }).isRight);
  }
  assert.ok(!recoverClientKey(storedKey, { authMessage: authMessage + "x", proof }).isRight);
});

Deno.test("parseScramVerifier() reads what PostgreSQL stores", async () => {
  const keys = await rfcKeys();
  const text = await scramVerifier("pencil", RFC);
  const { clientKey: _, ...verifier } = keys;
  assert.deepEqual(parseScramVerifier(text), verifier);
});

Deno.test("parseScramVerifier() takes anything malformed for no verifier", async () => {
  const text = await scramVerifier("pencil", RFC);
  assert.ok(parseScramVerifier(text) !== undefined);
  const key = "A".repeat(43) + "=";
  const malformed = [
    "",
    text.toLowerCase(),
    text.slice(0, -1),
    `${text}\n`,
    `${text}=`,
    ` ${text}`,
    text.replace("$4096", "$0"),
    text.replace("$4096", "$-1"),
    text.replace("$4096", "$+4096"),
    text.replace("$4096", "$2147483648"),
    text.replace(RFC.salt, ""),
    text.replace(RFC.salt, "W22ZaJ0SNY7soEsUEjb6gQ"),
    text.replace(RFC.salt, "W22ZaJ0SNY7soEsUEjb6gR=="),
    `SCRAM-SHA-256$4096:${RFC.salt}$${key}`,
    `SCRAM-SHA-256$4096:${RFC.salt}$${key}:${key}:${key}`,
    `SCRAM-SHA-256$4096:${RFC.salt}$AAAA:${key}`,
    `SCRAM-SHA-256$4096:${RFC.salt}$${key}:AAAA`,
    `SCRAM-SHA-1$4096:${RFC.salt}$${key}:${key}`,
  ];
  for (const wrong of malformed) assert.equal(parseScramVerifier(wrong), undefined, wrong);
  assert.ok(parseScramVerifier(`SCRAM-SHA-256$2147483647:${RFC.salt}$${key}:${key}`));
});

Deno.test("decodeBase64() takes the canonical form only", () => {
  assert.deepEqual(decodeBase64("AQID"), Uint8Array.of(1, 2, 3));
  assert.deepEqual(decodeBase64("AQI="), Uint8Array.of(1, 2));
  assert.deepEqual(decodeBase64(""), new Uint8Array());
  for (const text of ["AQI", "AQJ=", "AQ=", "A", "AQ==AQ==", "AQ ID", "AQID\n", "-_-_", "é==="]) {
    assert.equal(decodeBase64(text), undefined, text);
  }
});

Deno.test("equalSecrets() compares values of any length", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assert.ok(equalSecrets(bytes("secret"), bytes("secret")));
  assert.ok(!equalSecrets(bytes("secret"), bytes("secre")));
  assert.ok(!equalSecrets(bytes(""), bytes("x")));
});

Deno.test("equalBytes() takes values of different length for different", () => {
  assert.ok(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2)));
  assert.ok(!equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)));
  assert.ok(!equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0)));
});
