import assert from "node:assert/strict";
import { UserCredential } from "../../../src/auth/credential.ts";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import { md5Secret } from "../../../src/auth/md5.ts";
import { encodeBase64, type ScramKeys } from "../../../src/auth/scram.ts";
import { AssertionError } from "../../../src/base/assert.ts";
import { Secret } from "../../../src/base/secret.ts";
import { CountingDerivation, credential, ROUNDS, SALT, scramVerifier } from "./auth_support.ts";

const OPTIONS = { salt: SALT, iterations: ROUNDS };

Deno.test("UserCredential tells the kinds of secrets apart as PostgreSQL does", async () => {
  const verifier = await scramVerifier("secret");
  assert.equal(credential("ada").kind, "none");
  assert.equal(credential("ada", "").kind, "none");
  assert.equal(credential("ada", "secret").kind, "plain");
  assert.equal(credential("ada", md5Secret("secret", "ada")).kind, "md5");
  assert.equal(credential("ada", verifier).kind, "scram");
  assert.equal(credential("ada", verifier.slice(0, -1)).kind, "plain");
  assert.equal(credential("ada", md5Secret("secret", "ada").slice(0, -1)).kind, "plain");
});

Deno.test("UserCredential.plainPassword is there for a plain secret only", async () => {
  assert.equal(credential("ada", "secret").plainPassword, "secret");
  assert.equal(credential("ada", "").plainPassword, undefined);
  assert.equal(credential("ada", md5Secret("secret", "ada")).plainPassword, undefined);
  assert.equal(credential("ada", await scramVerifier("secret")).plainPassword, undefined);
});

Deno.test("UserCredential.md5Secret() is the stored hash, or one made from a plain secret", async () => {
  const hash = md5Secret("secret", "ada");
  assert.equal(credential("ada", hash).md5Secret(), hash);
  assert.equal(credential("ada", "secret").md5Secret(), hash);
  assert.equal(credential("ada").md5Secret(), undefined);
  assert.equal(credential("ada", await scramVerifier("secret")).md5Secret(), undefined);
});

Deno.test("UserCredential.deriveScramKeys() derives once for logins at the same time and later", async () => {
  const derivation = new CountingDerivation();
  const user = credential("ada", "secret");
  const both = [
    user.deriveScramKeys(derivation, OPTIONS),
    user.deriveScramKeys(derivation, OPTIONS),
  ];
  const [first, second] = await Promise.all(both);
  assert.equal(first, second);
  assert.equal(await user.deriveScramKeys(derivation, OPTIONS), first);
  assert.equal(derivation.count, 1);
  await user.deriveScramKeys(derivation, { ...OPTIONS, iterations: ROUNDS + 1 });
  assert.equal(derivation.count, 2);
});

Deno.test("UserCredential.deriveScramKeys() keeps the eight keys that were used last", async () => {
  const derivation = new CountingDerivation();
  const user = credential("ada", "secret");
  const derive = (iterations: number) =>
    user.deriveScramKeys(derivation, { salt: SALT, iterations });
  for (let iterations = 1; iterations <= 8; iterations++) await derive(iterations);
  await derive(1);
  assert.equal(derivation.count, 8);
  await derive(9);
  await derive(1);
  assert.equal(derivation.count, 9);
  await derive(2);
  assert.equal(derivation.count, 10);
});

Deno.test("UserCredential.deriveScramKeys() does not remember a failure", async () => {
  const failing = new (class extends KeyDerivation {
    override derive(): Promise<Uint8Array<ArrayBuffer>> {
      return Promise.reject(new Error("no memory"));
    }
  })();
  const user = credential("ada", "secret");
  await assert.rejects(user.deriveScramKeys(failing, OPTIONS), /no memory/);
  assert.equal((await user.deriveScramKeys(new KeyDerivation(), OPTIONS)).salt, SALT);
});

async function keysOf(password: string): Promise<ScramKeys> {
  return await credential("ada", password).deriveScramKeys(new KeyDerivation(), OPTIONS);
}

Deno.test("UserCredential.learnScramKeys() keeps the keys of its own verifier", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  assert.equal(user.scramKeys, undefined);
  const keys = await keysOf("secret");
  user.learnScramKeys(keys);
  assert.equal(user.scramKeys, keys);
});

Deno.test("UserCredential.learnScramKeys() refuses the keys of anybody else", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  const keys = await keysOf("secret");
  const others = [
    await keysOf("other"),
    { ...keys, iterations: keys.iterations + 1 },
    { ...keys, salt: "AQID" },
  ];
  for (const other of others) assert.throws(() => user.learnScramKeys(other), AssertionError);
  assert.equal(user.scramKeys, undefined);
  assert.throws(() => credential("ada", "secret").learnScramKeys(keys), AssertionError);
});

Deno.test("UserCredential does not print its secret", async () => {
  const verifier = await scramVerifier("secret");
  const plain = credential("ada", "topsecret");
  await plain.deriveScramKeys(new KeyDerivation(), OPTIONS);
  const scram = new UserCredential("ada", new Secret(verifier));
  scram.learnScramKeys(await keysOf("secret"));
  const key = encodeBase64(scram.verifier!.serverKey);
  for (const user of [plain, scram]) {
    const printed = Deno.inspect(user, { depth: 9 }) + JSON.stringify(user) + String(user);
    for (const secret of ["topsecret", key, "storedKey", "clientKey"]) {
      assert.ok(!printed.includes(secret), printed);
    }
  }
});
